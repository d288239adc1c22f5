//! The log, as a port: append at an expected revision, read, subscribe.
//!
//! Law: what an append acknowledged is durable, has its place for ever, and is answered again when asked for.
//! One contract suite (`tests/it/store_contract.rs`) holds every adapter to it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::domain::event::{ExpectedRevision, NewEvent, Position, Recorded, Revision};
use crate::domain::id::EventId;

/// A future that a trait object can give.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names one store: positions and everything derived from them are good only with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub Uuid);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Events for one stream, taken all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream.
    pub stream: String,
    /// Where it must end. With [`ExpectedRevision::Any`], events whose id the stream already holds are left out and
    /// counted as duplicates; with the others, the same ids at the same place again are an idempotent success.
    pub expected: ExpectedRevision,
    /// The events, in order; ids unique among them.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// Why no store takes it: no name, no events, or an id twice.
    pub(crate) fn misuse(&self) -> Option<String> {
        let Self { stream, events, .. } = self;
        if stream.is_empty() {
            return Some("an append to a stream without a name".to_owned());
        }
        if events.is_empty() {
            return Some(format!("an append to a stream of {} without events", kind(stream)));
        }
        // Most have one event, and need no set.
        let mut ids = HashSet::with_capacity(if events.len() > 1 { events.len() } else { 0 });
        let twice = events.iter().find(|event| events.len() > 1 && !ids.insert(event.id))?;
        Some(format!("an append to a stream of {} holds the id {} twice", kind(stream), twice.id))
    }
}

/// What a stream's name says without saying whose it is: texts of errors are logged.
pub(crate) fn kind(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(kind, _)| kind)
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The revision of the last of the given events (or of the newest duplicate, when all were).
    pub revision: Revision,
    /// The position of the last of the given events (or of the newest duplicate).
    pub position: Position,
    /// How many were new.
    pub appended: u32,
    /// How many the stream held already.
    pub duplicates: u32,
}

/// The answer for one [`Append`]: expected outcomes are values.
pub type AppendAnswer = Result<Appended, Conflict>;

/// The stream does not end where the append expected it to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream} was expected at {expected:?} and ends at {actual:?}")]
pub struct Conflict {
    /// The stream.
    pub stream: String,
    /// What was expected.
    pub expected: ExpectedRevision,
    /// Its last revision, or none when it does not exist.
    pub actual: Option<Revision>,
}

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not now: disk full, read-only, not reachable, stopping. Retry; nothing was lost, nothing half done.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What, where, and the way out.
        reason: String,
        /// The cause.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The stored bytes are not what was written. Stop, and restore or repair.
    #[error("the store is damaged: {what} in {path} at byte {offset}")]
    Corrupt {
        /// What does not match.
        what: String,
        /// Which file.
        path: String,
        /// Where in it.
        offset: u64,
    },
    /// An event, or all of an append, is bigger than the store takes.
    #[error("the store refuses {bytes} bytes to a stream of {}; the most is {most}", kind(stream))]
    TooBig {
        /// The stream.
        stream: String,
        /// The event; none when the append is.
        event: Option<EventId>,
        /// How big it is, with what the store adds.
        bytes: usize,
        /// How big it may be.
        most: usize,
    },
    /// The request itself is outside the store's bounds.
    #[error("the store refuses the request: {reason}")]
    Invalid {
        /// Which bound, and what was asked.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Which way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Older to newer.
    Forwards,
    /// Newer to older.
    Backwards,
}

/// Which events of `$all`: those whose stream begins with any of these; all when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Stream name prefixes.
    pub stream_prefixes: Vec<String>,
    /// Streams of which only a few events are wanted.
    pub sparse: Option<Sparse>,
}

/// Streams of which only the first event passes, and those of some types: a reader that counts users does not pay for
/// millions of events that say nothing to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// What their names begin with.
    pub stream_prefix: String,
    /// The types that pass wherever they stand.
    pub event_types: Vec<String>,
}

impl Filter {
    /// A filter on stream prefixes.
    pub fn streams(prefixes: &[&str]) -> Self {
        Self { stream_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(), sparse: None }
    }

    /// Of the streams with this prefix, only their first events and those of these types.
    #[must_use]
    pub fn sparsely(self, stream_prefix: &str, event_types: &[&str]) -> Self {
        let event_types = event_types.iter().map(|&event_type| event_type.to_owned()).collect();
        Self { sparse: Some(Sparse { stream_prefix: stream_prefix.to_owned(), event_types }), ..self }
    }

    /// Whether an event passes: its stream, its place in it, its type.
    pub fn admits(&self, stream: &[u8], revision: Revision, event_type: &[u8]) -> bool {
        let begins = |prefix: &String| stream.starts_with(prefix.as_bytes());
        let is = |wanted: &String| wanted.as_bytes() == event_type;
        (self.stream_prefixes.is_empty() || self.stream_prefixes.iter().any(begins))
            && self.sparse.as_ref().is_none_or(|sparse| {
                revision == 0 || !begins(&sparse.stream_prefix) || sparse.event_types.iter().any(is)
            })
    }

    /// The same for an event at hand.
    pub fn admits_event(&self, event: &Recorded) -> bool {
        self.admits(event.stream.as_bytes(), event.revision, event.event_type.as_bytes())
    }
}

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The events, in reading order.
    pub events: Vec<Recorded>,
    /// Where to read on: for a stream the next revision, for `$all` the position to read on from; none at the end.
    pub next: Option<u64>,
    /// Whether the stream exists (always true for `$all`).
    pub exists: bool,
}

/// What a subscription says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Events, oldest first, never empty.
    Events(Vec<Recorded>),
    /// Everything up to here has been considered, whether it passed the filter or not.
    Checkpoint(Position),
    /// All that was in the log has been told; what follows is live. Again after each time of falling behind.
    CaughtUp(Option<Position>),
}

/// A running subscription; dropped, it ends.
pub trait Subscription: Send {
    /// The next message. A slow caller slows only itself: memory for it is bounded.
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>>;
}

/// An event store.
pub trait EventStore: Send + Sync + 'static {
    /// Which store this is.
    fn id(&self) -> StoreId;

    /// Appends many, each all or none; answers in order when all are durable. The appends of one call share one
    /// durable write when they fit in a block, and then stand or fall together at a crash.
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>>;

    /// Reads a stream from a revision (inclusive; none = the start forwards, the end backwards), at most `limit` events.
    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>>;

    /// Reads `$all`. Forwards from a position inclusive; backwards only what stands before it; none = start or end.
    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>>;

    /// Subscribes to `$all`, to events strictly after a position (none = from the start).
    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription>;

    /// Subscribes to a stream, to events strictly after a revision (none = from the start).
    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription>;

    /// The position of the last event, if there is one.
    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>>;

    /// Whether the store can take appends now; the reason when it cannot. Asked by `/readyz`.
    fn writable(&self) -> Result<(), Error>;
}

pub mod checkpoint;
pub mod copy;
pub mod embedded;
pub mod files;
pub mod kurrent;
pub mod memory;
pub mod snapshot;
