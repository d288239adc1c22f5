//! Figures of models against their definitions by the plainest means, and the cases that the definitions are about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use intentd::domain::alert::Outcome;
use intentd::domain::event::*;
use intentd::domain::id::{AlertId, UserId};
use intentd::domain::label::{self, Label};
use intentd::domain::quality::{Case, Quality, measure};
use intentd::domain::time::Timestamp;
use intentd::projection::Views;
use intentd::projection::performance::*;
use intentd::projection::sqlite::Reader;

use super::given::{Log, MODELS, Step, Told, at, log};
use super::{apply, open};

/// Two days: of the four half days that steps lie apart.
const HORIZON: Duration = Duration::from_secs(2 * 86_400);

/// What to ask as of a half day.
pub fn question(now: u8) -> Measure {
    let models = MODELS.iter().chain(&["NONE"]).map(|model| ((*model).to_owned(), HORIZON)).collect();
    Measure { models, now: at(now), pace_window: Duration::from_secs(86_400) }
}

struct Row {
    user: UserId,
    model: String,
    revision: u64,
    alert: Option<AlertId>,
    version: String,
    as_of: Timestamp,
    probability: f32,
}

#[derive(Default)]
struct Naive {
    rows: Vec<Row>,
    shadows: Vec<ChallengerScored>,
    /// By alert: every outcome told of it.
    outcomes: BTreeMap<AlertId, Vec<AlertOutcomeRecorded>>,
    recorded: BTreeMap<(UserId, String, Timestamp), bool>,
    seen: BTreeSet<(UserId, String, Timestamp)>,
    /// In the order in which they were first named.
    names: Vec<String>,
}

impl Naive {
    fn of(log: &Log) -> Self {
        let mut naive = Self::default();
        for (event, told) in log.events.iter().zip(&log.told) {
            match told {
                Told::Fact(IntentEvent::AlertScored(fact)) => {
                    naive.score(
                        &fact.user_id,
                        &fact.model_type,
                        &fact.cause,
                        &fact.scoring,
                        Some(fact.alert_id),
                    );
                }
                Told::Fact(IntentEvent::UserScored(fact)) => {
                    naive.score(&fact.user_id, &fact.model_type, &fact.cause, &fact.scoring, None);
                }
                Told::Fact(IntentEvent::ChallengerScored(fact)) => {
                    naive.name(&fact.model_version);
                    naive.name(&fact.champion_version);
                    naive.shadows.push(fact.clone());
                }
                Told::Fact(IntentEvent::AlertOutcomeRecorded(fact)) => {
                    naive.outcomes.entry(fact.alert_id).or_default().push(fact.clone());
                }
                Told::Conversion(fact) => {
                    let key = (fact.user_id.clone(), fact.model_type.clone(), fact.occurred_at);
                    naive.recorded.insert(key, fact.converted);
                }
                Told::Fact(_) | Told::First(_) | Told::Nothing => {}
            }
            if &*event.event_type == "LISTING_VIEWED" {
                let body: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
                let text = |key: &str| body[key].as_str().unwrap().to_owned();
                let user: UserId = text("userId").parse().unwrap();
                naive.seen.insert((user, "SELL".to_owned(), text("occurredAt").parse().unwrap()));
            }
        }
        naive
    }

    fn name(&mut self, name: &str) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    fn score(
        &mut self,
        user: &UserId,
        model: &str,
        cause: &Cause,
        scoring: &Scoring,
        alert: Option<AlertId>,
    ) {
        let opened = |row: &Row| {
            row.alert.is_some()
                && (&row.user, &*row.model, row.revision, row.as_of)
                    == (user, model, cause.revision, scoring.as_of)
        };
        if alert.is_none() && self.rows.iter().any(opened) {
            return;
        }
        self.name(&scoring.model_version);
        self.rows.push(Row {
            user: user.clone(),
            model: model.to_owned(),
            revision: cause.revision,
            alert,
            version: scoring.model_version.clone(),
            as_of: scoring.as_of,
            probability: scoring.probability,
        });
    }

    /// Every conversion with whether an alert's outcome tells it.
    fn conversions(&self, user: &UserId, model: &str) -> BTreeMap<Timestamp, bool> {
        let ours = |one: &UserId, other: &str| one == user && other == model;
        let recorded = self.recorded.iter().filter(|((u, m, _), converted)| ours(u, m) && **converted);
        let seen = self.seen.iter().filter(|(u, m, _)| ours(u, m)).map(|(_, _, at)| *at);
        let told = recorded.map(|((_, _, at), _)| *at).chain(seen);
        let mut all: BTreeMap<Timestamp, bool> = told.map(|at| (at, false)).collect();
        for newest in self.outcomes.values().filter_map(|told| told.last()) {
            if ours(&newest.user_id, &newest.model_type) && newest.converted == Some(true) {
                all.insert(newest.occurred_at, true);
            }
        }
        all
    }

    fn by_conversions(&self, user: &UserId, model: &str, as_of: Timestamp, now: Timestamp) -> Option<bool> {
        let all: Vec<Timestamp> = self.conversions(user, model).into_keys().collect();
        match label::label(as_of, HORIZON, &all, now) {
            Label::Positive => Some(true),
            Label::Negative => Some(false),
            Label::Immature => None,
        }
    }

    fn verdict(&self, row: &Row) -> Option<bool> {
        let newest = row.alert.and_then(|alert| self.outcomes.get(&alert)?.last())?;
        newest.converted.or(match newest.outcome {
            Outcome::TruePositive => Some(true),
            Outcome::FalsePositive => Some(false),
            Outcome::Unknown => None,
        })
    }

    fn label(&self, row: &Row, now: Timestamp) -> Option<bool> {
        self.verdict(row).or_else(|| self.by_conversions(&row.user, &row.model, row.as_of, now))
    }

    fn version(&self, model: &str, version: &str, now: Timestamp) -> VersionPerformance {
        let rows: Vec<&Row> =
            self.rows.iter().filter(|row| row.model == model && row.version == version).collect();
        let mut found = VersionPerformance {
            model_version: version.to_owned(),
            first_scored_at: rows.iter().map(|row| row.as_of).min().unwrap(),
            last_scored_at: rows.iter().map(|row| row.as_of).max().unwrap(),
            ..VersionPerformance::default()
        };
        let mut cases = Vec::new();
        for row in rows {
            let label = self.label(row, now);
            let labels = if row.alert.is_some() { &mut found.alerts } else { &mut found.requested };
            let is_mature = self.verdict(row).is_some() || now > row.as_of.plus(HORIZON);
            labels.count(label, is_mature);
            cases.extend(label.filter(|_| is_mature).map(|label| Case::new(row.probability, label)));
            let told = row.alert.and_then(|alert| self.outcomes.get(&alert)).map_or(&[][..], Vec::as_slice);
            found.outcomes.corrected += u64::from(told.len() > 1);
            match told.last().map(|newest| newest.outcome) {
                Some(Outcome::TruePositive) => found.outcomes.true_positive += 1,
                Some(Outcome::FalsePositive) => found.outcomes.false_positive += 1,
                Some(Outcome::Unknown) => found.outcomes.unknown += 1,
                None => {}
            }
        }
        found.quality = measure(&mut cases);
        found
    }

    fn model(&self, model: &str, now: Timestamp) -> ModelPerformance {
        let versions: BTreeSet<&String> =
            self.rows.iter().filter(|row| row.model == model).map(|row| &row.version).collect();
        let mut found = ModelPerformance { model_type: model.to_owned(), ..ModelPerformance::default() };
        found.versions = versions.into_iter().map(|version| self.version(model, version, now)).collect();
        found.versions.sort_by_key(|version| (version.first_scored_at, version.model_version.clone()));
        let users: BTreeSet<UserId> = (0..4).map(super::user).collect();
        for user in users {
            for (at, told_by_alert) in self.conversions(&user, model) {
                if at > now {
                    continue;
                }
                found.conversions += 1;
                let before = |row: &&Row| row.user == user && row.model == model && row.alert.is_some();
                let alerted = self
                    .rows
                    .iter()
                    .filter(before)
                    .any(|row| row.as_of < at && at <= row.as_of.plus(HORIZON));
                if !alerted && !told_by_alert {
                    found.missed += 1;
                    self.charge(&mut found.versions, at);
                }
            }
        }
        found.challengers = self.challengers(model, now);
        found
    }

    fn charge(&self, versions: &mut [VersionPerformance], at: Timestamp) {
        let age = |version: &VersionPerformance| {
            let place = self.names.iter().position(|name| *name == version.model_version);
            (version.first_scored_at, place)
        };
        let begun = versions.iter().filter(|version| version.first_scored_at < at).map(age).max();
        let first = versions.iter().map(age).min();
        let wanted = begun.or(first);
        if let Some(version) = versions.iter_mut().find(|version| Some(age(version)) == wanted) {
            version.missed += 1;
        }
    }

    fn challengers(&self, model: &str, now: Timestamp) -> Vec<ChallengerPerformance> {
        let mut pairs: BTreeMap<(&str, &str), Vec<&ChallengerScored>> = BTreeMap::new();
        for shadow in self.shadows.iter().filter(|shadow| shadow.model_type == model) {
            pairs.entry((&shadow.model_version, &shadow.champion_version)).or_default().push(shadow);
        }
        let mut found: Vec<ChallengerPerformance> = pairs
            .into_iter()
            .map(|((version, champion), rows)| {
                let label = |row: &ChallengerScored| self.by_conversions(&row.user_id, model, row.as_of, now);
                let quality = |probability: fn(&ChallengerScored) -> f32| -> Quality {
                    let case = |row: &&ChallengerScored| Some(Case::new(probability(row), label(row)?));
                    let mature = rows.iter().filter(|row| now > row.as_of.plus(HORIZON));
                    measure(&mut mature.filter_map(case).collect())
                };
                let users = |would: fn(&ChallengerScored) -> bool| {
                    let over = rows.iter().filter(|row| would(row)).map(|row| &row.user_id);
                    over.collect::<BTreeSet<_>>().len() as u64
                };
                let count = |challenger: bool, champion: bool| {
                    let is = |row: &&&ChallengerScored| {
                        (row.would_alert, row.champion_would_alert) == (challenger, champion)
                    };
                    rows.iter().filter(is).count() as u64
                };
                let mut labels = Labels::default();
                rows.iter().for_each(|row| labels.count(label(row), now > row.as_of.plus(HORIZON)));
                ChallengerPerformance {
                    model_version: version.to_owned(),
                    champion_version: champion.to_owned(),
                    first_scored_at: rows.iter().map(|row| row.as_of).min().unwrap(),
                    last_scored_at: rows.iter().map(|row| row.as_of).max().unwrap(),
                    agreement: Agreement {
                        both: count(true, true),
                        challenger_only: count(true, false),
                        champion_only: count(false, true),
                        neither: count(false, false),
                    },
                    users_would_alert: users(|row| row.would_alert),
                    users_champion_would_alert: users(|row| row.champion_would_alert),
                    difference_mean: 0.0,
                    difference_max: 0.0,
                    labels,
                    quality: quality(|row| row.probability),
                    champion_quality: quality(|row| row.champion_probability),
                }
            })
            .collect();
        found.sort_by_key(|pair| (pair.first_scored_at, pair.model_version.clone()));
        found
    }
}

/// Every figure that labels are in, at several times.
pub fn check(log: &Log, reader: &Reader) {
    let naive = Naive::of(log);
    for now in [0, 2, 5, 9, 20] {
        let asked = question(now);
        let found = reader.performance(&asked).unwrap();
        assert_eq!((found.models.len(), found.rows_left_out), (4, 0));
        for (mut found, (name, _)) in found.models.into_iter().zip(&asked.models) {
            let expected = naive.model(name, asked.now);
            found.alerts_recent = 0;
            for pair in &mut found.challengers {
                assert!(pair.difference_max >= pair.difference_mean && pair.difference_mean >= 0.0);
                (pair.difference_mean, pair.difference_max) = (0.0, 0.0);
            }
            let order = |pairs: &mut Vec<ChallengerPerformance>| {
                let key = |it: &ChallengerPerformance| {
                    (it.first_scored_at, it.model_version.clone(), it.champion_version.clone())
                };
                pairs.sort_by_key(key);
            };
            let mut expected = expected;
            order(&mut expected.challengers);
            order(&mut found.challengers);
            assert_eq!(found, expected, "{name} as of half day {now}");
        }
    }
}

fn step(kind: u8, user: u8, b: u8, day: u8) -> Step {
    Step { kind, user, a: 0, b, day }
}

/// The figures of SELL after these steps, as of a half day.
fn sell(steps: &[Step], now: u8) -> ModelPerformance {
    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    apply(&mut projection, &log(steps).events);
    projection.reader().performance(&question(now)).unwrap().models.swap_remove(0)
}

#[test]
fn a_correction_counts_and_the_history_stays() {
    let opened = step(0, 1, 3, 1);
    // b % 4 == 0: no `converted`; b % 3: right, wrong, unknown.
    let (right, wrong, unknown) = (step(8, 1, 0, 1), step(8, 1, 4, 1), step(8, 1, 8, 1));
    let outcomes = |steps: &[Step]| {
        let found = sell(steps, 2);
        let version = &found.versions[0];
        (version.outcomes, version.alerts.mature, version.precision(), version.recall())
    };
    let none = Outcomes::default();
    assert_eq!(outcomes(&[opened]), (none, 0, None, None));
    let once = Outcomes { true_positive: 1, ..none };
    assert_eq!(outcomes(&[opened, right]), (once, 1, Some(1.0), Some(1.0)));
    let twice = Outcomes { false_positive: 1, corrected: 1, ..none };
    assert_eq!(outcomes(&[opened, right, wrong]), (twice, 1, Some(0.0), None));
    let taken_back = Outcomes { unknown: 1, corrected: 1, ..none };
    assert_eq!(outcomes(&[opened, right, wrong, unknown]), (taken_back, 0, None, None));

    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    apply(&mut projection, &log(&[opened, right, wrong, unknown]).events);
    let reader = projection.reader();
    let id = reader.alerts(&intentd::projection::AlertQuery::default()).unwrap().items[0].id;
    let history = reader.alert(id).unwrap().unwrap().history;
    let told: Vec<&str> = history.iter().filter_map(|entry| entry.data["outcome"].as_str()).collect();
    assert_eq!(told, ["TRUE_POSITIVE", "FALSE_POSITIVE", "UNKNOWN"]);
}

#[test]
fn recall_counts_what_was_missed() {
    // Alerts for users 1 and 2 on half day 0; conversions (kind 14, b % 3 != 0) of users 1 and 3.
    let alerts = [step(0, 1, 3, 0), step(0, 2, 3, 0)];
    let caught = step(14, 1, 1, 2);
    let missed = step(14, 3, 1, 2);
    let steps = [alerts[0], alerts[1], caught, missed];
    let young = sell(&steps, 3);
    assert_eq!((young.conversions, young.missed), (2, 1));
    assert_eq!(young.versions[0].alerts, Labels { rows: 2, mature: 0, positives: 0, early: 1 });
    assert_eq!(
        (young.precision(), young.recall()),
        (None, Some(0.5)),
        "the early one is no proof of precision"
    );
    let old = sell(&steps, 5);
    assert_eq!(old.versions[0].alerts, Labels { rows: 2, mature: 2, positives: 1, early: 0 });
    assert_eq!((old.precision(), old.recall()), (Some(0.5), Some(0.5)));
    // Told as not converted after all: the one is caught no more, the other is missed no more.
    let no_more = [step(14, 1, 3, 2), step(14, 3, 3, 2)];
    let corrected = sell(&[&steps[..], &no_more[..]].concat(), 5);
    assert_eq!((corrected.conversions, corrected.missed), (0, 0));
    assert_eq!((corrected.precision(), corrected.recall()), (Some(0.0), None));
    // An alert long before does not catch: half day 4 is the horizon's end, half day 5 is past it.
    assert_eq!(sell(&[alerts[0], step(14, 1, 1, 4)], 9).missed, 0);
    assert_eq!(sell(&[alerts[0], Step { day: 5, ..caught }], 9).missed, 1);
    // A conversion at the very moment of the alert is not after it.
    assert_eq!(sell(&[alerts[0], step(14, 1, 1, 0)], 9).missed, 1);
}

#[test]
fn the_pace_is_of_the_window_and_what_the_log_covers() {
    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    // Two users known by a first event each; alerts on half days 0, 3 and 4.
    let steps = [step(15, 1, 0, 0), step(15, 2, 0, 0), step(0, 1, 3, 0), step(0, 1, 3, 3), step(0, 2, 3, 4)];
    apply(&mut projection, &log(&steps).events);
    let ask = |now: u8| {
        let found = projection.reader().performance(&question(now)).unwrap();
        (found.users, found.pace_days, found.models[0].alerts_recent, found.pace(&found.models[0]))
    };
    let (users, days, alerts, pace) = ask(4);
    assert_eq!((users, days, alerts), (2, 1.0, 2), "of the last day alone");
    assert!((pace.unwrap() - 365.2425).abs() < 1e-9, "two alerts, two users, a day: {pace:?}");
    assert_eq!(ask(1), (2, 0.5, 1, None), "half a day of log says nothing of a year");
    assert_eq!(ask(20).2, 0);
}
