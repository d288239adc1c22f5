//! What is known of streams: where they end and which ids they hold.
//!
//! Law: an append is decided on knowledge that may be behind the truth, or ahead of it by what is under way; it goes out at an
//! exact place, so a decision on wrong knowledge meets a conflict, and the stream is read again. Called by `append`, `flight`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;
use hashbrown::HashMap;

use crate::domain::event::{ExpectedRevision, NewEvent, Recorded, Revision};
use crate::domain::id::EventId;
use crate::store::Append;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether the stream has been read at all.
    pub(super) is_read: bool,
    ids: HashMap<EventId, Revision>,
    /// The revision after the last one known.
    pub(super) end: Revision,
}

/// What to do with an append, as far as is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// These, at this place: the others stand in the stream already.
    Write { events: Vec<NewEvent>, expected: ExpectedRevision },
    /// All stand in the stream already, the newest here.
    Again(Revision),
    /// The stream ends elsewhere.
    Refuse,
}

impl Known {
    /// Learns what was read.
    pub(super) fn learn(&mut self, events: &[Recorded]) {
        for event in events {
            self.ids.insert(event.id, event.revision);
            self.end = self.end.max(event.revision + 1);
        }
    }

    /// Learns what is being written at the end; answers the last one's revision.
    pub(super) fn wrote(&mut self, events: &[NewEvent]) -> Revision {
        for event in events {
            self.ids.insert(event.id, self.end);
            self.end += 1;
        }
        self.end.saturating_sub(1)
    }

    /// Knows nothing any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The last revision.
    pub(super) fn last(&self) -> Option<Revision> {
        self.end.checked_sub(1)
    }

    /// What every store decides on an append; see [`super::super::Append`].
    pub(super) fn decide(&self, append: &Append) -> Verdict {
        let known: Vec<Option<Revision>> =
            append.events.iter().map(|event| self.ids.get(&event.id).copied()).collect();
        let newest = known.iter().copied().max().flatten();
        if let (Some(newest), true) = (newest, self.is_again(append.expected, &known)) {
            return Verdict::Again(newest);
        }
        let fits = match append.expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => self.end == 0,
            ExpectedRevision::Exists => self.end > 0,
            ExpectedRevision::Exact(revision) => revision.checked_add(1) == Some(self.end),
        };
        let is_any = append.expected == ExpectedRevision::Any;
        if !fits || (newest.is_some() && !is_any) {
            return Verdict::Refuse;
        }
        let new = append.events.iter().zip(&known).filter(|(_, known)| known.is_none());
        let expected = self.last().map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        Verdict::Write { events: new.map(|(event, _)| event.clone()).collect(), expected }
    }

    /// Whether the stream holds all of them already, where they were to stand.
    fn is_again(&self, expected: ExpectedRevision, known: &[Option<Revision>]) -> bool {
        let first = match expected {
            ExpectedRevision::Any => return known.iter().all(Option::is_some),
            ExpectedRevision::NoStream => Some(0),
            ExpectedRevision::Exact(revision) => revision.checked_add(1),
            ExpectedRevision::Exists => known.first().copied().flatten(),
        };
        (0..).zip(known).all(|(nth, at)| at.is_some() && *at == first.map(|first| first + nth))
    }
}

/// One stream's knowledge.
pub(super) type Slot = Arc<Mutex<Known>>;

/// Looks at it; never over an await.
pub(super) fn lock(slot: &Slot) -> MutexGuard<'_, Known> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Halves {
    young: HashMap<ByteString, Slot>,
    old: HashMap<ByteString, Slot>,
    /// Ids learnt since the halves changed.
    learnt: usize,
}

/// What is known of all streams, within a bound: the half that was not used for long is forgotten.
pub(super) struct Streams {
    halves: Mutex<Halves>,
    ids_max: usize,
}

impl Streams {
    pub(super) fn new(ids_max: usize) -> Self {
        Self { halves: Mutex::default(), ids_max }
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a stream.
    pub(super) fn slot(&self, stream: &str) -> Slot {
        let mut halves = self.halves();
        if let Some(slot) = halves.young.get(stream) {
            return Arc::clone(slot);
        }
        let name = ByteString::from(stream);
        let slot = halves.old.remove(stream).unwrap_or_default();
        halves.learnt += lock(&slot).ids.len() + 1;
        halves.young.insert(name, Arc::clone(&slot));
        slot
    }

    /// So many more ids are known.
    pub(super) fn learnt(&self, ids: usize) {
        let mut halves = self.halves();
        halves.learnt += ids;
        if halves.learnt > self.ids_max / 2 {
            halves.learnt = 0;
            halves.old = std::mem::take(&mut halves.young);
        }
    }
}
