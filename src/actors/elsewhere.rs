//! Users of other shards: what can be answered about them from the log, which all instances share.
//!
//! Law: nothing here writes what their own instance decides. Called by the daemon.

use super::history::{self, source};
use super::root::Parts;
use crate::domain::entity::Description;
use crate::domain::event::{Position, Recorded, Revision};
use crate::domain::id::{UserId, stream};
use crate::domain::time::Timestamp;
use crate::store::{Direction, Error, Message};

/// The newest fact of a user says how far everything is decided.
const NEWEST: usize = 1;

/// The user as the log has it now.
pub(super) async fn describe(
    parts: &Parts,
    user: &UserId,
    as_of: Timestamp,
) -> Result<Option<Description>, Error> {
    history::describe(parts, user, Timestamp::MAX, as_of).await
}

/// Waits until the user's own instance has decided a revision and written what followed; answers where that stands.
pub(super) async fn decided(parts: &Parts, user: &UserId, revision: Revision) -> Result<Position, Error> {
    let name = stream::intent(user);
    let is_decided = |fact: &&Recorded| source(fact) >= Some(revision);
    let page = parts.store.read_stream(&name, None, Direction::Backwards, NEWEST).await?;
    let newest = page.events.first();
    if let Some(fact) = newest.filter(is_decided) {
        return Ok(fact.position);
    }
    let mut facts = parts.store.subscribe_stream(&name, newest.map(|fact| fact.revision));
    loop {
        if let Message::Events(events) = facts.next().await?
            && let Some(fact) = events.iter().rfind(is_decided)
        {
            return Ok(fact.position);
        }
    }
}
