//! Listens to a replay: the model's rows, and what the log tells of what happened afterwards.
//!
//! Law: a row is taken as the entity asks for it; what happened is taken from the whole log that may be known.

use std::sync::Arc;

use super::{Moments, Options};
use crate::domain::catalog::ModelIx;
use crate::domain::codec;
use crate::domain::entity::Rules;
use crate::domain::event::{CONVERSION_RECORDED, Fact, IntentEvent, Recorded, Revision, Scoring, UserEvent};
use crate::domain::id::{EventId, UserId};
use crate::domain::time::Timestamp;
use crate::domain::truth::Truth;
use crate::replay::{Answer, Listener, Question};

/// Gathers the rows of one model.
pub(super) struct Gatherer {
    rules: Arc<Rules>,
    options: Arc<Options>,
    model: ModelIx,
    /// In the order of the replay.
    pub(super) moments: Vec<Moment>,
}

/// A row without its label.
pub(super) struct Moment {
    pub(super) user: UserId,
    pub(super) as_of: Timestamp,
    pub(super) revision: Revision,
    pub(super) event_id: EventId,
    pub(super) features: Box<[f32]>,
}

/// What is known of a user.
#[derive(Default)]
pub(super) struct Known {
    pub(super) truth: Truth,
    /// Recorded scores of the model: at which revision, by which version.
    pub(super) scored: Vec<(Revision, Arc<str>)>,
    /// When the last row was kept.
    kept: Option<Timestamp>,
}

impl Gatherer {
    pub(super) fn new(rules: Arc<Rules>, options: Arc<Options>, model: ModelIx) -> Self {
        Self { rules, options, model, moments: Vec::new() }
    }

    fn is_ours(&self, model: &str) -> bool {
        model == self.options.model
    }

    fn may_know(&self, at: Timestamp) -> bool {
        self.options.known_until.is_none_or(|until| at < until)
    }

    fn is_wanted(&self, known: &Known, question: &Question) -> bool {
        let Options { from, to, moments, .. } = &*self.options;
        let as_of = question.as_of;
        let in_time = from.is_none_or(|from| as_of >= from) && to.is_none_or(|to| as_of < to);
        in_time
            && match moments {
                Moments::Scores => true,
                Moments::Requests => question.is_request,
                Moments::Daily => known.kept.is_none_or(|kept| kept.day() < as_of.day()),
                Moments::Every(gap) => known.kept.is_none_or(|kept| kept.plus(*gap) <= as_of),
            }
    }
}

fn scored(known: &mut Known, revision: Revision, scoring: &Scoring) {
    let version = scoring.model_version.as_str();
    let same = known.scored.last().filter(|(_, last)| **last == *version).map(|(_, last)| Arc::clone(last));
    known.scored.push((revision, same.unwrap_or_else(|| version.into())));
}

impl Listener for Gatherer {
    type Known = Known;

    fn fact(&mut self, known: &mut Known, _: &Recorded, fact: Option<&IntentEvent>) {
        match fact {
            Some(IntentEvent::AlertScored(fact)) if self.is_ours(&fact.model_type) => {
                known.truth.alerted(self.model, fact.alert_id, fact.cause.revision);
                scored(known, fact.cause.revision, &fact.scoring);
            }
            Some(IntentEvent::AlertEscalated(fact)) if self.is_ours(&fact.model_type) => {
                scored(known, fact.cause.revision, &fact.scoring);
            }
            Some(IntentEvent::UserScored(fact)) if self.is_ours(&fact.model_type) => {
                scored(known, fact.cause.revision, &fact.scoring);
            }
            Some(IntentEvent::AlertOutcomeRecorded(fact))
                if self.is_ours(&fact.model_type) && self.may_know(fact.occurred_at) =>
            {
                known.truth.outcome(self.model, fact);
            }
            Some(_) | None => {}
        }
    }

    fn event(&mut self, known: &mut Known, recorded: &Recorded) {
        let catalog = &self.rules.catalog;
        let kind = catalog.event(&recorded.event_type);
        let spec = catalog.models.get(usize::from(self.model.0));
        let converts = spec.zip(kind).is_some_and(|(spec, kind)| spec.conversion_events.contains(&kind));
        if !converts && &*recorded.event_type != CONVERSION_RECORDED {
            return;
        }
        match codec::decode(catalog, recorded) {
            Ok(UserEvent::Behaviour(behaviour)) => known.truth.seen(self.model, behaviour.occurred_at),
            Ok(UserEvent::ConversionRecorded(conversion)) if self.is_ours(&conversion.model_type) => {
                known.truth.recorded(self.model, &conversion);
            }
            // What cannot be read the daemon has put aside.
            Ok(UserEvent::ConversionRecorded(_) | UserEvent::ScoreRequested(_) | UserEvent::Unknown)
            | Err(_) => {}
        }
    }

    fn asked(&mut self, user: &UserId, known: &mut Known, question: &Question) {
        let Some(row) = question.rows.iter().find(|row| row.model == self.model) else { return };
        if !self.is_wanted(known, question) {
            return;
        }
        known.kept = Some(question.as_of);
        self.moments.push(Moment {
            user: user.clone(),
            as_of: question.as_of,
            revision: question.revision,
            event_id: question.event_id,
            features: row.features.clone(),
        });
    }

    fn answered(&mut self, _: &UserId, _: &mut Known, _: &Question, _: &[Answer]) {}

    fn decided(&mut self, _: &mut Known, _: &[Fact]) {}
}
