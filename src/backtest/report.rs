//! What a back-test says: figures of both sides by model, how users differ, features, and whether the decisions are the same.
//!
//! Law: everything in it follows from the log, the models and the catalogue; no time of making, so that it is the same each time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Range;
use super::alerts::{Difference, Sides, Subject, Tally};
use super::equal::Equality;
use super::witness::{Known, Witness};
use crate::domain::catalog::{Catalog, ModelIx, ModelSpec};
use crate::domain::id::UserId;
use crate::domain::label::Label;
use crate::domain::quality::{Case, Quality, measure};
use crate::domain::time::Timestamp;
use crate::replay::Told;
use crate::store::StoreId;

/// Examples told in words; all the rest is counted.
pub const EXAMPLES: usize = 20;

/// A whole back-test.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The store of the log.
    pub store: String,
    /// The catalogue of the replay.
    pub catalog_version: String,
    /// The first and the last position replayed.
    pub log_from: u64,
    /// See `log_from`.
    pub log_until: u64,
    /// Events replayed.
    pub events: u64,
    /// Users with events.
    pub users: u64,
    /// Decisions from here count.
    pub from: Timestamp,
    /// Decisions before this count.
    pub to: Timestamp,
    /// The log's clock at the end: outcomes are known up to here.
    pub known_until: Timestamp,
    /// By model.
    pub models: Vec<ModelReport>,
    /// Whether the decisions are the recorded ones.
    pub decisions: Equality,
    /// Whether the features are the recorded ones.
    pub features: Features,
    /// Commands of the live run that did not fit the replay: on alerts that it had not, or that stood elsewhere.
    pub commands_without_alert: u64,
    /// Facts of the log that this program cannot read.
    pub facts_unreadable: u64,
    /// Users whose alerts differ, by user and model.
    pub differences: Vec<Difference>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelRun {
    /// The model.
    pub model: String,
    /// The version of the replay; none when no version serves.
    pub version: Option<String>,
    /// Whether it was chosen for the back-test.
    pub is_chosen: bool,
}

/// One model of a back-test.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// What ran.
    #[serde(flatten)]
    pub run: ModelRun,
    /// The versions that opened alerts in the live run, with how many.
    pub live_versions: BTreeMap<String, u64>,
    /// What it may alert a year, per 1,000 users.
    pub budget_per_thousand_users_per_year: f64,
    /// Figures of both sides.
    #[serde(flatten)]
    pub sides: Sides,
    /// How many users have alerts where.
    pub users: Tally,
    /// Scores that the replay asked for and that no model gave.
    pub unanswered: u64,
    /// How good the replay's scores are, over all of them whose horizon has passed.
    pub scores: Quality,
}

/// Features as recorded in `AlertScored`, `AlertEscalated` and `UserScored`, against the replayed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Features that differ in any bit, and those of scores that the replay did not ask for.
    pub differing: u64,
    /// Alerts whose features were compared.
    pub alerts: u64,
    /// Recorded scores compared, alerts among them.
    pub scores: u64,
    /// Recorded scores of another catalogue: not comparable.
    pub other_catalog: u64,
    /// The first differences, in words.
    pub examples: Vec<String>,
}

/// What all models share.
struct Whole<'a> {
    range: Range,
    clock: Timestamp,
    users: Vec<(&'a UserId, &'a Known)>,
    /// Users with events before the end, and the days of the span.
    count: u64,
    days: f64,
}

/// Judges what was heard.
pub(super) fn make(
    store: StoreId,
    catalog: &Catalog,
    runs: Vec<ModelRun>,
    range: Range,
    mut told: Told<Witness>,
) -> Report {
    let (mut features, mut unanswered) = (Features::default(), vec![0; catalog.models.len()]);
    for heard in &mut told.heard {
        for (user, known) in &mut heard.users {
            heard.listener.close(user, known);
        }
        features.add(&heard.listener.skew);
        for (all, some) in unanswered.iter_mut().zip(&heard.listener.unanswered) {
            *all += some;
        }
    }
    features.examples.sort();
    features.examples.truncate(EXAMPLES);
    let mut users: Vec<_> =
        told.heard.iter().flat_map(|heard| &heard.users).map(|(user, known)| (user, known)).collect();
    users.sort_by_key(|(user, _)| *user);
    let mut decisions = Equality::default();
    for (user, known) in &users {
        decisions.compare(user, &known.live, &known.new);
    }
    let to = range.to.unwrap_or(Timestamp::MAX);
    let first = users.iter().filter_map(|(_, known)| known.first).min().unwrap_or(told.clock);
    let (begin, end) = (range.from.unwrap_or(first).max(first), to.min(told.clock));
    let whole = Whole {
        range,
        clock: told.clock,
        count: users.iter().filter(|(_, known)| known.first.is_some_and(|first| first < to)).count() as u64,
        days: end.days_since(begin).max(0.0),
        users,
    };
    let mut differences = Vec::new();
    let models = (0..).zip(runs).zip(unanswered).filter_map(|((model, run), unanswered)| {
        let spec = catalog.models.get(usize::from(model))?;
        Some(whole.model(ModelIx(model), spec, run, unanswered, &mut differences))
    });
    let models = models.collect();
    differences.sort_by(|a, b| (&a.user, &a.model).cmp(&(&b.user, &b.model)));
    Report {
        store: store.to_string(),
        catalog_version: catalog.version.clone(),
        log_from: told.log_from.0,
        log_until: told.log_until.0,
        events: told.events,
        users: whole.count,
        from: begin,
        to: end,
        known_until: told.clock,
        models,
        decisions: decisions.closed(),
        features,
        commands_without_alert: told.refused,
        facts_unreadable: told.unreadable,
        differences,
    }
}

impl Features {
    fn add(&mut self, skew: &super::witness::Skew) {
        self.differing += skew.differing;
        self.alerts += skew.alerts;
        self.scores += skew.scores;
        self.other_catalog += skew.other_catalog;
        self.examples.extend(skew.examples.iter().cloned());
    }
}

impl Whole<'_> {
    fn model(
        &self,
        model: ModelIx,
        spec: &ModelSpec,
        run: ModelRun,
        unanswered: u64,
        differences: &mut Vec<Difference>,
    ) -> ModelReport {
        let subject = Subject { model, spec, range: self.range, clock: self.clock };
        let (mut sides, mut users, mut versions) = (Sides::default(), Tally::default(), BTreeMap::new());
        let mut cases = Vec::new();
        for (user, known) in &self.users {
            let (difference, has_any) = subject.add(&mut sides, user, known);
            if has_any {
                users.count(difference.as_ref());
            }
            differences.extend(difference);
            for alert in
                known.live_alerts.iter().filter(|alert| alert.model == model && self.range.holds(alert.at))
            {
                *versions.entry(alert.version.clone()).or_default() += 1;
            }
            cases.extend(self.cases(model, spec, known));
        }
        sides.live.close(self.count, self.days);
        sides.new.close(self.count, self.days);
        ModelReport {
            run,
            live_versions: versions,
            budget_per_thousand_users_per_year: spec.budget_per_user_year * 1_000.0,
            sides,
            users,
            unanswered,
            scores: measure(&mut cases),
        }
    }

    /// The user's mature scores with what happened.
    fn cases(&self, model: ModelIx, spec: &ModelSpec, known: &Known) -> Vec<Case> {
        let ours = known.scored.iter().filter(|scored| scored.model == model);
        let mature = ours.filter(|scored| scored.as_of.plus(spec.horizon) <= self.clock);
        let case = |scored: &super::witness::Scored| {
            let label = known.truth.label(model, scored.revision, scored.as_of, spec.horizon, self.clock);
            Case::new(scored.probability, label == Label::Positive)
        };
        mature.map(case).collect()
    }
}
