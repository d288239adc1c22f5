//! What is known of streams: where they end and which ids they hold.
//!
//! Law: what was read, or written with an answer, is certain for ever; what is under way is kept apart from it, and is all that
//! is doubted when something fails. An append is decided on both, as far as they go; it goes out at an exact place, so a
//! decision on wrong knowledge meets a conflict, and the stream is read on. Called by `append`, `flight`, `job`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::domain::event::{ExpectedRevision, NewEvent, Revision};
use crate::domain::id::EventId;
use crate::store::{Append, Page};

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether it was read to its end, as it was then.
    is_read: bool,
    ids: HashMap<EventId, Revision>,
    /// What stands before it is certain.
    certain: Revision,
    /// The revision after the last one known.
    end: Revision,
    /// What is being written behind what is certain, in order.
    under_way: VecDeque<UnderWay>,
    /// Whether somebody else was met writing to it.
    has_others: bool,
}

/// One append's events.
#[derive(Debug)]
struct UnderWay {
    ids: SmallVec<[EventId; 1]>,
    /// The revision after the last one.
    end: Revision,
    is_written: bool,
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
    /// Where it is to be read on; none when it was read.
    pub(super) fn unread(&self) -> Option<Revision> {
        (!self.is_read).then_some(self.certain)
    }

    /// Learns a page that was read from there; answers how many events that were. Whoever read the same at the same time has
    /// learnt it already, and a page that does not begin where the certain ends would leave a gap: then it is nothing.
    pub(super) fn learn(&mut self, from: Revision, page: &Page) -> usize {
        if self.unread() != Some(from) {
            return 0;
        }
        if !page.exists {
            // Somebody has deleted it.
            self.forget();
        }
        for event in &page.events {
            self.ids.insert(event.id, event.revision);
            self.certain = self.certain.max(event.revision + 1);
        }
        (self.end, self.is_read) = (self.certain, page.next.is_none());
        page.events.len()
    }

    /// Learns what is being written at the end; answers the last one's revision.
    pub(super) fn writes(&mut self, events: &[NewEvent]) -> Revision {
        for event in events {
            self.ids.insert(event.id, self.end);
            self.end += 1;
        }
        let ids = events.iter().map(|event| event.id).collect();
        self.under_way.push_back(UnderWay { ids, end: self.end, is_written: false });
        self.end.saturating_sub(1)
    }

    /// What was being written up to here stands. It is certain when all before it is: an answer may come before an earlier one.
    pub(super) fn wrote(&mut self, revision: Revision) {
        if let Some(writing) = self.under_way.iter_mut().find(|writing| writing.end == revision + 1) {
            writing.is_written = true;
        }
        while let Some(writing) = self.under_way.pop_front_if(|writing| writing.is_written) {
            self.certain = writing.end;
        }
    }

    /// What is under way may stand or not: the stream is read on from what is certain.
    pub(super) fn doubt(&mut self) {
        for id in self.under_way.drain(..).flat_map(|writing| writing.ids) {
            self.ids.remove(&id);
        }
        (self.end, self.is_read) = (self.certain, false);
    }

    /// Knows nothing any more, but for whether others write.
    pub(super) fn forget(&mut self) {
        *self = Self { has_others: self.has_others, ..Self::default() };
    }

    /// Somebody else writes to it.
    pub(super) fn met_others(&mut self) {
        self.has_others = true;
    }

    /// Whether a further append has to wait for those under way. Among others' events it might find room at its place while an
    /// earlier one does not, and stand before it.
    pub(super) fn must_wait(&self) -> bool {
        self.has_others && !self.under_way.is_empty()
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

/// What is known of all streams, within a bound: the half that was not used for long is forgotten. A stream in use is kept
/// whole, however long it is, and counts as a quarter of the bound at most: the others must not be forgotten for it.
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
        halves.learnt += lock(&slot).ids.len().min(self.ids_max / 4) + 1;
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::{Position, Recorded};
    use crate::domain::time::Timestamp;

    fn id(id: u128) -> EventId {
        EventId(Uuid::from_u128(id))
    }

    fn new(number: u128) -> NewEvent {
        let (data, metadata) = (Bytes::new(), Bytes::new());
        NewEvent { id: id(number), event_type: "Happened".into(), data, metadata }
    }

    /// Events 0, 1, 2 … of a stream.
    fn page(from: u64, until: u64, is_last: bool) -> Page {
        let event = |revision: u64| Recorded {
            id: id(u128::from(revision)),
            stream: "s".into(),
            revision,
            position: Position(revision),
            event_type: "Happened".into(),
            data: Bytes::new(),
            metadata: Bytes::new(),
            recorded_at: Timestamp::MIN,
        };
        let events = (from..until).map(event).collect();
        Page { events, next: (!is_last).then_some(until), exists: true }
    }

    fn decided(known: &Known, ids: impl IntoIterator<Item = u128>) -> Verdict {
        let (stream, events) = ("s".to_owned(), ids.into_iter().map(new).collect());
        known.decide(&Append { stream, expected: ExpectedRevision::Any, events })
    }

    /// Decides to write these, and answers where.
    fn writes(known: &mut Known, ids: impl IntoIterator<Item = u128>) -> Revision {
        let Verdict::Write { events, .. } = decided(known, ids) else { panic!("decides not to write") };
        known.writes(&events)
    }

    #[test]
    fn a_page_counts_only_where_the_certain_ends() {
        let mut known = Known::default();
        assert_eq!(known.learn(0, &page(0, 3, false)), 3);
        assert_eq!(known.unread(), Some(3));
        // Who is past the first page when all is forgotten has learnt nothing of it.
        known.forget();
        assert_eq!(known.learn(3, &page(3, 5, true)), 0);
        assert_eq!(known.unread(), Some(0));
        // Two who read the same.
        assert_eq!(known.learn(0, &page(0, 3, false)), 3);
        assert_eq!(known.learn(0, &page(0, 3, false)), 0);
        assert_eq!(known.learn(3, &page(3, 5, true)), 2);
        assert_eq!((known.unread(), decided(&known, [1])), (None, Verdict::Again(1)));
    }

    #[test]
    fn a_page_read_before_a_write_says_nothing_after_it() {
        let mut known = Known::default();
        known.learn(0, &Page::default());
        writes(&mut known, [7]);
        assert_eq!(known.learn(0, &Page::default()), 0);
        assert_eq!(decided(&known, [7]), Verdict::Again(0));
    }

    #[test]
    fn doubt_leaves_what_is_certain_and_nothing_else() {
        let mut known = Known::default();
        known.learn(0, &page(0, 3, true));
        let places: Vec<_> = [[10, 11], [12, 13]].map(|ids| writes(&mut known, ids)).into();
        assert_eq!(places, [4, 6]);
        known.wrote(4);
        known.doubt();
        assert_eq!(known.unread(), Some(5));
        known.learn(5, &page(5, 5, true));
        assert_eq!(decided(&known, [10, 11]), Verdict::Again(4));
        assert_eq!(writes(&mut known, [12, 13]), 6);
    }

    #[test]
    fn an_answer_makes_nothing_certain_before_those_in_front_of_it() {
        let mut known = Known::default();
        known.learn(0, &page(0, 3, true));
        let (first, second) = (writes(&mut known, [10]), writes(&mut known, [11]));
        known.wrote(second);
        known.doubt();
        assert_eq!(known.unread(), Some(3), "somebody else may stand there");
        known.learn(3, &page(3, 3, true));
        assert_eq!((writes(&mut known, [10]), writes(&mut known, [11])), (first, second));
        known.wrote(second);
        known.wrote(first);
        known.doubt();
        assert_eq!(known.unread(), Some(5));
    }

    #[test]
    fn others_make_appends_wait_for_each_other() {
        let mut known = Known::default();
        known.learn(0, &page(0, 3, true));
        writes(&mut known, [10]);
        assert!(!known.must_wait());
        known.met_others();
        assert!(known.must_wait());
        known.forget();
        assert!(!known.must_wait());
        known.learn(0, &page(0, 4, true));
        writes(&mut known, [11]);
        assert!(known.must_wait());
    }

    #[test]
    fn a_stream_longer_than_the_bound_does_not_push_the_others_out() {
        let streams = Streams::new(400);
        let (long, short) = (streams.slot("long"), streams.slot("short"));
        streams.learnt(lock(&long).learn(0, &page(0, 1_000, true)));
        lock(&short).learn(0, &page(0, 1, true));
        for _ in 0..10 {
            for (name, slot) in [("long", &long), ("short", &short)] {
                assert!(Arc::ptr_eq(&streams.slot(name), slot), "{name}");
                streams.learnt(1);
            }
        }
    }
}
