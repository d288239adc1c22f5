//! What becomes of an append: which of its events are new, or why it is refused.
//!
//! Law: an id stands in a stream once. A likeness of ids is never enough: the id itself is read and compared. Called by
//! `writer` for each append, with the block being built as the newest part of the log.

use super::block::Builder;
use super::cache::Stream;
use super::index::print_of;
use super::record::Record;
use super::segment::Segments;
use crate::domain::event::Revision;
use crate::domain::id::EventId;
use crate::store::{Append, Conflict, Error, ExpectedRevision};

/// What to do with an append.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All events are new.
    Write,
    /// These events, by index, stand in the stream already, at these revisions; the others are new.
    WriteWithout(Vec<(usize, Revision)>),
    /// All events stand in the stream already; the newest at this revision.
    Again(Revision),
    Refuse(Conflict),
}

/// The log up to and with the block being built.
pub(super) struct Sight<'a> {
    pub(super) segments: &'a Segments,
    pub(super) builder: Option<&'a Builder>,
    pub(super) scratch: &'a mut Vec<u8>,
}

impl Sight<'_> {
    fn id_at(&mut self, position: u64) -> Result<EventId, Error> {
        if let Some(builder) = self.builder
            && let Some(at) = position.checked_sub(builder.base())
        {
            let record = usize::try_from(at).ok().and_then(|at| Record::parse(builder.bytes().get(at..)?));
            return record.map(|record| record.id).ok_or_else(|| Error::Corrupt {
                what: "the block being built does not hold what it should".to_owned(),
                path: "memory".to_owned(),
                offset: at,
            });
        }
        self.scratch.clear();
        self.segments.record(position, self.scratch)?;
        Ok(Record::parse(self.scratch).map_or(EventId(uuid::Uuid::nil()), |record| record.id))
    }

    /// Where the stream holds an id.
    fn find(&mut self, stream: &Stream, id: EventId) -> Result<Option<Revision>, Error> {
        for revision in stream.suspects(print_of(id)) {
            if self.holds(stream, revision, id)? {
                return Ok(Some(revision));
            }
        }
        Ok(None)
    }

    fn holds(&mut self, stream: &Stream, revision: Revision, id: EventId) -> Result<bool, Error> {
        match stream.slot(revision) {
            Some(slot) if slot.print == print_of(id) => Ok(self.id_at(slot.position())? == id),
            Some(_) | None => Ok(false),
        }
    }
}

/// Decides on an append to a stream.
pub(super) fn decide(append: &Append, stream: &Stream, sight: &mut Sight<'_>) -> Result<Verdict, Error> {
    let end = stream.end();
    let fits = match append.expected {
        ExpectedRevision::Any => true,
        ExpectedRevision::NoStream => end == 0,
        ExpectedRevision::Exists => end > 0,
        ExpectedRevision::Exact(revision) => revision.checked_add(1) == Some(end),
    };
    let mut held = Vec::new();
    for (at, event) in append.events.iter().enumerate() {
        if let Some(revision) = sight.find(stream, event.id)? {
            held.push((at, revision));
        }
    }
    if held.is_empty() && fits {
        return Ok(Verdict::Write);
    }
    let newest = held.iter().map(|(_, revision)| *revision).max();
    if append.expected == ExpectedRevision::Any {
        return Ok(match newest {
            Some(newest) if held.len() == append.events.len() => Verdict::Again(newest),
            _ => Verdict::WriteWithout(held),
        });
    }
    let first = match append.expected {
        ExpectedRevision::NoStream => Some(0),
        ExpectedRevision::Exact(revision) => revision.checked_add(1),
        ExpectedRevision::Any | ExpectedRevision::Exists => held.first().map(|(_, revision)| *revision),
    };
    let again = held.len() == append.events.len()
        && held.iter().all(|(at, revision)| first.is_some_and(|first| first + *at as u64 == *revision));
    match newest {
        Some(newest) if again => Ok(Verdict::Again(newest)),
        _ => Ok(Verdict::Refuse(Conflict {
            stream: append.stream.clone(),
            expected: append.expected,
            actual: end.checked_sub(1),
        })),
    }
}
