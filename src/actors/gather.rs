//! A client's events as appends, one for each stream.
//!
//! Law: the order of a client's events is kept within a stream, and between the market and everybody. Called by `daemon`.

use hashbrown::{HashMap, HashSet};

use crate::commands::Ingest;
use crate::domain::id::stream::MARKET;
use crate::store::{Append, ExpectedRevision};

/// One append for each stream; an id that stands twice in the request counts as a duplicate. Market events keep their place
/// among those of users: what a user's event sees of the market must not depend on how events were batched.
pub(super) fn gather(events: Vec<Ingest>) -> (Vec<Append>, u64) {
    let mut batch: Vec<Append> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut seen = HashSet::with_capacity(events.len());
    let mut repeated = 0;
    let mut in_market = false;
    for Ingest { stream, event } in events {
        let is_market = stream.starts_with(MARKET);
        if is_market != in_market {
            at.clear();
            in_market = is_market;
        }
        let place = *at.entry_ref(stream.as_str()).or_insert_with(|| {
            batch.push(Append {
                stream: stream.clone(),
                expected: ExpectedRevision::Any,
                events: Vec::new(),
            });
            batch.len() - 1
        });
        if !seen.insert((place, event.id)) {
            repeated += 1;
        } else if let Some(append) = batch.get_mut(place) {
            append.events.push(event);
        }
    }
    (batch, repeated)
}
