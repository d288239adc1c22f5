//! Users, their scores and their signals on the wire, and the answers to commands about them.
//!
//! Law: an unknown number is null, never 0 and never missing.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Cause, Contribution, Priority, SignalRef, Status};
use crate::commands;
use crate::domain::catalog::Catalog;
use crate::domain::entity::{Description, LastScore};
use crate::domain::id::{AlertId, EventId, UserId};
use crate::domain::time::Timestamp;
use crate::projection::SignalView;

/// How many features explain a score in short (CONTRACT: the same five as in lists of alerts).
const TOP_FEATURES: usize = 5;

/// What became of events.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Accepted {
    /// How many were new; they are durable.
    pub(in crate::http) accepted: u64,
    /// How many the log (or the request itself) held already; they have no second effect.
    pub(in crate::http) duplicates: u64,
    /// The place in the log of the last of them.
    pub(in crate::http) position: u64,
}

/// What `process-signals` did.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Processed {
    /// Users scored.
    users: u64,
    /// Signals that had waited.
    signals: u64,
    /// Scores given.
    scored: u64,
    /// Alerts opened.
    alerts_created: u64,
    /// Users whose scoring failed again.
    failed: u64,
    /// How long it took, in milliseconds.
    duration_ms: u64,
}

impl From<commands::Processed> for Processed {
    fn from(done: commands::Processed) -> Self {
        let commands::Processed { users, signals, scored, alerts_created, failed, duration_ms } = done;
        Self { users, signals, scored, alerts_created, failed, duration_ms }
    }
}

/// The newest score of a user by one model.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Score {
    /// Which model.
    model_type: String,
    /// Whether the model could not answer: then there is a reason and no score.
    degraded: bool,
    /// Why there is no score.
    reason: Option<String>,
    /// Raw score, 0 to 1.
    confidence: Option<f32>,
    /// Calibrated probability, 0 to 1.
    calibrated_score: Option<f32>,
    /// The band that the score falls in, when it is over the threshold.
    priority: Option<Priority>,
    /// The five features with the largest absolute contributions, largest first.
    top_features: Vec<Contribution>,
    /// The model's version.
    model_version: Option<String>,
    /// Event time of the features.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// The open alert of the model.
    #[schema(value_type = Option<String>)]
    alert_id: Option<AlertId>,
}

impl From<LastScore> for Score {
    fn from(last: LastScore) -> Self {
        let LastScore { model_type, scoring, priority, alert_id, revision: _ } = last;
        let priority = priority.map(Into::into);
        match scoring {
            Ok(scoring) => {
                let mut features = scoring.features;
                features.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
                features.truncate(TOP_FEATURES);
                Self {
                    model_type,
                    degraded: false,
                    reason: None,
                    confidence: Some(scoring.raw),
                    calibrated_score: Some(scoring.probability),
                    priority,
                    top_features: features.into_iter().map(Into::into).collect(),
                    model_version: Some(scoring.model_version),
                    as_of: Some(scoring.as_of),
                    alert_id,
                }
            }
            Err(reason) => Self {
                model_type,
                degraded: true,
                reason: Some(reason),
                confidence: None,
                calibrated_score: None,
                priority,
                top_features: Vec::new(),
                model_version: None,
                as_of: None,
                alert_id,
            },
        }
    }
}

/// The newest scores of one user.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Scores {
    /// Who.
    #[schema(value_type = String)]
    user_id: UserId,
    /// One per model asked for.
    scores: Vec<Score>,
}

impl From<commands::UserScores> for Scores {
    fn from(given: commands::UserScores) -> Self {
        Self { user_id: given.user, scores: given.scores.into_iter().map(Into::into).collect() }
    }
}

/// The newest scores of many users.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScoresOfMany {
    /// In the order asked.
    pub(in crate::http) items: Vec<Scores>,
}

/// A live feature.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Feature {
    /// Its name.
    name: String,
    /// Its category.
    category: String,
    /// Its unit.
    unit: String,
    /// Its value; null where unknown.
    value: Option<f64>,
    /// As of when (event time).
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
}

/// An open alert in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct OpenAlert {
    /// Its id.
    #[schema(value_type = String)]
    id: AlertId,
    /// Which model.
    model_type: String,
    /// Where it is in its life.
    status: Status,
    /// How urgent.
    priority: Priority,
}

/// A user as it stands, or as it stood.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct User {
    /// Who.
    #[schema(value_type = String)]
    user_id: UserId,
    /// As of when (event time).
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
    /// The place of the last event folded, among the user's events, from 0.
    revision: Option<u64>,
    /// Every feature, in the catalogue's order.
    features: Vec<Feature>,
    /// Live signals.
    signals: Vec<SignalRef>,
    /// Newest scores.
    scores: Vec<Score>,
    /// Open alerts.
    open_alerts: Vec<OpenAlert>,
}

impl User {
    /// A description, with the catalogue's names.
    pub(in crate::http) fn new(described: Description, catalog: &Catalog) -> Self {
        let as_of = described.as_of;
        let features = catalog.features.iter().zip(described.features).map(|(feature, value)| Feature {
            name: feature.name.clone(),
            category: feature.category.clone(),
            unit: feature.unit.clone(),
            value: Some(value).filter(|value| value.is_finite()),
            as_of,
        });
        let open = |(model_type, id, status, priority): (String, _, crate::domain::alert::Status, _)| {
            let priority: crate::domain::policy::Priority = priority;
            OpenAlert { id, model_type, status: status.into(), priority: priority.into() }
        };
        Self {
            user_id: described.user,
            as_of,
            revision: described.revision,
            features: features.collect(),
            signals: described.signals.into_iter().map(Into::into).collect(),
            scores: described.scores.into_iter().map(Into::into).collect(),
            open_alerts: described.alerts.into_iter().map(open).collect(),
        }
    }
}

/// A feature that a rule read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReadFeature {
    /// Its name.
    name: String,
    /// Its value then; null where unknown.
    value: Option<f32>,
}

/// A signal that was detected.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Signal {
    /// The id of its detection.
    #[schema(value_type = String)]
    id: EventId,
    /// Who.
    #[schema(value_type = String)]
    user_id: UserId,
    /// Its name.
    signal: String,
    /// Its category.
    category: String,
    /// Its strength, 0 to 1.
    strength: f32,
    /// When it was detected (event time).
    #[schema(value_type = String, format = DateTime)]
    detected_at: Timestamp,
    /// Until when it lives (event time).
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The models it matters to.
    models: Vec<String>,
    /// The rule, over features; null when the catalogue no longer has it.
    rule: Option<String>,
    /// The features that the rule read, with their values then.
    features: Vec<ReadFeature>,
    /// The event that made it fire.
    cause: Cause,
    /// The catalogue that held the rule.
    catalog_version: String,
}

impl Signal {
    /// A detection, with the rule's text from the catalogue when it is still the same catalogue.
    pub(in crate::http) fn new(view: SignalView, catalog: &Catalog) -> Self {
        let rule = catalog
            .signals
            .iter()
            .find(|signal| signal.name == view.signal && catalog.version == view.catalog_version)
            .map(|signal| signal.when_text.clone());
        let features = view.features.into_iter().map(|feature| ReadFeature {
            name: feature.name,
            value: Some(feature.value).filter(|value| !value.is_nan()),
        });
        Self {
            id: view.id,
            user_id: view.user_id,
            signal: view.signal,
            category: view.category,
            strength: view.strength,
            detected_at: view.detected_at,
            expires_at: view.expires_at,
            models: view.models,
            rule,
            features: features.collect(),
            cause: view.cause.into(),
            catalog_version: view.catalog_version,
        }
    }
}
