//! Models as a port: rows in, scores out, many at once.
//!
//! Law: a row's answer depends on the model and that row, never on the rows beside it; so a batch is only a matter of speed,
//! and one bad row fails alone.
//!
//! ```text
//! models/<MODEL>/<version>/ -> folder: manifest, hashes, trial (golden rows) -> Loaded
//!                                        runtime (one ONNX Runtime per process) ^ |
//!         registry: the newest that pass, for commands that run by themselves <---+---> live: the running daemon's, changed
//!                                                                                       between two batches
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::catalog::ModelIx;
pub use crate::domain::score::{Row, Score, Unscored};

pub mod drift;
pub mod folder;
pub mod library;
pub mod live;
pub mod manifest;
pub mod onnx;
pub mod refusal;
pub mod registry;
pub mod runtime;
mod trial;
mod watchdog;

/// Something that scores. Synchronous and possibly slow: called only on threads of its own.
pub trait Scorer: Send {
    /// Scores rows of one model: one answer per row, in order. A row that cannot be scored fails alone.
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>>;

    /// Makes a call that hangs give up, from another thread; none where that cannot be done.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }
}

/// Makes the call under way of one scorer give up. The scorer is of no use afterwards.
pub type Interrupt = Arc<dyn Fn() + Send + Sync>;

/// Versions in shadow: they score what the serving versions score, and nothing is done about it.
pub trait Challengers: Send + Sync {
    /// Whether any version runs in shadow: asked for every batch.
    fn is_any_on(&self) -> bool;

    /// Whether a version of this model runs in shadow.
    fn is_on(&self, model: ModelIx) -> bool;

    /// A scorer of the versions in shadow, for one thread.
    fn scorer(&self) -> Box<dyn Scorer>;
}

/// No version runs in shadow.
#[derive(Clone, Copy, Debug)]
pub struct Unchallenged;

impl Challengers for Unchallenged {
    fn is_any_on(&self) -> bool {
        false
    }

    fn is_on(&self, _: ModelIx) -> bool {
        false
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(NoScorer)
    }
}

/// Scores nothing.
struct NoScorer;

impl Scorer for NoScorer {
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        vec![Err(Unscored::NoModel { model_type: format!("number {}", model.0) }); rows.len()]
    }
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
    /// A version that takes longer for one row is refused. 2 ms: a hundred times the usual; a user's score waits so long.
    #[serde(with = "humantime_serde")]
    pub latency_one_max: Duration,
    /// A version that takes longer for 256 rows at once is refused. 50 ms: 5,000 rows/s on one thread.
    #[serde(with = "humantime_serde")]
    pub latency_batch_max: Duration,
    /// A version whose trial takes longer is refused: its graph may hang. 10 s: a hundred times the usual.
    #[serde(with = "humantime_serde")]
    pub trial_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("models"),
            library: PathBuf::new(),
            pin: BTreeMap::new(),
            latency_one_max: Duration::from_millis(2),
            latency_batch_max: Duration::from_millis(50),
            trial_max: Duration::from_secs(10),
        }
    }
}
