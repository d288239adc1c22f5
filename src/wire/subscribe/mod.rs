//! Reads without an end: history, "caught up", then live.
//!
//! Law: confirmed first, then every event that passes, once and in order; positions never go back. A subscription never
//! ends well: clients spin when one does, so it ends with an error, at the stop too. Called by `streams`.
//!
//! History is read by each for itself. At the log's end it joins those who wait for the same (`fanout`), and reads by
//! itself again when it is slower than they.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use uuid::Uuid;

use self::followed::{Followed, Marks};
use super::convert::message;
use super::fanout::{Member, Told};
use super::filter::Wanted;
use super::flow::Source;
use super::proto::event_store::client::streams::ReadResp;
use super::proto::event_store::client::streams::read_resp::{Content, SubscriptionConfirmation};
use super::read::{LED_TO_BYTES_MAX, Manner};
use super::status::{not_ready, of_store, stream_deleted};
use super::stream_metadata;
use super::{App, stopped};
use crate::clock;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{BoxFuture, Error, Message, Subscription};

mod followed;
#[cfg(test)]
mod tests;

/// Who left those who wait together, because it was slower, reads by itself for so long.
const ALONE_FOR: Duration = Duration::from_secs(1);

/// Messages made at once for a client that may be slow.
const BATCH_MAX: usize = 64;

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

/// What the store says to one subscription. As a stream, what was begun is kept when the wait for it is given up.
type Said = Pin<Box<dyn Stream<Item = Result<Message, Error>> + Send>>;

/// How it reads.
enum Way {
    Alone(Said),
    Together(Member),
}

impl Way {
    fn alone(inner: Box<dyn Subscription>) -> Self {
        Self::Alone(Box::pin(unfold(inner, |mut inner| async { Some((inner.next().await, inner)) })))
    }
}

/// A running subscription.
pub(super) struct Subscriber {
    app: Arc<App>,
    way: Way,
    stopping: watch::Receiver<bool>,
    followed: Followed,
    manner: Manner,
    /// What the store has told of and the client has not taken: kept as it shares the store's memory, not as messages.
    at_hand: std::vec::IntoIter<Recorded>,
    /// What those who wait together have been told and the client has not taken whole.
    half_told: Option<Told>,
    /// Everything up to here was told or passed over.
    at: Option<Position>,
    /// Whether it has come to the log's end since it reads by itself.
    live: bool,
    /// Nobody has to hear when it comes there again.
    quiet: bool,
    /// A place among those who wait at the log's end, taken once everything before it has been told.
    seat: Option<Member>,
    /// Before this it does not join them again.
    joins_after: Instant,
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
        if app.tombs.contains(stream) {
            return Err(stream_deleted(stream));
        }
        let last = stream_metadata::last(&*app.store, stream).await?.map(|event| event.revision);
        let hidden = stream_metadata::hidden(&*app.store, stream, last, clock::wall()).await?;
        let after = match after {
            After::Start => hidden,
            After::Place(revision) => hidden.max(Some(revision)),
            After::End => last,
        };
        Ok(Self::new(app, Followed::Stream(stream.into(), after), None, manner))
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
        let marks = wanted.map(|wanted| Marks::new(wanted, after));
        Ok(Self::new(app, Followed::All(marks), after, manner))
    }

    fn new(app: &Arc<App>, followed: Followed, at: Option<Position>, manner: Manner) -> Self {
        let way = Way::alone(followed.by_itself(app, at));
        let stopping = app.stopping.clone();
        let (app, joins_after) = (Arc::clone(app), Instant::now());
        let at_hand = Vec::new().into_iter();
        Self {
            app,
            way,
            stopping,
            followed,
            manner,
            at_hand,
            half_told: None,
            at,
            live: false,
            quiet: false,
            seat: None,
            joins_after,
        }
    }

    async fn step(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        loop {
            // The store may always have more at once: others get their turn between.
            tokio::task::consume_budget().await;
            let batch = match &mut self.way {
                Way::Alone(_) if self.at_hand.len() > 0 => self.take_at_hand().await?,
                Way::Alone(inner) => {
                    let may_join = self.live && self.seat.is_none() && self.followed.topic().is_some();
                    let said = tokio::select! {
                        biased;
                        () = stopped(&mut self.stopping) => return Err(not_ready()),
                        said = inner.next() => said,
                        // The store says nothing of what it passes over.
                        () = sleep_until(self.joins_after), if may_join => {
                            self.join(false).await;
                            continue;
                        }
                    };
                    match said {
                        Some(said) => self.said(said.map_err(|error| of_store(&error))?).await,
                        None => return Err(not_ready()),
                    }
                }
                Way::Together(member) => {
                    let told = match self.half_told.take() {
                        Some(told) => Some(told),
                        None => tokio::select! {
                            biased;
                            () = stopped(&mut self.stopping) => return Err(not_ready()),
                            told = member.next() => told,
                        },
                    };
                    match told {
                        Some(told) => self.told(told).await?,
                        None => self.leave(),
                    }
                }
            };
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// What the store says to it alone.
    async fn said(&mut self, said: Message) -> Vec<ReadResp> {
        let batch = match said {
            Message::Events(events) => {
                self.at_hand = events.into_iter();
                return Vec::new();
            }
            Message::CaughtUp(at) => {
                self.at = self.at.max(at);
                self.live = true;
                match std::mem::take(&mut self.quiet) {
                    true => Vec::new(),
                    false => self.followed.caught_up(at),
                }
            }
            // Ours are counted in the events themselves.
            Message::Checkpoint(_) => return Vec::new(),
        };
        self.join_if_live(true).await;
        batch
    }

    /// Some of what the store has told of.
    async fn take_at_hand(&mut self) -> Result<Vec<ReadResp>, Status> {
        let (mut batch, mut led_to) = (Vec::with_capacity(self.at_hand.len().min(BATCH_MAX)), 0);
        while batch.len() < BATCH_MAX
            && led_to < LED_TO_BYTES_MAX
            && let Some(event) = self.at_hand.next()
        {
            let before = batch.len();
            self.at = Some(event.position);
            self.event(event, 1, &mut batch).await?;
            led_to += self.manner.led_to(batch.iter().skip(before));
        }
        if self.at_hand.len() == 0 {
            self.at_hand = Vec::new().into_iter();
            self.join_if_live(false).await;
        }
        Ok(batch)
    }

    async fn join_if_live(&mut self, caught_up: bool) {
        if self.live && Instant::now() >= self.joins_after {
            self.join(caught_up).await;
        }
    }

    /// What those hear who wait together.
    async fn told(&mut self, told: Told) -> Result<Vec<ReadResp>, Status> {
        let (mut batch, mut led_to) = (Vec::with_capacity(told.events.len()), 0);
        for event in &*told.events {
            if led_to >= LED_TO_BYTES_MAX {
                self.half_told = Some(told);
                return Ok(batch);
            }
            if self.followed.is_new(event, self.at) {
                let before = batch.len();
                self.event(event.clone(), 0, &mut batch).await?;
                led_to += self.manner.led_to(batch.iter().skip(before));
                self.at = self.at.max(Some(event.position));
            }
        }
        self.at = self.at.max(Some(told.through));
        if let Followed::All(Some(marks)) = &mut self.followed {
            marks.considered += told.considered;
            batch.extend(marks.due(told.through));
        }
        Ok(batch)
    }

    /// Tells an event if it passes, and the checkpoint behind it if that is due.
    async fn event(
        &mut self,
        event: Recorded,
        considered: u64,
        batch: &mut Vec<ReadResp>,
    ) -> Result<(), Status> {
        let position = event.position;
        match &mut self.followed {
            Followed::Stream(_, last) => {
                *last = Some(event.revision);
                batch.push(self.manner.tell(&self.app, event).await?);
            }
            Followed::All(None) => batch.push(self.manner.tell(&self.app, event).await?),
            Followed::All(Some(marks)) => {
                marks.considered += considered;
                if marks.is_slow() {
                    // One match may take 100 µs: others get their turn between.
                    tokio::task::consume_budget().await;
                }
                if marks.wanted.admits(&event)? {
                    batch.push(self.manner.tell(&self.app, event).await?);
                }
                batch.extend(marks.due(position));
            }
        }
        Ok(())
    }

    /// Joins those who wait for the same at the log's end, once it has told all that they have heard.
    async fn join(&mut self, caught_up: bool) {
        let Some(topic) = self.followed.topic() else { return };
        let (member, is_first) = match self.seat.take() {
            Some(member) => (Some(member), false),
            // What keeps it from joining, it hears of when it reads by itself.
            None => (self.app.fanout.join(topic).await.ok().flatten(), true),
        };
        match member {
            Some(member) if member.from <= self.at => self.way = Way::Together(member),
            Some(member) if is_first => {
                // What came between is read before. The seat keeps what comes after it.
                self.seat = Some(member);
                self.quiet = true;
                self.way = Way::alone(self.followed.by_itself(&self.app, self.at));
            }
            Some(member) if !caught_up => self.seat = Some(member),
            // Too many wait, or the store does not say how far it is.
            Some(_) | None => self.joins_after = Instant::now() + ALONE_FOR,
        }
    }

    /// Reads on by itself.
    fn leave(&mut self) -> Vec<ReadResp> {
        (self.live, self.quiet) = (false, false);
        self.joins_after = Instant::now() + ALONE_FOR;
        self.way = Way::alone(self.followed.by_itself(&self.app, self.at));
        Vec::new()
    }
}

impl Source for Subscriber {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
        Box::pin(self.step())
    }
}
