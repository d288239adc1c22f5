//! The facts that we decide and write to `intent-<id>`.
//!
//! Law: an event only ever gains fields; a number is written so that it reads back bit for bit. What is said here of a fact and
//! its fields is what `docs/events.md` says of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alert::{Outcome, Status};
use super::event::Metadata;
use super::evidence::{Cause, NamedValue, Scoring, SignalRef};
use super::id::{AlertId, EventId, UserId};
use super::policy::Priority;
use super::time::Timestamp;

/// The facts in `intent-<id>`, written only by that user's actor.
#[derive(Clone, Debug, PartialEq)]
pub enum IntentEvent {
    /// A rule fired.
    SignalDetected(SignalDetected),
    /// A score worth acting on opened an alert.
    AlertScored(Box<AlertScored>),
    /// A higher band while the alert is open.
    AlertEscalated(Box<AlertEscalated>),
    /// The alert moved along its life.
    AlertStatusChanged(AlertStatusChanged),
    /// After an alert ended, the score fell below `exit`: the next alert need not wait for the cooldown.
    AlertRearmed(AlertRearmed),
    /// What really happened, for an alert; may be corrected later.
    AlertOutcomeRecorded(AlertOutcomeRecorded),
    /// The answer to a `ScoreRequested`, whatever the score.
    UserScored(UserScored),
    /// A trigger whose models could not answer; the sweep asks again.
    ScoringFailed(ScoringFailed),
    /// What a version in shadow said where the serving one decided.
    ChallengerScored(ChallengerScored),
    /// An event that could not be folded was put aside.
    EventParked(EventParked),
    /// A parked event is to be folded again from now on.
    EventUnparked(EventUnparked),
}

/// A rule of the catalogue fired on an event of the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalDetected {
    /// The user.
    pub user_id: UserId,
    /// The signal's name in the catalogue.
    pub signal: String,
    /// Its category.
    pub category: String,
    /// Its strength, 0 to 1.
    #[schemars(extend("x-unit" = "0 to 1"))]
    pub strength: f32,
    /// Event time of the detection.
    pub detected_at: Timestamp,
    /// Event time until which it is live.
    pub expires_at: Timestamp,
    /// The models it matters to.
    pub models: Vec<String>,
    /// The behaviour event that made it fire.
    pub cause: Cause,
    /// The features the rule read, with their values then.
    pub features: Vec<NamedValue>,
    /// The catalogue that holds the rule.
    pub catalog_version: String,
}

/// A score worth acting on opened an alert: about whom, how likely, how urgent, and why. Its id is the alert's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertScored {
    /// The alert's id (also this event's id).
    pub alert_id: AlertId,
    /// The user.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// How urgent.
    pub priority: Priority,
    /// The threshold it passed.
    #[schemars(extend("x-unit" = "probability"))]
    pub threshold: f32,
    /// Event time.
    pub scored_at: Timestamp,
    /// Event time at which it expires when nobody took it up.
    pub expires_at: Timestamp,
    /// The score and its reasons.
    pub scoring: Scoring,
    /// The live signals that matter to the model.
    pub signals: Vec<SignalRef>,
    /// The behaviour event that led to the score.
    pub cause: Cause,
}

/// An open alert reached a higher band: the same alert, more urgent than before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertEscalated {
    /// The alert.
    pub alert_id: AlertId,
    /// The user.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// The band it had.
    pub from_priority: Priority,
    /// The band it has now.
    pub priority: Priority,
    /// Event time.
    pub scored_at: Timestamp,
    /// The new score and its reasons.
    pub scoring: Scoring,
    /// The live signals now.
    pub signals: Vec<SignalRef>,
    /// The behaviour event that led to the score.
    pub cause: Cause,
}

/// An alert moved along its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatusChanged {
    /// The alert.
    pub alert_id: AlertId,
    /// Who the alert is about.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// Where it was.
    pub from: Status,
    /// Where it is.
    pub status: Status,
    /// When: wall-clock time for a command, event time for an expiry or the end of a snooze.
    pub at: Timestamp,
    /// Event time: the log's clock for a command, else the same as `at`. Cooldowns count from it.
    pub as_of: Timestamp,
    /// Who did it: `api`, `sweep`, `policy`, or a name the caller gave.
    pub by: String,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Until when, for a snooze.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snooze_until: Option<Timestamp>,
}

/// The reason of an ended alert is gone: the model's score was below `exit` within the alert's cooldown. Written once per
/// alert, so that what decides about the next alert stands in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRearmed {
    /// The alert that had ended.
    pub alert_id: AlertId,
    /// The user.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// The calibrated probability.
    #[schemars(extend("x-unit" = "probability"))]
    pub probability: f32,
    /// What it fell below.
    #[schemars(extend("x-unit" = "probability"))]
    pub exit: f32,
    /// Event time.
    pub as_of: Timestamp,
    /// The behaviour event that led to the score.
    pub cause: Cause,
}

/// What really happened to the person an alert is about. It may come again, corrected: the newest one counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertOutcomeRecorded {
    /// The alert.
    pub alert_id: AlertId,
    /// Who the alert is about.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// Right, wrong, or unknown.
    pub outcome: Outcome,
    /// Whether the user converted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub converted: Option<bool>,
    /// What it was worth.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(extend("x-unit" = "currency of the business"))]
    pub conversion_value: Option<f64>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded (wall clock).
    pub at: Timestamp,
    /// Who recorded it.
    pub by: String,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// The answer to a `ScoreRequested` by one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserScored {
    /// The user.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// The score and its reasons.
    pub scoring: Scoring,
    /// The band the score falls in, when it is over the threshold.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub priority: Option<Priority>,
    /// The alert that is open for the model after this score.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alert_id: Option<AlertId>,
    /// The request.
    pub cause: Cause,
}

/// Models that could not answer where they were asked. The sweep asks again, so that a `UserScored` follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScoringFailed {
    /// The user.
    pub user_id: UserId,
    /// The models.
    pub model_types: Vec<String>,
    /// Why, in words.
    pub reason: String,
    /// Event time of the trigger.
    pub as_of: Timestamp,
    /// The event whose score is missing.
    pub cause: Cause,
}

/// What a version in shadow said of the features that the serving version (the champion) was asked about. Recorded beside the
/// champion's decision and not acted on; missing where the challenger did not answer in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengerScored {
    /// The user.
    pub user_id: UserId,
    /// The model.
    pub model_type: String,
    /// The version in shadow.
    pub model_version: String,
    /// Its probability before calibration.
    #[schemars(extend("x-unit" = "probability"))]
    pub raw: f32,
    /// Its calibrated probability.
    #[schemars(extend("x-unit" = "probability"))]
    pub probability: f32,
    /// Whether its probability is at or over the model's threshold, so that it could open an alert where none is open.
    pub would_alert: bool,
    /// The version that serves.
    pub champion_version: String,
    /// The champion's calibrated probability.
    #[schemars(extend("x-unit" = "probability"))]
    pub champion_probability: f32,
    /// Whether the champion's probability is at or over the threshold.
    pub champion_would_alert: bool,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// The behaviour event that led to the scores.
    pub cause: Cause,
}

/// An event that could not be folded was put aside: nothing is decided from it until it is unparked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventParked {
    /// The user.
    pub user_id: UserId,
    /// The event.
    pub cause: Cause,
    /// How often it was tried.
    #[schemars(extend("x-unit" = "attempts"))]
    pub attempts: u32,
    /// Why it could not be folded.
    pub reason: String,
    /// When (wall clock).
    pub at: Timestamp,
}

/// A parked event is to be folded again, from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventUnparked {
    /// The user.
    pub user_id: UserId,
    /// The event.
    pub cause: Cause,
    /// When (wall clock).
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
}

/// A fact to append, with what is needed to write it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Deterministic: made from what caused it.
    pub id: EventId,
    /// The fact.
    pub event: IntentEvent,
    /// Causation, correlation, source revision.
    pub metadata: Metadata,
}
