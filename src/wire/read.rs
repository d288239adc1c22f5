//! Reads with an end: of a stream or of `$all`, either way.
//!
//! Law: at most one page is held, of some 256 KiB; what a stream's metadata hide is not told. Called by `streams`.

use std::sync::Arc;

use tonic::Status;

use super::App;
use super::convert::{Ids, identifier, message, read_event};
use super::filter::Wanted;
use super::flow::Source;
use super::links::told;
use super::proto::event_store::client::streams::ReadResp;
use super::proto::event_store::client::streams::read_resp::{Content, StreamNotFound};
use super::status::{of_store, stream_deleted};
use super::stream_metadata::{self, Window};
use crate::clock;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{BoxFuture, Direction, Filter};

/// Events of the first page: few enough that the store reads them where it is asked.
const PAGE_FIRST: usize = 16;
const PAGE_MAX: usize = 512;
/// Bytes that a page should have.
const PAGE_BYTES: usize = 256 << 10;
/// What an event costs beside its bytes.
const EVENT_BYTES: usize = 128;

/// Bytes of events told at a time to who follows links: these are shorter than what they lead to.
pub(super) const LED_TO_BYTES_MAX: usize = 1 << 20;

/// How a reader wants its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) ids: Ids,
    pub(super) resolve_links: bool,
    /// The first and last revision of the stream are told too.
    pub(super) tell_ends: bool,
}

impl Manner {
    /// An event as this reader wants it.
    pub(super) async fn tell(self, app: &App, event: Recorded) -> Result<ReadResp, Status> {
        let told = told(&*app.store, event, self.resolve_links).await?;
        Ok(read_event(told.event.as_ref(), told.link.as_ref(), self.ids))
    }

    /// Bytes of messages that may hold more than the store gave.
    pub(super) fn led_to<'a>(self, messages: impl IntoIterator<Item = &'a ReadResp>) -> usize {
        if self.resolve_links { messages.into_iter().map(prost::Message::encoded_len).sum() } else { 0 }
    }
}

/// How many events the next page should have, by the size of those of this one.
fn page_after(events: &[Recorded], page: usize) -> usize {
    if events.is_empty() {
        return page;
    }
    let bytes: usize = events.iter().map(|event| event.data.len() + event.metadata.len() + EVENT_BYTES).sum();
    (PAGE_BYTES / (bytes / events.len()).max(1)).clamp(1, PAGE_MAX)
}

/// A read of a stream.
pub(super) struct OfStream {
    app: Arc<App>,
    stream: String,
    direction: Direction,
    /// Where to read on; none at the end.
    at: Option<Revision>,
    left: u64,
    page: usize,
    window: Window,
    last: Revision,
    manner: Manner,
}

impl OfStream {
    /// Begins a read, from a revision (none: from where the direction begins). A stream that does not exist, or is deleted
    /// for now, is told as one message.
    pub(super) async fn begin(
        app: &Arc<App>,
        stream: String,
        from: Option<Revision>,
        direction: Direction,
        count: u64,
        manner: Manner,
    ) -> Result<Result<Self, ReadResp>, Status> {
        if app.tombs.contains(stream.as_str()) {
            return Err(stream_deleted(&stream));
        }
        let metadata = stream_metadata::metadata(&*app.store, &stream).await?;
        let last = stream_metadata::last(&*app.store, &stream).await?;
        let Some(last) = last.filter(|_| !metadata.is_deleted()) else {
            let missing = StreamNotFound { stream_identifier: Some(identifier(&stream)) };
            return Ok(Err(message(Content::StreamNotFound(missing))));
        };
        let last = last.revision;
        let window = metadata.window(Some(last), clock::wall());
        let at = match direction {
            Direction::Forwards => Some(from.unwrap_or(0).max(window.first)),
            Direction::Backwards => Some(from.unwrap_or(last).min(last)),
        };
        let app = Arc::clone(app);
        Ok(Ok(Self { app, stream, direction, at, left: count, page: PAGE_FIRST, window, last, manner }))
    }

    /// What is told before the first event.
    pub(super) fn before(&self) -> Vec<ReadResp> {
        let hides = self.manner.tell_ends && self.window.first > 0;
        hides.then(|| message(Content::FirstStreamPosition(self.window.first))).into_iter().collect()
    }

    async fn step(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        while let Some(at) = self.at.filter(|_| self.left > 0) {
            let limit = usize::try_from(self.left).unwrap_or(self.page).min(self.page);
            let page = self.app.store.read_stream(&self.stream, Some(at), self.direction, limit).await;
            let page = page.map_err(|error| of_store(&error))?;
            self.page = page_after(&page.events, self.page);
            self.at = page.next;
            let (mut batch, mut led_to) = (Vec::with_capacity(page.events.len()), 0);
            for event in page.events {
                if led_to >= LED_TO_BYTES_MAX {
                    self.at = Some(event.revision);
                    break;
                }
                if self.window.shows(&event) {
                    batch.push(self.manner.tell(&self.app, event).await?);
                    led_to += self.manner.led_to(batch.last());
                } else if self.direction == Direction::Backwards {
                    // Whatever is older is hidden too.
                    self.at = None;
                    break;
                }
            }
            self.left -= batch.len() as u64;
            if self.at.is_none() && self.manner.tell_ends && self.direction == Direction::Forwards {
                batch.push(message(Content::LastStreamPosition(self.last)));
            }
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

impl Source for OfStream {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
        Box::pin(self.step())
    }
}

fn admits(wanted: Option<&Wanted>, event: &Recorded) -> Result<bool, Status> {
    wanted.map_or(Ok(true), |wanted| wanted.admits(event))
}

/// A read of `$all`.
pub(super) struct OfAll {
    app: Arc<App>,
    direction: Direction,
    /// Where to read on: none at the end, none within it at the beginning.
    at: Option<Option<Position>>,
    left: u64,
    page: usize,
    wanted: Option<Wanted>,
    by_store: Filter,
    manner: Manner,
}

impl OfAll {
    pub(super) fn begin(
        app: &Arc<App>,
        from: Option<Position>,
        direction: Direction,
        wanted: Option<Wanted>,
        count: u64,
        manner: Manner,
    ) -> Self {
        let by_store = wanted.as_ref().map(Wanted::by_store).unwrap_or_default();
        let app = Arc::clone(app);
        Self { app, direction, at: Some(from), left: count, page: PAGE_FIRST, wanted, by_store, manner }
    }

    async fn step(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        while let Some(from) = self.at.filter(|_| self.left > 0) {
            let limit = match self.wanted {
                // What the store cannot filter, it gives in full pages, however little is still wanted.
                Some(_) => self.page,
                None => usize::try_from(self.left).unwrap_or(self.page).min(self.page),
            };
            let page = self.app.store.read_all(from, self.direction, &self.by_store, limit).await;
            let page = page.map_err(|error| of_store(&error))?;
            self.page = page_after(&page.events, self.page);
            self.at = page.next.map(|next| Some(Position(next)));
            let (mut batch, mut led_to) = (Vec::with_capacity(page.events.len()), 0);
            for event in page.events {
                if self.left == 0 {
                    break;
                }
                if led_to >= LED_TO_BYTES_MAX {
                    // Backwards only what stands before the place is read.
                    let beyond = u64::from(self.direction == Direction::Backwards);
                    self.at = Some(Some(Position(event.position.0 + beyond)));
                    break;
                }
                if admits(self.wanted.as_ref(), &event)? {
                    batch.push(self.manner.tell(&self.app, event).await?);
                    led_to += self.manner.led_to(batch.last());
                    self.left -= 1;
                }
            }
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

impl Source for OfAll {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
        Box::pin(self.step())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use tokio::sync::watch;

    use super::*;
    use crate::domain::event::{ExpectedRevision, NewEvent};
    use crate::domain::id::EventId;
    use crate::store::Append;
    use crate::store::memory::MemoryStore;
    use crate::wire::links::LINK;
    use crate::wire::{Options, Ports};

    /// Of so many events in the stream `l`, each leads to 300 KiB.
    pub(in crate::wire) fn links(count: u64) -> Append {
        let event = |_| NewEvent {
            id: EventId(uuid::Uuid::new_v4()),
            event_type: LINK.into(),
            data: Bytes::from_static(b"0@s"),
            metadata: Bytes::new(),
        };
        let events = (0..count).map(event).collect();
        Append { stream: "l".to_owned(), expected: ExpectedRevision::Any, events }
    }

    /// What links of stream `l` lead to.
    pub(in crate::wire) fn linked() -> Append {
        let id = EventId(uuid::Uuid::new_v4());
        let data = Bytes::from(vec![b'7'; 300 << 10]);
        let event = NewEvent { id, event_type: "Happened".into(), data, metadata: Bytes::new() };
        Append { stream: "s".to_owned(), expected: ExpectedRevision::Any, events: vec![event] }
    }

    /// The revisions of the links told, when never too much is told at once.
    async fn led(mut source: impl Source) -> Vec<u64> {
        let mut revisions = Vec::new();
        while let Some(batch) = source.more().await.unwrap() {
            assert!(batch.len() <= 4, "{} events of 300 KiB", batch.len());
            revisions.extend(batch.into_iter().filter_map(|told| match told.content {
                Some(Content::Event(event)) => event.link.map(|link| link.stream_revision),
                _ => None,
            }));
        }
        revisions
    }

    #[tokio::test]
    async fn links_do_not_bring_more_at_once_than_should_be_held() {
        let store = MemoryStore::default();
        store.append_now(vec![linked(), links(30)]).unwrap();
        let (_stop, stopping) = watch::channel(false);
        let ports = Ports { store: Arc::new(store), owned: &[] };
        let app = App::new(ports, Options::default(), stopping).await.unwrap();
        let manner = Manner { ids: Ids::Text, resolve_links: true, tell_ends: false };
        for direction in [Direction::Forwards, Direction::Backwards] {
            let mut wanted: Vec<u64> = (0..30).collect();
            if direction == Direction::Backwards {
                wanted.reverse();
            }
            let begun = OfStream::begin(&app, "l".to_owned(), None, direction, u64::MAX, manner).await;
            assert_eq!(led(begun.unwrap().ok().unwrap()).await, wanted);
            let all = OfAll::begin(&app, None, direction, None, u64::MAX, manner);
            assert_eq!(led(all).await, wanted);
        }
    }
}
