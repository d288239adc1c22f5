//! Streams that are closed for ever.
//!
//! Law: what was closed here is never written through here again, after a restart either: the log's stream `$tombstones`
//! remembers each. Called by all that writes; a write holds the tombs while it goes on, so that no close comes between.

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::HashSet;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

use crate::domain::event::{ExpectedRevision, NewEvent};
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

/// The names of closed streams.
pub(super) type Names = HashSet<ByteString>;

/// Streams that are closed for ever.
#[derive(Debug)]
pub(super) struct Tombs(RwLock<Names>);

impl Tombs {
    /// Reads them from the log.
    pub(super) async fn load(store: &dyn EventStore) -> Result<Self, Error> {
        let (mut names, mut at) = (Names::new(), Some(0));
        while let Some(from) = at {
            let page = store.read_stream(STREAM, Some(from), Direction::Forwards, PAGE).await?;
            let read = page.events.into_iter().filter_map(|event| ByteString::try_from(event.data).ok());
            names.extend(read);
            at = page.next;
        }
        Ok(Self(RwLock::new(names)))
    }

    /// For as long as something is written.
    pub(super) async fn while_writing(&self) -> RwLockReadGuard<'_, Names> {
        self.0.read().await
    }

    /// For as long as a stream's existence changes: nothing else is written meanwhile.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, Names> {
        self.0.write().await
    }
}

fn id(stream: &str, what: &str) -> EventId {
    // Of the stream alone, so that a repeated close is the same.
    EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{what}/{stream}").as_bytes()))
}

/// The append that ends a stream.
pub(super) fn end(stream: &str, expected: ExpectedRevision) -> Append {
    let event = NewEvent {
        id: id(stream, CLOSED),
        event_type: CLOSED.into(),
        data: Bytes::from_static(b"{}"),
        metadata: Bytes::new(),
    };
    Append { stream: stream.to_owned(), expected, events: vec![event] }
}

/// The append that remembers it.
pub(super) fn remember(stream: &str) -> Append {
    let event = NewEvent {
        id: id(stream, REMEMBERED),
        event_type: REMEMBERED.into(),
        data: Bytes::copy_from_slice(stream.as_bytes()),
        metadata: Bytes::new(),
    };
    Append { stream: STREAM.to_owned(), expected: ExpectedRevision::Any, events: vec![event] }
}
