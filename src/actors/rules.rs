//! The daemon's core: the catalogue's rules, driven.
//!
//! Law: adds nothing to the entity but the bytes of its snapshot. Made by `app`.

use std::sync::Arc;

use super::core::{Core, Entity};
use crate::domain::codec;
use crate::domain::entity::{Effect, Input, Rules, Snapshot, UserEntity};
use crate::domain::event::{Behaviour, Fact, NewEvent, Recorded, Revision, UserEvent};
use crate::domain::id::{UserId, stream};
use crate::domain::time::Timestamp;

/// The rules of one catalogue.
#[derive(Clone, Debug)]
pub struct RuleCore(Arc<Rules>);

impl RuleCore {
    /// A core of these rules.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self(rules)
    }
}

struct RuleEntity {
    rules: Arc<Rules>,
    entity: UserEntity,
    next_fact: Revision,
}

impl Entity for RuleEntity {
    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        if let Input::Facts(facts) = &input
            && let Some(last) = facts.last()
        {
            self.next_fact = last.revision + 1;
        }
        self.entity.step(&self.rules, input, effects);
    }

    fn next_event(&self) -> Revision {
        self.entity.next_revision()
    }

    fn next_fact(&self) -> Revision {
        self.next_fact
    }

    fn is_quiet(&self) -> bool {
        self.entity.is_quiescent()
    }

    fn at_work_on(&self) -> Option<Revision> {
        self.entity.folding()
    }

    fn clock(&self) -> Timestamp {
        self.entity.clock()
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.entity.snapshot().and_then(|snapshot| postcard::to_stdvec(&snapshot).ok())
    }
}

impl Core for RuleCore {
    fn entity(&self, user: &UserId, snapshot: Option<&[u8]>) -> Box<dyn Entity> {
        let rules = Arc::clone(&self.0);
        let snapshot = snapshot.and_then(|bytes| postcard::from_bytes::<Snapshot>(bytes).ok());
        let next_fact = snapshot.as_ref().and_then(Snapshot::intent_revision).map_or(0, |last| last + 1);
        let entity = match snapshot {
            Some(snapshot) => UserEntity::restore(user.clone(), snapshot),
            None => UserEntity::new(user.clone()),
        };
        Box::new(RuleEntity { rules, entity, next_fact })
    }

    fn encode(&self, fact: &Fact) -> NewEvent {
        codec::encode_fact(fact)
    }

    fn market_streams(&self) -> Vec<String> {
        let events = self.0.catalog.events.iter();
        let mut names: Vec<String> =
            events.filter_map(|event| event.market.as_deref()).map(stream::market).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn market_event(&self, event: &Recorded) -> Option<Behaviour> {
        match codec::decode(&self.0.catalog, event) {
            Ok(UserEvent::Behaviour(behaviour)) => Some(behaviour),
            Ok(UserEvent::ScoreRequested(_) | UserEvent::ConversionRecorded(_) | UserEvent::Unknown) => None,
            Err(error) => {
                tracing::warn!(error = %crate::error::Chain(&error), "a market event is passed over");
                None
            }
        }
    }

    fn occurred_at(&self, event: &Recorded) -> Option<Timestamp> {
        match codec::decode(&self.0.catalog, event).ok()? {
            UserEvent::Behaviour(behaviour) => Some(behaviour.occurred_at),
            UserEvent::ScoreRequested(requested) => Some(requested.occurred_at),
            UserEvent::ConversionRecorded(conversion) => Some(conversion.occurred_at),
            UserEvent::Unknown => None,
        }
    }
}
