//! One append on its way, from the decision what to write to the answer.
//!
//! Law: decided as if everything under way before it succeeded; a refusal counts only on a stream that was read again for it.
//! Called by `flight`.

use super::known::{Slot, Verdict, lock};
use crate::domain::event::{ExpectedRevision, NewEvent, Position, Revision};
use crate::store::{Append, Appended, Conflict, Error};

/// What became of an append.
pub(super) enum Done {
    Written(Appended),
    /// All of its events stand already, the newest here; `ours` when an answer of ours was lost.
    Stands {
        revision: Revision,
        ours: bool,
    },
    Refused(Conflict),
    Failed(Error),
}

/// How far an append is.
pub(super) enum Stage {
    Queued,
    Decided(Writing),
    Flying(Writing),
    Done(Done),
}

/// What goes out, and where.
pub(super) struct Writing {
    pub(super) expected: ExpectedRevision,
    pub(super) events: Vec<NewEvent>,
    /// The last one's.
    revision: Revision,
}

/// One append.
pub(super) struct Job {
    pub(super) append: Append,
    pub(super) slot: Slot,
    pub(super) stage: Stage,
    pub(super) was_sent: bool,
    /// What is known of the stream does not agree with the append.
    pub(super) disagrees: bool,
    /// How often it was decided anew.
    pub(super) rounds: u32,
}

impl Job {
    pub(super) fn new((append, slot): (Append, Slot)) -> Self {
        Self { append, slot, stage: Stage::Queued, was_sent: false, disagrees: false, rounds: 0 }
    }

    /// Decides on what is known, as if everything under way succeeded. It stays undecided while it has to wait for others.
    pub(super) fn decide(&mut self) {
        let mut known = lock(&self.slot);
        if known.unread().is_some() {
            self.disagrees = true;
            return;
        }
        if known.must_wait() {
            return;
        }
        match known.decide(&self.append) {
            Verdict::Again(revision) => {
                self.stage = Stage::Done(Done::Stands { revision, ours: self.was_sent });
            }
            Verdict::Write { events, expected } => {
                let revision = known.writes(&events);
                self.stage = Stage::Decided(Writing { expected, events, revision });
            }
            Verdict::Refuse if self.rounds > 0 => {
                let Append { stream, expected, .. } = &self.append;
                let (stream, expected) = (stream.clone(), *expected);
                self.stage = Stage::Done(Done::Refused(Conflict { stream, expected, actual: known.last() }));
            }
            // What is known may be behind.
            Verdict::Refuse => self.disagrees = true,
        }
    }

    /// The answer that it was given was decided on something that did not come true.
    pub(super) fn reconsider(&mut self) {
        if matches!(self.stage, Stage::Done(Done::Stands { .. } | Done::Refused(_))) {
            self.stage = Stage::Queued;
        }
        self.disagrees = !matches!(self.stage, Stage::Done(_));
    }

    /// It stands, its last event here.
    pub(super) fn written(&mut self, at: Option<Position>) {
        let Stage::Flying(writing) = &self.stage else { return };
        lock(&self.slot).wrote(writing.revision);
        let count = |events: usize| u32::try_from(events).unwrap_or(u32::MAX);
        self.stage = Stage::Done(Done::Written(Appended {
            revision: writing.revision,
            position: at.unwrap_or_default(),
            appended: count(writing.events.len()),
            duplicates: count(self.append.events.len() - writing.events.len()),
        }));
    }
}
