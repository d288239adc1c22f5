//! Models as a port: rows in, scores out, many at once.

use crate::domain::catalog::ModelIx;
pub use crate::domain::score::{Row, Score, Unscored};

/// Something that scores. Synchronous and possibly slow: called only on threads of its own.
pub trait Scorer: Send {
    /// Scores rows of one model, in order. An error is for the whole batch; nothing was scored.
    ///
    /// # Errors
    /// The model is missing or failed.
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Result<Vec<Score>, Unscored>;
}

pub mod manifest;
pub mod onnx;
pub mod registry;
