//! What came to a user from outside, read from the facts: commands, time that the sweep let pass, events put aside, scores
//! that failed.
//!
//! Law: a fact that the user decided by itself (it names the event that caused it) is no input; every other one is, at the
//! place that its source revision says: after everything up to there was decided, before what comes next.

use uuid::Uuid;

use crate::domain::alert::Status;
use crate::domain::entity::{Command, Input, Token};
use crate::domain::event::{IntentEvent, Metadata, Revision};
use crate::domain::id::AlertId;
use crate::domain::time::Timestamp;

/// Names the answers to commands that stand for nothing that was asked.
const NOBODY: Token = Token(0);
/// Names the answers to commands that people gave.
pub(super) const SOMEBODY: Token = Token(1);

/// An input, and its place.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// It came when everything up to here was decided.
    pub(super) source: Option<Revision>,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// The sweep came by.
    Sweep { now: Timestamp },
    /// Somebody asked for something.
    Command { command: Box<Command>, now: Timestamp, as_of: Timestamp },
}

/// An event that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Park {
    pub(super) revision: Revision,
    /// How many events had been taken back before: each begins a new life of the user.
    pub(super) life: usize,
    pub(super) attempts: u32,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

impl Park {
    /// Whether the event is put aside again: not if it could not be decoded then (that takes one attempt) and can be now.
    pub(super) fn holds(&self, can_be_read: bool) -> bool {
        self.attempts > 1 || !can_be_read
    }
}

/// Everything that came to one user from outside, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside {
    pub(super) given: Vec<Given>,
    pub(super) parks: Vec<Park>,
    /// Scores that failed: the event's revision and the models.
    pub(super) failures: Vec<(Revision, Vec<String>)>,
    pub(super) unparks: usize,
}

impl Outside {
    /// Takes in the user's next fact.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others are commands, or the user's own decisions"
    )]
    pub(super) fn take(&mut self, fact: &IntentEvent, metadata: &Metadata) {
        let what = match fact {
            IntentEvent::ScoringFailed(fact) => {
                self.failures.push((fact.cause.revision, fact.model_types.clone()));
                return;
            }
            IntentEvent::EventParked(fact) => {
                return self.parks.push(Park {
                    revision: fact.cause.revision,
                    life: self.unparks,
                    attempts: fact.attempts,
                    reason: fact.reason.clone(),
                    at: fact.at,
                });
            }
            _ if metadata.causation_id.is_some() => return,
            _ => input_of(fact),
        };
        self.unparks += usize::from(matches!(fact, IntentEvent::EventUnparked(_)));
        self.given.extend(what.map(|what| Given { source: metadata.source_revision, what }));
    }

    /// Whether a model did not answer about the event at this revision.
    pub(super) fn failed(&self, revision: Revision, model: &str) -> bool {
        self.failures.iter().any(|(at, models)| *at == revision && models.iter().any(|name| name == model))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are the user's own decisions")]
fn input_of(fact: &IntentEvent) -> Option<What> {
    match fact {
        // A person cannot move an alert there: time did.
        IntentEvent::AlertStatusChanged(fact) if matches!(fact.status, Status::Expired | Status::Pending) => {
            if fact.by == "sweep" {
                return Some(What::Sweep { now: fact.at });
            }
            // A command let time pass first. If it was then refused it left nothing else: one that is refused stands for it.
            let command = Command::SetStatus {
                alert: AlertId(Uuid::nil()),
                status: Status::Dismissed,
                note: None,
                snooze_until: None,
                by: String::new(),
            };
            Some(What::Command { command: Box::new(command), now: fact.at, as_of: fact.at })
        }
        IntentEvent::AlertStatusChanged(fact) => {
            let command = Command::SetStatus {
                alert: fact.alert_id,
                status: fact.status,
                note: fact.note.clone(),
                snooze_until: fact.snooze_until,
                by: fact.by.clone(),
            };
            Some(What::Command { command: Box::new(command), now: fact.at, as_of: fact.as_of })
        }
        IntentEvent::AlertOutcomeRecorded(fact) => {
            let command = Command::RecordOutcome {
                alert: fact.alert_id,
                outcome: fact.outcome,
                converted: fact.converted,
                conversion_value: fact.conversion_value,
                occurred_at: fact.occurred_at,
                note: fact.note.clone(),
                by: fact.by.clone(),
            };
            Some(What::Command { command: Box::new(command), now: fact.at, as_of: fact.at })
        }
        IntentEvent::EventUnparked(fact) => {
            let command = Command::Unpark { revision: fact.cause.revision, by: fact.by.clone() };
            Some(What::Command { command: Box::new(command), now: fact.at, as_of: fact.at })
        }
        _ => None,
    }
}

impl What {
    /// As the entity is told it.
    pub(super) fn input(&self) -> Input {
        match self {
            Self::Sweep { now } => Input::Sweep { now: *now },
            Self::Command { command, now, as_of } => Input::Command {
                token: if self.is_asked() { SOMEBODY } else { NOBODY },
                command: Command::clone(command),
                now: *now,
                as_of: *as_of,
            },
        }
    }

    /// Whether it makes the user begin again from the whole log.
    pub(super) fn begins_again(&self) -> bool {
        matches!(self, Self::Command { command, .. } if matches!(**command, Command::Unpark { .. }))
    }

    /// Whether it is a command that a person gave.
    fn is_asked(&self) -> bool {
        match self {
            Self::Sweep { .. } => false,
            Self::Command { command, .. } => {
                !matches!(&**command, Command::SetStatus { alert, .. } if alert.0.is_nil())
            }
        }
    }

    /// When it was, by the log's clock; none where only the wall clock is known.
    pub(super) fn as_of(&self) -> Option<Timestamp> {
        match self {
            Self::Sweep { now } => Some(*now),
            Self::Command { command, as_of, .. } => {
                matches!(**command, Command::SetStatus { .. }).then_some(*as_of)
            }
        }
    }
}
