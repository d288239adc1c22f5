//! The pure core as the shell sees it: entities to step, facts to write, market events to read.
//!
//! Law: nothing here waits. The shell drives any core, so that its protocol can be tested with one that panics on demand and
//! measured with one that does nothing; the daemon's is `actors::rules`.

use crate::domain::entity::{Effect, Input};
use crate::domain::event::{Behaviour, Fact, NewEvent, Recorded, Revision};
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;

/// One user as a sans-IO machine.
pub trait Entity: Send + 'static {
    /// Tells it something; what it wants done is added to `effects`.
    fn step(&mut self, input: Input, effects: &mut Vec<Effect>);

    /// The next revision of `user-<id>` that it has not folded.
    fn next_event(&self) -> Revision;

    /// The next revision of `intent-<id>` that it has not seen.
    fn next_fact(&self) -> Revision;

    /// Whether it waits for nothing and everything folded is settled: it may leave memory.
    fn is_quiet(&self) -> bool;

    /// The event that it is folding or deciding just now: after a panic, the one at fault.
    fn at_work_on(&self) -> Option<Revision>;

    /// The largest event time it has folded.
    fn clock(&self) -> Timestamp;

    /// Itself, for later; none while it is not quiet.
    fn snapshot(&self) -> Option<Vec<u8>>;
}

/// What all users share.
pub trait Core: Send + Sync + 'static {
    /// A user as its snapshot says, or from nothing when there is none that can be read.
    fn entity(&self, user: &UserId, snapshot: Option<&[u8]>) -> Box<dyn Entity>;

    /// A fact as it is written.
    fn encode(&self, fact: &Fact) -> NewEvent;

    /// The streams that hold market events.
    fn market_streams(&self) -> Vec<String>;

    /// A market event; none when it is of no type that the catalogue knows.
    fn market_event(&self, event: &Recorded) -> Option<Behaviour>;

    /// When a user's event happened; none when it cannot be read.
    fn occurred_at(&self, event: &Recorded) -> Option<Timestamp>;
}
