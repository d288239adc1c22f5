//! The index on disk: where each event of a stream is.
//!
//! Law: it is derived. What it does not cover is read from the log again; whatever is wrong with it, it is thrown away and
//! built anew. One batch holds one stretch of the log and says which, so a batch that got lost leaves a gap that shows.
//! Called by `index`; the only user of fjall.

use std::fs;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, UserKey, UserValue};

use super::disk::corrupt;
use super::le::Cut;
use super::memtable::{Key, SLOT, Slot, Table};
use crate::domain::event::Revision;
use crate::store::{Error, StoreId};

/// More stretches than this are made one when the index is opened.
const STRETCHES_MAX: usize = 256;

/// So much may have to be read again from fjall's journal at a start after a crash, at some 20 MiB/s. Fjall counts 60 bytes for a
/// row that takes some 250 in memory: 8 MiB are 35.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// A close waits no longer for the index; what is not settled then costs time at the next start and nothing else.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// The index's tables.
pub(super) struct Rows {
    path: PathBuf,
    database: Database,
    /// Stream and first revision -> slots.
    streams: Keyspace,
    /// First position of a stretch -> its end and the chain there.
    covered: Keyspace,
}

/// How far the index goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) to: u64,
    pub(super) chain: u64,
}

fn row_key(key: Key, revision: Revision) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (stream, place) = bytes.split_at_mut(16);
    stream.copy_from_slice(&key.to_be_bytes());
    place.copy_from_slice(&revision.to_be_bytes());
    bytes
}

/// A row: the revision of its first event, and its slots.
pub(super) struct Row {
    pub(super) first: Revision,
    pub(super) slots: Vec<Slot>,
}

impl Row {
    fn parse(key: &UserKey, value: &UserValue) -> Option<Self> {
        let (_, revision) = key.split_at_checked(16)?;
        let mut cut = Cut(value);
        let mut slots = Vec::with_capacity(value.len() / SLOT);
        while !cut.0.is_empty() {
            slots.push(Slot::new(cut.u64()?, cut.u32()?));
        }
        Some(Self { first: Revision::from_be_bytes(revision.try_into().ok()?), slots })
    }
}

impl Rows {
    /// The file that says that a read of the index failed: the next start builds it anew.
    fn damage_mark(path: &Path) -> PathBuf {
        path.with_extension("damaged")
    }

    /// Opens the index, empty when what is there cannot be used.
    pub(super) fn open(path: &Path, id: StoreId, cache_bytes: u64) -> Result<Self, Error> {
        let mark = Self::damage_mark(path);
        if !mark.exists() {
            // Damaged files make fjall panic as well as fail: both mean the same here.
            match catch_unwind(AssertUnwindSafe(|| Self::try_open(path, id, cache_bytes))) {
                Ok(Ok(Some(rows))) => return Ok(rows),
                Ok(Ok(None)) => tracing::warn!(path = %path.display(), "the index belongs to another store"),
                Ok(Err(error)) => {
                    tracing::warn!(path = %path.display(), %error, "the index cannot be opened")
                }
                Err(_) => tracing::warn!(path = %path.display(), "the index is damaged: opening it panicked"),
            }
        }
        Self::discard(path)?;
        match Self::try_open(path, id, cache_bytes) {
            Ok(Some(rows)) => Ok(rows),
            Ok(None) => Err(corrupt(path, 0, "a new index belongs to another store")),
            Err(error) => Err(failed(path, "create", &error)),
        }
    }

    /// Opens the index again after a failed write; it must go exactly as far as before.
    pub(super) fn reopen(path: &Path, id: StoreId, cache_bytes: u64, covered: u64) -> Result<Self, Error> {
        let rows = catch_unwind(AssertUnwindSafe(|| Self::try_open(path, id, cache_bytes)));
        match rows {
            Ok(Ok(Some(rows))) if rows.covered()?.is_some_and(|found| found.to == covered) => Ok(rows),
            Ok(Err(error)) => Err(failed(path, "open", &error)),
            Ok(Ok(_)) | Err(_) => {
                Err(corrupt(path, 0, "the index lost what it held; start the daemon again"))
            }
        }
    }

    /// Throws the index away.
    pub(super) fn discard(path: &Path) -> Result<(), Error> {
        let gone = |error| super::disk::unavailable("remove", path, error);
        if path.exists() {
            tracing::warn!(path = %path.display(), "the index is built anew from the log");
            fs::remove_dir_all(path).map_err(gone)?;
        }
        let mark = Self::damage_mark(path);
        if mark.exists() { fs::remove_file(mark).map_err(gone) } else { Ok(()) }
    }

    fn try_open(path: &Path, id: StoreId, cache_bytes: u64) -> fjall::Result<Option<Self>> {
        let database = Database::builder(path)
            .cache_size(cache_bytes)
            .worker_threads(1)
            .journal_compression(CompressionType::None)
            .open()?;
        let options =
            || KeyspaceCreateOptions::default().data_block_compression_policy(CompressionPolicy::disabled());
        let streams = database.keyspace("streams", || options().max_memtable_size(MEMTABLE_BYTES))?;
        let covered = database.keyspace("covered", options)?;
        let meta = database.keyspace("store", options)?;
        match meta.get("id")? {
            None => meta.insert("id", *id.0.as_bytes())?,
            Some(other) if *other != *id.0.as_bytes() => return Ok(None),
            Some(_) => {}
        }
        Ok(Some(Self { path: path.to_owned(), database, streams, covered }))
    }

    /// How far the stretches go without a gap; none when there is a gap or a stretch makes no sense.
    pub(super) fn covered(&self) -> Result<Option<Covered>, Error> {
        let mut covered = Covered { to: 0, chain: 0 };
        let mut stretches = Vec::new();
        for guard in self.covered.iter() {
            let (key, value) = guard.into_inner().map_err(|error| self.failed("read", &error))?;
            let mut cut = Cut(&value);
            let from = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes);
            let (Ok(from), Some(to), Some(chain)) = (from, cut.u64(), cut.u64()) else { return Ok(None) };
            if from != covered.to {
                return Ok(None);
            }
            covered = Covered { to, chain };
            stretches.push(key);
        }
        if stretches.len() > STRETCHES_MAX {
            let mut batch = self.database.batch();
            for key in stretches {
                batch.remove(&self.covered, key);
            }
            self.cover(&mut batch, 0, covered);
            batch.commit().map_err(|error| self.failed("write", &error))?;
        }
        Ok(Some(covered))
    }

    fn cover(&self, batch: &mut fjall::OwnedWriteBatch, from: u64, covered: Covered) {
        let value = [covered.to.to_le_bytes(), covered.chain.to_le_bytes()].concat();
        batch.insert(&self.covered, from.to_be_bytes(), value);
    }

    /// Writes a table, all or nothing.
    pub(super) fn write(&self, table: &Table) -> Result<(), Error> {
        let mut runs: Vec<_> = table.runs.iter().collect();
        runs.sort_unstable_by_key(|(key, _)| **key);
        let mut batch = self.database.batch();
        for (key, run) in runs {
            let mut value = Vec::with_capacity(run.slots.len() * SLOT);
            for slot in &run.slots {
                value.extend_from_slice(&slot.position().to_le_bytes());
                value.extend_from_slice(&slot.print.to_le_bytes());
            }
            batch.insert(&self.streams, row_key(*key, run.first), value);
        }
        self.cover(&mut batch, table.from, Covered { to: table.to, chain: table.chain });
        batch.commit().map_err(|error| failed(&self.path, "write", &error))
    }

    /// Leaves nothing in fjall's journal, so that the next start has nothing to read again. Gives up after a while: on a
    /// full disk fjall would try for ever.
    pub(super) fn settle(&self) -> Result<(), Error> {
        let keyspaces = [&self.streams, &self.covered];
        for keyspace in keyspaces {
            keyspace.rotate_memtable().map_err(|error| failed(&self.path, "write", &error))?;
        }
        let begun = Instant::now();
        while keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
            if begun.elapsed() > SETTLE_MAX {
                let late = io::Error::from(ErrorKind::TimedOut);
                return Err(failed(&self.path, "settle", &fjall::Error::Io(late)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether the stream has rows: cheap when it has not.
    pub(super) fn knows(&self, key: Key) -> Result<bool, Error> {
        self.streams.contains_key(row_key(key, 0)).map_err(|error| self.failed("read", &error))
    }

    /// The rows of a stream from the one that holds a revision, in order.
    pub(super) fn from(&self, key: Key, revision: Revision) -> impl Iterator<Item = Result<Row, Error>> {
        let holding = self.streams.range(row_key(key, 0)..=row_key(key, revision)).next_back();
        let start = holding.map(|guard| self.row(guard));
        let after = (
            std::ops::Bound::Excluded(row_key(key, revision)),
            std::ops::Bound::Included(row_key(key, u64::MAX)),
        );
        start.into_iter().chain(self.streams.range(after).map(|guard| self.row(guard)))
    }

    /// The rows of a stream from the one that holds a revision, backwards.
    pub(super) fn back_from(&self, key: Key, revision: Revision) -> impl Iterator<Item = Result<Row, Error>> {
        self.streams.range(row_key(key, 0)..=row_key(key, revision)).rev().map(|guard| self.row(guard))
    }

    /// Every row, by stream and revision.
    pub(super) fn all(&self) -> impl Iterator<Item = Result<(Key, Row), Error>> {
        self.streams.iter().map(|guard| {
            let (key, value) = guard.into_inner().map_err(|error| self.failed("read", &error))?;
            let stream = key.split_first_chunk().map(|(stream, _)| Key::from_be_bytes(*stream));
            stream.zip(Row::parse(&key, &value)).ok_or_else(|| self.damage("a row makes no sense"))
        })
    }

    fn row(&self, guard: fjall::Guard) -> Result<Row, Error> {
        let (key, value) = guard.into_inner().map_err(|error| self.failed("read", &error))?;
        Row::parse(&key, &value).ok_or_else(|| self.damage("a row makes no sense"))
    }

    /// What the index says is not what the log says.
    pub(super) fn damage(&self, what: &str) -> Error {
        let mark = Self::damage_mark(&self.path);
        if let Err(error) = fs::write(&mark, what) {
            tracing::error!(path = %mark.display(), %error, "cannot mark the index as damaged; remove it by hand");
        }
        corrupt(&self.path, 0, &format!("{what}; the index is built anew at the next start"))
    }

    fn failed(&self, doing: &str, error: &fjall::Error) -> Error {
        if matches!(error, fjall::Error::Poisoned) || io_cause(error).is_some() {
            failed(&self.path, doing, error)
        } else {
            self.damage(&format!("cannot {doing} the index: {error:?}"))
        }
    }
}

/// What the file system said, when it was not about the files' contents.
fn io_cause(error: &fjall::Error) -> Option<&io::Error> {
    let (fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause))) = error else {
        return None;
    };
    let contents = [ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::Other, ErrorKind::NotFound];
    (!contents.contains(&cause.kind())).then_some(cause)
}

fn failed(path: &Path, doing: &str, error: &fjall::Error) -> Error {
    let source = match io_cause(error) {
        Some(cause) => io::Error::new(cause.kind(), cause.to_string()),
        None => io::Error::other(format!("{error:?}")),
    };
    super::disk::unavailable(&format!("{doing} the index in"), path, source)
}
