//! What the log keeps of groups: which there are, how far each has come, and what each has parked.
//!
//! Law: a group that begins anew finds nothing of one that had its name before; what is written here is durable before
//! anybody relies on it. Called by `registry` and `group`; the streams are named as tools for the protocol know them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tonic::Status;
use uuid::Uuid;

use super::config::{Config, Key};
use super::machine::Place;
use crate::clock;
use crate::domain::event::{ExpectedRevision, NewEvent, Recorded, Revision};
use crate::domain::id::EventId;
use crate::store::{Append, Direction, Error, EventStore};
use crate::wire::links::{self, LINK, Told};
use crate::wire::status::of_store;
use crate::wire::stream_metadata::{self, PREFIX};

/// The stream of all changes of groups.
const CONFIG: &str = "$persistentSubscriptionConfig";
/// What the streams of groups begin with; clients read them and do not write them.
pub(in crate::wire) const OWNED: &[&str] = &[CONFIG, "$persistentsubscription-"];
const SET: &str = "$groupSet";
const DELETED: &str = "$groupDeleted";
const CHECKPOINT: &str = "$SubscriptionCheckpoint";
/// Events of one page.
const PAGE: usize = 256;
/// Bytes of one page of parked events.
const PAGE_BYTES: usize = 1 << 20;

/// What the streams of a group begin with; two keys may have one.
pub(super) fn stem(key: &Key) -> String {
    format!("$persistentsubscription-{}::{}", key.follows.name(), key.group)
}

fn checkpoints(key: &Key) -> String {
    stem(key) + "-checkpoint"
}

fn parked_stream(key: &Key) -> String {
    stem(key) + "-parked"
}

#[derive(Serialize, Deserialize)]
struct At {
    at: Place,
}

#[derive(Serialize)]
struct Parking<'a> {
    added: i64,
    reason: &'a str,
}

fn json<T: Serialize>(value: &T) -> Bytes {
    #[expect(clippy::expect_used, reason = "maps with text keys, numbers and texts always become JSON")]
    Bytes::from(serde_json::to_vec(value).expect("plain values become JSON"))
}

fn event(event_type: &str, data: Bytes, metadata: Bytes) -> NewEvent {
    NewEvent { id: EventId(Uuid::new_v4()), event_type: event_type.into(), data, metadata }
}

fn anywhere(stream: String, event: NewEvent) -> Append {
    Append { stream, expected: ExpectedRevision::Any, events: vec![event] }
}

async fn put(store: &dyn EventStore, batch: Vec<Append>) -> Result<(), Status> {
    // Nothing is expected, so nothing conflicts.
    store.append(batch).await.map(drop).map_err(|error| of_store(&error))
}

/// The groups that there are.
pub(super) async fn load(store: &dyn EventStore) -> Result<BTreeMap<Key, Config>, Error> {
    let (mut groups, mut at) = (BTreeMap::new(), Some(0));
    while let Some(from) = at {
        let page = store.read_stream(CONFIG, Some(from), Direction::Forwards, PAGE).await?;
        for event in page.events {
            let done = match &*event.event_type {
                SET => serde_json::from_slice::<Config>(&event.data).map(|config| {
                    groups.insert(config.key.clone(), config);
                }),
                DELETED => serde_json::from_slice::<Key>(&event.data).map(|key| drop(groups.remove(&key))),
                _ => Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(%error, revision = event.revision, "a persistent subscription cannot be read");
            }
        }
        at = page.next;
    }
    Ok(groups)
}

/// A group is there from now on, or has changed.
pub(super) async fn set(store: &dyn EventStore, config: &Config, is_new: bool) -> Result<(), Status> {
    let mut batch = vec![anywhere(CONFIG.to_owned(), event(SET, json(config), Bytes::new()))];
    for stream in [checkpoints(&config.key), parked_stream(&config.key)] {
        if is_new && let Some(last) = stream_metadata::last(store, &stream).await? {
            batch.push(truncate(store, &stream, last.revision + 1).await?);
        }
    }
    put(store, batch).await
}

/// A group is gone.
pub(super) async fn forget(store: &dyn EventStore, key: &Key) -> Result<(), Status> {
    put(store, vec![anywhere(CONFIG.to_owned(), event(DELETED, json(key), Bytes::new()))]).await
}

async fn truncate(store: &dyn EventStore, stream: &str, before: Revision) -> Result<Append, Status> {
    let event = stream_metadata::metadata(store, stream).await?.truncated(Some(before));
    Ok(anywhere(format!("{PREFIX}{stream}"), event))
}

/// Which revisions of a stream of ours count: from the first up to before the end.
async fn span(store: &dyn EventStore, stream: &str) -> Result<(Option<Recorded>, Span), Status> {
    let last = stream_metadata::last(store, stream).await?;
    let revision = last.as_ref().map(|last| last.revision);
    let first = stream_metadata::metadata(store, stream).await?.window(revision, clock::wall()).first;
    let span = Span { first, end: revision.map_or(0, |revision| revision + 1) };
    Ok((last.filter(|last| last.revision >= first), span))
}

/// How far a group has come.
pub(super) async fn checkpoint(store: &dyn EventStore, key: &Key) -> Result<Option<Place>, Status> {
    let (last, _) = span(store, &checkpoints(key)).await?;
    Ok(last.and_then(|last| serde_json::from_slice::<At>(&last.data).ok()).map(|at| at.at))
}

/// A group has come so far.
pub(super) async fn mark(store: &dyn EventStore, key: &Key, at: Place) -> Result<(), Status> {
    put(store, vec![anywhere(checkpoints(key), event(CHECKPOINT, json(&At { at }), Bytes::new()))]).await
}

/// What is parked: revisions of the parked stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Revision,
    pub(super) end: Revision,
}

impl Span {
    pub(super) fn count(self) -> u64 {
        self.end.saturating_sub(self.first)
    }
}

/// What a group has parked.
pub(super) async fn parked(store: &dyn EventStore, key: &Key) -> Result<Span, Status> {
    Ok(span(store, &parked_stream(key)).await?.1)
}

/// Parks an event, as a link to it.
pub(super) async fn park(
    store: &dyn EventStore,
    key: &Key,
    parked: &Recorded,
    reason: &str,
) -> Result<(), Status> {
    let at = Bytes::from(format!("{}@{}", parked.revision, parked.stream));
    let parking = Parking { added: clock::wall().millis(), reason };
    put(store, vec![anywhere(parked_stream(key), event(LINK, at, json(&parking)))]).await
}

/// Those up to this revision are parked no more.
pub(super) async fn unpark(store: &dyn EventStore, key: &Key, through: Revision) -> Result<(), Status> {
    let append = truncate(store, &parked_stream(key), through + 1).await?;
    put(store, vec![append]).await
}

/// Parked events as consumers saw them, each with its revision among the parked, and the revision before which all was
/// looked at: at most so many, and no more than some [`PAGE_BYTES`]. Those whose event is gone are left out.
pub(super) async fn page_of_parked(
    store: &dyn EventStore,
    config: &Config,
    Span { first, end }: Span,
    most: usize,
) -> Result<(Vec<(Revision, Told)>, Revision), Status> {
    let stream = parked_stream(&config.key);
    let page = store.read_stream(&stream, Some(first), Direction::Forwards, most).await;
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut next = end.min(first + most as u64);
    for parked in page.map_err(|error| of_store(&error))?.events {
        let revision = parked.revision;
        if revision >= next {
            break;
        }
        if let Some(event) = links::told(store, parked, true).await?.event {
            // What was parked may itself be a link.
            let told = links::told(store, event, config.settings.resolve_links).await?;
            bytes += told.size();
            found.push((revision, told));
        }
        if bytes >= PAGE_BYTES {
            next = revision + 1;
        }
    }
    Ok((found, next))
}
