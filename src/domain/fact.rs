//! The facts that we decide and write to `intent-<id>`.
//!
//! Law: an event only ever gains fields; a number is written so that it reads back bit for bit.

use serde::{Deserialize, Serialize};

use super::alert::{Outcome, Status};
use super::event::{Metadata, Revision};
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

/// A rule fired on an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalDetected {
    /// Who.
    pub user_id: UserId,
    /// The signal's name in the catalogue.
    pub signal: String,
    /// Its category.
    pub category: String,
    /// Its strength, 0 to 1.
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

/// The behaviour event behind a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Its id in the store.
    pub event_id: EventId,
    /// Its revision in `user-<id>`.
    pub revision: Revision,
}

/// A named number; NaN is written as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedValue {
    /// The feature's name.
    pub name: String,
    /// Its value, exactly as the model saw it.
    #[serde(with = "nan_as_null")]
    pub value: f32,
}

/// A feature of a score and its part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The feature's name.
    pub name: String,
    /// Its value, exactly as the model saw it.
    #[serde(with = "nan_as_null")]
    pub value: f32,
    /// What it adds to the raw logit.
    #[serde(with = "nan_as_null")]
    pub contribution: f32,
}

/// A model's answer and where it came from, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scoring {
    /// The model's version.
    pub model_version: String,
    /// The catalogue the features were made with.
    pub catalog_version: String,
    /// How many market events had been seen.
    pub market_revision: u64,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// Probability before calibration (`confidence` of the API).
    #[serde(with = "nan_as_null")]
    pub raw: f32,
    /// Calibrated probability.
    #[serde(with = "nan_as_null")]
    pub probability: f32,
    /// The constant part of the raw logit: logit(raw) = bias + sum of contributions.
    #[serde(with = "nan_as_null")]
    pub bias: f32,
    /// Every feature of the model, in the model's order.
    pub features: Vec<Reason>,
}

/// A live signal behind a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalRef {
    /// The id of its `SignalDetected`.
    pub event_id: EventId,
    /// Its name.
    pub signal: String,
    /// Its strength.
    pub strength: f32,
    /// Event time of the detection.
    pub detected_at: Timestamp,
    /// The behaviour event behind it.
    pub cause: Cause,
}

/// An alert was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertScored {
    /// The alert's id (also this event's id).
    pub alert_id: AlertId,
    /// Who.
    pub user_id: UserId,
    /// Which model.
    pub model_type: String,
    /// How urgent.
    pub priority: Priority,
    /// The threshold it passed.
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

/// An open alert reached a higher band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertEscalated {
    /// The alert.
    pub alert_id: AlertId,
    /// Who.
    pub user_id: UserId,
    /// Which model.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatusChanged {
    /// The alert.
    pub alert_id: AlertId,
    /// Who the alert is about.
    pub user_id: UserId,
    /// Which model.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertRearmed {
    /// The alert that had ended.
    pub alert_id: AlertId,
    /// Who.
    pub user_id: UserId,
    /// Which model.
    pub model_type: String,
    /// The calibrated probability.
    pub probability: f32,
    /// What it fell below.
    pub exit: f32,
    /// Event time.
    pub as_of: Timestamp,
    /// The behaviour event that led to the score.
    pub cause: Cause,
}

/// What really happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertOutcomeRecorded {
    /// The alert.
    pub alert_id: AlertId,
    /// Who the alert is about.
    pub user_id: UserId,
    /// Which model.
    pub model_type: String,
    /// Right, wrong, or unknown.
    pub outcome: Outcome,
    /// Whether the user converted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub converted: Option<bool>,
    /// What it was worth.
    #[serde(skip_serializing_if = "Option::is_none", default)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserScored {
    /// Who.
    pub user_id: UserId,
    /// Which model.
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

/// Models that could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoringFailed {
    /// Who.
    pub user_id: UserId,
    /// Which models.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChallengerScored {
    /// Who.
    pub user_id: UserId,
    /// Which model.
    pub model_type: String,
    /// The version in shadow.
    pub model_version: String,
    /// Its probability before calibration.
    pub raw: f32,
    /// Its calibrated probability.
    pub probability: f32,
    /// Whether its probability is at or over the model's threshold, so that it could open an alert where none is open.
    pub would_alert: bool,
    /// The version that serves.
    pub champion_version: String,
    /// The champion's calibrated probability.
    pub champion_probability: f32,
    /// Whether the champion's probability is at or over the threshold.
    pub champion_would_alert: bool,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// The behaviour event that led to the scores.
    pub cause: Cause,
}

/// An event put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventParked {
    /// Whose.
    pub user_id: UserId,
    /// The event.
    pub cause: Cause,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it could not be folded.
    pub reason: String,
    /// When (wall clock).
    pub at: Timestamp,
}

/// A parked event to be folded again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventUnparked {
    /// Whose.
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

mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_nan() { serializer.serialize_none() } else { serializer.serialize_f32(*value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        Ok(Option::<f32>::deserialize(deserializer)?.unwrap_or(f32::NAN))
    }
}
