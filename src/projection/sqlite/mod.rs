//! The projection in one SQLite file: one writer ([`Projection`]), many readers ([`Reader`]).
//!
//! Law: the file is a fold of the log and nothing else. Keys are positions of the log or follow its order, there is no
//! wall clock in it, and the checkpoint moves in the transaction that holds what it speaks of: deleted and folded again
//! in batches of any size, it answers every query with the same bytes.
//!
//! ```text
//!  actors::projector ── apply(events, through) ──→ Projection ──→ file (WAL) ──→ Reader (pool) ←── http, sweeper
//!                    ←─ changes of alerts ───────┘
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::{AlertChange, Error};
use crate::domain::event::{Position, Recorded};
use crate::store::StoreId;

mod alerts;
mod apply;
mod codes;
mod cursor;
mod failure;
mod lists;
mod performance;
#[cfg(test)]
mod plans;
mod pool;
mod reader;
mod recorded;
mod row;
mod schema;
mod shadows;
mod stats;
mod text;
mod unscored;

pub use reader::Reader;
pub use schema::Reset;

/// Bounds of the projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The file grows to this many bytes at most; then the projection is unavailable, and the log goes on.
    pub file_bytes_max: u64,
    /// Page cache of the writer, in bytes. The inner pages of the indexes should fit: a million alerts have 200 MB of them.
    pub writer_cache_bytes: u32,
    /// Page cache of each reading connection, in bytes.
    pub reader_cache_bytes: u32,
    /// Reading connections, that is queries at a time. More than the machine has cores only adds memory.
    pub readers: usize,
    /// How long a query waits for a connection before it gives up: longer than a client would wait makes no sense.
    #[serde(with = "humantime_serde")]
    pub reader_wait_max: Duration,
    /// How long a query may run. Long ones hold back the clearing of the write-ahead log, which then grows.
    #[serde(with = "humantime_serde")]
    pub query_time_max: Duration,
    /// Event types by which users convert, each with its models: from the catalogue, not set by hand. Another list means
    /// another fold, so the file is then begun anew.
    #[serde(skip)]
    pub conversion_events: Vec<(String, Vec<String>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 30,
            writer_cache_bytes: 128 << 20,
            reader_cache_bytes: 16 << 20,
            readers: 4,
            reader_wait_max: Duration::from_secs(2),
            query_time_max: Duration::from_secs(2),
            conversion_events: Vec::new(),
        }
    }
}

/// An event that the projection could not read, left out so that the others go on. It stays in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it stands.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The writer: the only one of its file.
#[derive(Debug)]
pub struct Projection {
    path: PathBuf,
    options: Options,
    connection: Connection,
    checkpoint: Option<Position>,
    reset: Option<Reset>,
    unreadable: Vec<Unreadable>,
    reader: Reader,
}

impl Projection {
    /// Opens or creates the file. One of another store or another schema is deleted and begun anew, which
    /// [`Self::reset`] then tells; one that is not ours is left alone.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be written; `Unusable` when the file is damaged or another program's.
    pub fn open(path: impl AsRef<Path>, store: StoreId, options: Options) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let opened = schema::open(&path, store, &options)?;
        let reader = Reader::new(&path, &options);
        Ok(Self {
            path,
            options,
            connection: opened.connection,
            checkpoint: opened.checkpoint,
            reset: opened.reset,
            unreadable: Vec::new(),
            reader,
        })
    }

    /// Folds events of `intent-*` and `user-*` streams, in log order, and moves the checkpoint to `through`: all in one
    /// transaction. Events at or before the checkpoint are ignored, so a repeated batch has no effect. Answers the
    /// changes of alerts, each with the alert as it stood after that event.
    ///
    /// # Errors
    /// When it fails nothing of the batch is in the file; `Unavailable` may succeed when repeated.
    pub fn apply(&mut self, events: &[Recorded], through: Position) -> Result<Vec<AlertChange>, Error> {
        let fail = |error| failure::translate(&self.path, error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let applied = {
            let conversion_events = &self.options.conversion_events;
            apply::batch(&transaction, conversion_events, self.checkpoint, events, through).map_err(fail)?
        };
        transaction.commit().map_err(fail)?;
        self.checkpoint = self.checkpoint.max(Some(applied.through));
        self.unreadable.extend(applied.unreadable);
        Ok(applied.changes)
    }

    /// How far of `$all` the file has come.
    pub fn position(&self) -> Option<Position> {
        self.checkpoint
    }

    /// Why the file was begun anew when it was opened, if it was: to be logged.
    pub fn reset(&self) -> Option<&Reset> {
        self.reset.as_ref()
    }

    /// The events that could not be read since the last call: to be logged and counted.
    pub fn take_unreadable(&mut self) -> Vec<Unreadable> {
        std::mem::take(&mut self.unreadable)
    }

    /// The queries, cheap to clone; good as long as the file is.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The bounds it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }
}
