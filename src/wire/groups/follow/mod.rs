//! The events of a group, as they are read from the log.
//!
//! Law: every event after the place that passes the filter, once and in order. Read by `group`, as far as there is room.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use tonic::Status;

use super::config::{Config, Followed};
use super::machine::{New, Place};
use crate::clock;
use crate::domain::event::{Position, Recorded};
use crate::store::{EventStore, Message, Subscription};
use crate::wire::convert::unmarked;
use crate::wire::filter::Wanted;
use crate::wire::links::{Told, told};
use crate::wire::status::of_store;
use crate::wire::stream_metadata;

/// Bytes of events after which it is looked whether there is room for more: links are short, what they lead to is not.
const READ_BYTES: usize = 1 << 20;

/// An event with the link through which it was found.
pub(super) type Event = Arc<Told>;

/// Some of what was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) events: Vec<New<Event>>,
    /// Events that did not pass.
    pub(super) others: u64,
    /// Everything up to here was looked at.
    pub(super) through: Option<Place>,
}

struct Source {
    store: Arc<dyn EventStore>,
    config: Arc<Config>,
    wanted: Option<Wanted>,
    inner: Box<dyn Subscription>,
    /// What the store gave and was not looked at yet.
    given: std::vec::IntoIter<Recorded>,
}

/// What is read, some at a time.
pub(super) struct Following(Pin<Box<dyn Stream<Item = Result<Read, Status>> + Send>>);

impl Following {
    pub(super) async fn begin(
        store: &Arc<dyn EventStore>,
        config: &Arc<Config>,
        after: Option<Place>,
    ) -> Result<Self, Status> {
        let mut wanted = None;
        let inner = match &config.key.follows {
            Followed::Stream(stream) => {
                let last = stream_metadata::last(&**store, stream).await?.map(|last| last.revision);
                let hidden = stream_metadata::hidden(&**store, stream, last, clock::wall()).await?;
                store.subscribe_stream(stream, after.max(hidden))
            }
            Followed::All => {
                wanted = config.filter.as_ref().map(super::config::Filter::compile).transpose()?.flatten();
                let by_store = wanted.as_ref().map(Wanted::by_store).unwrap_or_default();
                store.subscribe_all(after.map(Position), by_store)
            }
        };
        let (store, config) = (Arc::clone(store), Arc::clone(config));
        let source = Source { store, config, wanted, inner, given: Vec::new().into_iter() };
        // As a stream, what was begun is kept when the wait for it is given up.
        Ok(Self(Box::pin(unfold(source, |mut source| async move { Some((source.more().await, source)) }))))
    }

    pub(super) async fn next(&mut self) -> Result<Read, Status> {
        match self.0.next().await {
            Some(read) => read,
            None => Ok(Read::default()),
        }
    }
}

impl Source {
    async fn more(&mut self) -> Result<Read, Status> {
        if self.given.len() == 0 {
            match self.inner.next().await.map_err(|error| of_store(&error))? {
                Message::Events(events) => self.given = events.into_iter(),
                Message::Checkpoint(at) => {
                    // A stream's places are revisions: a position would stand far beyond them.
                    let through = matches!(self.config.key.follows, Followed::All).then_some(at.0);
                    return Ok(Read { through, ..Read::default() });
                }
                Message::CaughtUp(_) => return Ok(Read::default()),
            }
        }
        self.events().await
    }

    async fn events(&mut self) -> Result<Read, Status> {
        let (mut read, mut bytes) = (Read::default(), 0);
        while bytes < READ_BYTES
            && let Some(event) = self.given.next()
        {
            let place = match self.config.key.follows {
                Followed::Stream(_) => event.revision,
                Followed::All => event.position.0,
            };
            read.through = Some(place);
            // A pattern that takes too long at an event says nothing of it: rather one too many than one lost.
            if self.wanted.as_ref().is_none_or(|wanted| wanted.admits(&event).unwrap_or(true)) {
                let told = told(&*self.store, event, self.config.settings.resolve_links).await?;
                let event = new(&self.config, place, &told);
                bytes += event.as_ref().map_or(0, |event| event.bytes);
                read.events.extend(event);
            } else {
                read.others += 1;
            }
        }
        Ok(read)
    }
}

/// An event for the machine.
pub(super) fn new(config: &Config, place: Place, told: &Told) -> Option<New<Event>> {
    let id = told.original()?.id.0;
    let pin = told.event.as_ref().or(told.link.as_ref()).map_or(0, |event| pin(config, event));
    Some(New { place, id, pin, bytes: told.size(), event: Arc::new(told.own()) })
}

#[derive(Deserialize)]
struct Correlated {
    #[serde(rename = "$correlationId")]
    correlation: String,
}

/// What decides who gets an event when it is pinned: its stream, or what it belongs to.
fn pin(config: &Config, event: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    let correlation = match config.settings.pins_by_correlation() {
        true => serde_json::from_slice::<Correlated>(&unmarked(&event.metadata).1).ok(),
        false => None,
    };
    match correlation {
        Some(correlated) => correlated.correlation.hash(&mut hasher),
        None => event.stream.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests;
