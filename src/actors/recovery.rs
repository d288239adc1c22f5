//! How an incarnation begins: snapshot, then the facts behind it, then the events behind it.
//!
//! Law: it reads at least what was delivered before it began, or fails and is tried again; it reads nothing that the market
//! is not complete for. Called by the user actor in `post_start`: its own task, supervised, stalling nobody.

use std::sync::Arc;

use ractor::ActorRef;

use super::failure::Failure;
use super::user::{Message, Shared, State};
use crate::domain::entity::Input;
use crate::domain::event::{Recorded, Revision};
use crate::domain::id::stream;
use crate::domain::roster::{Parked, Tail};
use crate::error::Chain;
use crate::store::{Direction, Page};

pub(super) async fn recover(myself: &ActorRef<Message>, state: &mut State) -> Result<(), Failure> {
    let user = state.start.user.clone();
    let snapshot = state.shared.snapshots.load(&user).unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "a snapshot cannot be read; the log is folded instead");
        None
    });
    let entity = state.shared.core.entity(&user, snapshot.as_deref());
    // Only settled users are kept.
    state.settled = entity.next_event();
    state.entity = Some(entity);
    drop(snapshot);
    facts(myself, state, &stream::intent(&user)).await?;
    if let Some(Parked { revision, attempts, reason }) = state.start.park.take() {
        tracing::warn!(revision, attempts, reason, "an event that cannot be folded is put aside");
        crate::metrics::events_parked(1);
        let at = (state.shared.wall)();
        state.step(myself, Input::Park { revision, attempts, reason, at })?;
    }
    events(myself, state, &stream::user(&user)).await?;
    crate::metrics::users_recovered(1);
    Ok(())
}

async fn facts(myself: &ActorRef<Message>, state: &mut State, name: &str) -> Result<(), Failure> {
    let mut next = state.entity.as_ref().map(|entity| entity.next_fact());
    while let Some(from) = next {
        let page = read(&state.shared, name, from).await?;
        next = page.next;
        if let Some(last) = page.events.last() {
            state.facts_at = Some(last.position);
            state.step(myself, Input::Facts(page.events))?;
        }
    }
    Ok(())
}

async fn events(myself: &ActorRef<Message>, state: &mut State, name: &str) -> Result<(), Failure> {
    let mut next = state.entity.as_ref().map_or(0, |entity| entity.next_event());
    let last_wanted = |from: Revision, tail: Tail| match tail {
        Tail::Through(Some(through)) if from <= through => Some(Some(through)),
        Tail::Through(_) => None,
        Tail::Unknown => Some(None),
    };
    while let Some(through) = last_wanted(next, state.start.tail) {
        let page = read(&state.shared, name, next).await?;
        let complete_to = state.complete_to;
        let wanted = |event: &Recorded| match through {
            Some(through) => event.revision <= through,
            None => event.position <= complete_to,
        };
        let more = page.next.is_some();
        let read = page.events.len();
        let events: Vec<Recorded> = page.events.into_iter().filter(wanted).collect();
        let whole = events.len() == read;
        let Some(last) = events.last().map(|event| event.revision) else {
            return match through {
                Some(through) => Err(Failure::here(format!(
                    "the log shows {name} before revision {next}, and revision {through} was delivered"
                ))),
                None => Ok(()),
            };
        };
        next = last + 1;
        if state.start.careful {
            state.one_by_one.extend(events);
        } else {
            let market = Arc::clone(&state.market);
            state.step(myself, Input::Deliver { events, market })?;
        }
        if through.is_none() && !(more && whole) {
            return Ok(());
        }
    }
    Ok(())
}

async fn read(shared: &Shared, name: &str, from: Revision) -> Result<Page, Failure> {
    let page = shared.store.read_stream(name, Some(from), Direction::Forwards, shared.options.page_max);
    page.await.map_err(|error| Failure::here(Chain(&error).to_string()))
}
