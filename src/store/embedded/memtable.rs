//! What the index does not hold yet: the newest events of each stream, in memory.
//!
//! Law: an event is here from the moment its block is durable until the index holds it; a reader looks here first and in
//! the index after, so it misses nothing while a table moves over. Called by `index`.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::domain::event::Revision;

/// A stream, by the 128-bit hash of its name.
pub(super) type Key = u128;

/// Where an event is, and what its id looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Position in halves, so that a slot takes 12 bytes and not 16.
    position: [u32; 2],
    /// 32 bits of its id's hash.
    pub(super) print: u32,
}

/// Bytes of a slot in the index.
pub(super) const SLOT: usize = 12;

impl Slot {
    pub(super) fn new(position: u64, print: u32) -> Self {
        Self { position: [position as u32, (position >> 32) as u32], print }
    }

    pub(super) fn position(self) -> u64 {
        let [low, high] = self.position;
        u64::from(low) | u64::from(high) << 32
    }
}

/// An event's entry on its way to the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) revision: Revision,
    pub(super) slot: Slot,
}

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// A map by stream.
pub(super) type ByStream<T> = HashMap<Key, T, BuildHasherDefault<AsIs>>;

/// Events of one stream, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) first: Revision,
    pub(super) slots: SmallVec<[Slot; 3]>,
}

impl Run {
    /// The revision after the last.
    pub(super) fn end(&self) -> Revision {
        self.first + self.slots.len() as u64
    }
}

/// The events of one stretch of the log.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) runs: ByStream<Run>,
    pub(super) events: usize,
    /// The stretch of the log.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The chain at its end.
    pub(super) chain: u64,
}

impl Table {
    pub(super) fn starting_at(position: u64) -> Self {
        Self { from: position, to: position, ..Self::default() }
    }

    pub(super) fn add(&mut self, entries: &[Entry], to: u64, chain: u64) {
        for entry in entries {
            let run =
                self.runs.entry(entry.key).or_insert_with(|| Run { first: entry.revision, ..Run::default() });
            run.slots.push(entry.slot);
        }
        self.events += entries.len();
        (self.to, self.chain) = (to, chain);
    }
}

/// The table that is filled, and the one on its way into the index.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) filling: Table,
    pub(super) leaving: Option<Arc<Table>>,
}

impl Tables {
    /// What is here of a stream, older first.
    pub(super) fn runs(&self, key: Key) -> SmallVec<[Run; 2]> {
        let leaving = self.leaving.as_ref().and_then(|table| table.runs.get(&key));
        leaving.into_iter().chain(self.filling.runs.get(&key)).cloned().collect()
    }
}
