//! Pages of a stream or of `$all`.
//!
//! Law: one event more than asked for is read, to know where to read on; every wait has an end. Called by [`super`].

use kurrentdb::{ReadAllOptions, ReadStream, ReadStreamOptions, StreamPosition, SubscriptionFilter};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::convert::{Fault, fault, position, recorded, unavailable};
use super::link::Generation;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{Direction, Error, Filter, Page};

/// Most events of one page, whatever the caller asks for.
const PAGE_EVENTS_MAX: usize = 4_096;

/// A filter for the client; none when everything is wanted.
pub(super) fn filter(filter: &Filter) -> Option<SubscriptionFilter> {
    let prefixes = &filter.stream_prefixes;
    let with = |wanted: SubscriptionFilter, prefix: &String| wanted.add_prefix(prefix);
    (!prefixes.is_empty()).then(|| prefixes.iter().fold(SubscriptionFilter::on_stream_name(), with))
}

impl Shared {
    /// What an error of a read means; none when it says that there is no such stream.
    async fn read_failed(&self, generation: Generation, error: &kurrentdb::Error) -> Option<Error> {
        match fault(error) {
            Fault::NotFound => None,
            Fault::Refused(reason) => Some(Error::Invalid { reason }),
            Fault::NotNow(reason) => Some(unavailable(reason)),
            Fault::Lost(trouble) => {
                self.link.lost(generation, &trouble).await;
                Some(unavailable(trouble))
            }
        }
    }

    async fn too_late(&self, generation: Generation) -> Error {
        let trouble = format!("no answer within {:?}", self.options.call_timeout);
        self.link.lost(generation, &trouble).await;
        unavailable(trouble)
    }

    /// The events of a read, one more than `limit` if there are; none when there is no such stream.
    async fn collect(
        &self,
        generation: Generation,
        begun: impl Future<Output = kurrentdb::Result<ReadStream>>,
    ) -> Result<Option<Vec<Recorded>>, Error> {
        let deadline = || Instant::now() + self.options.call_timeout;
        let mut events = Vec::new();
        // It is never closed.
        let _place = self.reads.acquire().await.ok();
        let mut reading = match timeout_at(deadline(), begun).await {
            Ok(Ok(reading)) => reading,
            Ok(Err(error)) => return self.read_failed(generation, &error).await.map_or(Ok(None), Err),
            Err(_) => return Err(self.too_late(generation).await),
        };
        loop {
            match timeout_at(deadline(), reading.next()).await {
                Ok(Ok(Some(event))) => events.extend(event.event.map(recorded)),
                Ok(Ok(None)) => return Ok(Some(events)),
                Ok(Err(error)) => return self.read_failed(generation, &error).await.map_or(Ok(None), Err),
                Err(_) => return Err(self.too_late(generation).await),
            }
        }
    }

    pub(super) async fn read_stream(
        &self,
        stream: &str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Page, Error> {
        let (generation, client) = self.link.client().await?;
        let limit = limit.min(PAGE_EVENTS_MAX);
        let at = from.filter(|from| *from <= i64::MAX.cast_unsigned());
        let options = ReadStreamOptions::default().max_count(limit + 1);
        let options = match (direction, at) {
            (Direction::Forwards, None) if from.is_some() => return self.at_end(stream).await,
            (Direction::Forwards, at) => {
                options.position(at.map_or(StreamPosition::Start, StreamPosition::Position)).forwards()
            }
            (Direction::Backwards, at) => {
                options.position(at.map_or(StreamPosition::End, StreamPosition::Position)).backwards()
            }
        };
        let options = signed!(self.link, options);
        let reading = client.read_stream(stream, &options);
        let Some(mut events) = self.collect(generation, reading).await? else {
            return Ok(Page::default());
        };
        let over = if events.len() > limit { events.pop() } else { None };
        Ok(Page { events, next: over.map(|event| event.revision), exists: true })
    }

    /// A forward page from beyond every event.
    async fn at_end(&self, stream: &str) -> Result<Page, Error> {
        let page = Box::pin(self.read_stream(stream, None, Direction::Backwards, 1)).await?;
        Ok(Page { events: Vec::new(), next: None, exists: page.exists })
    }

    pub(super) async fn read_all(
        &self,
        from: Option<Position>,
        direction: Direction,
        wanted: &Filter,
        limit: usize,
    ) -> Result<Page, Error> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        // One to know that there are more, and one that the page before has given already.
        let count = limit + 2;
        let (mut events, mut at, mut given) = (Vec::new(), from, None);
        loop {
            let read = self.read_some(at, direction, wanted, count).await?;
            let is_end = read.len() < count;
            let last = read.last().map(|event| event.position);
            let is_new = |event: &Recorded| Some(event.position) != given && wanted.admits_event(event);
            events.extend(read.into_iter().filter(is_new));
            if is_end || events.len() > limit {
                break;
            }
            (at, given) = (last, last);
        }
        events.truncate(limit + 1);
        let over = if events.len() > limit { events.pop() } else { None };
        let next = match direction {
            Direction::Forwards => over.map(|event| event.position.0),
            Direction::Backwards => over.and(events.last()).map(|event| event.position.0),
        };
        Ok(Page { events, next, exists: true })
    }

    /// What the server gives of `$all`: it knows no more than the streams' prefixes of a filter.
    async fn read_some(
        &self,
        from: Option<Position>,
        direction: Direction,
        wanted: &Filter,
        count: usize,
    ) -> Result<Vec<Recorded>, Error> {
        let (generation, client) = self.link.client().await?;
        let mut options = ReadAllOptions::default().max_count(count);
        if let Some(wanted) = filter(wanted) {
            options = options.filter(wanted);
        }
        let at = from.map(|from| StreamPosition::Position(position(from)));
        let options = match direction {
            Direction::Forwards => options.position(at.unwrap_or(StreamPosition::Start)).forwards(),
            Direction::Backwards => options.position(at.unwrap_or(StreamPosition::End)).backwards(),
        };
        let options = signed!(self.link, options);
        let events = self.collect(generation, client.read_all(&options)).await?;
        Ok(events.unwrap_or_default())
    }

    /// The position of the last event.
    pub(super) async fn head(&self) -> Result<Option<Position>, Error> {
        let last = self.read_some(None, Direction::Backwards, &Filter::default(), 1).await?;
        Ok(last.first().map(|event| event.position))
    }
}
