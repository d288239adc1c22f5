//! Appends to one stream reach the store in the order in which they came.
//!
//! Law: who holds the turn has not reached the store's queue yet; turns are given in the order in which they were asked for.
//! Taken by appends, which read a stream's metadata first: such a read may take its time, and the next one's less.

use std::array;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::sync::{Mutex, MutexGuard};

/// Streams that share a turn wait for one another for no longer than a read.
const COUNT: usize = 128;

/// The turns of all streams.
#[derive(Debug)]
pub(super) struct Turns([Mutex<()>; COUNT]);

impl Default for Turns {
    fn default() -> Self {
        Self(array::from_fn(|_| Mutex::new(())))
    }
}

impl Turns {
    /// A stream's turn.
    pub(super) async fn of(&self, stream: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % COUNT as u64).unwrap_or_default();
        match self.0.get(at) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}
