//! Which users are in memory: start, forward, drain, back off. Sans-IO, because its races hide: the registry shell tells it
//! what happened and does what it says.
//!
//! Laws: a delivered revision is settled by some incarnation, whatever crashes, drains or lags; an incarnation begins only
//! after the one before has ended; a user that keeps failing waits longer each time, and an event that fails too often is
//! put aside; when everybody is idle, nobody is in memory. Every call costs O(1), amortised.
//!
//! ```text
//!            deliver, want                 ask (idle, or too many)
//!   (none) ───────────────→ Running ──────────────────────────→ Asked
//!      ↑                    ↑  ↑  │ failed            idle(all) │ │ deliver: back to Running
//!      │ backoff over,      │  │  ↓                             ↓ │
//!      │ nothing to do      │  BackingOff ←──── failed ──── Draining
//!      ├────────────────────┼─────┘                             │ ended
//!      └────────────────────┴── came meanwhile? ────────────────┘
//! ```

use std::time::Duration;

use super::backoff::Backoff;
use super::event::Revision;
use super::id::UserId;

mod seats;

pub use seats::Roster;

/// A user's place in the roster; small, reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Numbers the incarnations of all users, so that what an earlier one says is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// The bounds of a roster.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Users in memory, more or less: those at work are not put out.
    pub resident_max: usize,
    /// A user without a delivery or command for so long is put out.
    pub idle_after: Duration,
    /// An event that failed so often is put aside.
    pub attempts_max: u32,
    /// The waits between failures of one user.
    pub backoff: Backoff,
}

/// How far a new incarnation must read `user-<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Exactly this far; what follows comes by mail. None: there is nothing before the mail.
    Through(Option<Revision>),
    /// As far as the feed has come: nobody remembers this user.
    Unknown,
}

/// An event to put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Which.
    pub revision: Revision,
    /// How often it failed.
    pub attempts: u32,
    /// How it failed last.
    pub reason: String,
}

/// What a new incarnation is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where.
    pub slot: Slot,
    /// Its number.
    pub incarnation: Incarnation,
    /// Who.
    pub user: UserId,
    /// How far it must read.
    pub tail: Tail,
    /// Whether it must take one event at a time, so that a failure has one cause.
    pub careful: bool,
    /// What it must put aside.
    pub park: Option<Parked>,
}

/// What the shell must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin an incarnation.
    Start(Start),
    /// Tell the incarnation in this slot to say when it is idle.
    Ask(Slot),
    /// Let the incarnation in this slot finish its mailbox and end.
    Drain(Slot),
}

/// Where mail for a user goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the incarnation in the slot (after the actions).
    Forward(Slot),
    /// Nowhere: a later incarnation reads it from the log, or is given it by the shell when it starts.
    Hold(Slot),
    /// It was delivered before.
    Duplicate(Slot),
}

/// How an incarnation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told.
    Drained,
    /// It was asked for something that changes what stands behind: a successor begins at once.
    Again,
    /// It failed.
    Failed {
        /// The event at fault, when it is known and the fault would come again.
        revision: Option<Revision>,
        /// What it said.
        reason: String,
    },
}
