//! Questions about the past, answered from the log alone.
//!
//! Law: what is answered for a time is what the user was when the log had come to that time. Called by the daemon.

use std::sync::Arc;

use super::feed;
use super::root::Parts;
use crate::domain::codec::decode_metadata;
use crate::domain::entity::{Answer, Command, Description, Effect, Input, Token};
use crate::domain::event::{Position, Recorded, Revision};
use crate::domain::id::{UserId, stream};
use crate::domain::time::Timestamp;
use crate::store::{Direction, Error, EventStore};

/// The type of the fact that opens an alert.
const ALERT_SCORED: &str = "AlertScored";
/// Facts of one revision are few: a page of so many holds them.
const FACTS_MAX: usize = 64;

/// How many alerts a revision of a user opened.
pub(super) async fn alerts_of(
    store: &Arc<dyn EventStore>,
    user: &UserId,
    revision: Revision,
) -> Result<u64, Error> {
    let page = store.read_stream(&stream::intent(user), None, Direction::Backwards, FACTS_MAX).await?;
    let opened = page.events.iter().filter(|fact| &*fact.event_type == ALERT_SCORED);
    Ok(opened.filter(|fact| source(fact) == Some(revision)).count() as u64)
}

/// How far of the user's events a fact has seen.
pub(super) fn source(fact: &Recorded) -> Option<Revision> {
    decode_metadata(&fact.metadata).ok()?.source_revision
}

/// The user as it stood: its events up to the first one later than `until` ([`Timestamp::MAX`]: all there are), and the facts
/// that followed from them; windows are read as of `as_of`.
pub(super) async fn describe(
    parts: &Parts,
    user: &UserId,
    until: Timestamp,
    as_of: Timestamp,
) -> Result<Option<Description>, Error> {
    let Parts { store, core, .. } = parts;
    let (events, exists) = all(parts, &stream::user(user), |event| {
        core.occurred_at(event).is_none_or(|occurred_at| occurred_at <= until)
    })
    .await?;
    if !exists {
        return Ok(None);
    }
    let through = events.last().map(|event| (event.revision, event.position));
    let (facts, _) = all(parts, &stream::intent(user), |fact| {
        source(fact).is_none_or(|source| through.is_some_and(|(revision, _)| source <= revision))
    })
    .await?;
    // Now, the market is what it is now; then, it was what the last event saw.
    let present = || Position(i64::MAX.cast_unsigned());
    let position =
        if until == Timestamp::MAX { Some(present()) } else { through.map(|(_, position)| position) };
    let market = Arc::new(feed::market_of(store, core, parts.options.page_max, position).await?);
    let mut entity = core.entity(user, None);
    // What it wants done was done, or was never to be.
    let mut effects = Vec::new();
    entity.step(Input::Facts(facts), &mut effects);
    entity.step(Input::Deliver { events, market: Arc::clone(&market) }, &mut effects);
    effects.clear();
    let command = Command::Describe { as_of, market };
    entity.step(Input::Command { token: Token(0), command, now: as_of, as_of }, &mut effects);
    Ok(effects.into_iter().find_map(|effect| match effect {
        Effect::Answer { answer: Ok(Answer::Description(description)), .. } => Some(*description),
        Effect::Answer { .. }
        | Effect::Score { .. }
        | Effect::Append { .. }
        | Effect::Settled { .. }
        | Effect::Restart { .. }
        | Effect::Rebuild { .. } => None,
    }))
}

/// The events of a stream up to the first one that is not wanted, and whether the stream exists.
async fn all(
    parts: &Parts,
    name: &str,
    wanted: impl Fn(&Recorded) -> bool,
) -> Result<(Vec<Recorded>, bool), Error> {
    let (mut found, mut next, mut exists) = (Vec::new(), Some(0), false);
    while let Some(from) = next {
        let page =
            parts.store.read_stream(name, Some(from), Direction::Forwards, parts.options.page_max).await?;
        exists |= page.exists;
        let read = page.events.len();
        let before = found.len();
        found.extend(page.events.into_iter().take_while(|event| wanted(event)));
        next = page.next.filter(|_| found.len() - before == read);
    }
    Ok((found, exists))
}
