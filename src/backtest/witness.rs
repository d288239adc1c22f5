//! Listens to a replay: what was decided then and now, with which features, and what happened.
//!
//! Law: it only takes down; judging comes when all is told. Kept small: facts as hashes, scores as numbers.

use std::sync::Arc;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::Range;
use crate::domain::catalog::{Catalog, ModelIx};
use crate::domain::codec::{self, encode_fact, event_type};
use crate::domain::entity::Rules;
use crate::domain::event::{
    CONVERSION_RECORDED, Fact, IntentEvent, Metadata, Recorded, Revision, Scoring, UserEvent,
};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;
use crate::domain::truth::Truth;
use crate::replay::{Answer, Listener, Question};

/// A version in shadow decides nothing: what it says is no part of the comparison.
const CHALLENGER_SCORED: &str = "ChallengerScored";
const SIGNAL_DETECTED: &str = "SignalDetected";

/// Takes down what it hears.
pub(super) struct Witness {
    rules: Arc<Rules>,
    range: Range,
    /// Scores that the models did not give, by model.
    pub(super) unanswered: Vec<u64>,
    pub(super) skew: Skew,
}

/// Features as recorded against features as replayed.
#[derive(Clone, Debug, Default)]
pub(super) struct Skew {
    /// Recorded scores compared, `AlertScored` among them.
    pub(super) scores: u64,
    pub(super) alerts: u64,
    /// Features that differ in a bit, or scores that the replay did not ask for.
    pub(super) differing: u64,
    pub(super) examples: Vec<String>,
    /// Recorded with another catalogue: not comparable.
    pub(super) other_catalog: u64,
}

/// A fact, so far as equality needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) id: EventId,
    pub(super) content: u128,
    pub(super) kind: &'static str,
}

/// An alert as it was opened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) id: AlertId,
    pub(super) model: ModelIx,
    pub(super) at: Timestamp,
    pub(super) revision: Revision,
    pub(super) probability: f32,
    pub(super) priority: Priority,
    pub(super) version: String,
}

/// A score of the replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    pub(super) model: ModelIx,
    pub(super) revision: Revision,
    pub(super) as_of: Timestamp,
    pub(super) probability: f32,
}

/// A score as the log has it.
#[derive(Clone, Debug)]
struct Written {
    model: ModelIx,
    revision: Revision,
    as_of: Timestamp,
    market_revision: u64,
    values: Box<[f32]>,
    is_alert: bool,
}

/// What is known of a user.
#[derive(Default)]
pub(super) struct Known {
    pub(super) truth: Truth,
    pub(super) first: Option<Timestamp>,
    pub(super) live: Vec<Trace>,
    pub(super) new: Vec<Trace>,
    pub(super) live_alerts: Vec<Alert>,
    pub(super) new_alerts: Vec<Alert>,
    pub(super) scored: Vec<Scored>,
    written: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detected {
    detected_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Occurred {
    occurred_at: Timestamp,
}

impl Witness {
    pub(super) fn new(rules: Arc<Rules>, range: Range) -> Self {
        let unanswered = vec![0; rules.catalog.models.len()];
        Self { rules, range, unanswered, skew: Skew::default() }
    }

    /// Whether a fact is compared: all of them over the whole log, within a range only those whose time is the decision's.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no time of a decision")]
    fn counts(&self, event: &IntentEvent) -> bool {
        let at = match event {
            IntentEvent::SignalDetected(fact) => fact.detected_at,
            IntentEvent::AlertScored(fact) => fact.scored_at,
            IntentEvent::AlertEscalated(fact) => fact.scored_at,
            IntentEvent::AlertRearmed(fact) => fact.as_of,
            IntentEvent::UserScored(fact) => fact.scoring.as_of,
            _ => return self.range.is_whole() && event_type(event) != CHALLENGER_SCORED,
        };
        self.range.holds(at)
    }

    fn written(
        &mut self,
        known: &mut Known,
        model: &str,
        revision: Revision,
        scoring: &Scoring,
        is_alert: bool,
    ) {
        let catalog = &self.rules.catalog;
        let Some(model) = catalog.model(model) else { return };
        if self.range.to.is_some_and(|to| scoring.as_of >= to) {
            return;
        }
        let recorded = scoring.features.iter().map(|reason| reason.name.as_str());
        if scoring.catalog_version != catalog.version || !recorded.eq(names(catalog, model)) {
            self.skew.other_catalog += 1;
            return;
        }
        known.written.push(Written {
            model,
            revision,
            as_of: scoring.as_of,
            market_revision: scoring.market_revision,
            values: scoring.features.iter().map(|reason| reason.value).collect(),
            is_alert,
        });
    }

    /// Compares what is replayed with what is written, once.
    fn compare(&mut self, user: &UserId, known: &mut Known, question: &Question) {
        for row in &question.rows {
            let is_it =
                |written: &Written| written.model == row.model && written.revision == question.revision;
            while let Some(at) = known.written.iter().position(is_it) {
                let written = known.written.swap_remove(at);
                self.skew.scores += 1;
                self.skew.alerts += u64::from(written.is_alert);
                let pairs = written.values.iter().zip(&row.features);
                let mut differing = pairs.filter(|(live, now)| live.to_bits() != now.to_bits()).count();
                differing += written.values.len().abs_diff(row.features.len());
                if written.as_of != question.as_of || written.market_revision != question.market_revision {
                    differing = differing.max(1);
                }
                self.differ(user, row.model, question.revision, differing as u64);
            }
        }
    }

    fn differ(&mut self, user: &UserId, model: ModelIx, revision: Revision, features: u64) {
        self.skew.differing += features;
        if features > 0 && self.skew.examples.len() < super::report::EXAMPLES {
            let name = self.rules.catalog.models.get(usize::from(model.0)).map_or("?", |spec| &spec.name);
            self.skew.examples.push(format!("{user} {name} at revision {revision}: {features} features"));
        }
    }

    /// Scores in the log that the replay never asked for differ whole.
    pub(super) fn close(&mut self, user: &UserId, known: &mut Known) {
        for written in std::mem::take(&mut known.written) {
            self.skew.scores += 1;
            self.skew.alerts += u64::from(written.is_alert);
            self.differ(user, written.model, written.revision, written.values.len().max(1) as u64);
        }
    }

    fn alert(&self, event: &IntentEvent) -> Option<Alert> {
        let IntentEvent::AlertScored(fact) = event else { return None };
        Some(Alert {
            id: fact.alert_id,
            model: self.rules.catalog.model(&fact.model_type)?,
            at: fact.scored_at,
            revision: fact.cause.revision,
            probability: fact.scoring.probability,
            priority: fact.priority,
            version: fact.scoring.model_version.clone(),
        })
    }
}

/// The names of a model's features, in its order.
fn names(catalog: &Catalog, model: ModelIx) -> impl Iterator<Item = &str> {
    let spec = catalog.models.get(usize::from(model.0));
    let features = spec.into_iter().flat_map(|spec| &spec.features);
    features.map(|ix| catalog.features.get(usize::from(ix.0)).map_or("", |feature| feature.name.as_str()))
}

/// What a fact says, as a hash. Encoded again: an older daemon may have written the same with fewer fields. The words of a
/// failed score come from the machine, not from the decision.
fn trace(id: EventId, mut event: IntentEvent) -> Trace {
    if let IntentEvent::ScoringFailed(fact) = &mut event {
        fact.reason.clear();
    }
    let kind = event_type(&event);
    let written = encode_fact(&Fact { id, event, metadata: Metadata::default() });
    Trace { id, content: xxh3_128(&written.data), kind }
}

impl Listener for Witness {
    type Known = Known;

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others hold no score and no outcome")]
    fn fact(&mut self, known: &mut Known, recorded: &Recorded, fact: Option<&IntentEvent>) {
        let Some(fact) = fact else {
            let in_range = self.range.is_whole()
                || serde_json::from_slice::<Detected>(&recorded.data)
                    .is_ok_and(|fact| self.range.holds(fact.detected_at));
            if in_range {
                let content = xxh3_128(&recorded.data);
                known.live.push(Trace { id: recorded.id, content, kind: SIGNAL_DETECTED });
            }
            return;
        };
        if let Some(alert) = self.alert(fact) {
            known.truth.alerted(alert.model, alert.id, alert.revision);
            known.live_alerts.push(alert);
        }
        match fact {
            IntentEvent::AlertScored(fact) => {
                self.written(known, &fact.model_type, fact.cause.revision, &fact.scoring, true);
            }
            IntentEvent::AlertEscalated(fact) => {
                self.written(known, &fact.model_type, fact.cause.revision, &fact.scoring, false);
            }
            IntentEvent::UserScored(fact) => {
                self.written(known, &fact.model_type, fact.cause.revision, &fact.scoring, false);
            }
            IntentEvent::AlertOutcomeRecorded(fact) => {
                if let Some(model) = self.rules.catalog.model(&fact.model_type) {
                    known.truth.outcome(model, fact);
                }
            }
            _ => {}
        }
        if self.counts(fact) {
            known.live.push(trace(recorded.id, fact.clone()));
        }
    }

    fn event(&mut self, known: &mut Known, recorded: &Recorded) {
        if known.first.is_none() {
            // What has no time of its own is put aside by the daemon.
            known.first =
                serde_json::from_slice::<Occurred>(&recorded.data).ok().map(|event| event.occurred_at);
        }
        let catalog = &self.rules.catalog;
        let converts = |kind| catalog.models.iter().any(|spec| spec.conversion_events.contains(&kind));
        if !catalog.event(&recorded.event_type).is_some_and(converts)
            && &*recorded.event_type != CONVERSION_RECORDED
        {
            return;
        }
        match codec::decode(catalog, recorded) {
            Ok(UserEvent::Behaviour(behaviour)) => {
                for (model, spec) in (0..).zip(&catalog.models) {
                    if spec.conversion_events.contains(&behaviour.kind) {
                        known.truth.seen(ModelIx(model), behaviour.occurred_at);
                    }
                }
            }
            Ok(UserEvent::ConversionRecorded(conversion)) => {
                if let Some(model) = catalog.model(&conversion.model_type) {
                    known.truth.recorded(model, &conversion);
                }
            }
            // What cannot be read the daemon has put aside.
            Ok(UserEvent::ScoreRequested(_) | UserEvent::Unknown) | Err(_) => {}
        }
    }

    fn asked(&mut self, user: &UserId, known: &mut Known, question: &Question) {
        if !known.written.is_empty() {
            self.compare(user, known, question);
        }
    }

    fn answered(&mut self, _: &UserId, known: &mut Known, question: &Question, answers: &[Answer]) {
        if !self.range.holds(question.as_of) {
            return;
        }
        for (row, answer) in question.rows.iter().zip(answers) {
            match answer {
                Ok(score) => known.scored.push(Scored {
                    model: row.model,
                    revision: question.revision,
                    as_of: question.as_of,
                    probability: score.probability,
                }),
                Err(_) => {
                    if let Some(count) = self.unanswered.get_mut(usize::from(row.model.0)) {
                        *count += 1;
                    }
                }
            }
        }
    }

    fn decided(&mut self, known: &mut Known, facts: &[Fact]) {
        for fact in facts {
            known.new_alerts.extend(self.alert(&fact.event));
            if self.counts(&fact.event) {
                known.new.push(trace(fact.id, fact.event.clone()));
            }
        }
    }
}
