//! Why a version of a model may not serve. Every reason is found in one go, so that one mend mends it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The rows of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Those of `golden.jsonl`.
    Golden,
    /// Rows that take each feature from another golden row.
    Mixed,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Golden => "golden",
            Self::Mixed => "mixed",
        })
    }
}

/// One reason.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The version does not exist.
    #[error("there is no version {version}: {} does not exist", .folder.display())]
    Absent {
        /// The version.
        version: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A file of the folder is missing, cannot be read or is too large.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file's name.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// A file does not parse.
    #[error("{file} line {line} is malformed: {reason}")]
    Malformed {
        /// The file's name.
        file: &'static str,
        /// From 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// The manifest is of a later schema than this program knows.
    #[error("the manifest has schema {found}, this program knows {known}")]
    Schema {
        /// In the manifest.
        found: u32,
        /// Known.
        known: u32,
    },
    /// The folder's place and the manifest disagree.
    #[error("the manifest says {key} {found}, its folder says {expected}")]
    Misplaced {
        /// `model` or `version`.
        key: &'static str,
        /// In the manifest.
        found: String,
        /// By the folder's name.
        expected: String,
    },
    /// Features that the model needs and the catalogue does not give it.
    #[error("the catalogue does not give it the features {}", .names.join(", "))]
    FeaturesMissing {
        /// Their names.
        names: Vec<String>,
    },
    /// Features that the catalogue gives and the model does not know.
    #[error("the model does not know the features {}", .names.join(", "))]
    FeaturesUnknown {
        /// Their names.
        names: Vec<String>,
    },
    /// The same features, but not in the same order or number.
    #[error("feature {place} is {found} in the manifest and {expected} in the catalogue")]
    FeatureOrder {
        /// From 1.
        place: usize,
        /// In the manifest.
        found: String,
        /// In the catalogue.
        expected: String,
    },
    /// A number in the manifest makes no sense.
    #[error("{key} is {found}, expected {expected}")]
    OutOfBounds {
        /// The key.
        key: &'static str,
        /// What it is.
        found: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A file is not the one that the manifest speaks of.
    #[error("{file} has the hash {found}, the manifest says {expected}")]
    Hash {
        /// The file's name.
        file: &'static str,
        /// Of the file.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// What the manifest says of training's distributions makes no sense.
    #[error("drift of {name}: {reason}")]
    Drift {
        /// `score`, or the feature.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// ONNX Runtime does not take the graph, or its inputs and outputs are not what they have to be.
    #[error("the graph cannot serve: {reason}")]
    Graph {
        /// What is wrong.
        reason: String,
    },
    /// Too few golden rows to trust.
    #[error("golden.jsonl has {found} rows, at least {needed} are needed")]
    GoldenFew {
        /// Rows.
        found: usize,
        /// Needed.
        needed: usize,
    },
    /// The graph does not answer a golden row as it should.
    #[error("golden row {row}: {output} is {found}, expected {expected} within {tolerance}")]
    Golden {
        /// From 1.
        row: usize,
        /// The output, with the feature's name for a contribution.
        output: String,
        /// Answered.
        found: f32,
        /// Expected.
        expected: f32,
        /// Allowed difference.
        tolerance: f32,
    },
    /// A probability is no number from 0 to 1, or a contribution is no number.
    #[error("{rows} row {row}: {output} is {found}, which is out of range")]
    OutOfRange {
        /// Of which rows.
        rows: Rows,
        /// From 1.
        row: usize,
        /// The output.
        output: String,
        /// Answered.
        found: f32,
    },
    /// Bias and contributions do not add up to the raw logit.
    #[error("{rows} row {row}: bias and contributions say raw {expected}, the graph says {found}")]
    NotAdditive {
        /// Of which rows.
        rows: Rows,
        /// From 1.
        row: usize,
        /// Answered.
        found: f32,
        /// By adding up.
        expected: f64,
    },
    /// A row alone is answered with other bits than among others: replays would differ from what was.
    #[error("golden row {row}: alone it is answered differently than in a batch")]
    BatchDependent {
        /// From 1.
        row: usize,
    },
    /// It takes longer than the configuration allows.
    #[error("it takes over {limit:?} for {rows} rows at once")]
    Slow {
        /// In one call.
        rows: usize,
        /// The best of several calls; left out of the words, which are compared to know a refusal again.
        took: Duration,
        /// By the configuration.
        limit: Duration,
    },
    /// Its trial does not end.
    #[error("its trial did not end within {limit:?}")]
    Hangs {
        /// By the configuration.
        limit: Duration,
    },
    /// The folder does not hold what served under this name before: scores name a version, so a version never changes.
    #[error(
        "it was changed in place: model.onnx has the hash {found}, what served had {expected}; give it a new version"
    )]
    Replaced {
        /// Of the file now.
        found: String,
        /// Of the file that served.
        expected: String,
    },
}
