//! Persistent subscriptions: consumers that share what they follow, and whose place the server keeps.
//!
//! Law: at least once: an event is acknowledged, skipped or parked before the group's place passes it, and place, parked
//! events and settings are in the log, so that a restart goes on from there.
//!
//! ```text
//! calls ─┬→ registry (which groups, in `journal`) → group (one task) → live → machine (who gets what, sans IO)
//!        └→ consumer (one call) ⇄ commands, `seat` ⇄       │             └→ journal (place, parked)
//!                                                          └→ follow (the log)
//! ```

mod calls;
mod command;
mod config;
mod consumer;
mod figures;
mod follow;
mod group;
mod journal;
mod live;
mod machine;
mod registry;
mod seat;

pub(super) use calls::Calls;
pub(super) use journal::OWNED;
pub(super) use registry::Groups;
