//! From a score to a decision: thresholds, bands, hysteresis, cooldown.

use serde::{Deserialize, Serialize};

/// How urgent an alert is; ordered from LOW to CRITICAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// Worth a look.
    Low,
    /// Soon.
    Medium,
    /// Today.
    High,
    /// Now.
    Critical,
}
