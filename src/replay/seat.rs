//! One user in a replay: the entity, what came to it from outside, and what the listener keeps of it.
//!
//! Law: what came from outside is told at its place: when all that stood decided before it is on its way, and before the
//! next event. Called by the shard.

use std::sync::Arc;

use bytestring::ByteString;

use super::given::{Given, Outside, Park};
use crate::domain::catalog::Catalog;
use crate::domain::codec;
use crate::domain::entity::{Input, UserEntity};
use crate::domain::event::{Fact, Position, Recorded, Revision};
use crate::domain::id::UserId;
use crate::domain::market::Market;
use crate::domain::time::Timestamp;

/// One user.
pub(super) struct Seat<K> {
    pub(super) entity: UserEntity,
    pub(super) known: K,
    /// None for the many to whom nothing came.
    outside: Option<Box<Outside>>,
    /// How much of it was told.
    told: usize,
    /// How often the user began again.
    life: usize,
    /// What a new life needs; kept only where one will come.
    past: Option<Box<Past>>,
    /// Nothing more is told.
    pub(super) closed: bool,
    /// The life is over and the next one has to begin.
    pub(super) is_over: bool,
    /// Why the entity cannot go on.
    pub(super) ended: Option<String>,
}

#[derive(Default)]
struct Past {
    events: Vec<Recorded>,
    facts: Vec<Recorded>,
}

impl<K: Default> Seat<K> {
    pub(super) fn new(user: UserId) -> Self {
        Self {
            entity: UserEntity::new(user),
            known: K::default(),
            outside: None,
            told: 0,
            life: 0,
            past: None,
            closed: false,
            is_over: false,
            ended: None,
        }
    }

    /// Where what came from outside is gathered, before the first event.
    pub(super) fn outside(&mut self) -> &mut Outside {
        self.outside.get_or_insert_default()
    }

    /// The next thing that came from outside before the event at `before` was decided (all of it, without one).
    pub(super) fn next_given(&mut self, before: Option<Revision>) -> Option<Given> {
        let next = self.outside.as_ref()?.given.get(self.told)?;
        let is_due = before.is_none_or(|before| next.source.is_none_or(|source| source < before));
        let next = is_due.then(|| next.clone())?;
        self.told += 1;
        Some(next)
    }

    /// Whether a model did not answer about the event at this revision.
    pub(super) fn failed(&self, revision: Revision, model: &str) -> bool {
        self.outside.as_ref().is_some_and(|outside| outside.failed(revision, model))
    }

    /// That an event of the log, which the entity expects next, was put aside in this life; none when it was not.
    pub(super) fn park(&self, catalog: &Catalog, event: &Recorded) -> Option<Input> {
        let mut parks = self.outside.as_ref()?.parks.iter();
        let park = parks.find(|park| park.revision == event.revision && park.life == self.life)?;
        park.holds(codec::decode(catalog, event).is_ok()).then(|| told(park, self.entity.next_revision()))
    }

    /// Keeps an event for a later life, if there will be one.
    pub(super) fn keep_event(&mut self, event: &Recorded) {
        if self.outside.as_ref().is_some_and(|outside| outside.unparks > self.life) {
            self.past.get_or_insert_default().events.push(event.clone());
        }
    }

    /// Keeps facts for a later life, if there will be one.
    pub(super) fn keep_facts(&mut self, from: Revision, facts: &[Fact]) {
        if self.outside.as_ref().is_none_or(|outside| outside.unparks <= self.life) {
            return;
        }
        let past = self.past.get_or_insert_default();
        past.facts.extend((from..).zip(facts).map(|(revision, fact)| {
            let event = codec::encode_fact(fact);
            Recorded {
                id: event.id,
                stream: ByteString::from_static("intent-"),
                revision,
                position: Position(0),
                event_type: event.event_type,
                data: event.data,
                metadata: event.metadata,
                recorded_at: Timestamp::MIN,
            }
        }));
    }

    /// Begins again as the daemon does: from all facts and all events so far. Answers what to tell the new entity.
    pub(super) fn begin_again(&mut self, catalog: &Catalog, market: &Arc<Market>) -> Vec<Input> {
        self.entity = UserEntity::new(self.entity.user().clone());
        self.is_over = false;
        self.life += 1;
        let Some(past) = &self.past else { return Vec::new() };
        let mut inputs = vec![Input::Facts(past.facts.clone())];
        // The events stand here under the entity's own numbers: the log's, unless some are left out, and then nobody asks.
        for event in &past.events {
            let of_event = |park: &&Park| park.revision == event.revision && park.life == self.life;
            let park = self.outside.iter().flat_map(|outside| &outside.parks).find(of_event);
            let park = park.filter(|park| park.holds(codec::decode(catalog, event).is_ok()));
            inputs.extend(park.map(|park| told(park, event.revision)));
        }
        let (events, market) = (past.events.clone(), Arc::clone(market));
        inputs.push(Input::Deliver { events, market });
        inputs
    }
}

fn told(park: &Park, revision: Revision) -> Input {
    Input::Park { revision, attempts: park.attempts, reason: park.reason.clone(), at: park.at }
}
