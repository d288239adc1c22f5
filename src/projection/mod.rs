//! The read side as a port: what queries ask and what they get. Derived from `intent-*` (and conversions in `user-*`);
//! deleting it and starting again gives byte-equal answers.

use serde::{Deserialize, Serialize};

use crate::domain::alert::{Outcome, Status};
use crate::domain::event::{Cause, Position, Reason, SignalRef};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::policy::Priority;
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not now: busy, disk full, closing. Retry.
    #[error("the projection is unavailable: {reason}")]
    Unavailable {
        /// What and where.
        reason: String,
    },
    /// The file is damaged or of another schema: delete it, and it is rebuilt from the log.
    #[error(
        "the projection {path} is unusable ({reason}): stop the daemon, run `intentd rebuild`, start it again"
    )]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The cursor is not one that a page gave.
    #[error("the cursor is not one that this list gave")]
    BadCursor,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to read on; none at the end.
    pub next_cursor: Option<String>,
}

/// In what order alerts are listed; ties by their place in the log, newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest score first.
    #[default]
    ScoredAtDescending,
    /// Most urgent first, then newest.
    PriorityDescending,
    /// Highest calibrated score first.
    CalibratedScoreDescending,
}

/// Which alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertQuery {
    /// Of one user.
    pub user: Option<UserId>,
    /// In any of these states; all when empty.
    pub status: Vec<Status>,
    /// Of any of these models; all when empty.
    pub model_type: Vec<String>,
    /// Of any of these priorities; all when empty.
    pub priority: Vec<Priority>,
    /// With at least this raw confidence.
    pub min_confidence: Option<f32>,
    /// Scored at or after.
    pub from: Option<Timestamp>,
    /// Scored before.
    pub to: Option<Timestamp>,
    /// With this newest outcome.
    pub outcome: Option<Outcome>,
    /// Text found in the user id or the names of the top features.
    pub text: Option<String>,
    /// Order.
    pub sort: Sort,
    /// At most this many, 1 to 500.
    pub limit: usize,
    /// Where to read on.
    pub cursor: Option<String>,
}

/// An alert as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Its id.
    pub id: AlertId,
    /// Who.
    pub user_id: UserId,
    /// Which model.
    pub model_type: String,
    /// The version that gave the newest score.
    pub model_version: String,
    /// Where it is in its life.
    pub status: Status,
    /// How urgent.
    pub priority: Priority,
    /// Raw score, 0 to 1.
    pub confidence: f32,
    /// Calibrated probability, 0 to 1.
    pub calibrated_score: f32,
    /// The five features with the largest absolute contributions, largest first.
    pub top_features: Vec<Reason>,
    /// Event time of the newest score.
    pub scored_at: Timestamp,
    /// Event time of the first score.
    pub created_at: Timestamp,
    /// Event time at which it expires.
    pub expires_at: Timestamp,
    /// Until when it is put off, while it is.
    pub snoozed_until: Option<Timestamp>,
    /// How often it was escalated.
    pub escalations: u32,
    /// The newest outcome.
    pub outcome: Option<Outcome>,
    /// Whether the user converted, as far as recorded.
    pub converted: Option<bool>,
    /// What it was worth.
    pub conversion_value: Option<f64>,
    /// When anything about it last changed in the log: the position of that event.
    pub changed_at: Position,
}

/// One event in an alert's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// `AlertScored`, `AlertEscalated`, `AlertStatusChanged`, `AlertRearmed`, `AlertOutcomeRecorded`.
    pub event_type: String,
    /// The event's id.
    pub event_id: EventId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The event's data, as recorded.
    pub data: serde_json::Value,
}

/// One alert, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertDetail {
    /// What lists show.
    #[serde(flatten)]
    pub alert: AlertView,
    /// The threshold it passed.
    pub threshold: f32,
    /// The catalogue behind the newest score.
    pub catalog_version: String,
    /// How many market events had been seen.
    pub market_revision: u64,
    /// Constant part of the raw logit.
    pub bias: f32,
    /// Every feature as scored, in the model's order.
    pub features: Vec<Reason>,
    /// The signals behind the newest score, each with its causing event.
    pub signals: Vec<SignalRef>,
    /// The event that led to the newest score.
    pub cause: Cause,
    /// Every event about it, oldest first.
    pub history: Vec<HistoryEntry>,
}

/// A signal as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalView {
    /// The id of its `SignalDetected`.
    pub id: EventId,
    /// Who.
    pub user_id: UserId,
    /// Its name.
    pub signal: String,
    /// Its category.
    pub category: String,
    /// Its strength.
    pub strength: f32,
    /// Event time of the detection.
    pub detected_at: Timestamp,
    /// Until when it lives (event time).
    pub expires_at: Timestamp,
    /// The models it matters to.
    pub models: Vec<String>,
    /// The event that made it fire.
    pub cause: Cause,
    /// The features the rule read, with their values then.
    pub features: Vec<crate::domain::event::NamedValue>,
    /// The catalogue that holds the rule.
    pub catalog_version: String,
}

/// A parked event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedView {
    /// Whose.
    pub user_id: UserId,
    /// The event.
    pub cause: Cause,
    /// How often it was tried.
    pub attempts: u32,
    /// Why.
    pub reason: String,
    /// When (wall clock).
    pub at: Timestamp,
}

/// A user some of whose models could not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnscoredView {
    /// Who.
    pub user_id: UserId,
    /// Which models.
    pub model_types: Vec<String>,
    /// How often scoring has failed since it last succeeded.
    pub attempts: u32,
    /// Event time of the newest failure.
    pub as_of: Timestamp,
    /// Why it failed last.
    pub reason: String,
}

/// Figures over a span (CONTRACT, `GET /alerts/stats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Alerts opened in the span.
    pub total: u64,
    /// By state now.
    pub by_status: Vec<(Status, u64)>,
    /// By priority now.
    pub by_priority: Vec<(Priority, u64)>,
    /// By model.
    pub by_model: Vec<(String, u64)>,
    /// By day of opening (`2026-01-31`), ascending.
    pub by_day: Vec<(String, u64)>,
    /// Open alerts now.
    pub open: u64,
    /// Event time of the oldest open alert.
    pub oldest_open: Option<Timestamp>,
    /// Milliseconds from opening to the first move by a person, 50th percentile.
    pub response_ms_p50: Option<i64>,
    /// The same, 90th percentile.
    pub response_ms_p90: Option<i64>,
    /// Alerts with a known conversion outcome.
    pub outcomes_known: u64,
    /// Of these, converted.
    pub converted: u64,
    /// Sum of conversion values.
    pub conversion_value: f64,
    /// Conversions recorded for users (not for alerts) in the span of when they happened, corrections applied.
    pub conversions_recorded: u64,
    /// Users known (with any event of their own).
    pub users: u64,
    /// Days of event time that the log covers within the span, for rates.
    pub span_days: f64,
}

/// A change of an alert, for the event stream: what kind, and the alert after it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertChange {
    /// The position of the event: the id of the server-sent event.
    pub position: Position,
    /// `AlertScored`, …
    pub event_type: String,
    /// The alert after it.
    pub alert: AlertView,
}

/// What queries ask. Calls block on disk: callers run them on threads for blocking work.
pub trait Views: Send + Sync + 'static {
    /// A page of alerts.
    ///
    /// # Errors
    /// Unavailable, unusable, or a bad cursor.
    fn alerts(&self, query: &AlertQuery) -> Result<Listed<AlertView>, Error>;

    /// One alert; none when there is no such alert.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn alert(&self, id: AlertId) -> Result<Option<AlertDetail>, Error>;

    /// A user's signals, newest first.
    ///
    /// # Errors
    /// Unavailable, unusable, or a bad cursor.
    fn signals(&self, user: &UserId, limit: usize, cursor: Option<&str>)
    -> Result<Listed<SignalView>, Error>;

    /// Figures over `[from, to)` of opening time.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn stats(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Stats, Error>;

    /// How good models are.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn performance(&self, asked: &performance::Measure) -> Result<performance::Performance, Error>;

    /// Parked events, newest first.
    ///
    /// # Errors
    /// Unavailable, unusable, or a bad cursor.
    fn parked(&self, limit: usize, cursor: Option<&str>) -> Result<Listed<ParkedView>, Error>;

    /// Users of a shard some of whose models could not answer, longest since the newest failure first: asked again in turn.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn unscored(&self, limit: usize, shard: Shard) -> Result<Vec<UnscoredView>, Error>;

    /// Users of a shard with an open or snoozed alert that ends (expires, wakes) at or before `now`.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn due(&self, now: Timestamp, limit: usize, shard: Shard) -> Result<Vec<UserId>, Error>;

    /// Alert changes after a position, oldest first, for a resumed event stream: each event's position and type, and the
    /// alert as it stands *now* (a resumed reader wants the present; every event's own content is in the alert's history).
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn changes(&self, after: Position, limit: usize) -> Result<Vec<AlertChange>, Error>;

    /// How far of `$all` the view has come.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn position(&self) -> Result<Option<Position>, Error>;
}

pub mod performance;
pub mod sqlite;
