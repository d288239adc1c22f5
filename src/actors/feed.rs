//! Reads the log and hands it to the registry: from the checkpoint on, in order, as fast as users settle.
//!
//! Law: what the registry is handed stands in log order without a gap, and its market is complete up to the end of each
//! batch; the checkpoint that is kept has nothing unsettled before it.
//!
//! ```text
//!  store ──subscription──→ reader (waits for room) ──batches──→ registry
//!                              checkpoint file ←── watermark ────┘
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::core::Core;
use super::flow::{Batch, Flow};
use super::options::Options;
use super::registry;
use crate::domain::event::{Position, Recorded};
use crate::domain::id::stream;
use crate::domain::market::Market;
use crate::domain::shard::Shard;
use crate::error::Chain;
use crate::store::checkpoint::{Checkpoint, Checkpoints};
use crate::store::{self, Direction, EventStore, Filter};

/// What a feed needs.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) core: Arc<dyn Core>,
    pub(super) checkpoints: Arc<dyn Checkpoints>,
    pub(super) registry: registry::Handle,
    pub(super) flow: Arc<Flow>,
    pub(super) shard: Shard,
    pub(super) options: Options,
}

pub(super) enum Message {
    /// The reader has ended, which it never does by itself.
    Ended(store::Error),
    /// Keep the checkpoint, if there is a new one.
    Keep,
    /// Read no more; answered when nothing is being read.
    Halt(oneshot::Sender<()>),
}

/// The running feed.
#[derive(Clone, Debug)]
pub(super) struct Handle(ActorRef<Message>);

impl Handle {
    pub(super) async fn start(parts: Parts, root: ActorCell) -> Result<Self, ractor::SpawnErr> {
        Actor::spawn_linked(None, FeedActor(parts), (), root).await.map(|(actor, _ended)| Self(actor))
    }

    /// Reads no more; checkpoints are kept on.
    pub(super) fn halt(&self) -> oneshot::Receiver<()> {
        let (done, halted) = oneshot::channel();
        if self.0.send_message(Message::Halt(done)).is_err() {
            tracing::debug!("a feed that was to halt has ended");
        }
        halted
    }

    /// The last checkpoint is kept by `post_stop`.
    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }
}

struct FeedActor(Parts);

struct State {
    reader: JoinSet<()>,
    kept: Option<Position>,
}

impl Actor for FeedActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        drop(myself.send_interval(self.0.options.checkpoint_every, || Message::Keep));
        let mut reader = JoinSet::new();
        let parts = self.0.clone();
        reader.spawn(async move {
            let error = match read(&parts).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if myself.send_message(Message::Ended(error)).is_err() {
                tracing::debug!("a reader outlived its feed");
            }
        });
        Ok(State { reader, kept: self.0.flow.checkpoint() })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ended(error) => return Err(Box::new(error)),
            Message::Keep => self.keep(state).await,
            Message::Halt(done) => {
                state.reader.shutdown().await;
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the feed to halt");
                }
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.reader.shutdown().await;
        self.keep(state).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // No children.
        match event {
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ActorFailed(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl FeedActor {
    /// Keeps the checkpoint. Failing to costs only reading again.
    async fn keep(&self, state: &mut State) {
        let Some(position) = self.0.flow.checkpoint().filter(|position| Some(*position) > state.kept) else {
            return;
        };
        let Parts { store, shard, flow, .. } = &self.0;
        let checkpoint = Checkpoint { store: store.id(), shard: *shard, position, clock: flow.clock() };
        let checkpoints = Arc::clone(&self.0.checkpoints);
        match tokio::task::spawn_blocking(move || checkpoints.save(checkpoint)).await {
            Ok(Ok(())) => state.kept = Some(position),
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "the checkpoint is not kept; trying again")
            }
            Err(error) => tracing::warn!(%error, "the checkpoint is not kept; trying again"),
        }
    }
}

/// Reads on behind what the registry has been handed, for ever.
async fn read(parts: &Parts) -> Result<Infallible, store::Error> {
    let mut failures = 0;
    loop {
        let Err(error) = subscribe(parts, &mut failures).await;
        if !error.is_transient() {
            return Err(error);
        }
        failures += 1;
        parts.flow.lag.works();
        let wait = parts.options.backoff().delay(failures, 0);
        tracing::warn!(error = %Chain(&error), retry_in = ?wait, "the log cannot be read; trying again");
        crate::metrics::stage_errors("feed", "unavailable", 1);
        sleep(wait).await;
    }
}

/// What is read and not handed over yet.
struct Gathered {
    market: Arc<Market>,
    handed: Option<Position>,
    events: Vec<Vec<Recorded>>,
    /// How many.
    count: usize,
    through: Option<Position>,
}

impl Gathered {
    fn add(&mut self, parts: &Parts, message: store::Message) {
        let (events, through) = match message {
            store::Message::Events(events) => {
                let through = events.last().map(|event| event.position);
                (events, through)
            }
            store::Message::Checkpoint(through) => (Vec::new(), Some(through)),
            store::Message::CaughtUp(through) => {
                parts.flow.set_caught_up();
                (Vec::new(), through)
            }
        };
        let known = self.through.max(self.handed);
        let events = sort(parts, &mut self.market, known, events);
        self.count += events.len();
        self.events.push(events);
        // A store may tell an event twice.
        if known < through {
            self.through = through;
        }
    }

    fn hand_over(&mut self, parts: &Parts) {
        let Some(through) = self.through.take() else { return };
        let events = std::mem::take(&mut self.events);
        let count = std::mem::take(&mut self.count) as u64;
        crate::metrics::stage_events("feed", count);
        parts.flow.sent(count);
        parts.flow.handed(through);
        self.handed = Some(through);
        parts.registry.deliver(Batch { events, market: Arc::clone(&self.market), through });
    }
}

/// Reads and hands over. What is read while users are busy is gathered, and handed over when they have less left than that:
/// batches are as small as the load allows, and as large as it needs. A visit to a user that was long not visited costs some
/// 5 µs whatever it brings, so events of one user ride together.
async fn subscribe(parts: &Parts, failures: &mut u32) -> Result<Infallible, store::Error> {
    let Parts { store, flow, options, .. } = parts;
    let handed = flow.handed_through();
    let market = Arc::new(market_at(parts, handed).await?);
    let mut subscription = store.subscribe_all(handed, Filter::streams(&[stream::USER, stream::MARKET]));
    let mut gathered = Gathered { market, handed, events: Vec::new(), count: 0, through: None };
    let (in_flight_max, span_max) = (options.in_flight_max as u64, options.span_max as u64);
    let full = options.feed_batch_max.min(options.in_flight_max);
    let mut has_spoken = false;
    loop {
        if gathered.count >= full {
            flow.has_room(in_flight_max, span_max).await;
            gathered.hand_over(parts);
        }
        let less = in_flight_max.min(gathered.count as u64 + 1);
        // A subscription that has said nothing yet may be one that cannot be had.
        if has_spoken && gathered.through.is_none() {
            flow.lag.idles();
        }
        let mut next = subscription.next();
        let message = tokio::select! {
            biased;
            () = flow.has_room(less, span_max), if gathered.through.is_some() => {
                gathered.hand_over(parts);
                next.await?
            }
            message = &mut next => message?,
        };
        (*failures, has_spoken) = (0, true);
        flow.lag.works();
        gathered.add(parts, message);
    }
}

/// Takes the market's events into the market, and other shards' users out; what remains is for our users.
fn sort(
    parts: &Parts,
    market: &mut Arc<Market>,
    handed: Option<Position>,
    mut events: Vec<Recorded>,
) -> Vec<Recorded> {
    let is_foreign = |event: &Recorded| {
        !parts.shard.is_whole()
            && event.stream.strip_prefix(stream::USER).is_some_and(|user| !parts.shard.holds_name(user))
    };
    // The log's clock goes by all users; of many events that are not ours the newest says enough, and the others cost nothing.
    if let Some(newest) = events.iter().rfind(|event| is_foreign(event)) {
        parts.core.occurred_at(newest).into_iter().for_each(|at| parts.flow.saw(at));
    }
    events.retain(|event| {
        if handed >= Some(event.position) || is_foreign(event) {
            return false;
        }
        if !event.stream.starts_with(stream::MARKET) {
            return true;
        }
        if let Some(behaviour) = parts.core.market_event(event) {
            parts.flow.saw(behaviour.occurred_at);
            *market = Arc::new(market.with(event.position, behaviour));
        }
        false
    });
    events
}

/// The market as of a position, from its streams.
pub(super) async fn market_at(parts: &Parts, through: Option<Position>) -> Result<Market, store::Error> {
    market_of(&parts.store, &parts.core, parts.options.page_max, through).await
}

pub(super) async fn market_of(
    store: &Arc<dyn EventStore>,
    core: &Arc<dyn Core>,
    page_max: usize,
    through: Option<Position>,
) -> Result<Market, store::Error> {
    let mut entries = Vec::new();
    for name in core.market_streams() {
        let mut next = through.map(|_| 0);
        while let Some(from) = next {
            let page = store.read_stream(&name, Some(from), Direction::Forwards, page_max).await?;
            next = page.next;
            let known = page.events.iter().filter(|event| Some(event.position) <= through);
            entries.extend(known.filter_map(|event| Some((event.position, core.market_event(event)?))));
        }
    }
    entries.sort_by_key(|(position, _)| *position);
    Ok(Market::new(entries))
}
