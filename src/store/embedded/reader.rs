//! Reading pages, of a stream through the index, of `$all` by walking the log.
//!
//! Law: what is read back has passed its checksums and is what the index said; else it is an error that names the place.
//! Blocking: `mod` and `subscribe` call it off the async threads.

use bytes::Bytes;

use super::Shared;
use super::chunk::{Chunk, Found};
use super::index::Stretch;
use super::record::Record;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{Direction, Error, Filter, Page};

/// Most events of one page, whatever the caller asks for.
const PAGE_EVENTS_MAX: usize = 16_384;
/// A page ends after so many bytes.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// A filtered page ends after so much of the log was walked.
const WALK_BYTES_MAX: u64 = 64 << 20;

fn starts_at(from: Option<Revision>, direction: Direction) -> Revision {
    from.unwrap_or(match direction {
        Direction::Forwards => 0,
        Direction::Backwards => Revision::MAX,
    })
}

impl Shared {
    /// A page of a stream: [`Self::find`], then [`Self::page`].
    pub(super) fn stream_page(
        &self,
        stream: &str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Page, Error> {
        let found = self.find(stream, from, direction, limit)?;
        self.page(stream, from, direction, &found)
    }

    /// A page of a stream; see `EventStore::read_stream`.
    /// Where the events of a page stand: one look into the index, in memory but for its coldest parts.
    pub(super) fn find(
        &self,
        stream: &str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Stretch, Error> {
        let start = starts_at(from, direction);
        self.index.read(self.index.key(stream), start, direction, limit.min(PAGE_EVENTS_MAX))
    }

    /// The page of what was found.
    pub(super) fn page(
        &self,
        stream: &str,
        from: Option<Revision>,
        direction: Direction,
        found: &Stretch,
    ) -> Result<Page, Error> {
        let start = starts_at(from, direction);
        let mut buffer = Vec::with_capacity(found.slots.len() * 512);
        let mut places = Vec::with_capacity(found.slots.len());
        let mut read = |nth: usize| -> Result<bool, Error> {
            let Some(slot) = found.slots.get(nth) else { return Ok(false) };
            let at = buffer.len();
            self.segments.record(slot.position(), &mut buffer)?;
            places.push((at, slot.position(), found.first + nth as u64));
            Ok(buffer.len() < PAGE_BYTES_MAX)
        };
        let count = found.slots.len();
        match direction {
            Direction::Forwards => {
                let mut nth = 0;
                while read(nth)? {
                    nth += 1;
                }
            }
            Direction::Backwards => {
                let mut left = count;
                while left > 0 && read(left - 1)? {
                    left -= 1;
                }
            }
        }
        let shared = Bytes::from(buffer);
        let mut events = Vec::with_capacity(places.len());
        for (at, position, revision) in places {
            events.push(self.recorded(&shared, at, position, stream, revision)?);
        }
        let next = match (direction, events.last()) {
            (Direction::Forwards, Some(last)) => Some(last.revision + 1).filter(|next| *next < found.end),
            (Direction::Backwards, Some(last)) => last.revision.checked_sub(1),
            // Nothing asked for: the place itself, if there is something.
            (Direction::Forwards, None) => Some(start).filter(|next| *next < found.end),
            (Direction::Backwards, None) => found.end.checked_sub(1).map(|last| last.min(start)),
        };
        Ok(Page { events, next, exists: found.end > 0 })
    }

    fn recorded(
        &self,
        shared: &Bytes,
        at: usize,
        position: u64,
        stream: &str,
        revision: Revision,
    ) -> Result<Recorded, Error> {
        let record = shared.get(at..).and_then(Record::parse);
        let is_asked =
            |record: &Record<'_>| record.stream == stream.as_bytes() && record.revision == revision;
        let event = record.filter(is_asked).and_then(|record| record.to_recorded(shared, at, position));
        match event {
            Some(event) => Ok(event),
            None => self.index.with_rows(|rows| {
                Err(rows.damage(&format!("the index names position {position} for another event")))
            }),
        }
    }

    /// The blocks with the first record at or after a position, from memory or disk; none at the end of the log.
    pub(super) fn chunk_from(&self, position: u64) -> Result<Option<Chunk>, Error> {
        match self.live.block_from(position) {
            Some(block) => Ok(Some(block)),
            None => self.segments.chunk_from(position),
        }
    }

    /// A page of `$all`; see `EventStore::read_all`.
    pub(super) fn all_page(
        &self,
        from: Option<Position>,
        direction: Direction,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, Error> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        match direction {
            Direction::Forwards => self.forwards(from.map_or(0, |from| from.0), filter, limit),
            Direction::Backwards => self.backwards(from.map_or(u64::MAX, |from| from.0), filter, limit),
        }
    }

    fn forwards(&self, from: u64, filter: &Filter, limit: usize) -> Result<Page, Error> {
        let head = self.live.head();
        let (mut at, mut walked, mut events) = (from, 0, Vec::new());
        while at <= head.last && head.last > 0 {
            if walked > WALK_BYTES_MAX {
                return Ok(Page { events, next: Some(at), exists: true });
            }
            let Some(chunk) = self.chunk_from(at)? else { break };
            for found in chunk.records(at) {
                let found = found?;
                if found.position > head.last {
                    break;
                }
                if !found.record.passes(filter) {
                    continue;
                }
                if events.len() >= limit {
                    return Ok(Page { events, next: Some(found.position), exists: true });
                }
                events.push(chunk.event(&found)?);
            }
            walked += chunk.size() as u64;
            at = chunk.end();
        }
        Ok(Page { events, next: None, exists: true })
    }

    fn backwards(&self, from: u64, filter: &Filter, limit: usize) -> Result<Page, Error> {
        let head = self.live.head();
        let (mut before, mut walked) = (from.min(head.end), 0);
        let mut events: Vec<Recorded> = Vec::new();
        while let Some(chunk) = self.segments.chunk_before(before)? {
            let mut admitted: Vec<Found<'_>> = Vec::new();
            for found in chunk.records(0) {
                let found = found?;
                if found.position >= before {
                    break;
                }
                if found.record.passes(filter) {
                    admitted.push(found);
                }
            }
            for found in admitted.iter().rev() {
                if events.len() >= limit {
                    let next = events.last().map_or(before, |event| event.position.0);
                    return Ok(Page { events, next: Some(next), exists: true });
                }
                events.push(chunk.event(found)?);
            }
            walked += chunk.size() as u64;
            before = chunk.base;
            if walked > WALK_BYTES_MAX {
                return Ok(Page { events, next: Some(before), exists: true });
            }
        }
        Ok(Page { events, next: None, exists: true })
    }
}
