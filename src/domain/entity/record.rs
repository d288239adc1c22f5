//! The fact side of a user: what stands in `intent-<id>`, folded; and the pen that adds to it.
//!
//! Law: a fact changes the record in one way, whether it was just decided or read back after a crash. Called by the machine
//! when it recovers, and by `decide` and `order` through the [`Pen`].

use serde::{Deserialize, Serialize};

use super::Rules;
use super::scores::Scores;
use crate::domain::alert::{Alerts, Status};
use crate::domain::catalog::Catalog;
use crate::domain::codec::{FACT_SCHEMA, event_type};
use crate::domain::event::{AlertStatusChanged, Cause, Fact, IntentEvent, Metadata, Revision};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::time::Timestamp;

/// The fold of a user's facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) alerts: Alerts,
    pub(super) scores: Scores,
    parked: Vec<Parked>,
    /// Up to which revision of `user-<id>` everything is decided.
    pub(super) decided: Option<Revision>,
    /// The revision of `intent-<id>` that the next fact gets.
    pub(super) next: Revision,
}

/// An event that is or was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parked {
    cause: Cause,
    /// How often it was put aside: numbers the facts about it.
    times: u32,
    aside: bool,
}

impl Record {
    /// The last revision of `intent-<id>`.
    pub(super) fn last(&self) -> Option<Revision> {
        self.next.checked_sub(1)
    }

    /// Whether the event is put aside.
    pub(super) fn is_parked(&self, revision: Revision) -> bool {
        self.parked.iter().any(|parked| parked.aside && parked.cause.revision == revision)
    }

    /// The event that is put aside, and how often it was.
    pub(super) fn parked(&self, revision: Revision) -> Option<(Cause, u32)> {
        let parked = self.parked.iter().find(|parked| parked.cause.revision == revision);
        parked.filter(|parked| parked.aside).map(|parked| (parked.cause, parked.times))
    }

    /// How often the event was put aside.
    pub(super) fn times_parked(&self, revision: Revision) -> u32 {
        let parked = self.parked.iter().find(|parked| parked.cause.revision == revision);
        parked.map_or(0, |parked| parked.times)
    }

    /// Everything up to this revision of `user-<id>` is decided.
    pub(super) fn decided_through(&mut self, revision: Revision) {
        self.decided = self.decided.max(Some(revision));
    }

    /// A fact that means nothing to us takes its place all the same.
    pub(super) fn pass_over(&mut self, source: Option<Revision>) {
        self.next += 1;
        self.decided = self.decided.max(source);
    }

    /// Folds the next fact.
    pub(super) fn apply(&mut self, catalog: &Catalog, fact: &IntentEvent, source: Option<Revision>) {
        self.pass_over(source);
        self.alerts.apply(fact);
        self.scores.apply(catalog, fact);
        match fact {
            IntentEvent::EventParked(fact) => {
                let known =
                    self.parked.iter_mut().find(|parked| parked.cause.revision == fact.cause.revision);
                match known {
                    Some(parked) => (parked.times, parked.aside) = (parked.times + 1, true),
                    None => self.parked.push(Parked { cause: fact.cause, times: 1, aside: true }),
                }
            }
            IntentEvent::EventUnparked(fact) => {
                for parked in &mut self.parked {
                    parked.aside &= parked.cause.revision != fact.cause.revision;
                }
            }
            IntentEvent::SignalDetected(_)
            | IntentEvent::AlertScored(_)
            | IntentEvent::AlertEscalated(_)
            | IntentEvent::AlertStatusChanged(_)
            | IntentEvent::AlertRearmed(_)
            | IntentEvent::AlertOutcomeRecorded(_)
            | IntentEvent::UserScored(_)
            | IntentEvent::ScoringFailed(_)
            | IntentEvent::ChallengerScored(_) => {}
        }
    }
}

/// What is about to be written, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reasoning {
    /// The event of `user-<id>` that led to it, if one did.
    pub(super) cause: Option<Cause>,
    /// Up to which revision of `user-<id>` everything is decided once it stands.
    pub(super) source: Option<Revision>,
}

/// A move of an alert, with the words that go with it.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) alert: AlertId,
    pub(super) to: Status,
    pub(super) at: Timestamp,
    pub(super) as_of: Timestamp,
    pub(super) by: String,
    pub(super) note: Option<String>,
    pub(super) snooze_until: Option<Timestamp>,
}

/// Writes facts: each is folded into the record at once, and waits in `facts` for its append.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    pub(super) user: &'a UserId,
    pub(super) rules: &'a Rules,
    pub(super) record: &'a mut Record,
    pub(super) facts: &'a mut Vec<Fact>,
    pub(super) reasoning: Reasoning,
}

impl Pen<'_> {
    /// The id of what is decided about `subject` because of `cause`.
    pub(super) fn id(&self, event_type: &str, subject: &str, cause: EventId) -> EventId {
        EventId::of_decision(self.user, event_type, subject, cause)
    }

    /// Writes a fact under an id that [`Self::id`] gave.
    pub(super) fn write_as(&mut self, id: EventId, event: IntentEvent) {
        let Reasoning { cause, source } = self.reasoning;
        let cause = cause.map(|cause| cause.event_id);
        self.record.apply(&self.rules.catalog, &event, source);
        let metadata = Metadata {
            causation_id: cause,
            correlation_id: cause,
            source_revision: source,
            schema: FACT_SCHEMA,
        };
        self.facts.push(Fact { id, event, metadata });
    }

    /// Writes a fact whose id comes from its subject and its cause.
    pub(super) fn write(&mut self, subject: &str, cause: EventId, event: IntentEvent) {
        let id = self.id(event_type(&event), subject, cause);
        self.write_as(id, event);
    }

    /// Moves an alert. The id says which move of the alert it is and all that is in it: the append of a dead incarnation
    /// may still land, and must not pass for another command at the same place.
    pub(super) fn move_alert(&mut self, make: Move) {
        let Some(alert) = self.record.alerts.get(make.alert) else { return };
        let Move { to, at, as_of, by, note, snooze_until, .. } = &make;
        let subject = format!(
            "{} {to:?} {at} {as_of} {by:?} {note:?} {:?}",
            alert.moves,
            snooze_until.map(Timestamp::millis)
        );
        let event = IntentEvent::AlertStatusChanged(AlertStatusChanged {
            alert_id: alert.id,
            user_id: self.user.clone(),
            model_type: alert.model.to_string(),
            from: alert.status,
            status: make.to,
            at: make.at,
            as_of: make.as_of,
            by: make.by,
            note: make.note,
            snooze_until: make.snooze_until,
        });
        self.write(&subject, EventId(make.alert.0), event);
    }

    /// Makes the moves that time makes up to `as_of`, in the order of their instants.
    pub(super) fn pass_time(&mut self, as_of: Timestamp, by: &str) {
        while let Some(due) = self.record.alerts.due(as_of) {
            self.move_alert(Move {
                alert: due.alert,
                to: due.to,
                at: due.at,
                as_of: due.at,
                by: by.to_owned(),
                note: None,
                snooze_until: None,
            });
        }
    }
}
