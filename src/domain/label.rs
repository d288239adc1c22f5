//! From what happened after a score to what training reads: conversion within the horizon or not, or not yet known.
//!
//! Law: a label never looks at or before the moment of the score, and is negative only once the horizon has wholly passed.
//! Called by the dataset and by the measures of models.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What training reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Label {
    /// Converted within the horizon.
    Positive,
    /// The horizon passed without a conversion.
    Negative,
    /// No conversion so far, and the horizon has not passed.
    Immature,
}

/// The label of a score as of `as_of`: a conversion in `(as_of, as_of + horizon]` makes it positive, known as soon as it
/// happened; none makes it negative once `now` (the log's clock) is past the horizon. Conversions after `now` are not known.
pub fn label(as_of: Timestamp, horizon: Duration, conversions: &[Timestamp], now: Timestamp) -> Label {
    let end = as_of.plus(horizon);
    if conversions.iter().any(|&at| as_of < at && at <= end && at <= now) {
        Label::Positive
    } else if now > end {
        Label::Negative
    } else {
        Label::Immature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: Duration = Duration::from_millis(100);

    fn check(conversions: &[i64], now: i64, then: Label) {
        let conversions: Vec<Timestamp> = conversions.iter().map(|&at| Timestamp::from_millis(at)).collect();
        let label = label(Timestamp::from_millis(1_000), HORIZON, &conversions, Timestamp::from_millis(now));
        assert_eq!(label, then, "{conversions:?} at {now}");
    }

    #[test]
    fn a_conversion_counts_from_after_the_score_to_the_end_of_the_horizon() {
        check(&[1_000], 2_000, Label::Negative);
        check(&[1_001], 2_000, Label::Positive);
        check(&[1_100], 2_000, Label::Positive);
        check(&[1_101], 2_000, Label::Negative);
        check(&[900, 1_050], 2_000, Label::Positive);
    }

    #[test]
    fn a_negative_waits_until_the_horizon_has_passed() {
        check(&[], 1_099, Label::Immature);
        check(&[], 1_100, Label::Immature);
        check(&[], 1_101, Label::Negative);
        check(&[1_050], 1_050, Label::Positive);
        check(&[1_050], 1_049, Label::Immature);
    }
}
