//! What the market was, as of a time and as far as the log had told: joined to users, never folded into them.
//!
//! Law: a value depends only on event time and on how many market events stood before the user's event in the log.

use super::catalog::{EventIx, FieldIx};
use super::event::{Behaviour, Position};
use super::time::Timestamp;

/// Every market event seen, in log order. One day of market data is a few events: kept whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Market {
    entries: Vec<(Position, Behaviour)>,
}

impl Market {
    /// A market that knows these events, given in log order.
    pub fn new(entries: Vec<(Position, Behaviour)>) -> Self {
        Self { entries }
    }

    /// This market and one more event, which stands behind all others in the log.
    #[must_use]
    pub fn with(&self, position: Position, event: Behaviour) -> Self {
        let mut entries = self.entries.clone();
        entries.push((position, event));
        Self { entries }
    }

    /// How many market events stand before `position` in the log.
    pub fn revision_at(&self, position: Position) -> u64 {
        self.entries.partition_point(|(at, _)| *at < position) as u64
    }

    /// The field's value in the latest event (by event time, then log order) of the type that happened at or before
    /// `as_of`, among the first `revision` market events; NaN when there is none.
    pub fn value(&self, kind: EventIx, field: FieldIx, as_of: Timestamp, revision: u64) -> f64 {
        let known = usize::try_from(revision).unwrap_or(usize::MAX).min(self.entries.len());
        self.entries
            .iter()
            .take(known)
            .filter(|(_, event)| event.kind == kind && event.occurred_at <= as_of)
            .max_by_key(|(at, event)| (event.occurred_at, *at))
            .and_then(|(_, event)| event.fields.get(usize::from(field.0)).copied())
            .unwrap_or(f64::NAN)
    }
}
