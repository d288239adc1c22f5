//! Where each stream's events are: the newest in memory, the rest on disk, written behind in sorted batches.
//!
//! Law: a stream's events are found from the moment they are durable, with no gap in their revisions; a gap is damage.
//! Filled by `writer`, read by `reader`, `cache` and `subscribe`; a thread of its own moves full tables to disk.
//!
//! ```text
//! writer -> filling table -> leaving table -> (index thread) -> rows
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Options;
use super::memtable::{Entry, Key, Slot, Table, Tables};
use super::rows::{Row, Rows};
use super::segment::Segments;
use crate::domain::event::Revision;
use crate::domain::id::EventId;
use crate::store::{Direction, Error, StoreId};

/// The index of a store.
pub(super) struct Index {
    path: PathBuf,
    id: StoreId,
    options: Options,
    rows: RwLock<Option<Rows>>,
    tables: Mutex<State>,
    /// Rung when a table leaves, has left, or the index stops.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    tables: Tables,
    stopping: bool,
    /// Why the leaving table cannot be written.
    failure: Option<String>,
}

/// Some events of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: Revision,
    pub(super) slots: Vec<Slot>,
    /// The revision after the stream's last; 0 when it does not exist.
    pub(super) end: Revision,
}

/// 32 bits of an event id's hash; ids may be sequential, so all of it counts.
pub(super) fn print_of(id: EventId) -> u32 {
    let (high, low) = id.0.as_u64_pair();
    ((high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

impl Index {
    /// Opens the index and rolls it forward to the end of the log.
    pub(super) fn open(
        path: &Path,
        id: StoreId,
        options: &Options,
        segments: &Segments,
        end: (u64, u64),
    ) -> Result<Self, Error> {
        let mut rows = Rows::open(path, id, options.index_cache_bytes)?;
        let mut from = usable(&rows, segments, end)?;
        if from.is_none() {
            drop(rows);
            Rows::discard(path)?;
            rows = Rows::open(path, id, options.index_cache_bytes)?;
            from = Some(0);
        }
        let from = from.unwrap_or(0);
        let index = Self {
            path: path.to_owned(),
            id,
            options: options.clone(),
            rows: RwLock::new(Some(rows)),
            tables: Mutex::default(),
            moved: Condvar::new(),
        };
        index.roll_forward(segments, from)?;
        Ok(index)
    }

    /// The key of a stream. The seed is the store's own, so that no sender of events can choose names that clash.
    pub(super) fn key(&self, stream: &str) -> Key {
        let (seed, _) = self.id.0.as_u64_pair();
        xxh3_128_with_seed(stream.as_bytes(), seed)
    }

    fn roll_forward(&self, segments: &Segments, from: u64) -> Result<(), Error> {
        let mut table = Table::starting_at(from);
        let (mut at, mut count, mut entries) = (from, 0, Vec::new());
        while let Some(chunk) = segments.chunk_from(at)? {
            let start = at.max(chunk.base);
            for found in chunk.records(start) {
                let found = found?;
                let stream = std::str::from_utf8(found.record.stream).unwrap_or_default();
                entries.push(Entry {
                    key: self.key(stream),
                    revision: found.record.revision,
                    slot: Slot::new(found.position, print_of(found.record.id)),
                });
            }
            at = chunk.end();
            count += entries.len();
            table.add(&entries, at, chunk.chain);
            entries.clear();
            if table.events >= self.options.memtable_events {
                self.with_rows(|rows| rows.write(&table))?;
                table = Table::starting_at(at);
            }
        }
        if count > 0 {
            tracing::info!(path = %self.path.display(), events = count, "the index caught up with the log");
        }
        self.state().tables.filling = table;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> RwLockReadGuard<'_, Option<Rows>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with_rows<T>(&self, look: impl FnOnce(&Rows) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.rows() {
            Some(rows) => look(rows),
            None => {
                let reason = format!("the index in {} could not be opened again yet", self.path.display());
                Err(Error::Unavailable { reason, source: None })
            }
        }
    }

    /// Waits until there is room for another block. Asked before a block is made durable, never after.
    pub(super) fn wait_for_room(&self) -> Result<(), Error> {
        let mut state = self.state();
        loop {
            if state.tables.filling.events < self.options.memtable_events {
                return Ok(());
            }
            if state.tables.leaving.is_none() {
                let from = state.tables.filling.to;
                let full = std::mem::replace(&mut state.tables.filling, Table::starting_at(from));
                state.tables.leaving = Some(Arc::new(full));
                self.moved.notify_all();
                return Ok(());
            }
            if let Some(reason) = &state.failure {
                return Err(Error::Unavailable { reason: reason.clone(), source: None });
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes in the events of a block that is durable.
    pub(super) fn add(&self, entries: &[Entry], to: u64, chain: u64) {
        self.state().tables.filling.add(entries, to, chain);
    }

    /// The index thread: moves tables to disk until told to stop, and then the last one.
    pub(super) fn run(&self) {
        let mut state = self.state();
        loop {
            let Some(table) = state.tables.leaving.clone() else {
                if state.stopping {
                    drop(state);
                    if let Err(error) = self.with_rows(Rows::settle) {
                        tracing::warn!(error = %crate::error::Chain(&error), "the next start takes longer");
                    }
                    return;
                }
                state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let written = self.with_rows(|rows| rows.write(&table));
            state = self.state();
            match written {
                Ok(()) => {
                    state.tables.leaving = None;
                    state.failure = None;
                    if state.stopping && state.tables.filling.events > 0 {
                        state.tables.leaving = Some(Arc::new(std::mem::take(&mut state.tables.filling)));
                    }
                    self.moved.notify_all();
                }
                Err(error) => {
                    let reason = crate::error::Chain(&error).to_string();
                    tracing::warn!(error = reason, "the index cannot be written; trying again");
                    state.failure = Some(reason);
                    self.moved.notify_all();
                    if state.stopping {
                        // The log has it all: the next start rolls the index forward.
                        return;
                    }
                    let (waited, _) = self
                        .moved
                        .wait_timeout(state, self.options.retry_after)
                        .unwrap_or_else(PoisonError::into_inner);
                    drop(waited);
                    self.reopen(table.from);
                    state = self.state();
                }
            }
        }
    }

    /// Tells the index thread to write what is left and end.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        if state.tables.leaving.is_none() && state.tables.filling.events > 0 {
            state.tables.leaving = Some(Arc::new(std::mem::take(&mut state.tables.filling)));
        }
        self.moved.notify_all();
    }

    /// After a failed write fjall refuses all others until it is opened again.
    fn reopen(&self, covered: u64) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        *rows = None;
        match Rows::reopen(&self.path, self.id, self.options.index_cache_bytes, covered) {
            Ok(again) => *rows = Some(again),
            Err(error) => {
                tracing::warn!(error = %crate::error::Chain(&error), "the index cannot be opened again yet");
            }
        }
    }

    /// All slots of a stream. Cheap when the stream does not exist.
    pub(super) fn load(&self, key: Key) -> Result<Stretch, Error> {
        self.read(key, 0, Direction::Forwards, usize::MAX)
    }

    /// Up to `limit` events of a stream from a revision on; backwards they end at `from`. Always in order of revision.
    pub(super) fn read(
        &self,
        key: Key,
        from: Revision,
        direction: Direction,
        limit: usize,
    ) -> Result<Stretch, Error> {
        // Tables first: what leaves them meanwhile is then found on disk as well, and not missed.
        let runs = self.state().tables.runs(key);
        let newest = runs.last().map(super::memtable::Run::end);
        if runs.first().is_none_or(|run| run.first > 0) {
            return self.with_rows(|rows| {
                if !rows.knows(key)? {
                    return if runs.is_empty() {
                        Ok(Stretch::default())
                    } else {
                        Err(rows.damage("the first events of a stream are missing from the index"))
                    };
                }
                let end = match newest {
                    Some(end) => end,
                    None => match rows.back_from(key, Revision::MAX).next() {
                        Some(row) => row.map(|row| row.first + row.slots.len() as u64)?,
                        None => 0,
                    },
                };
                let Some((first, last)) = bounds(from, direction, limit, end) else {
                    return Ok(Stretch { end, ..Stretch::default() });
                };
                let mut slots = Vec::new();
                for row in rows.from(key, first) {
                    let Row { first: row_first, slots: row } = row?;
                    if row_first >= last || !take(&mut slots, first, last, row_first, &row) {
                        break;
                    }
                }
                self.finish(rows, slots, first, last, end, &runs)
            });
        }
        let end = newest.unwrap_or(0);
        let Some((first, last)) = bounds(from, direction, limit, end) else {
            return Ok(Stretch { end, ..Stretch::default() });
        };
        self.with_rows(|rows| self.finish(rows, Vec::new(), first, last, end, &runs))
    }

    fn finish(
        &self,
        rows: &Rows,
        mut slots: Vec<Slot>,
        first: Revision,
        last: Revision,
        end: Revision,
        runs: &[super::memtable::Run],
    ) -> Result<Stretch, Error> {
        for run in runs {
            take(&mut slots, first, last, run.first, &run.slots);
        }
        if slots.len() as u64 != last - first {
            return Err(rows.damage("events of a stream are missing from the index"));
        }
        Ok(Stretch { first, slots, end })
    }
}

/// The revisions to read, first and after the last; none when there are none.
fn bounds(from: Revision, direction: Direction, limit: usize, end: Revision) -> Option<(Revision, Revision)> {
    let limit = limit as u64;
    let (first, last) = match direction {
        Direction::Forwards => (from, from.saturating_add(limit).min(end)),
        Direction::Backwards => {
            let last = from.saturating_add(1).min(end);
            (last.saturating_sub(limit), last)
        }
    };
    (first < last).then_some((first, last))
}

/// Takes from a row what goes on where `slots` end; false when the row leaves a gap.
fn take(slots: &mut Vec<Slot>, first: Revision, last: Revision, row_first: Revision, row: &[Slot]) -> bool {
    let next = first + slots.len() as u64;
    let Some(skip) = next.checked_sub(row_first) else { return row_first >= last };
    let room = last.saturating_sub(next);
    let row = row.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
    slots.extend(row.iter().take(usize::try_from(room).unwrap_or(usize::MAX)));
    true
}

/// From where the index goes on, if what it holds is a true beginning of this log.
fn usable(rows: &Rows, segments: &Segments, end: (u64, u64)) -> Result<Option<u64>, Error> {
    let Ok(Some(covered)) = rows.covered() else {
        tracing::warn!("the index has gaps");
        return Ok(None);
    };
    if covered.to == 0 {
        return Ok(Some(0));
    }
    let chain = match segments.chunk_from(covered.to)? {
        None => (covered.to == end.0).then_some(end.1),
        Some(chunk) => chunk.previous_at(covered.to.max(chunk.base)),
    };
    if chain == Some(covered.chain) {
        return Ok(Some(covered.to));
    }
    tracing::warn!(index = covered.to, log = end.0, "the index does not belong to this state of the log");
    Ok(None)
}
