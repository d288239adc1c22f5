//! What the outside may ask of the running daemon, as a port: `http` asks, `actors` answer, `app` joins the two.
//!
//! Law: a call answers when its effect is durable and visible to the next query.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{Outcome, Status};
use crate::domain::entity::{Description, LastScore, Refusal};
use crate::domain::event::Position;
use crate::domain::id::{AlertId, UserId};
use crate::domain::quality::Reading;
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::store::BoxFuture;

pub use crate::domain::event::Ingest;

pub mod models;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not now: store down, starting, stopping, too much in flight. Retry after.
    #[error("not available: {reason}")]
    Unavailable {
        /// What, and the way out.
        reason: String,
    },
    /// It is done, or will be, but no answer came in time. Ask again: every call is idempotent or says what it found.
    #[error("no answer in time: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
    },
    /// The log does not take it, however often it is asked: a bound of the store, or a stream that is closed for ever.
    #[error("the log does not take it: {reason}")]
    NotTaken {
        /// Which bound, what was over it, and the way out.
        reason: String,
    },
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What.
        what: String,
    },
    /// Another instance has the user.
    #[error("the user is one of shard {owner}: ask its instance")]
    Elsewhere {
        /// Which.
        owner: Shard,
    },
    /// The user's entity refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What became of a batch of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingested {
    /// How many were new.
    pub accepted: u64,
    /// How many the log held already.
    pub duplicates: u64,
    /// The position of the last of them.
    pub position: Position,
}

/// The newest scores of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserScores {
    /// Who.
    pub user: UserId,
    /// One per model asked for.
    pub scores: Vec<LastScore>,
}

/// What `process-signals` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Processed {
    /// Users scored.
    pub users: u64,
    /// Signals that had waited.
    pub signals: u64,
    /// Scores given.
    pub scored: u64,
    /// Alerts opened.
    pub alerts_created: u64,
    /// Users whose scoring failed again.
    pub failed: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// What really happened, for an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeGiven {
    /// Right, wrong, unknown.
    pub outcome: Outcome,
    /// Whether the user converted.
    pub converted: Option<bool>,
    /// What it was worth.
    pub conversion_value: Option<f64>,
    /// When; now when not given.
    pub occurred_at: Option<Timestamp>,
    /// Words.
    pub note: Option<String>,
    /// Who.
    pub by: String,
}

/// What versions of models have seen and said lately: counts in memory, begun anew with each start of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Watching {
    /// When the counts were begun (wall clock).
    pub began: Timestamp,
    /// Over how many days of event time.
    pub days: u16,
    /// Versions that have scored since, in the catalogue's order of models.
    pub versions: Vec<Watched>,
}

/// One version's counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Which model.
    pub model_type: String,
    /// Which version.
    pub model_version: String,
    /// Whether it runs in shadow.
    pub is_shadow: bool,
    /// Whether it is the version that served last.
    pub is_newest: bool,
    /// Whether its manifest says what it learned from.
    pub is_trained: bool,
    /// The model's features, in the order of the reading's.
    pub features: Vec<String>,
    /// The counts.
    pub reading: Reading,
}

/// A reason for not being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReady {
    /// `store`, `feed`, `models`, `projection`, `shard`, `stopping`.
    pub component: String,
    /// What is wrong, and the way out.
    pub reason: String,
}

/// The running daemon.
pub trait Commands: Send + Sync + 'static {
    /// Appends checked events; answers when they are durable.
    fn ingest(&self, events: Vec<Ingest>) -> BoxFuture<'_, Result<Ingested, Error>>;

    /// Scores users now, by the models named (all when empty).
    fn score(
        &self,
        users: Vec<UserId>,
        model_types: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<UserScores>, Error>>;

    /// Scores users whose signals wait for a score.
    fn process_signals(&self, limit: usize) -> BoxFuture<'_, Result<Processed, Error>>;

    /// Moves an alert of a user along its life.
    fn set_status(
        &self,
        user: UserId,
        alert: AlertId,
        status: Status,
        note: Option<String>,
        snooze_until: Option<Timestamp>,
        by: String,
    ) -> BoxFuture<'_, Result<(), Error>>;

    /// Records what really happened, for an alert of a user.
    fn record_outcome(
        &self,
        user: UserId,
        alert: AlertId,
        given: OutcomeGiven,
    ) -> BoxFuture<'_, Result<(), Error>>;

    /// The user as it stands, or as it stood; none when the log holds nothing of the user.
    fn describe(
        &self,
        user: UserId,
        as_of: Option<Timestamp>,
    ) -> BoxFuture<'_, Result<Option<Description>, Error>>;

    /// Folds a parked event again.
    fn unpark(&self, user: UserId, revision: u64, by: String) -> BoxFuture<'_, Result<(), Error>>;

    /// The raw events behind a decision: those of the user at these revisions, as JSON.
    fn events(&self, user: UserId, revisions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Bytes>, Error>>;

    /// What models have seen and said since the start.
    fn watching(&self) -> Watching;

    /// Why the daemon is not ready; empty when it is.
    fn not_ready(&self) -> Vec<NotReady>;
}
