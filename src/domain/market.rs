//! What the market was, as of a time and as far as the log had told: joined to users, never folded into them.
//!
//! Law: a value depends only on event time and on how many market events stood before the user's event in the log.
//!
//! Read for every score, so it is a search and not a scan: per event type the events stand by event time in chunks that
//! markets share. A further event copies one chunk and the list of chunks (some 10 KB at ten years of five events a day).

use std::sync::Arc;

use super::catalog::{EventIx, FieldIx};
use super::event::{Behaviour, Fields, Position};
use super::time::Timestamp;

/// Most entries of a chunk: what [`Market::with`] copies stays around 10 KB, and a search skips a chunk at a time.
const CHUNK_MAX: usize = 128;

/// Every market event seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Market {
    /// By event type.
    lanes: Vec<Lane>,
    /// The positions of all market events, in log order, in full chunks but for the last.
    log: Vec<Arc<Vec<Position>>>,
    events: u64,
}

/// The events of one type, ascending by event time, then log order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Lane(Vec<Arc<Chunk>>);

/// Neighbours of one type; never empty.
#[derive(Clone, Debug, PartialEq)]
struct Chunk {
    entries: Vec<Entry>,
    /// The least `order` in it: a reader that knows no event of the chunk skips it.
    order_min: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    at: Timestamp,
    /// How many market events stand before it in the log.
    order: u64,
    fields: Fields,
}

impl Market {
    /// A market that knows these events, given in log order.
    pub fn new(entries: Vec<(Position, Behaviour)>) -> Self {
        let mut market = Self::default();
        for (position, event) in entries {
            market.push(position, event);
        }
        market
    }

    /// This market and one more event, which stands behind all others in the log.
    #[must_use]
    pub fn with(&self, position: Position, event: Behaviour) -> Self {
        let mut market = self.clone();
        market.push(position, event);
        market
    }

    /// How many market events stand before `position` in the log.
    pub fn revision_at(&self, position: Position) -> u64 {
        let begun = self.log.partition_point(|chunk| chunk.first().is_some_and(|first| *first < position));
        let Some(full) = begun.checked_sub(1) else { return 0 };
        let rest = self.log.get(full).map_or(0, |chunk| chunk.partition_point(|at| *at < position));
        (full * CHUNK_MAX + rest) as u64
    }

    /// The field's value in the latest event (by event time, then log order) of the type that happened at or before
    /// `as_of`, among the first `revision` market events; NaN when there is none.
    pub fn value(&self, kind: EventIx, field: FieldIx, as_of: Timestamp, revision: u64) -> f64 {
        self.lanes
            .get(usize::from(kind.0))
            .and_then(|lane| lane.latest(as_of, revision))
            .and_then(|entry| entry.fields.get(usize::from(field.0)).copied())
            .unwrap_or(f64::NAN)
    }

    fn push(&mut self, position: Position, event: Behaviour) {
        match self.log.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_MAX => Arc::make_mut(chunk).push(position),
            Some(_) | None => self.log.push(Arc::new(vec![position])),
        }
        let kind = usize::from(event.kind.0);
        if self.lanes.len() <= kind {
            self.lanes.resize_with(kind + 1, Lane::default);
        }
        if let Some(lane) = self.lanes.get_mut(kind) {
            lane.insert(Entry { at: event.occurred_at, order: self.events, fields: event.fields });
        }
        self.events += 1;
    }
}

impl Lane {
    /// The newest entry at or before `as_of` among those of the first `revision` market events.
    fn latest(&self, as_of: Timestamp, revision: u64) -> Option<&Entry> {
        let begun = self.0.partition_point(|chunk| chunk.begins_by(as_of));
        let known = self.0.iter().take(begun).rev().filter(|chunk| chunk.order_min < revision);
        known.filter_map(|chunk| chunk.latest(as_of, revision)).next()
    }

    /// Takes in the newest event of the log: it stands behind all of the same event time.
    fn insert(&mut self, entry: Entry) {
        let begun = self.0.partition_point(|chunk| chunk.begins_by(entry.at));
        let Some(chunk) = self.0.get_mut(begun.saturating_sub(1)) else {
            self.0.push(Arc::new(Chunk { order_min: entry.order, entries: vec![entry] }));
            return;
        };
        let rest = Arc::make_mut(chunk).insert(entry);
        if let Some(rest) = rest {
            self.0.insert(begun.max(1), Arc::new(rest));
        }
    }
}

impl Chunk {
    fn begins_by(&self, at: Timestamp) -> bool {
        self.entries.first().is_some_and(|first| first.at <= at)
    }

    fn latest(&self, as_of: Timestamp, revision: u64) -> Option<&Entry> {
        let happened = self.entries.partition_point(|entry| entry.at <= as_of);
        self.entries.iter().take(happened).rev().find(|entry| entry.order < revision)
    }

    /// Takes in an entry; the newer part when the chunk grew too long.
    fn insert(&mut self, entry: Entry) -> Option<Self> {
        let place = self.entries.partition_point(|known| known.at <= entry.at);
        let newest = place == self.entries.len();
        self.entries.insert(place, entry);
        if self.entries.len() <= CHUNK_MAX {
            return None;
        }
        // Events mostly come in order: leave full chunks behind then, halves only where one came late.
        let keep = if newest { CHUNK_MAX } else { CHUNK_MAX / 2 };
        let rest = Self::of(self.entries.split_off(keep));
        *self = Self::of(std::mem::take(&mut self.entries));
        Some(rest)
    }

    fn of(entries: Vec<Entry>) -> Self {
        let order_min = entries.iter().map(|entry| entry.order).min().unwrap_or(u64::MAX);
        Self { entries, order_min }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    /// The law, word for word.
    fn recount(log: &[(Position, Behaviour)], kind: u16, as_of: Timestamp, revision: usize) -> f64 {
        log.iter()
            .take(revision)
            .filter(|(_, event)| event.kind == EventIx(kind) && event.occurred_at <= as_of)
            .max_by_key(|(position, event)| (event.occurred_at, *position))
            .map_or(f64::NAN, |(_, event)| event.fields[0])
    }

    fn log_of(events: &[(u16, i64, u64)]) -> Vec<(Position, Behaviour)> {
        let mut position = 0;
        let behaviour = |(at, (kind, day, gap)): (usize, &(u16, i64, u64))| {
            position += gap;
            let occurred_at = Timestamp::from_millis(*day);
            let fields = smallvec![at as f64];
            (Position(position), Behaviour { kind: EventIx(*kind), occurred_at, fields })
        };
        events.iter().enumerate().map(behaviour).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn value_is_what_the_law_says(
            mut events in prop::collection::vec((0_u16..2, 0_i64..400, 1_u64..4), 0..700),
            in_order in any::<bool>(),
            asked in prop::collection::vec((0_u16..3, -1_i64..401, 0_usize..702, 0_u64..2_000), 20),
        ) {
            if in_order {
                events.sort_by_key(|event| event.1);
            }
            let log = log_of(&events);
            let whole = Market::new(log.clone());
            let grown = log.iter().fold(Market::default(), |market, (position, event)| {
                market.with(*position, event.clone())
            });
            for (kind, as_of, revision, position) in asked {
                let as_of = Timestamp::from_millis(as_of);
                let expected = recount(&log, kind, as_of, revision);
                for market in [&whole, &grown] {
                    let value = market.value(EventIx(kind), FieldIx(0), as_of, revision as u64);
                    prop_assert_eq!(value.to_bits(), expected.to_bits());
                    let before = log.iter().filter(|(at, _)| *at < Position(position)).count();
                    prop_assert_eq!(market.revision_at(Position(position)), before as u64);
                }
            }
        }
    }

    #[test]
    fn a_market_that_grew_leaves_the_one_before_as_it_was() {
        let log = log_of(&[(0, 10, 1), (0, 20, 1)]);
        let before = Market::new(log.clone());
        let after = before.with(Position(9), log[0].1.clone());
        assert_eq!(before.revision_at(Position(100)), 2);
        assert_eq!(after.revision_at(Position(100)), 3);
        assert!(before.value(EventIx(0), FieldIx(1), Timestamp::MAX, 2).is_nan());
    }
}
