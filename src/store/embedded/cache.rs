//! What the writer knows of each stream: where it ends and which ids it holds.
//!
//! Law: what is here is what the index says plus the block being built; after a failed block the streams it touched are
//! forgotten, never mended. Bounded: the streams not used for longest go first, roughly. Called by `writer` and `decide`.

use hashbrown::HashTable;
use hashbrown::hash_map::Entry;

use super::index::Index;
use super::memtable::{ByStream, Key, Slot};
use crate::domain::event::Revision;
use crate::store::Error;

/// From here on a stream's ids are found by hash; below, a scan of 12 bytes each is as fast.
const SCANNED_MAX: usize = 256;
/// What a stream costs beside its slots.
const STREAM_BYTES: usize = 96;

/// A stream as the writer sees it.
#[derive(Debug, Default)]
pub(super) struct Stream {
    slots: Vec<Slot>,
    /// Revisions by print, once there are many.
    by_print: Option<HashTable<u32>>,
}

impl Stream {
    /// The revision that the next event gets.
    pub(super) fn end(&self) -> Revision {
        self.slots.len() as u64
    }

    pub(super) fn slot(&self, revision: Revision) -> Option<Slot> {
        self.slots.get(usize::try_from(revision).ok()?).copied()
    }

    pub(super) fn push(&mut self, slot: Slot) {
        self.slots.push(slot);
        if let Some(table) = &mut self.by_print {
            insert(table, &self.slots, self.slots.len() - 1);
        } else if self.slots.len() > SCANNED_MAX {
            self.hash();
        }
    }

    fn of(slots: Vec<Slot>) -> Self {
        let mut stream = Self { slots, by_print: None };
        if stream.slots.len() > SCANNED_MAX {
            stream.hash();
        }
        stream
    }

    fn hash(&mut self) {
        let mut table = HashTable::with_capacity(self.slots.len());
        for at in 0..self.slots.len() {
            insert(&mut table, &self.slots, at);
        }
        self.by_print = Some(table);
    }

    /// The revisions whose ids may be the one with this print.
    pub(super) fn suspects(&self, print: u32) -> impl Iterator<Item = Revision> {
        let hashed = self.by_print.as_ref().map(|table| {
            let same = move |at: &&u32| self.slots.get(**at as usize).is_some_and(|slot| slot.print == print);
            table.iter_hash(spread(print)).filter(same).map(|at| u64::from(*at))
        });
        let scanned = if self.by_print.is_some() { &[][..] } else { self.slots.as_slice() };
        let scanned = (0..).zip(scanned).filter(move |(_, slot)| slot.print == print).map(|(at, _)| at);
        hashed.into_iter().flatten().chain(scanned)
    }

    fn cost(&self) -> usize {
        STREAM_BYTES + self.slots.capacity() * if self.by_print.is_some() { 22 } else { size_of::<Slot>() }
    }
}

fn spread(print: u32) -> u64 {
    u64::from(print).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn insert(table: &mut HashTable<u32>, slots: &[Slot], at: usize) {
    let print = |at: usize| slots.get(at).map_or(0, |slot| slot.print);
    table.insert_unique(spread(print(at)), at as u32, |other| spread(print(*other as usize)));
}

/// Streams in memory: a young half and an old half. When the young half is full it becomes the old one; what is used in the
/// old half moves to the young one.
pub(super) struct Cache {
    young: ByStream<Stream>,
    old: ByStream<Stream>,
    young_bytes: usize,
    half_bytes: usize,
    /// Every stream there is stands here: one that does not, does not exist.
    complete: bool,
}

impl Cache {
    pub(super) fn new(bytes: usize, empty_store: bool) -> Self {
        Self {
            young: ByStream::default(),
            old: ByStream::default(),
            young_bytes: 0,
            half_bytes: bytes / 2,
            complete: empty_store,
        }
    }

    /// The stream, from the index when it is not here.
    pub(super) fn stream(&mut self, key: Key, index: &Index) -> Result<&mut Stream, Error> {
        match self.young.entry(key) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let stream = match self.old.remove(&key) {
                    Some(stream) => stream,
                    None if self.complete => Stream::default(),
                    None => Stream::of(index.load(key)?.slots),
                };
                self.young_bytes += stream.cost();
                Ok(entry.insert(stream))
            }
        }
    }

    /// Counts what was added to streams of the young half.
    pub(super) fn grown(&mut self, events: usize) {
        // Vectors grow by doubling: on average three quarters of their room is used.
        self.young_bytes += events * size_of::<Slot>() * 4 / 3;
    }

    /// Makes room. Only between blocks: what a block being built adds to a stream is in no index yet.
    pub(super) fn trim(&mut self) {
        if self.young_bytes >= self.half_bytes {
            self.complete &= self.old.is_empty();
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// Forgets a stream whose newest events did not become durable.
    pub(super) fn forget(&mut self, key: Key) {
        self.young.remove(&key);
        self.old.remove(&key);
        self.complete = false;
    }
}
