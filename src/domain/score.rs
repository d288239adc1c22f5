//! A model's answer: raw score, calibrated probability, contributions. "Score" and "probability" are never synonyms.

use std::sync::Arc;

use super::catalog::ModelIx;
use super::time::Timestamp;

/// A feature's value as models read it and facts keep it: float32, NaN where it is unknown. What float32 cannot hold is
/// unknown too: JSON has no infinity, so a fact would come back with another value than it was decided with.
#[expect(clippy::cast_possible_truncation, reason = "models read float32")]
pub(crate) fn single(value: f64) -> f32 {
    let value = value as f32;
    if value.is_finite() { value } else { f32::NAN }
}

/// What one model says of one feature vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The version that answered.
    pub version: Arc<str>,
    /// Probability before calibration, 0 to 1.
    pub raw: f32,
    /// Calibrated probability, 0 to 1.
    pub probability: f32,
    /// Constant part of the raw logit.
    pub bias: f32,
    /// Per feature, in the model's order: logit(raw) = bias + sum.
    pub contributions: Box<[f32]>,
    /// What a version in shadow says of the same row; none when there is no such version, or it did not answer in time.
    pub shadow: Option<Box<Shadow>>,
}

/// What a version in shadow (a challenger) says of a row: recorded, never acted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Shadow {
    /// The version in shadow.
    pub version: Arc<str>,
    /// Its probability before calibration, 0 to 1.
    pub raw: f32,
    /// Its calibrated probability, 0 to 1.
    pub probability: f32,
}

/// A feature vector to score.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The model.
    pub model: ModelIx,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// The model's features in the model's order; NaN where unknown.
    pub features: Box<[f32]>,
}

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unscored {
    /// No model of that type is loaded.
    #[error("no model of type {model_type} is loaded")]
    NoModel {
        /// The type.
        model_type: String,
    },
    /// The model ran and failed, or answered nonsense.
    #[error("model {model_type} {version} failed: {reason}")]
    Failed {
        /// The type.
        model_type: String,
        /// The version.
        version: String,
        /// What the runtime said.
        reason: String,
    },
    /// No answer in time.
    #[error("no score in time")]
    Timeout,
}

#[cfg(test)]
mod tests {
    use super::single;

    #[test]
    fn what_float32_cannot_hold_is_unknown() {
        for unknown in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, -1e300] {
            assert!(single(unknown).is_nan(), "{unknown}");
        }
        for (known, float32) in [(0.0, 0.0), (-0.1, -0.1_f32), (3.4e38, 3.4e38_f32), (1e-60, 0.0)] {
            assert_eq!(single(known).to_bits(), f32::to_bits(float32), "{known}");
        }
    }
}
