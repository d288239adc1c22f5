//! Reads without an end: history, "caught up", then live.
//!
//! Law: confirmed first, then every event that passes, once and in order; positions never go back. A subscription never
//! ends well: clients spin when one does, so it ends with an error, at the stop too. Called by `streams`.

use std::num::NonZeroU64;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::convert::{message, wire_time};
use super::filter::Wanted;
use super::flow::Source;
use super::proto::event_store::client::streams::ReadResp;
use super::proto::event_store::client::streams::read_resp::{
    CaughtUp, Checkpoint, Content, Position as WirePosition, SubscriptionConfirmation,
};
use super::read::Manner;
use super::status::{not_ready, of_store, stream_deleted};
use super::stream_metadata;
use super::{App, stopped};
use crate::clock;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{BoxFuture, Filter, Message, Subscription};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After<T> {
    /// With the first event.
    Start,
    /// With the next one after this place.
    Place(T),
    /// With the next one to come.
    End,
}

/// Checkpoints of a filtered subscription.
struct Marks {
    wanted: Wanted,
    considered: u64,
    /// The newest checkpoint told.
    told: Option<Position>,
}

impl Marks {
    fn interval(&self) -> NonZeroU64 {
        self.wanted.interval
    }

    /// The checkpoint at this place, unless it or a later one was told.
    fn at(&mut self, position: Position) -> Option<ReadResp> {
        self.considered = 0;
        if self.told.is_some_and(|told| told >= position) {
            return None;
        }
        self.told = Some(position);
        Some(message(Content::Checkpoint(Checkpoint {
            commit_position: position.0,
            prepare_position: position.0,
            timestamp: Some(wire_time(clock::wall())),
        })))
    }
}

/// What it follows.
enum Followed {
    /// A stream, and the last revision told or passed over.
    Stream(Option<Revision>),
    All(Option<Marks>),
}

/// A running subscription.
pub(super) struct Subscriber {
    app: Arc<App>,
    inner: Box<dyn Subscription>,
    stopping: watch::Receiver<bool>,
    followed: Followed,
    manner: Manner,
}

/// The message that begins a subscription.
pub(super) fn confirmation() -> ReadResp {
    let subscription_id = Uuid::new_v4().to_string();
    message(Content::Confirmation(SubscriptionConfirmation { subscription_id }))
}

impl Subscriber {
    /// To a stream. One that does not exist yet is waited for.
    pub(super) async fn to_stream(
        app: &Arc<App>,
        stream: &str,
        after: After<Revision>,
        manner: Manner,
    ) -> Result<Self, Status> {
        if app.tombs.while_writing().await.contains(stream) {
            return Err(stream_deleted(stream));
        }
        let metadata = stream_metadata::metadata(&*app.store, stream).await?;
        let last = stream_metadata::last(&*app.store, stream).await?.map(|event| event.revision);
        let first = metadata.window(last, clock::wall()).first;
        let hidden = if metadata.is_deleted() { last } else { first.checked_sub(1) };
        let after = match after {
            After::Start => hidden,
            After::Place(revision) => hidden.max(Some(revision)),
            After::End => last,
        };
        let inner = app.store.subscribe_stream(stream, after);
        Ok(Self::new(app, inner, Followed::Stream(after), manner))
    }

    /// To `$all`.
    pub(super) async fn to_all(
        app: &Arc<App>,
        after: After<Position>,
        wanted: Option<Wanted>,
        manner: Manner,
    ) -> Result<Self, Status> {
        let after = match after {
            After::Start => None,
            After::Place(position) => Some(position),
            After::End => app.store.head().await.map_err(|error| of_store(&error))?,
        };
        // Checkpoints count the events that do not pass, too: the store may not leave them out.
        let inner = app.store.subscribe_all(after, Filter::default());
        let marks = wanted.map(|wanted| Marks { wanted, considered: 0, told: after });
        Ok(Self::new(app, inner, Followed::All(marks), manner))
    }

    fn new(app: &Arc<App>, inner: Box<dyn Subscription>, followed: Followed, manner: Manner) -> Self {
        let stopping = app.stopping.clone();
        Self { app: Arc::clone(app), inner, stopping, followed, manner }
    }

    async fn step(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        loop {
            // The store may always have more at once: others get their turn between.
            tokio::task::consume_budget().await;
            let said = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return Err(not_ready()),
                said = self.inner.next() => said.map_err(|error| of_store(&error))?,
            };
            let batch = match said {
                Message::Events(events) => self.events(events).await?,
                Message::CaughtUp(at) => self.caught_up(at),
                // Ours are counted in the events themselves.
                Message::Checkpoint(_) => Vec::new(),
            };
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    async fn events(&mut self, events: Vec<Recorded>) -> Result<Vec<ReadResp>, Status> {
        let mut batch = Vec::with_capacity(events.len());
        for event in events {
            let position = event.position;
            match &mut self.followed {
                Followed::Stream(last) => {
                    *last = Some(event.revision);
                    batch.push(self.manner.tell(&self.app, event).await?);
                }
                Followed::All(None) => batch.push(self.manner.tell(&self.app, event).await?),
                Followed::All(Some(marks)) => {
                    marks.considered += 1;
                    if marks.wanted.admits(&event)? {
                        batch.push(self.manner.tell(&self.app, event).await?);
                    }
                    if marks.considered >= marks.interval().get() {
                        batch.extend(marks.at(position));
                    }
                }
            }
        }
        Ok(batch)
    }

    fn caught_up(&mut self, at: Option<Position>) -> Vec<ReadResp> {
        let mut batch = Vec::new();
        let mut caught_up =
            CaughtUp { timestamp: Some(wire_time(clock::wall())), stream_revision: None, position: None };
        match &mut self.followed {
            Followed::Stream(last) => caught_up.stream_revision = last.map(u64::cast_signed),
            Followed::All(marks) => {
                let place = |at: Position| WirePosition { commit_position: at.0, prepare_position: at.0 };
                caught_up.position = at.map(place);
                batch.extend(marks.as_mut().zip(at).and_then(|(marks, at)| marks.at(at)));
            }
        }
        batch.push(message(Content::CaughtUp(caught_up)));
        batch
    }
}

impl Source for Subscriber {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
        Box::pin(self.step())
    }
}
