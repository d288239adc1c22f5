//! A log from one store to another: every event with its id, revision, data and metadata.
//!
//! Law: an event stands in the target at the revision that it had, or the copy stops; so a copy that was broken off goes on
//! where it stood, and one that is repeated changes nothing. What servers keep for themselves (`$…`, stream metadata among
//! it) stays where it is, and a log that has lost the beginning of a stream cannot be copied: no place would be the same.
//! Called by `intentd store copy`.

use xxhash_rust::xxh3::Xxh3;

use super::{Append, Appended, Conflict, Direction, Error, EventStore, Filter, NewEvent, Position, Revision};
use crate::domain::event::{ExpectedRevision, Recorded};
use crate::domain::id::stream;

/// Events of one page, and at most of one append.
const PAGE: usize = 1_000;
/// Bytes of one append of several events: half of the least that servers take.
const APPEND_BYTES: usize = 512 << 10;
/// What an event costs beside its type, data and metadata.
const EVENT_BYTES: usize = 128;
/// Why a copy stopped.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store did not do its work.
    #[error("the {side} store failed")]
    Store {
        /// `source` or `target`.
        side: &'static str,
        /// Why.
        #[source]
        source: Error,
    },
    /// The target holds something else in one of the streams.
    #[error("the target holds other events than the source")]
    Other(#[source] Conflict),
    /// The source has deleted events of which the target would have to hold the place.
    #[error(
        "the source no longer holds {stream} before revision {revision} (it was truncated or deleted there, and scavenged), \
         and no store gives those places away: this log cannot be copied"
    )]
    Gone {
        /// The stream.
        stream: String,
        /// The first revision that the source has of it.
        revision: Revision,
    },
    /// The source has them, the target does not: it is not the one that the place was reached with.
    #[error(
        "the target does not hold what was copied before; copy again without the place reached (--state)"
    )]
    Lost(#[source] Conflict),
    /// After the copy the two are not the same.
    #[error("the target holds {target:?}, the source {source_holds:?}")]
    Different {
        /// What the source holds.
        source_holds: Content,
        /// What the target holds.
        target: Content,
    },
}

fn from(side: &'static str) -> impl Fn(Error) -> CopyError {
    move |source| CopyError::Store { side, source }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many events.
    pub events: u64,
    /// A hash of all of them in their order.
    pub hash: u128,
}

impl Content {
    fn add(&mut self, event: &Recorded) {
        let mut hash = Xxh3::new();
        let revision = event.revision.to_le_bytes();
        let parts: [&[u8]; 6] = [
            event.stream.as_bytes(),
            &revision,
            event.id.0.as_bytes(),
            event.event_type.as_bytes(),
            &event.data,
            &event.metadata,
        ];
        for part in parts {
            // Each with its length, so that no part can lend bytes to the next.
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        self.events += 1;
        hash.update(&self.hash.to_le_bytes());
        self.hash = hash.digest128();
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The source's events up to here stand in the target.
    pub through: Option<Position>,
    /// Events written by this run.
    pub written: u64,
    /// Events that the target held already.
    pub held: u64,
}

impl Progress {
    fn count(&mut self, done: Appended) {
        self.written += u64::from(done.appended);
        self.held += u64::from(done.duplicates);
    }
}

fn is_ours(event: &Recorded) -> bool {
    // Each cluster's log has a name of its own.
    !event.stream.starts_with('$') && event.stream != stream::STORE
}

/// The bytes of an event in an append, more or less.
fn size(event: &Recorded) -> usize {
    EVENT_BYTES + event.event_type.len() + event.data.len() + event.metadata.len()
}

/// The append that is growing: what may still come into it.
struct Run {
    next: Revision,
    bytes: usize,
}

/// Events in the order of the log as appends: a run of events of one stream is one append, within bounds, or each event is.
fn appends(events: &[Recorded], alone: bool) -> Vec<Append> {
    let mut appends: Vec<Append> = Vec::new();
    let mut run = Run { next: 0, bytes: 0 };
    for event in events.iter().filter(|event| is_ours(event)) {
        let new = NewEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            data: event.data.clone(),
            metadata: event.metadata.clone(),
        };
        let bytes = size(event);
        let fits = !alone && run.next == event.revision && run.bytes + bytes <= APPEND_BYTES;
        match appends.last_mut() {
            Some(last) if fits && *last.stream == *event.stream => {
                last.events.push(new);
                run.bytes += bytes;
            }
            _ => {
                let before = event.revision.checked_sub(1);
                let expected = before.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
                appends.push(Append { stream: event.stream.to_string(), expected, events: vec![new] });
                run.bytes = bytes;
            }
        }
        run.next = event.revision + 1;
    }
    appends
}

/// Why the target did not take an append.
async fn refused(source: &dyn EventStore, conflict: Conflict) -> CopyError {
    let lacks = match (conflict.expected, conflict.actual) {
        (ExpectedRevision::Exact(before), None) => (before, 0),
        (ExpectedRevision::Exact(before), Some(end)) if end < before => (before, end + 1),
        (
            ExpectedRevision::Exact(_)
            | ExpectedRevision::NoStream
            | ExpectedRevision::Any
            | ExpectedRevision::Exists,
            _,
        ) => return CopyError::Other(conflict),
    };
    let (before, first) = lacks;
    match source.read_stream(&conflict.stream, Some(first), Direction::Forwards, 1).await {
        Ok(page) if page.events.iter().any(|event| event.revision == first) => CopyError::Lost(conflict),
        Ok(_) => CopyError::Gone { stream: conflict.stream, revision: before + 1 },
        Err(error) => from("source")(error),
    }
}

/// Copies what stands after a position (none: everything), telling how far it is after each page.
///
/// # Errors
/// A store failed, or the target holds something else; what was told stands.
pub async fn copy(
    source: &dyn EventStore,
    target: &dyn EventStore,
    after: Option<Position>,
    mut tell: impl FnMut(Progress),
) -> Result<Progress, CopyError> {
    let mut progress = Progress { through: after, ..Progress::default() };
    // Of a run that has grown since it was copied the target holds a part: then it is neither there nor not, and what stands
    // behind it would come before its rest. One event is always one or the other.
    let mut may_hold = target.head().await.map_err(from("target"))?.is_some();
    // Some servers read from places of events only: the last one is read again, and left out.
    let mut at = after;
    loop {
        let page = source.read_all(at, Direction::Forwards, &Filter::default(), PAGE).await;
        let mut page = page.map_err(from("source"))?;
        page.events.retain(|event| Some(event.position) > after);
        let Progress { written, held, .. } = progress;
        let answers = target.append(appends(&page.events, may_hold)).await.map_err(from("target"))?;
        for answer in answers {
            match answer {
                Ok(done) => progress.count(done),
                Err(conflict) => return Err(refused(source, conflict).await),
            }
        }
        // The target begins as the source does: where one page is new, all behind it is.
        may_hold &= progress.held > held || progress.written == written;
        progress.through = page.events.last().map(|event| event.position).or(progress.through);
        tell(progress);
        match page.next {
            Some(next) => at = Some(Position(next)),
            None => return Ok(progress),
        }
    }
}

/// What a store holds.
///
/// # Errors
/// It cannot be read.
pub async fn content(store: &dyn EventStore) -> Result<Content, Error> {
    let (mut content, mut at) = (Content::default(), None);
    loop {
        let page = store.read_all(at, Direction::Forwards, &Filter::default(), PAGE).await?;
        page.events.iter().filter(|event| is_ours(event)).for_each(|event| content.add(event));
        match page.next {
            Some(next) => at = Some(Position(next)),
            None => return Ok(content),
        }
    }
}

/// Reads both again and compares.
///
/// # Errors
/// One cannot be read, or they differ.
pub async fn verify(source: &dyn EventStore, target: &dyn EventStore) -> Result<Content, CopyError> {
    let source_holds = content(source).await.map_err(from("source"))?;
    let target = content(target).await.map_err(from("target"))?;
    if source_holds == target { Ok(target) } else { Err(CopyError::Different { source_holds, target }) }
}
