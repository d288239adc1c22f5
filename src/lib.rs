//! `intentd` turns people's behaviour into alerts that somebody can act on, and can explain each of them.
//!
//! Code map, in the order of the way of an event:
//!
//! | module | layer | what it is for |
//! |---|---|---|
//! | [`domain`] | 0 | values and pure functions: fold, detect, decide; no clock, no I/O |
//! | [`store`] | 2 (port), 3 (adapters) | the log: append, read, subscribe |
//! | [`scoring`] | 2 (port), 3 (adapter) | models: features in, probability and contributions out |
//! | [`projection`] | 2 (port), 3 (adapter) | the read side: alerts and signals as queries want them |
//! | [`replay`] | 2 | the log told again to entities that write nothing |
//! | [`published`] | 1 | the events that we write, described for other readers |
//! | [`dataset`] | 2 (port), 3 (adapter) | point-in-time training examples |
//! | [`backtest`] | 2 | what other models would have decided, against what was decided and happened |
//! | [`commands`] | 2 | what the outside may ask of the running daemon (a port) |
//! | [`actors`] | 3 | the shell: feeds the pure entities and performs their effects |
//! | [`models`] | 3 | the model registry: which version serves, as facts and as live sessions |
//! | [`http`] | 3 | the HTTP API over the ports |
//! | [`wire`] | 3 | KurrentDB's gRPC protocol over any store |
//! | [`metrics`] | 1 | every metric, its unit and help |
//! | [`import`], [`simulate`] | 4 | event logs from files; a simulated population |
//! | [`app`], [`cli`], [`config`], [`telemetry`], [`allocator`] | 4 | composition, commands, configuration |
//!
//! Imports point down only; adapters never name each other; `http`, `wire` and `actors` meet in [`app`] alone.
//! `tests/it/tidy.rs` holds this law.

pub mod actors;
pub mod allocator;
pub mod app;
pub mod backtest;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod dataset;
pub mod domain;
pub mod error;
pub mod http;
pub mod import;
pub mod metrics;
pub mod models;
pub mod projection;
pub mod published;
pub mod replay;
pub mod scoring;
pub mod simulate;
pub mod store;
pub mod telemetry;
pub mod wire;
