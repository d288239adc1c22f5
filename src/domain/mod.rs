//! Layer 0: values and functions. No clock, no randomness, no I/O, no async: time is an argument.
//!
//! Law: same events, same catalogue, same answers of the models give the same decisions, bit for bit.

pub mod alert;
pub mod backoff;
pub mod catalog;
pub mod codec;
pub mod entity;
pub mod event;
pub mod evidence;
pub mod fact;
pub mod features;
pub mod id;
pub mod label;
pub mod market;
pub mod model;
pub mod plan;
pub mod policy;
pub mod quality;
pub mod roster;
pub mod score;
pub mod shard;
pub mod signal;
pub mod time;
pub mod truth;
pub mod watermark;
pub mod window;
