//! A few reading connections, each used by one query at a time.
//!
//! Law: a query sees one state of the file, ends in a bounded time, and never waits for the writer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::failure::translate;
use super::{Options, schema};
use crate::projection::Error;

/// Steps of SQLite's machine between two looks at the clock: some 20 microseconds of work.
const STEPS: i32 = 1_000;

/// The connections.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    connections_max: usize,
    cache_bytes: u32,
    wait_max: Duration,
    time_max: Duration,
    slots: Mutex<Slots>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Slots {
    idle: Vec<Timed>,
    open: usize,
}

/// A connection whose statements stop at a deadline.
#[derive(Debug)]
struct Timed {
    connection: Connection,
    born: Instant,
    /// Microseconds after `born`.
    deadline: Arc<AtomicU64>,
}

impl Pool {
    pub(super) fn new(path: PathBuf, options: &Options) -> Self {
        Self {
            path,
            connections_max: options.readers.max(1),
            cache_bytes: options.reader_cache_bytes,
            wait_max: options.reader_wait_max,
            time_max: options.query_time_max,
            slots: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Runs a query in a transaction of its own.
    pub(super) fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut slot = self.take()?;
        let fail = |error| translate(&self.path, error);
        let timed = match slot.timed.take() {
            Some(timed) => timed,
            None => self.connect().map_err(fail)?,
        };
        let timed = slot.timed.insert(timed);
        timed.deadline.store(micros(timed.born.elapsed() + self.time_max), Ordering::Relaxed);
        let transaction = timed.connection.transaction().map_err(fail)?;
        let answer = query(&transaction).map_err(fail)?;
        transaction.finish().map_err(fail)?;
        Ok(answer)
    }

    /// A slot: with a connection, or the right to open one.
    fn take(&self) -> Result<Slot<'_>, Error> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |slots: &mut Slots| slots.idle.is_empty() && slots.open >= self.connections_max;
        let (mut slots, _) =
            self.freed.wait_timeout_while(slots, self.wait_max, busy).unwrap_or_else(PoisonError::into_inner);
        if busy(&mut slots) {
            let reason = format!(
                "all {} reading connections were busy for {:?} (projection.readers, projection.reader_wait_max)",
                self.connections_max, self.wait_max
            );
            return Err(Error::Unavailable { reason });
        }
        let timed = slots.idle.pop();
        slots.open += usize::from(timed.is_none());
        Ok(Slot { pool: self, timed })
    }

    fn connect(&self) -> rusqlite::Result<Timed> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        schema::keep_statements(&connection)?;
        connection.pragma_update(None, "cache_size", schema::cache_size(self.cache_bytes))?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let mut timed = Timed { connection, born: Instant::now(), deadline: Arc::default() };
        let (born, deadline) = (timed.born, Arc::clone(&timed.deadline));
        let late = move || micros(born.elapsed()) > deadline.load(Ordering::Relaxed);
        timed.deadline.store(u64::MAX, Ordering::Relaxed);
        timed.connection.progress_handler(STEPS, Some(late))?;
        Ok(timed)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The right to one connection; given back when dropped, also by a panic.
struct Slot<'a> {
    pool: &'a Pool,
    timed: Option<Timed>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut slots = self.pool.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match self.timed.take() {
            Some(timed) => slots.idle.push(timed),
            None => slots.open -= 1,
        }
        drop(slots);
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_waits_only_so_long_for_a_connection_and_a_panic_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let options = Options { readers: 1, reader_wait_max: Duration::ZERO, ..Options::default() };
        let pool = Pool::new(path, &options);
        let inner = pool.query(|_| Ok(pool.query(|_| Ok(())))).unwrap();
        assert!(inner.unwrap_err().to_string().contains("projection.readers"));
        let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.query(|_| -> rusqlite::Result<()> { panic!("a query") })
        }));
        assert!(thrown.is_err());
        pool.query(|_| Ok(())).unwrap();
        assert!(
            pool.query(|connection| connection.execute("INSERT INTO t VALUES (1)", [])).is_err(),
            "only reads"
        );
    }
}
