//! What tests of more than one boundary share.

pub mod apart;
pub mod fake;
pub mod rules;
pub mod schemas;
pub mod stores;
pub mod world;
