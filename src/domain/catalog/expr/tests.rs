//! Compiled expressions against the `cel` crate's interpreter.
