//! A group while it works: its machine, its consumers, its parked events.
//!
//! Law: a consumer that does not take what it has slots for is let go, so that nothing waits for it. Driven by `group`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use hashbrown::HashMap;
use tokio::time::Instant;
use tonic::Status;

use super::command::{Command, Joining, Who};
use super::config::Config;
use super::figures::{self, Connected};
use super::follow::{Event, Read, new};
use super::journal::{self, Span};
use super::machine::{ConsumerId, Effect, Item, Machine, Place};
use super::seat::{Given, Giving};
use crate::metrics;
use crate::store::EventStore;
use crate::wire::convert::{Ids, recorded};
use crate::wire::links::Told;
use crate::wire::proto::event_store::client::persistent_subscriptions::read_resp::{
    Content, ReadEvent, read_event,
};
use crate::wire::proto::event_store::client::persistent_subscriptions::{ReadResp, SubscriptionInfo};
use crate::wire::status::{group_dropped, group_full, too_slow};

/// Parked events that come back at once.
const PARKED_PAGE: usize = 64;

struct Seat {
    ids: Ids,
    who: Who,
    /// What it had been given when somebody looked last.
    told: u64,
    giving: Giving,
}

pub(super) struct Live {
    store: Arc<dyn EventStore>,
    config: Arc<Config>,
    began: Instant,
    machine: Machine<Event>,
    seats: HashMap<ConsumerId, Seat>,
    /// What had been given when somebody looked last.
    told: u64,
    next_seat: ConsumerId,
    /// Each ready when its consumer is gone.
    gone: FuturesUnordered<BoxFuture<'static, ConsumerId>>,
    parked: Span,
    /// Parked events that are to come back: from this revision, before that one.
    replay: Option<Span>,
}

impl Live {
    pub(super) fn new(
        store: Arc<dyn EventStore>,
        config: Arc<Config>,
        place: Option<Place>,
        parked: Span,
    ) -> Self {
        let machine = Machine::new(config.settings.limits(), place, Duration::ZERO);
        Self {
            store,
            config,
            began: Instant::now(),
            machine,
            seats: HashMap::new(),
            told: 0,
            next_seat: 0,
            gone: FuturesUnordered::new(),
            parked,
            replay: None,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn has_room(&self) -> bool {
        self.machine.room() > 0
    }

    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.machine.tick(now);
    }

    /// The next consumer that has gone.
    pub(super) async fn gone(&mut self) -> ConsumerId {
        match self.gone.next().await {
            Some(gone) => gone,
            None => std::future::pending().await,
        }
    }

    pub(super) fn left(&mut self, consumer: ConsumerId) {
        let now = self.now();
        self.seats.remove(&consumer);
        self.machine.left(consumer, now);
    }

    pub(super) fn read(&mut self, read: Read) {
        let now = self.now();
        if let Some(through) = read.through {
            self.machine.read(read.events, read.others, through, now);
        }
    }

    pub(super) async fn take(&mut self, command: Command) -> Result<(), Status> {
        let now = self.now();
        match command {
            Command::Join { joining, answer } => {
                let joined = self.join(joining);
                let id = joined.as_ref().ok().copied();
                // Who asked may have gone.
                if let (Err(_), Some(id)) = (answer.send(joined), id) {
                    self.left(id);
                }
            }
            Command::Ack { consumer, ids } => self.machine.ack(consumer, &ids, now),
            Command::Nack { consumer, ids, action, reason } => {
                self.machine.nack(consumer, &ids, action, &reason, now);
            }
            Command::Replay { before, answer } => {
                let end = before.map_or(self.parked.end, |before| before.min(self.parked.end));
                // What came back before and is not settled does not come twice.
                let first = self.replay.map_or(self.parked.first, |replay| replay.first);
                self.replay = Some(Span { first: first.max(self.machine.came_back()), end });
                if answer.send(()).is_err() {
                    tracing::debug!("who asked for parked events has gone");
                }
            }
            Command::Tell { answer } => {
                let told = self.figures().await?;
                drop(answer.send(told));
            }
            Command::End { done } => drop(done),
        }
        Ok(())
    }

    fn join(&mut self, joining: Joining) -> Result<ConsumerId, Status> {
        let (now, id) = (self.now(), self.next_seat);
        let Joining { slots, ids, who, giving } = joining;
        if !self.machine.joined(id, slots, now) {
            let key = &self.config.key;
            return Err(group_full(key.follows.name(), &key.group));
        }
        self.next_seat += 1;
        let gone = giving.gone();
        self.gone.push(Box::pin(gone.map(move |()| id)));
        self.seats.insert(id, Seat { ids, who, told: 0, giving });
        Ok(id)
    }

    /// Parked events come back, as far as there is room; whether there may be more.
    pub(super) async fn fetch_parked(&mut self) -> Result<bool, Status> {
        let Some(Span { first, end }) = self.replay else { return Ok(false) };
        if first >= end {
            self.replay = None;
            return Ok(false);
        }
        let most = self.machine.room_for_parked().min(PARKED_PAGE);
        if most == 0 {
            return Ok(false);
        }
        let (page, next) =
            journal::page_of_parked(&*self.store, &self.config, Span { first, end }, most).await?;
        let event = |(revision, told): &(_, Told)| new(&self.config, *revision, told);
        let events: Vec<_> = page.iter().filter_map(event).collect();
        let now = self.now();
        self.machine.returned(events, next - 1, now);
        self.replay = Some(Span { first: next, end });
        Ok(true)
    }

    /// Does what the machine decided, until it wants nothing more.
    pub(super) async fn carry_out(&mut self) -> Result<(), Status> {
        loop {
            let effects = self.machine.effects();
            if effects.is_empty() {
                return Ok(());
            }
            let key = Arc::clone(&self.config);
            let key = &key.key;
            for effect in effects {
                match effect {
                    Effect::Deliver(consumer, item) => self.deliver(consumer, &item),
                    Effect::Park(item, reason) => {
                        if let Some(event) = item.event.original() {
                            journal::park(&*self.store, key, event, &reason).await?;
                            self.parked.end += 1;
                            metrics::wire_events("parked", 1);
                        }
                    }
                    Effect::Checkpoint(at) => journal::mark(&*self.store, key, at).await?,
                    Effect::Unpark(through) => {
                        journal::unpark(&*self.store, key, through).await?;
                        self.parked.first = through + 1;
                    }
                    Effect::Disconnect(consumer) => {
                        let status = group_dropped(key.follows.name(), &key.group);
                        self.let_go(consumer, status);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, consumer: ConsumerId, item: &Item<Event>) {
        let Some(seat) = self.seats.get(&consumer) else { return };
        match seat.giving.give(Ok(delivery(item, seat.ids))) {
            Given::Waits => metrics::wire_events("shared", 1),
            Given::TooMany => {
                metrics::wire_cut(1);
                self.let_go(consumer, too_slow());
                self.left(consumer);
            }
            Given::Gone => self.left(consumer),
        }
    }

    /// Ends a consumer's stream with an error.
    fn let_go(&mut self, consumer: ConsumerId, status: Status) {
        if let Some(seat) = self.seats.remove(&consumer) {
            seat.giving.end(status);
        }
    }

    /// Writes down how far the group has come, and lets all consumers go.
    pub(super) async fn end(&mut self, why: &Status) -> Result<(), Status> {
        let consumers: Vec<_> = self.seats.keys().copied().collect();
        for consumer in consumers {
            self.let_go(consumer, why.clone());
        }
        if let Some(at) = self.machine.last_checkpoint() {
            journal::mark(&*self.store, &self.config.key, at).await?;
        }
        Ok(())
    }

    async fn figures(&mut self) -> Result<SubscriptionInfo, Status> {
        let known = figures::newest(&*self.store, &self.config.key).await?;
        let figures = self.machine.figures();
        let seats = &self.seats;
        let connected = |id: ConsumerId| {
            seats
                .get(&id)
                .map(|seat| Connected { who: seat.who.clone(), told: seat.told })
                .unwrap_or_default()
        };
        let group = figures::Group {
            config: &self.config,
            newest: known,
            parked: self.parked.count(),
            told: self.told,
            span: self.began.elapsed(),
        };
        let told = group.told(&figures, connected);
        self.told = figures.given;
        for (consumer, given, ..) in figures.consumers {
            if let Some(seat) = self.seats.get_mut(&consumer) {
                seat.told = given;
            }
        }
        Ok(told)
    }
}

fn delivery(item: &Item<Event>, ids: Ids) -> ReadResp {
    let Told { event, link } = &*item.event;
    let position = item.event.original().map(|event| event.position.0);
    let read = ReadEvent {
        event: event.as_ref().map(|event| recorded(event, ids)),
        link: link.as_ref().map(|link| recorded(link, ids)),
        position: position.map(read_event::Position::CommitPosition),
        count: Some(read_event::Count::RetryCount(i32::try_from(item.retries).unwrap_or(i32::MAX))),
    };
    ReadResp { content: Some(Content::Event(read)) }
}
