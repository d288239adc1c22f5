//! Event logs from files: opened whatever their compression, cut into chunks of whole lines, their keys renamed, and the
//! place reached remembered. Called by `intentd import`, `demo` and the benches.
//!
//! Law: a line is either imported or named with file and line number; what is remembered as done is durable in the store.

pub mod lines;
pub mod names;
pub mod progress;
