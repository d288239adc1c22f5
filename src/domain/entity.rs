//! One user as a sans-IO machine: inputs in, effects out. Folds events, detects signals, asks for scores, decides, and
//! names what to append. It never waits, never reads a clock and cannot fail: what is wrong ends as an effect.
//!
//! Law: the facts in `intent-<id>` follow from the events in `user-<id>`, the catalogue, the market and the models' answers,
//! whatever the batching, the crashes and the retries between.

use std::sync::Arc;

use super::alert::{Outcome, Status};
use super::catalog::Catalog;
use super::event::{ExpectedRevision, Fact, Recorded, Revision, Scoring, SignalRef};
use super::id::{AlertId, UserId};
use super::market::Market;
use super::policy::Priority;
use super::score::{Row, Score, Unscored};
use super::time::Timestamp;

/// Names a question that an effect asks, so that its answer finds it. Unique within one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names who waits for an answer; chosen by the shell, handed back unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What an entity is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next facts of `intent-<id>`: all of them (from the snapshot on), before the first [`Input::Deliver`].
    Facts(Vec<Recorded>),
    /// Events of `user-<id>` in revision order. Ones seen already are dropped; a gap is answered by [`Effect::Restart`].
    Deliver {
        /// The events.
        events: Vec<Recorded>,
        /// The market, complete at least up to the last of them.
        market: Arc<Market>,
    },
    /// The answer to [`Effect::Score`], one per row.
    Scored {
        /// Which question.
        ticket: Ticket,
        /// The answers, in the order of the rows.
        answers: Vec<Result<Score, Unscored>>,
    },
    /// The answer to [`Effect::Append`].
    Appended {
        /// Which append.
        ticket: Ticket,
        /// The last revision of the intent stream now; an error when the stream ended elsewhere.
        answer: Result<Revision, Fenced>,
    },
    /// Somebody wants something done.
    Command {
        /// Who waits.
        token: Token,
        /// What.
        command: Command,
        /// The wall clock, written into the fact.
        now: Timestamp,
    },
    /// Time has come to this point (the log's clock): alerts expire, snoozes end.
    Sweep {
        /// The log's clock.
        now: Timestamp,
    },
    /// An event has failed too often and is put aside; told before the first [`Input::Deliver`].
    Park {
        /// Which.
        revision: Revision,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed.
        reason: String,
        /// The wall clock, written into the fact.
        at: Timestamp,
    },
}

/// Another writer has written to the intent stream: this incarnation no longer follows the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the intent stream ends at {actual:?}, not at {expected:?}: another daemon may be running")]
pub struct Fenced {
    /// What was expected.
    pub expected: ExpectedRevision,
    /// Where it ends.
    pub actual: Option<Revision>,
}

/// What an entity wants done. The shell performs effects in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Score these rows; answer with [`Input::Scored`].
    Score {
        /// The question's name.
        ticket: Ticket,
        /// The rows.
        rows: Vec<Row>,
    },
    /// Append these facts to `intent-<id>`; answer with [`Input::Appended`]. At most one is under way.
    Append {
        /// The append's name.
        ticket: Ticket,
        /// Where the stream must end.
        expected: ExpectedRevision,
        /// The facts, in order.
        facts: Vec<Fact>,
    },
    /// Everything up to this revision of `user-<id>` is decided and durable.
    Settled {
        /// The revision.
        through: Revision,
    },
    /// Tell who waits.
    Answer {
        /// Who.
        token: Token,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// This incarnation must end and a new one recover from the log.
    Restart {
        /// Why.
        reason: String,
    },
}

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

/// What every user is judged by; shared.
#[derive(Debug)]
pub struct Rules {
    /// The catalogue.
    pub catalog: Catalog,
}
