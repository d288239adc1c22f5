//! Streams that are closed for ever.
//!
//! Law: what was closed here is never written through here again, after a restart either: the log's stream `$tombstones`
//! remembers each. Called by all that writes; a write holds the tombs while it goes on, so that no close comes between. Who only
//! asks never waits.

use std::sync::{PoisonError, RwLock as Lock};

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::stream::iter;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

use crate::domain::event::{ExpectedRevision, NewEvent, Recorded, Revision};
use crate::domain::id::EventId;
use crate::store::{Append, Direction, Error, EventStore};

/// The stream that remembers. Clients may read it.
pub(super) const STREAM: &str = "$tombstones";
/// Type of the last event of a closed stream.
const CLOSED: &str = "$streamDeleted";
/// Type of what is remembered.
const REMEMBERED: &str = "$tombstone";
/// Tombs of one page.
const PAGE: usize = 1_000;
/// Reads under way for them.
const READS_MAX: usize = 64;

/// The names of closed streams.
type Names = HashSet<ByteString>;

/// Streams that are closed for ever.
#[derive(Debug)]
pub(super) struct Tombs {
    names: Lock<Names>,
    /// Shared by those who write, alone for one who closes.
    writing: RwLock<()>,
}

impl Tombs {
    /// Reads them from the log.
    pub(super) async fn load(store: &dyn EventStore) -> Result<Self, Error> {
        let (mut names, mut at) = (Names::new(), Some(0));
        while let Some(from) = at {
            let page = store.read_stream(STREAM, Some(from), Direction::Forwards, PAGE).await?;
            let read: Vec<_> = page.events.into_iter().map(|event| remembered(store, event)).collect();
            let read: Vec<_> = iter(read).buffer_unordered(READS_MAX).try_collect().await?;
            names.extend(read.into_iter().flatten());
            at = page.next;
        }
        Ok(Self { names: Lock::new(names), writing: RwLock::default() })
    }

    /// Whether a stream is closed.
    pub(super) fn contains(&self, stream: &str) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).contains(stream)
    }

    /// One more.
    pub(super) fn insert(&self, stream: String) {
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(stream.into());
    }

    /// For as long as something is written.
    pub(super) async fn while_writing(&self) -> RwLockReadGuard<'_, ()> {
        self.writing.read().await
    }

    /// For as long as a stream's existence changes: nothing else is written meanwhile.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().await
    }
}

/// Of the stream and the place alone, so that a repeated close is the same.
fn id(stream: &str, what: &str, place: Revision) -> EventId {
    EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{what}/{place}/{stream}").as_bytes()))
}

/// The append that ends a stream, after its last revision.
pub(super) fn end(stream: &str, last: Option<Revision>) -> Append {
    let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
    let event = NewEvent {
        id: id(stream, CLOSED, last.map_or(0, |last| last + 1)),
        event_type: CLOSED.into(),
        data: Bytes::from_static(b"{}"),
        metadata: Bytes::new(),
    };
    Append { stream: stream.to_owned(), expected, events: vec![event] }
}

/// Whether an event ends its stream.
pub(super) fn ends(event: &Recorded) -> bool {
    *event.event_type == *CLOSED
}

/// Where the end of what is remembered stands.
#[derive(Serialize, Deserialize)]
struct Place {
    revision: Revision,
}

/// The append that remembers a stream whose end is at this revision.
pub(super) fn remember(stream: &str, revision: Revision) -> Append {
    let event = NewEvent {
        id: id(stream, REMEMBERED, revision),
        event_type: REMEMBERED.into(),
        data: Bytes::copy_from_slice(stream.as_bytes()),
        metadata: serde_json::to_vec(&Place { revision }).unwrap_or_default().into(),
    };
    Append { stream: STREAM.to_owned(), expected: ExpectedRevision::Any, events: vec![event] }
}

/// The stream that is remembered, unless its end was refused.
async fn remembered(store: &dyn EventStore, event: Recorded) -> Result<Option<ByteString>, Error> {
    let Ok(stream) = ByteString::try_from(event.data) else { return Ok(None) };
    // Older ones do not say where: they were written after the end was.
    let Ok(Place { revision }) = serde_json::from_slice(&event.metadata) else { return Ok(Some(stream)) };
    let page = store.read_stream(&stream, Some(revision), Direction::Forwards, 1).await?;
    Ok(page.events.first().is_some_and(ends).then_some(stream))
}
