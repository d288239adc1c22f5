//! One test binary; one module per boundary.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "helpers of tests fail by panicking"
)]

mod backtest;
mod backtest_figures;
mod catalog;
mod challenger;
mod check;
mod codec;
mod codec_golden;
mod codec_golden_models;
mod config;
mod daemon;
mod daemon_cluster;
mod daemon_degraded;
mod daemon_http;
mod daemon_kill;
mod daemon_performance;
mod daemon_rebuild;
mod daemon_shards;
mod daemon_socket;
mod dataset;
mod fold;
mod http;
mod memory_store;
mod models_daemon;
mod models_failing;
mod models_follow;
mod models_registry;
mod passivation;
mod past;
mod pipeline;
mod projection;
mod published;
mod readiness;
mod real_bpi;
mod restarts;
mod scoring;
mod shards;
mod shards_command;
mod sim_entity;
mod sim_roster;
mod simulate;
mod skew;
mod stops;
mod store_contract;
mod store_copy;
mod store_crash;
mod store_disk;
mod store_flip;
mod store_kurrent;
mod store_kurrent_order;
mod store_kurrent_secure;
mod store_model;
mod store_moved;
mod store_named;
mod supervision;
mod support;
mod sweeper;
mod tidy;
mod wire;
