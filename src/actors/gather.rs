//! A client's events as appends, one for each stream.
//!
//! Law: the order of a client's events is kept within a stream, and between the market and everybody, as far as the store keeps
//! the order of appends: a cluster does where nobody else writes to the same streams. Called by `daemon`.

use hashbrown::{HashSet, HashTable};
use xxhash_rust::xxh3::xxh3_64;

use crate::commands::Ingest;
use crate::domain::id::EventId;
use crate::domain::id::stream::MARKET;
use crate::store::{Append, ExpectedRevision};

/// In an append of fewer events a scan for an id is faster than a table.
const SCANNED_MAX: usize = 32;

/// One append for each stream; an id that stands twice in the request counts as a duplicate. Market events keep their place
/// among those of users: what a user's event sees of the market must not depend on how events were batched.
pub(super) fn gather(events: Vec<Ingest>) -> (Vec<Append>, u64) {
    let mut batch: Vec<Append> = Vec::new();
    let mut at: HashTable<usize> = HashTable::new();
    let mut seen = HashSet::new();
    let mut repeated = 0;
    let mut in_market = false;
    for Ingest { stream, event } in events {
        let is_market = stream.starts_with(MARKET);
        if is_market != in_market {
            at.clear();
            in_market = is_market;
        }
        let hash = xxh3_64(stream.as_bytes());
        let name = |place: &usize| batch.get(*place).map_or("", |append| append.stream.as_str());
        let place = match at.find(hash, |place| name(place) == stream) {
            Some(place) => *place,
            None => {
                at.insert_unique(hash, batch.len(), |place| xxh3_64(name(place).as_bytes()));
                batch.push(Append { stream, expected: ExpectedRevision::Any, events: Vec::new() });
                batch.len() - 1
            }
        };
        let Some(append) = batch.get_mut(place) else { continue };
        if holds(append, place, event.id, &mut seen) {
            repeated += 1;
        } else {
            append.events.push(event);
        }
    }
    (batch, repeated)
}

/// Whether the append holds the id. `seen` has the ids of the large ones.
fn holds(append: &Append, place: usize, id: EventId, seen: &mut HashSet<(usize, EventId)>) -> bool {
    if append.events.len() < SCANNED_MAX {
        return append.events.iter().any(|event| event.id == id);
    }
    if append.events.len() == SCANNED_MAX {
        seen.extend(append.events.iter().map(|event| (place, event.id)));
    }
    !seen.insert((place, id))
}
