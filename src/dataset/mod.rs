//! Training examples, point in time: one row per moment at which the daemon would have scored, with exactly the features it
//! would have seen and the label that the log knows now. Called by `intentd dataset`.
//!
//! Law: rows come out of the same entity that serves (never out of a second way to make features); the same log, catalogue
//! and options give the same bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::event::Revision;
use crate::domain::id::{EventId, UserId};
use crate::domain::time::Timestamp;

pub mod build;
mod gather;
mod manifest;
pub mod parquet;
mod shape;

pub use manifest::{Count, Manifest, Sampling, Span};

/// Which of the moments at which a user is scored become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moments {
    /// Every one.
    Scores,
    /// Only requested ones (`ScoreRequested`).
    Requests,
    /// The first of each day (UTC, event time) per user.
    Daily,
    /// At most one per user in so much event time.
    Every(Duration),
}

/// Which of the negative rows are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Negatives {
    /// All.
    All,
    /// This share of them, over 0 and at most 1.
    Rate(f64),
    /// About so many for each positive row.
    Ratio(f64),
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
    /// No user in two splits: a hash of the user's id gives 60 % of users to training, 20 % to validation, 20 % to the test,
    /// and rows of a user in another slice of time are left out. So splits are apart in time and in people.
    pub users_apart: bool,
    /// Rows whose horizon has not passed are kept, marked, with the label known so far.
    pub with_immature: bool,
    /// Which negative rows are kept; what stands for those left out is the weight of those kept.
    pub negatives: Negatives,
    /// Where the log came from, in words, for the model's card.
    pub source: Option<String>,
    /// Threads that share the users; the rows do not depend on it.
    pub threads: usize,
}

impl Options {
    /// Every mature row of a model.
    pub fn of(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            moments: Moments::Scores,
            from: None,
            to: None,
            valid_from: None,
            test_from: None,
            known_until: None,
            users_apart: false,
            with_immature: false,
            negatives: Negatives::All,
            source: None,
            threads: 2,
        }
    }
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
    /// Whether the user converted within the horizon, or the alert that this score opened was said to be right.
    pub is_positive: bool,
    /// Whether the horizon had not passed when the log ended: the label may still change.
    pub is_immature: bool,
    /// For how many rows it stands.
    pub weight: f32,
    /// The model version that scored this moment when it happened, where the log recorded that.
    pub model_version: Option<Arc<str>>,
    /// The features in the model's order, as served.
    pub features: Box<[f32]>,
}

/// Which part of training reads a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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
    /// All, in the order of time.
    pub const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

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
    /// The log cannot be read or replayed.
    #[error("the log cannot be replayed")]
    Replay(#[from] crate::replay::Error),
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
