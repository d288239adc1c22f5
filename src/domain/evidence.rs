//! What stands behind a decision, as facts hold it: the event that caused it, features, scores, signals.
//!
//! Law: a number is written so that it reads back bit for bit; one that is not known (NaN) is written as null.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Revision;
use super::id::EventId;
use super::time::Timestamp;

/// The behaviour event behind a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Its id in the store.
    pub event_id: EventId,
    /// Its revision in `user-<id>`.
    #[schemars(extend("x-unit" = "revision, from 0"))]
    pub revision: Revision,
}

/// A named number; NaN is written as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedValue {
    /// The feature's name.
    pub name: String,
    /// Its value, exactly as the model saw it.
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "the feature's, see the catalogue"))]
    pub value: f32,
}

/// A feature of a score and its part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The feature's name.
    pub name: String,
    /// Its value, exactly as the model saw it.
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "the feature's, see the catalogue"))]
    pub value: f32,
    /// What it adds to the raw logit.
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "logit"))]
    pub contribution: f32,
}

/// A model's answer and where it came from, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scoring {
    /// The model's version.
    pub model_version: String,
    /// The catalogue the features were made with.
    pub catalog_version: String,
    /// How many market events had been seen.
    #[schemars(extend("x-unit" = "events"))]
    pub market_revision: u64,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// Probability before calibration (`confidence` of the API).
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "probability"))]
    pub raw: f32,
    /// Calibrated probability.
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "probability"))]
    pub probability: f32,
    /// The constant part of the raw logit: logit(raw) = bias + sum of contributions.
    #[serde(with = "nan_as_null")]
    #[schemars(with = "Option<f32>", extend("x-unit" = "logit"))]
    pub bias: f32,
    /// Every feature of the model, in the model's order.
    pub features: Vec<Reason>,
}

/// A live signal behind a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalRef {
    /// The id of its `SignalDetected`.
    pub event_id: EventId,
    /// Its name.
    pub signal: String,
    /// Its strength.
    #[schemars(extend("x-unit" = "0 to 1"))]
    pub strength: f32,
    /// Event time of the detection.
    pub detected_at: Timestamp,
    /// The behaviour event behind it.
    pub cause: Cause,
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
