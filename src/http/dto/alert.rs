//! Alerts on the wire.
//!
//! Law: what a list shows of an alert is the same in every list, in the detail and in the event stream.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Outcome, Priority, Status};
use crate::domain::event as fact;
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::time::Timestamp;
use crate::projection::{AlertView, HistoryEntry};

/// A feature and its part in a score.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Contribution {
    /// The feature's name.
    name: String,
    /// Its value as the model saw it; null where unknown.
    value: Option<f32>,
    /// What it adds to the raw logit.
    contribution: f32,
}

impl From<fact::Reason> for Contribution {
    fn from(reason: fact::Reason) -> Self {
        let value = Some(reason.value).filter(|value| !value.is_nan());
        Self { name: reason.name, value, contribution: reason.contribution }
    }
}

/// The event behind a decision.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Cause {
    /// Its id in the log.
    #[schema(value_type = String)]
    event_id: EventId,
    /// Its place among the user's events, from 0.
    revision: u64,
}

impl From<fact::Cause> for Cause {
    fn from(cause: fact::Cause) -> Self {
        Self { event_id: cause.event_id, revision: cause.revision }
    }
}

/// A signal behind a score.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct SignalRef {
    /// The id of its detection.
    #[schema(value_type = String)]
    id: EventId,
    /// Its name.
    signal: String,
    /// Its strength, 0 to 1.
    strength: f32,
    /// When it was detected (event time).
    #[schema(value_type = String, format = DateTime)]
    detected_at: Timestamp,
    /// The event that made it fire.
    cause: Cause,
}

impl From<fact::SignalRef> for SignalRef {
    fn from(signal: fact::SignalRef) -> Self {
        Self {
            id: signal.event_id,
            signal: signal.signal,
            strength: signal.strength,
            detected_at: signal.detected_at,
            cause: signal.cause.into(),
        }
    }
}

/// An alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Alert {
    /// Its id.
    #[schema(value_type = String)]
    id: AlertId,
    /// Who.
    #[schema(value_type = String)]
    user_id: UserId,
    /// Which model.
    model_type: String,
    /// The version that gave the newest score.
    model_version: String,
    /// Where it is in its life.
    status: Status,
    /// How urgent.
    priority: Priority,
    /// Raw score, 0 to 1.
    confidence: f32,
    /// Calibrated probability, 0 to 1.
    calibrated_score: f32,
    /// The five features with the largest absolute contributions, largest first.
    top_features: Vec<Contribution>,
    /// When it was scored last (event time).
    #[schema(value_type = String, format = DateTime)]
    scored_at: Timestamp,
    /// When it was opened (event time).
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it expires if nobody takes it up (event time).
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Until when it is put off, while it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    snoozed_until: Option<Timestamp>,
    /// How often it was escalated.
    escalations: u32,
    /// The newest outcome.
    outcome: Option<Outcome>,
    /// Whether the user converted, as far as recorded.
    converted: Option<bool>,
    /// What it was worth.
    conversion_value: Option<f64>,
}

impl From<AlertView> for Alert {
    fn from(view: AlertView) -> Self {
        Self {
            id: view.id,
            user_id: view.user_id,
            model_type: view.model_type,
            model_version: view.model_version,
            status: view.status.into(),
            priority: view.priority.into(),
            confidence: view.confidence,
            calibrated_score: view.calibrated_score,
            top_features: view.top_features.into_iter().map(Into::into).collect(),
            scored_at: view.scored_at,
            created_at: view.created_at,
            expires_at: view.expires_at,
            snoozed_until: view.snoozed_until,
            escalations: view.escalations,
            outcome: view.outcome.map(Into::into),
            converted: view.converted,
            conversion_value: view.conversion_value,
        }
    }
}

/// One event in an alert's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct History {
    /// `AlertScored`, `AlertEscalated`, `AlertStatusChanged`, `AlertOutcomeRecorded`.
    event_type: String,
    /// The event's id.
    #[schema(value_type = String)]
    event_id: EventId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// By whom.
    by: String,
    /// The event, as recorded.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl From<HistoryEntry> for History {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { event_type, event_id, at, by, data } = entry;
        Self { event_type, event_id, at, by, data }
    }
}

/// An alert, whole: why it is there and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AlertDetail {
    /// What lists show.
    #[serde(flatten)]
    alert: Alert,
    /// The calibrated score that it had to reach.
    threshold: f32,
    /// The catalogue behind the newest score.
    catalog_version: String,
    /// How many market events had been seen at the newest score.
    market_revision: u64,
    /// Constant part of the raw logit: logit(confidence) = bias + sum of contributions.
    bias: f32,
    /// Every feature as scored, in the model's order.
    features: Vec<Contribution>,
    /// The signals behind the newest score.
    signals: Vec<SignalRef>,
    /// The event that led to the newest score.
    cause: Cause,
    /// The events behind it, as sent: those that made its signals fire and the one that led to the score, oldest first.
    #[schema(value_type = Vec<Object>)]
    evidence: Vec<Box<RawValue>>,
    /// Everything that happened to it, oldest first.
    history: Vec<History>,
}

impl AlertDetail {
    /// The projection's alert and the events behind it.
    pub(in crate::http) fn new(detail: crate::projection::AlertDetail, evidence: Vec<Box<RawValue>>) -> Self {
        Self {
            alert: detail.alert.into(),
            threshold: detail.threshold,
            catalog_version: detail.catalog_version,
            market_revision: detail.market_revision,
            bias: detail.bias,
            features: detail.features.into_iter().map(Into::into).collect(),
            signals: detail.signals.into_iter().map(Into::into).collect(),
            cause: detail.cause.into(),
            evidence,
            history: detail.history.into_iter().map(Into::into).collect(),
        }
    }
}
