//! What can be asked of a user, and what is answered.
//!
//! Law: an answer speaks only of what is durable.

use std::sync::Arc;

use crate::domain::alert::{Outcome, Status};
use crate::domain::event::{Revision, Scoring, SignalRef};
use crate::domain::id::{AlertId, UserId};
use crate::domain::market::Market;
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;

/// What can be asked of a user.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Move an alert along its life.
    SetStatus {
        /// The alert.
        alert: AlertId,
        /// Where to.
        status: Status,
        /// Words.
        note: Option<String>,
        /// For a snooze, until when.
        snooze_until: Option<Timestamp>,
        /// Who.
        by: String,
    },
    /// Record what really happened.
    RecordOutcome {
        /// The alert.
        alert: AlertId,
        /// Right, wrong, unknown.
        outcome: Outcome,
        /// Whether the user converted.
        converted: Option<bool>,
        /// What it was worth.
        conversion_value: Option<f64>,
        /// When it happened.
        occurred_at: Timestamp,
        /// Words.
        note: Option<String>,
        /// Who.
        by: String,
    },
    /// Answer once everything up to this revision is decided and durable, with the newest scores.
    AwaitRevision {
        /// The revision of `user-<id>`.
        revision: Revision,
    },
    /// Describe the user as it stands now, as of this (log) time.
    Describe {
        /// As of when the windows are read; the user's own clock when it is later.
        as_of: Timestamp,
        /// The market as it is now.
        market: Arc<Market>,
    },
    /// Fold a parked event again.
    Unpark {
        /// Which.
        revision: Revision,
        /// Who.
        by: String,
    },
}

/// An answer to a [`Command`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done; the facts stand up to this revision of `intent-<id>`.
    Done {
        /// The revision; none when nothing had to be written.
        intent_revision: Option<Revision>,
    },
    /// The newest scores, and how far the facts stand.
    Scores {
        /// One for each model that has ever answered or failed for this user.
        scores: Vec<LastScore>,
        /// The last revision of `intent-<id>`.
        intent_revision: Option<Revision>,
    },
    /// The user as it stands.
    Description(Box<Description>),
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user has no such alert.
    #[error("the user has no alert {alert}")]
    NoAlert {
        /// The id.
        alert: AlertId,
    },
    /// The move is not allowed from where the alert is.
    #[error("an alert that is {from:?} cannot become {to:?}")]
    NotAllowed {
        /// Where it is.
        from: Status,
        /// Where it was to go.
        to: Status,
        /// Where it may go.
        allowed: Vec<Status>,
    },
    /// The command contradicts itself.
    #[error("{reason}")]
    Invalid {
        /// How.
        reason: String,
    },
}

/// The newest answer of a model for a user.
#[derive(Clone, Debug, PartialEq)]
pub struct LastScore {
    /// The model.
    pub model_type: String,
    /// The score, or why there is none.
    pub scoring: Result<Scoring, String>,
    /// The band it falls in, when it is over the threshold.
    pub priority: Option<Priority>,
    /// The open alert of the model.
    pub alert_id: Option<AlertId>,
    /// The revision of `user-<id>` that asked for it.
    pub revision: Revision,
}

/// A user as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Who.
    pub user: UserId,
    /// As of when.
    pub as_of: Timestamp,
    /// The last revision of `user-<id>` folded.
    pub revision: Option<Revision>,
    /// Every feature's value, in catalogue order; NaN where unknown.
    pub features: Vec<f64>,
    /// Live signals.
    pub signals: Vec<SignalRef>,
    /// Newest scores.
    pub scores: Vec<LastScore>,
    /// Open alerts: model, id, status, priority.
    pub alerts: Vec<(String, AlertId, Status, Priority)>,
}
