//! What a training set is, in `manifest.json`.
//!
//! Law: everything that the rows follow from stands here: log, catalogue, options; and a hash that tells two sets apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Split;
use crate::domain::time::Timestamp;

/// What a training set is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The model.
    pub model: String,
    /// The catalogue that made the features: a hash of everything in it that has a meaning.
    pub catalog_version: String,
    /// The versions that scored these moments when they happened, with how many of those scores the log recorded.
    pub model_versions: BTreeMap<String, u64>,
    /// The model's features, in order.
    pub features: Vec<String>,
    /// The label's horizon in days.
    pub horizon_days: f64,
    /// Where the log came from, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// The store the log stands in.
    pub store: String,
    /// The first position read.
    pub log_from: u64,
    /// The last position read.
    pub log_until: u64,
    /// The log's clock at the end: labels are known up to here.
    pub known_until: Timestamp,
    /// The first and the last moment.
    pub time_range: Span,
    /// Where the validation slice begins.
    pub valid_from: Timestamp,
    /// Where the test slice begins.
    pub test_from: Timestamp,
    /// Which moments became rows, and which were left out.
    pub sampling: Sampling,
    /// Rows and positives by split.
    pub counts: Vec<Count>,
    /// Share of positives among all rows, by weight.
    pub base_rate: f64,
    /// Moments whose horizon had not passed: left out, or kept and marked.
    pub immature: u64,
    /// SHA-256 over every row.
    pub rows_hash: String,
}

/// A span of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
}

/// How moments became rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// `scores`, `requests`, `daily`, or a gap such as `7d`.
    pub moments: String,
    /// Whether no user stands in two splits.
    pub users_apart: bool,
    /// Rows left out for that.
    pub left_apart: u64,
    /// Whether rows whose horizon had not passed were kept.
    pub with_immature: bool,
    /// The share of negative rows that was kept; those have the weight 1 / share.
    pub negatives_kept: f64,
    /// Negative rows left out for that.
    pub left_negative: u64,
}

/// How many rows a split has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// The split.
    pub split: Split,
    /// Its rows.
    pub rows: u64,
    /// The positives among them.
    pub positives: u64,
    /// Different users among them.
    pub users: u64,
    /// Share of positives, by weight.
    pub base_rate: f64,
}
