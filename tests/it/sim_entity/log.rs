//! The log of one user's facts: exact revisions, idempotent appends.

use intentd::domain::codec;
use intentd::domain::entity::Fenced;
use intentd::domain::event::{ExpectedRevision, IntentEvent, NewEvent, Position, Recorded, Revision};

use super::story::start;

/// `intent-u1`.
#[derive(Default)]
pub struct Log {
    pub intent: Vec<Recorded>,
}

impl Log {
    /// Appends at the expected revision; the same events at the same place again are a success.
    pub fn append(&mut self, expected: &ExpectedRevision, events: &[NewEvent]) -> Result<Revision, Fenced> {
        let from = match expected {
            ExpectedRevision::NoStream => 0,
            ExpectedRevision::Exact(last) => *last as usize + 1,
            other => panic!("an entity never expects {other:?}"),
        };
        let last = (from + events.len()) as u64 - 1;
        if self.intent.len() == from {
            for event in events {
                assert!(self.intent.iter().all(|fact| fact.id != event.id), "a fact was written twice");
                let revision = self.intent.len() as u64;
                self.intent.push(Recorded {
                    id: event.id,
                    stream: "intent-u1".into(),
                    revision,
                    position: Position(1_000_000 + revision),
                    event_type: event.event_type.clone(),
                    data: event.data.clone(),
                    metadata: event.metadata.clone(),
                    recorded_at: start(),
                });
            }
            return Ok(last);
        }
        let there = self.intent.iter().skip(from).map(|event| event.id);
        if there.take(events.len()).eq(events.iter().map(|event| event.id)) {
            return Ok(last);
        }
        Err(Fenced { expected: *expected, actual: (self.intent.len() as u64).checked_sub(1) })
    }

    /// How far of `user-u1` the facts say that all is decided.
    pub fn decided(&self) -> Option<Revision> {
        self.intent.last().and_then(source)
    }

    /// Whether the event is put aside.
    pub fn is_parked(&self, revision: Revision) -> bool {
        self.facts().fold(false, |parked, fact| match fact {
            IntentEvent::EventParked(fact) if fact.cause.revision == revision => true,
            IntentEvent::EventUnparked(fact) if fact.cause.revision == revision => false,
            _ => parked,
        })
    }

    /// The facts in the log.
    pub fn facts(&self) -> impl Iterator<Item = IntentEvent> {
        let read = |event: &Recorded| codec::decode_fact(&event.event_type, &event.data).unwrap().unwrap();
        self.intent.iter().map(read)
    }
}

/// How far of `user-u1` all was decided when the fact was written.
pub fn source(fact: &Recorded) -> Option<Revision> {
    codec::decode_metadata(&fact.metadata).unwrap().source_revision
}
