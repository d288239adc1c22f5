//! What versions in shadow said beside the serving one: recorded, and compared.
//!
//! Law: as in [`super::performance`]; labels come from conversions alone, since no outcome speaks of a shadow.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::performance::{Horizons, ROWS_MAX, is_mature, label, version_name};
use super::recorded::{Of, first_after};
use super::row::{Names, intern};
use crate::domain::event::{ChallengerScored, Position};
use crate::domain::quality::{Case, measure};
use crate::domain::time::Timestamp;
use crate::projection::performance::{Agreement, ChallengerPerformance, Labels};

/// From the newest to the oldest.
pub(super) const SHADOWS: &str =
    "SELECT model, version, champion, user, as_of, probability, champion_probability,
        would_alert, champion_would_alert, converted_at
    FROM shadows ORDER BY position DESC LIMIT ?1";

/// Records what a version in shadow said.
pub(super) fn record(
    connection: &Connection,
    at: Position,
    of: Of,
    fact: &ChallengerScored,
) -> rusqlite::Result<()> {
    let as_of = fact.as_of.millis();
    connection
        .prepare_cached(
            "INSERT INTO shadows (position, user, model, as_of, version, champion, probability,
                champion_probability, would_alert, champion_would_alert, converted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            at.0.cast_signed(),
            of.user,
            of.model,
            as_of,
            intern(connection, Names::Versions, &fact.model_version)?,
            intern(connection, Names::Versions, &fact.champion_version)?,
            fact.probability,
            fact.champion_probability,
            fact.would_alert,
            fact.champion_would_alert,
            first_after(connection, of, as_of)?,
        ])?;
    Ok(())
}

/// A pair on the way.
struct Pair {
    first: i64,
    last: i64,
    agreement: Agreement,
    users: HashSet<i64>,
    champion_users: HashSet<i64>,
    difference_sum: f64,
    difference_max: f64,
    labels: Labels,
    cases: Vec<Case>,
    champion_cases: Vec<Case>,
}

impl Pair {
    fn new(as_of: i64) -> Self {
        Self {
            first: as_of,
            last: as_of,
            agreement: Agreement::default(),
            users: HashSet::new(),
            champion_users: HashSet::new(),
            difference_sum: 0.0,
            difference_max: 0.0,
            labels: Labels::default(),
            cases: Vec::new(),
            champion_cases: Vec::new(),
        }
    }

    fn score(&mut self, row: &Row<'_>, horizon: Duration, now: Timestamp) -> rusqlite::Result<()> {
        let (user, as_of): (i64, i64) = (row.get(3)?, row.get(4)?);
        self.first = self.first.min(as_of);
        self.last = self.last.max(as_of);
        let (probability, champion): (f32, f32) = (row.get(5)?, row.get(6)?);
        let (would, champion_would): (bool, bool) = (row.get(7)?, row.get(8)?);
        self.agreement.add(would, champion_would);
        self.users.extend(would.then_some(user));
        self.champion_users.extend(champion_would.then_some(user));
        let difference = (f64::from(probability) - f64::from(champion)).abs();
        self.difference_sum += difference;
        self.difference_max = self.difference_max.max(difference);
        let label = label(None, as_of, row.get(9)?, horizon, now);
        let is_mature = is_mature(None, as_of, horizon, now);
        self.labels.count(label, is_mature);
        if let Some(is_positive) = label.filter(|_| is_mature) {
            self.cases.push(Case::new(probability, is_positive));
            self.champion_cases.push(Case::new(champion, is_positive));
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a count")]
    fn told(mut self, model_version: String, champion_version: String) -> ChallengerPerformance {
        ChallengerPerformance {
            model_version,
            champion_version,
            first_scored_at: Timestamp::from_millis(self.first),
            last_scored_at: Timestamp::from_millis(self.last),
            agreement: self.agreement,
            users_would_alert: self.users.len() as u64,
            users_champion_would_alert: self.champion_users.len() as u64,
            // A pair has at least one score.
            difference_mean: self.difference_sum / self.agreement.rows() as f64,
            difference_max: self.difference_max,
            labels: self.labels,
            quality: measure(&mut self.cases),
            champion_quality: measure(&mut self.champion_cases),
        }
    }
}

/// The pairs of each model, by their first score.
pub(super) fn challengers(
    connection: &Connection,
    horizons: &Horizons,
    now: Timestamp,
) -> rusqlite::Result<BTreeMap<i64, Vec<ChallengerPerformance>>> {
    let mut pairs: BTreeMap<(i64, i64, i64), Pair> = BTreeMap::new();
    let mut statement = connection.prepare_cached(SHADOWS)?;
    let mut rows = statement.query([ROWS_MAX])?;
    while let Some(row) = rows.next()? {
        let model: i64 = row.get(0)?;
        let Some(&horizon) = horizons.get(&model) else { continue };
        let as_of = row.get(4)?;
        let pair = pairs.entry((model, row.get(1)?, row.get(2)?)).or_insert_with(|| Pair::new(as_of));
        pair.score(row, horizon, now)?;
    }
    let mut found: BTreeMap<i64, Vec<ChallengerPerformance>> = BTreeMap::new();
    for ((model, version, champion), pair) in pairs {
        let names = (version_name(connection, version)?, version_name(connection, champion)?);
        found.entry(model).or_default().push(pair.told(names.0, names.1));
    }
    for pairs in found.values_mut() {
        pairs.sort_by(|one, other| {
            let key = |it: &ChallengerPerformance| (it.first_scored_at, it.model_version.clone());
            key(one).cmp(&key(other))
        });
    }
    Ok(found)
}
