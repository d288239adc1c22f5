//! The log in a directory of its own: blocks in append-only segment files, an index written behind, one process.
//!
//! Law: the segment files are the truth; the index is derived and built anew when it is lost or damaged. An append is
//! answered when its block is on disk. A flipped byte is an error that names its place, never other data.
//!
//! ```text
//! append -> queue bounded by bytes -> writer thread -> block -> segment file, sync -> index in memory, live blocks -> answer
//!                                                                                        └-> index thread -> rows on disk
//! read, subscribe <- live blocks | segment files <- positions from the index
//!
//! store.toml  the store's id     lock    held by the daemon     closed  where the log ended at a clean close
//! log/<position of the first byte>.seg   index/                 (see `segment`, `block`, `record`; `rows`)
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use self::disk::Disk;
use self::index::Index;
use self::live::Live;
use self::log::Log;
use self::recover::Closed;
use self::segment::Segments;
use self::writer::{Refusal, Request, Writer, stopping};
use super::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, Filter, Page, Position, Revision, StoreId,
    Subscription,
};

mod block;
mod cache;
mod chunk;
mod decide;
mod disk;
#[cfg(test)]
mod faults;
mod identity;
mod index;
mod le;
mod live;
mod log;
mod memtable;
mod reader;
mod record;
mod recover;
mod rows;
mod segment;
mod subscribe;
mod verify;
mod writer;

pub use self::verify::Report;

/// What one call may cost beside its bytes: keeps many empty appends from waiting for nothing.
const REQUEST_BYTES: usize = 256;

/// A stream read of at most so many events happens where it is asked for: some 3 µs each from the page cache, and no worse
/// than a thread's wake-up even when the disk has to be asked once.
const INLINE_EVENTS_MAX: usize = 16;

/// The bounds of an embedded store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A segment file is closed when it has this size; at most 1 GiB.
    pub segment_bytes: u32,
    /// A block takes no more appends at this size.
    pub block_bytes: usize,
    /// A block takes no more appends at this many events.
    pub block_events: usize,
    /// Most bytes of one event.
    pub event_bytes_max: usize,
    /// Most bytes of one append, which is one block at least.
    pub append_bytes_max: usize,
    /// Most bytes of appends that wait for the writer; callers wait beyond it.
    pub waiting_bytes_max: usize,
    /// Memory for what the writer knows of streams.
    pub stream_cache_bytes: usize,
    /// Memory for the index's pages.
    pub index_cache_bytes: u64,
    /// So many events are written to the index at once; up to twice as many are kept in memory.
    pub memtable_events: usize,
    /// Memory for the newest blocks, which live subscriptions read.
    pub live_bytes: usize,
    /// A subscription says where it is at least every so many events that it considered.
    pub checkpoint_events: usize,
    /// A store that cannot write tries again by itself after so long.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            block_bytes: 1 << 20,
            block_events: 16_384,
            event_bytes_max: 1 << 20,
            append_bytes_max: 16 << 20,
            waiting_bytes_max: 64 << 20,
            stream_cache_bytes: 256 << 20,
            index_cache_bytes: 64 << 20,
            memtable_events: 65_536,
            live_bytes: 16 << 20,
            checkpoint_events: 1_024,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// What readers, subscriptions and the writer share.
struct Shared {
    id: StoreId,
    options: Options,
    segments: Arc<Segments>,
    index: Arc<Index>,
    live: Arc<Live>,
    /// Held while anything of the store is in use.
    _lock: File,
}

/// An event store in a directory.
pub struct Embedded {
    shared: Arc<Shared>,
    requests: Sender<Option<Request>>,
    waiting: Arc<Semaphore>,
    refusal: Refusal,
    threads: Mutex<Option<Threads>>,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

struct Threads {
    writer: JoinHandle<Log>,
    index: JoinHandle<()>,
}

/// Whether a directory holds a store. Opening one that does not makes it.
pub fn is_in(dir: &Path) -> bool {
    identity::path(dir).exists()
}

/// Runs a read where it may block.
async fn off_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(stopping()),
    }
}

impl Embedded {
    /// Opens the store in a directory, or makes one there. Blocking.
    ///
    /// # Errors
    /// `Unavailable` when another process holds it or the file system refuses; `Corrupt` when its log is damaged.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::open_on(Arc::new(disk::Real), dir, options)
    }

    fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<Self, Error> {
        let lock = identity::lock(dir)?;
        let id = identity::identity(&*disk, dir)?;
        let log = recover::open(Arc::clone(&disk), dir, id, options.segment_bytes)?;
        let segments = Arc::clone(log.segments());
        let index = Arc::new(Index::open(&dir.join("index"), id, options, &segments, log.end())?);
        let live = Arc::new(Live::new(log.end().0, log.last(), options.live_bytes));
        let refusal = Refusal::default();
        let writer = Writer::new(options, log, Arc::clone(&index), Arc::clone(&live), Arc::clone(&refusal));
        let (requests, queue) = channel();
        let threads = Threads {
            writer: thread("store-writer", move || run_writer(writer, &queue))?,
            index: {
                let index = Arc::clone(&index);
                thread("store-index", move || index.run())?
            },
        };
        crate::metrics::store_available(1.0);
        Ok(Self {
            shared: Arc::new(Shared { id, options: options.clone(), segments, index, live, _lock: lock }),
            requests,
            waiting: Arc::new(Semaphore::new(options.waiting_bytes_max)),
            refusal,
            threads: Mutex::new(Some(threads)),
            dir: dir.to_owned(),
            disk,
        })
    }

    /// Ends the writer, writes the index out and marks the close as clean. Blocking; later calls do nothing. Appends are
    /// refused from then on; subscriptions end with an error.
    ///
    /// # Errors
    /// The mark could not be written: the next open looks at the tail of the log as after a crash.
    pub fn close(&self) -> Result<(), Error> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(threads) = threads else { return Ok(()) };
        self.waiting.close();
        drop(self.requests.send(None));
        let log = threads.writer.join();
        self.shared.index.stop();
        let index = threads.index.join();
        self.shared.live.close();
        let (Ok(mut log), Ok(())) = (log, index) else {
            let reason = "a thread of the store panicked; the next start looks at the whole tail".to_owned();
            return Err(Error::Unavailable { reason, source: None });
        };
        log.mend()?;
        let (end, chain) = log.end();
        let mark = Closed { end, chain };
        mark.write(&*self.disk, &self.dir)
            .map_err(|error| disk::unavailable("write", &Closed::path(&self.dir), error))
    }

    fn check(&self, append: &Append) -> Result<usize, Error> {
        let invalid = |reason: String| Err(Error::Invalid { reason });
        let Append { stream, events, .. } = append;
        if let Some(reason) = append.misuse() {
            return invalid(reason);
        }
        if stream.len() > usize::from(u16::MAX) {
            let most = u16::MAX;
            return invalid(format!("a stream's name has 1 to {most} bytes, this one {}", stream.len()));
        }
        let too_big = |event, bytes, most| Err(Error::TooBig { stream: stream.clone(), event, bytes, most });
        let mut total = 0;
        for event in events {
            if event.event_type.len() > usize::from(u16::MAX) {
                return invalid(format!("an event's type has at most {} bytes", u16::MAX));
            }
            let length = record::length(stream, event);
            if length > self.shared.options.event_bytes_max {
                return too_big(Some(event.id), length, self.shared.options.event_bytes_max);
            }
            total += length;
        }
        if total > self.shared.options.append_bytes_max {
            return too_big(None, total, self.shared.options.append_bytes_max);
        }
        Ok(total)
    }

    async fn send(&self, appends: Vec<Append>) -> Result<Vec<AppendAnswer>, Error> {
        let mut bytes = REQUEST_BYTES;
        for append in &appends {
            bytes += self.check(append)?;
        }
        let share = bytes.min(self.shared.options.waiting_bytes_max);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.waiting).acquire_many_owned(share).await.map_err(|_| stopping())?;
        let (answer, answered) = oneshot::channel();
        self.requests.send(Some(Request { appends, answer, permit })).map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

/// Runs the writer; when it panics, callers hear `stopping`, because their answers are dropped.
fn run_writer(writer: Writer, queue: &Receiver<Option<Request>>) -> Log {
    writer.run(queue)
}

fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| Error::Unavailable {
        reason: format!("cannot start the thread {name}; raise the limit of processes"),
        source: Some(error),
    })
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(error = %crate::error::Chain(&error), "the store was not closed cleanly");
        }
    }
}

impl EventStore for Embedded {
    fn id(&self) -> StoreId {
        self.shared.id
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        Box::pin(self.send(batch))
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        let found = match self.shared.find(stream, from, direction, limit) {
            Ok(found) => found,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        // Most reads find nothing or little (a user begins): a thread for them would cost more than they do.
        if found.slots.len() <= INLINE_EVENTS_MAX {
            return Box::pin(std::future::ready(self.shared.page(stream, from, direction, &found)));
        }
        let (shared, stream) = (Arc::clone(&self.shared), stream.to_owned());
        Box::pin(off_thread(move || shared.page(&stream, from, direction, &found)))
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        let (shared, filter) = (Arc::clone(&self.shared), filter.clone());
        Box::pin(off_thread(move || shared.all_page(from, direction, &filter, limit)))
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        Box::new(subscribe::All::new(&self.shared, after, &filter))
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        Box::new(subscribe::One::new(&self.shared, stream, after))
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        let last = self.shared.live.head().last;
        Box::pin(std::future::ready(Ok((last > 0).then_some(Position(last)))))
    }

    fn writable(&self) -> Result<(), Error> {
        match &*self.refusal.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(reason) => Err(Error::Unavailable { reason: reason.clone(), source: None }),
        }
    }
}
