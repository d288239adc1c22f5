//! An alert's own fold and its allowed moves.

use serde::{Deserialize, Serialize};

/// Where an alert is in its life (CONTRACT, An alert's life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Nobody has taken it up.
    Pending,
    /// Somebody has seen it.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
    /// Put off until a time or a higher score.
    Snoozed,
    /// The user converted. An end.
    Converted,
    /// Judged not worth it. An end.
    Dismissed,
    /// The model's horizon passed. An end.
    Expired,
}

/// What really happened to the person an alert was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The alert was right.
    TruePositive,
    /// The alert was wrong.
    FalsePositive,
    /// Not known (yet).
    Unknown,
}
