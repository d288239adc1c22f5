//! Models as a port: rows in, scores out, many at once.
//!
//! Law: a row's answer depends on the model and that row, never on the rows beside it; so a batch is only a matter of speed,
//! and one bad row fails alone.
//!
//! ```text
//! models/<MODEL>/<version>/ -> manifest, trial (golden rows) -> registry -> one OnnxScorer per scoring thread
//!                                                  runtime (one ONNX Runtime per process) ^
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::catalog::ModelIx;
pub use crate::domain::score::{Row, Score, Unscored};

pub mod drift;
pub mod library;
pub mod manifest;
pub mod onnx;
pub mod refusal;
pub mod registry;
pub mod runtime;
mod trial;

/// Something that scores. Synchronous and possibly slow: called only on threads of its own.
pub trait Scorer: Send {
    /// Scores rows of one model: one answer per row, in order. A row that cannot be scored fails alone.
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>>;
}

/// `[models]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where `<MODEL>/<version>/` lie.
    pub folder: PathBuf,
    /// ONNX Runtime's library; empty: beside the program, then `.ort/`. `ORT_DYLIB_PATH` wins over both.
    pub library: PathBuf,
    /// Versions that serve although there are newer ones, by model.
    pub pin: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { folder: PathBuf::from("models"), library: PathBuf::new(), pin: BTreeMap::new() }
    }
}
