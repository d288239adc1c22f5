//! Figures of models from recorded scores, newest first up to a bound, and from conversions.
//!
//! Law: the words mean what [`crate::projection::performance`] says.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::codes::Coded;
use super::recorded::ALERT;
use super::row::{Names, lookup};
use super::shadows;
use crate::domain::alert::Outcome;
use crate::domain::quality::{Case, measure};
use crate::domain::time::Timestamp;
use crate::projection::performance::{
    Labels, Measure, ModelPerformance, Outcomes, Performance, VersionPerformance,
};

/// Recorded scores that one question looks at: a second's work and 24 MB.
pub(super) const ROWS_MAX: i64 = 1_000_000;

/// From the newest to the oldest, as they lie in the file.
pub(super) const SCORES: &str =
    "SELECT model, version, alert, as_of, probability, outcome, converted, converted_at, outcomes
        FROM scores ORDER BY position DESC LIMIT ?1";
/// Each conversion once, with the newest alert before it; those that outcomes tell are about an alert that there is.
pub(super) const CONVERSIONS: &str = "SELECT h.model, h.at, max(h.source),
        (SELECT max(s.as_of) FROM scores s
            WHERE s.user = h.user AND s.model = h.model AND s.as_of < h.at AND s.alert)
    FROM happened h WHERE h.at <= ?1 GROUP BY h.user, h.model, h.at";
/// Alerts of the pace's window.
pub(super) const RECENT: &str = "SELECT model FROM alerts INDEXED BY alerts_created
    WHERE created_at > ?1 AND created_at <= ?2";

/// A label as far as it is known.
pub(super) fn label(
    verdict: Option<bool>,
    as_of: i64,
    converted_at: Option<i64>,
    horizon: Duration,
    now: Timestamp,
) -> Option<bool> {
    if verdict.is_some() {
        return verdict;
    }
    let end = Timestamp::from_millis(as_of).plus(horizon);
    // The earliest conversion after the score is the only one that matters: the same law as domain::label, over all.
    let converted = converted_at.is_some_and(|at| at <= end.min(now).millis());
    if converted { Some(true) } else { (now > end).then_some(false) }
}

/// Whether a score counts in the measures: judged, or as old as the horizon.
pub(super) fn is_mature(verdict: Option<bool>, as_of: i64, horizon: Duration, now: Timestamp) -> bool {
    verdict.is_some() || now > Timestamp::from_millis(as_of).plus(horizon)
}

/// One version on the way.
struct Tally {
    first: i64,
    last: i64,
    alerts: Labels,
    requested: Labels,
    outcomes: Outcomes,
    cases: Vec<Case>,
    missed: u64,
}

impl Tally {
    fn new(as_of: i64) -> Self {
        Self {
            first: as_of,
            last: as_of,
            alerts: Labels::default(),
            requested: Labels::default(),
            outcomes: Outcomes::default(),
            cases: Vec::new(),
            missed: 0,
        }
    }

    fn score(&mut self, row: &Row<'_>, horizon: Duration, now: Timestamp) -> rusqlite::Result<()> {
        let (is_alert, as_of): (bool, i64) = (row.get(2)?, row.get(3)?);
        self.first = self.first.min(as_of);
        self.last = self.last.max(as_of);
        let outcome = row.get::<_, Option<Coded<Outcome>>>(5)?.map(|coded| coded.0);
        let verdict = verdict(outcome, row.get(6)?);
        let label = label(verdict, as_of, row.get(7)?, horizon, now);
        let is_mature = is_mature(verdict, as_of, horizon, now);
        let labels = if is_alert { &mut self.alerts } else { &mut self.requested };
        labels.count(label, is_mature);
        match outcome {
            Some(Outcome::TruePositive) => self.outcomes.true_positive += 1,
            Some(Outcome::FalsePositive) => self.outcomes.false_positive += 1,
            Some(Outcome::Unknown) => self.outcomes.unknown += 1,
            None => {}
        }
        self.outcomes.corrected += u64::from(row.get::<_, i64>(8)? > 1);
        if let Some(is_positive) = label.filter(|_| is_mature) {
            self.cases.push(Case::new(row.get(4)?, is_positive));
        }
        Ok(())
    }

    fn told(mut self, model_version: String) -> VersionPerformance {
        VersionPerformance {
            model_version,
            first_scored_at: Timestamp::from_millis(self.first),
            last_scored_at: Timestamp::from_millis(self.last),
            alerts: self.alerts,
            outcomes: self.outcomes,
            requested: self.requested,
            missed: self.missed,
            quality: measure(&mut self.cases),
        }
    }
}

/// What the newest outcome of an alert says of its score.
fn verdict(outcome: Option<Outcome>, converted: Option<bool>) -> Option<bool> {
    converted.or(match outcome {
        Some(Outcome::TruePositive) => Some(true),
        Some(Outcome::FalsePositive) => Some(false),
        Some(Outcome::Unknown) | None => None,
    })
}

/// The models asked for, by their number in the file.
pub(super) type Horizons = BTreeMap<i64, Duration>;

/// Measures.
pub(super) fn performance(connection: &Connection, asked: &Measure) -> rusqlite::Result<Performance> {
    let mut numbers = Vec::with_capacity(asked.models.len());
    let mut horizons = Horizons::new();
    for (name, horizon) in &asked.models {
        let number = lookup(connection, Names::Models, name)?;
        numbers.push(number);
        horizons.extend(number.map(|number| (number, *horizon)));
    }
    let (mut tallies, rows_left_out) = scores(connection, &horizons, asked.now)?;
    let conversions = conversions(connection, &horizons, asked.now, &mut tallies)?;
    let mut challengers = shadows::challengers(connection, &horizons, asked.now)?;
    let (users, pace_days, recent) = pace(connection, asked)?;
    let mut models = Vec::with_capacity(asked.models.len());
    for ((name, _), number) in asked.models.iter().zip(numbers) {
        let number = number.unwrap_or(i64::MIN);
        let mut versions = Vec::new();
        for ((_, version), tally) in tallies.extract_if((number, i64::MIN)..=(number, i64::MAX), |_, _| true)
        {
            versions.push(tally.told(version_name(connection, version)?));
        }
        versions.sort_by(|one, other| {
            (one.first_scored_at, &one.model_version).cmp(&(other.first_scored_at, &other.model_version))
        });
        let (known, missed) = conversions.get(&number).copied().unwrap_or_default();
        models.push(ModelPerformance {
            model_type: name.clone(),
            conversions: known,
            missed,
            alerts_recent: recent.get(&number).copied().unwrap_or_default(),
            versions,
            challengers: challengers.remove(&number).unwrap_or_default(),
        });
    }
    Ok(Performance { models, users, pace_days, rows_left_out })
}

/// The name of a version's number.
pub(super) fn version_name(connection: &Connection, version: i64) -> rusqlite::Result<String> {
    connection
        .prepare_cached("SELECT name FROM versions WHERE id = ?1")?
        .query_row([version], |row| row.get(0))
}

type Tallies = BTreeMap<(i64, i64), Tally>;

fn scores(connection: &Connection, horizons: &Horizons, now: Timestamp) -> rusqlite::Result<(Tallies, u64)> {
    let mut tallies = Tallies::new();
    let mut statement = connection.prepare_cached(SCORES)?;
    let mut rows = statement.query([ROWS_MAX])?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let model: i64 = row.get(0)?;
        let Some(&horizon) = horizons.get(&model) else { continue };
        let as_of = row.get(3)?;
        tallies.entry((model, row.get(1)?)).or_insert_with(|| Tally::new(as_of)).score(row, horizon, now)?;
    }
    let all = if looked_at < ROWS_MAX {
        looked_at
    } else {
        connection.prepare_cached("SELECT count(*) FROM scores")?.query_row([], |row| row.get(0))?
    };
    Ok((tallies, (all - looked_at).max(0).cast_unsigned()))
}

/// Per model the conversions known and those missed; each miss also counts for the version of its time.
fn conversions(
    connection: &Connection,
    horizons: &Horizons,
    now: Timestamp,
    tallies: &mut Tallies,
) -> rusqlite::Result<BTreeMap<i64, (u64, u64)>> {
    let mut found: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    let mut statement = connection.prepare_cached(CONVERSIONS)?;
    let mut rows = statement.query([now.millis()])?;
    while let Some(row) = rows.next()? {
        let (model, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        let Some(&horizon) = horizons.get(&model) else { continue };
        let told_by_alert = row.get::<_, i64>(2)? >= ALERT;
        let alerted_at: Option<i64> = row.get(3)?;
        let in_time = |alerted: i64| at <= Timestamp::from_millis(alerted).plus(horizon).millis();
        let is_missed = !told_by_alert && !alerted_at.is_some_and(in_time);
        let counts = found.entry(model).or_default();
        counts.0 += 1;
        counts.1 += u64::from(is_missed);
        if is_missed && let Some(tally) = in_charge(tallies, model, at) {
            tally.missed += 1;
        }
    }
    Ok(found)
}

/// The version that scored for the first time last before `at`; the first one ever when none had.
fn in_charge(tallies: &mut Tallies, model: i64, at: i64) -> Option<&mut Tally> {
    let of_model = || (model, i64::MIN)..=(model, i64::MAX);
    let begun = tallies.range(of_model()).filter(|(_, tally)| tally.first < at);
    let newest = begun.max_by_key(|(key, tally)| (tally.first, key.1)).map(|(key, _)| *key);
    let first =
        || tallies.range(of_model()).min_by_key(|(key, tally)| (tally.first, key.1)).map(|(key, _)| *key);
    let key = newest.or_else(first)?;
    tallies.get_mut(&key)
}

/// Users, the days of the window that the log covers, and the alerts in it.
fn pace(connection: &Connection, asked: &Measure) -> rusqlite::Result<(u64, f64, BTreeMap<i64, u64>)> {
    let (users, first): (i64, Option<i64>) = connection
        .prepare_cached("SELECT users, first_ms FROM meta")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let window = i64::try_from(asked.pace_window.as_millis()).unwrap_or(i64::MAX);
    let begin = asked.now.millis().saturating_sub(window);
    let covered = first.map(|first| Timestamp::from_millis(first.max(begin)));
    let days = covered.map_or(0.0, |covered| asked.now.days_since(covered).max(0.0));
    let mut recent = BTreeMap::new();
    let mut statement = connection.prepare_cached(RECENT)?;
    let mut rows = statement.query(params![begin, asked.now.millis()])?;
    while let Some(row) = rows.next()? {
        *recent.entry(row.get(0)?).or_default() += 1;
    }
    Ok((users.cast_unsigned(), days, recent))
}
