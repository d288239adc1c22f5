//! Training examples, point in time: one row per moment at which the daemon would have scored, with exactly the features it
//! would have seen and the label that the log knows now. Called by `intentd dataset`.
//!
//! Law: rows come out of the same entity that serves (never out of a second way to make features); the same log, catalogue
//! and options give the same bytes.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::event::Revision;
use crate::domain::id::{EventId, UserId};
use crate::domain::time::Timestamp;

pub mod build;
pub mod parquet;

/// Which of the moments at which a user is scored become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moments {
    /// Every one.
    Scores,
    /// Only requested ones (`ScoreRequested`).
    Requests,
    /// At most one per user and model in so much event time.
    Every(Duration),
}

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model whose rows to make.
    pub model: String,
    /// Which moments.
    pub moments: Moments,
    /// Rows scored at or after this time.
    pub from: Option<Timestamp>,
    /// Rows scored before this time.
    pub to: Option<Timestamp>,
    /// Where the training slice ends; by default at 60 % of the rows.
    pub valid_from: Option<Timestamp>,
    /// Where the validation slice ends; by default at 80 % of the rows.
    pub test_from: Option<Timestamp>,
    /// Events of this time and later are not read: what a training at that time could have known.
    pub known_until: Option<Timestamp>,
    /// Where the log came from, in words, for the model's card.
    pub source: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Who.
    pub user: UserId,
    /// Event time of the features.
    pub as_of: Timestamp,
    /// The revision of `user-<id>` that led to the score.
    pub revision: Revision,
    /// That event's id.
    pub event_id: EventId,
    /// Whether the user converted within the horizon.
    pub is_positive: bool,
    /// The features in the model's order, as served.
    pub features: Box<[f32]>,
}

/// Which part of training reads a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Parameters are fitted on it.
    Train,
    /// The calibration is fitted on it.
    Valid,
    /// Nothing is fitted on it.
    Test,
}

impl Split {
    /// As written in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

/// A whole training set: rows by (as-of, user, revision).
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What stands in `manifest.json`.
    pub manifest: Manifest,
    /// The rows, each with its split.
    pub rows: Vec<(Split, Example)>,
}

/// What a training set is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The model.
    pub model: String,
    /// The catalogue that made the features.
    pub catalog_version: String,
    /// The model's features, in order.
    pub features: Vec<String>,
    /// The label's horizon in days.
    pub horizon_days: f64,
    /// Where the log came from, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// The store the log stands in.
    pub store: String,
    /// The last position read.
    pub log_until: u64,
    /// The log's clock at the end: labels are known up to here.
    pub known_until: Timestamp,
    /// Where the validation slice begins.
    pub valid_from: Timestamp,
    /// Where the test slice begins.
    pub test_from: Timestamp,
    /// Rows and positives by split.
    pub counts: Vec<Count>,
    /// Rows left out because their horizon had not passed.
    pub immature: u64,
    /// SHA-256 over every row.
    pub rows_hash: String,
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
}

/// Why there is no training set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model of that name in the catalogue.
    #[error("the catalogue has no model {model}")]
    NoModel {
        /// The name.
        model: String,
    },
    /// Nothing to learn from.
    #[error("no mature row for {model}: {moments} moments, {immature} of them younger than the horizon")]
    Empty {
        /// The model.
        model: String,
        /// Moments seen.
        moments: u64,
        /// Of these, immature.
        immature: u64,
    },
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] crate::store::Error),
    /// The table cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
