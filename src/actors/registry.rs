//! Routes events and commands to users: the shell around the roster and the watermark.
//!
//! Law: it never fails because of one user, and it never waits for one. One message for each user and batch.
//!
//! ```text
//!  feed ──Deliver(batch)──→ registry ──one message for each user──→ users
//!  daemon ──Command───────────↑  ↑ ↑──rings, then reports are taken──┘
//!  sweeper ──Sweep────────────┘  └── supervision: ended, failed
//! ```

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::asked::Asked;
use super::failure;
use super::flow::{Batch, Flow, Report};
use super::user::{self, Arguments, Shared};
use crate::domain::entity::Command;
use crate::domain::event::{Position, Recorded};
use crate::domain::id::{UserId, stream};
use crate::domain::market::Market;
use crate::domain::roster::{Action, End, Incarnation, Roster, Route, Slot, Start};
use crate::domain::time::Timestamp;
use crate::domain::watermark::Watermark;

pub(super) enum Message {
    Deliver(Batch),
    /// Reports wait.
    Ring,
    Command {
        user: UserId,
        asked: Asked,
    },
    Sweep {
        users: Vec<UserId>,
        now: Timestamp,
    },
    Tick,
    /// Put everybody out of memory; answered when nobody is left.
    Stop(oneshot::Sender<()>),
}

/// The way to all users.
#[derive(Clone, Debug)]
pub(super) struct Handle(ActorRef<Message>);

impl Handle {
    pub(super) async fn start(
        shared: Arc<Shared>,
        flow: Arc<Flow>,
        market: Arc<Market>,
        root: ActorCell,
    ) -> Result<Self, ractor::SpawnErr> {
        let registry = RegistryActor { shared, flow };
        Actor::spawn_linked(None, registry, market, root).await.map(|(actor, _ended)| Self(actor))
    }

    pub(super) fn deliver(&self, batch: Batch) {
        self.send(Message::Deliver(batch));
    }

    pub(super) fn ring(&self) {
        self.send(Message::Ring);
    }

    pub(super) fn command(&self, user: UserId, asked: Asked) {
        self.send(Message::Command { user, asked });
    }

    pub(super) fn sweep(&self, users: Vec<UserId>, now: Timestamp) {
        self.send(Message::Sweep { users, now });
    }

    /// Puts everybody out of memory; the receiver hears when nobody is left.
    pub(super) fn stop(&self) -> oneshot::Receiver<()> {
        let (done, stopped) = oneshot::channel();
        self.send(Message::Stop(done));
        stopped
    }

    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }

    fn send(&self, message: Message) {
        if self.0.send_message(message).is_err() {
            tracing::debug!("mail for a registry that has ended");
        }
    }
}

struct RegistryActor {
    shared: Arc<Shared>,
    flow: Arc<Flow>,
}

/// What is kept with each slot.
#[derive(Default)]
struct Kept {
    user: Option<user::Handle>,
    /// Events of the batch under way.
    inbox: Vec<Recorded>,
    /// Commands for the next incarnation.
    waiting: Vec<Asked>,
}

struct State {
    roster: Roster<Kept>,
    watermark: Watermark,
    by_actor: HashMap<ActorId, (Slot, Incarnation)>,
    market: Arc<Market>,
    complete_to: Position,
    began: Instant,
    received: u64,
    /// Slots with something in their inbox.
    touched: Vec<Slot>,
    reports: Vec<Report>,
    stopping: bool,
    stopped: Option<oneshot::Sender<()>>,
}

impl Actor for RegistryActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<Market>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        market: Arc<Market>,
    ) -> Result<State, ActorProcessingErr> {
        let checkpoint = self.flow.checkpoint();
        drop(myself.send_interval(self.shared.options.tick_every, || Message::Tick));
        self.shared.reports.answer_to(Handle(myself));
        Ok(State {
            roster: Roster::new(self.shared.options.limits()),
            watermark: Watermark::new(checkpoint),
            by_actor: HashMap::new(),
            market,
            complete_to: checkpoint.unwrap_or_default(),
            began: Instant::now(),
            received: 0,
            touched: Vec::new(),
            reports: Vec::new(),
            stopping: false,
            stopped: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Deliver(batch) => self.deliver(&myself, state, batch).await,
            Message::Ring => self.take_reports(&myself, state).await,
            Message::Command { user, asked } => self.command(&myself, state, &user, asked).await,
            Message::Sweep { users, now } => self.sweep(&myself, state, &users, now).await,
            Message::Tick => self.tick(&myself, state).await,
            Message::Stop(done) => self.stop(&myself, state, done).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(who, ..) => {
                crate::metrics::users_passivated("idle", 1);
                self.ended(&myself, state, who.get_id(), End::Drained).await;
            }
            SupervisionEvent::ActorFailed(who, error) => {
                self.ended(&myself, state, who.get_id(), failure::end(&error)).await;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl RegistryActor {
    async fn deliver(&self, myself: &ActorRef<Message>, state: &mut State, batch: Batch) {
        let now = state.began.elapsed();
        state.received += batch.events.iter().map(|events| events.len() as u64).sum::<u64>();
        for event in batch.events.into_iter().flatten() {
            state.route(event, now);
        }
        state.watermark.considered(batch.through);
        state.complete_to = state.complete_to.max(batch.through);
        state.market = batch.market;
        state.roster.make_room();
        self.perform(myself, state).await;
        state.hand_out();
        self.take_reports(myself, state).await;
    }

    /// Takes what users have reported; tells the feed how far things are.
    async fn take_reports(&self, myself: &ActorRef<Message>, state: &mut State) {
        let mut reports = std::mem::take(&mut state.reports);
        self.shared.reports.take(&mut reports);
        let mut latest = Timestamp::MIN;
        for report in reports.drain(..) {
            match report {
                Report::Settled { slot, incarnation, through, clock } => {
                    latest = latest.max(clock);
                    if state.roster.settled(slot, incarnation, through) {
                        state.watermark.settled(slot.0, through);
                    }
                }
                Report::Idle { slot, incarnation, through } => state.roster.idle(slot, incarnation, through),
            }
        }
        state.reports = reports;
        if latest > Timestamp::MIN {
            self.flow.saw(latest);
        }
        self.perform(myself, state).await;
        let done = state.received - state.watermark.in_flight() as u64;
        self.flow.settled(done, state.watermark.span(), state.watermark.checkpoint());
    }

    async fn command(&self, myself: &ActorRef<Message>, state: &mut State, user: &UserId, mut asked: Asked) {
        if state.stopping {
            return;
        }
        if let Command::Describe { market, .. } = &mut asked.command {
            *market = Arc::clone(&state.market);
        }
        let now = state.began.elapsed();
        let route = state.roster.want(xxh3_64(user.as_str().as_bytes()), user.as_str(), now);
        self.perform(myself, state).await;
        match route {
            Ok(Route::Forward(slot)) => {
                if let Some(user) = state.roster.kept(slot).and_then(|kept| kept.user.as_ref()) {
                    user.command(asked);
                }
            }
            Ok(Route::Hold(slot) | Route::Duplicate(slot)) => self.hold(state, slot, asked, now),
            Err(bad) => tracing::debug!(error = %bad, "a command for no user"),
        }
    }

    /// Keeps a command for the next incarnation; drops it when that begins too late, or when there are too many.
    fn hold(&self, state: &mut State, slot: Slot, asked: Asked, now: Duration) {
        let options = &self.shared.options;
        let soon = state.roster.begins_at(slot).is_none_or(|begins| begins < now + options.command_timeout);
        let has_room = |kept: &&mut Kept| soon && kept.waiting.len() < options.commands_waiting_max;
        if let Some(kept) = state.roster.kept(slot).filter(has_room) {
            kept.waiting.push(asked);
        }
    }

    async fn sweep(&self, myself: &ActorRef<Message>, state: &mut State, users: &[UserId], time: Timestamp) {
        let now = state.began.elapsed();
        for user in users {
            let route = state.roster.want(xxh3_64(user.as_str().as_bytes()), user.as_str(), now);
            self.perform(myself, state).await;
            // One that is starting again or ending is swept the next time.
            if let Ok(Route::Forward(slot)) = route
                && let Some(user) = state.roster.kept(slot).and_then(|kept| kept.user.as_ref())
            {
                user.sweep(time);
            }
        }
    }

    async fn tick(&self, myself: &ActorRef<Message>, state: &mut State) {
        let options = &self.shared.options;
        // A whole round in a quarter of the idle time: a user leaves a quarter late at most.
        let rounds = (options.idle_after.as_millis() / 4 / options.tick_every.as_millis().max(1)).max(1);
        let budget = state.roster.slots() / usize::try_from(rounds).unwrap_or(usize::MAX) + 1;
        state.roster.tick(state.began.elapsed(), budget);
        state.roster.make_room();
        self.take_reports(myself, state).await;
        state.show();
    }

    async fn stop(&self, myself: &ActorRef<Message>, state: &mut State, done: oneshot::Sender<()>) {
        state.roster.stop();
        (state.stopping, state.stopped) = (true, Some(done));
        self.perform(myself, state).await;
        state.tell_when_empty();
    }

    async fn ended(&self, myself: &ActorRef<Message>, state: &mut State, who: ActorId, end: End) {
        let Some((slot, incarnation)) = state.by_actor.remove(&who) else { return };
        if let Some(kept) = state.roster.kept(slot) {
            kept.user = None;
        }
        // What the user said before it ended stands before its end.
        self.take_reports(myself, state).await;
        state.roster.ended(slot, incarnation, end, state.began.elapsed());
        self.perform(myself, state).await;
        state.tell_when_empty();
    }

    async fn perform(&self, myself: &ActorRef<Message>, state: &mut State) {
        for action in state.roster.take_actions() {
            match action {
                Action::Start(start) => self.begin(myself, state, start).await,
                Action::Ask(slot) => state.with_user(slot, user::Handle::ask),
                Action::Drain(slot) => state.with_user(slot, user::Handle::drain),
            }
        }
    }

    async fn begin(&self, myself: &ActorRef<Message>, state: &mut State, start: Start) {
        let (slot, incarnation) = (start.slot, start.incarnation);
        let arguments = Arguments {
            shared: Arc::clone(&self.shared),
            start,
            market: Arc::clone(&state.market),
            complete_to: state.complete_to,
        };
        match user::Handle::start(arguments, myself.get_cell()).await {
            Ok(user) => {
                state.by_actor.insert(user.id(), (slot, incarnation));
                let Some(kept) = state.roster.kept(slot) else { return };
                kept.waiting.drain(..).filter(Asked::is_awaited).for_each(|asked| user.command(asked));
                kept.user = Some(user);
            }
            Err(error) => {
                let end = End::Failed { revision: None, reason: error.to_string() };
                state.roster.ended(slot, incarnation, end, state.began.elapsed());
            }
        }
    }
}

impl State {
    fn route(&mut self, event: Recorded, now: Duration) {
        let (revision, position) = (event.revision, event.position);
        let Some(user) = event.stream.strip_prefix(stream::USER) else { return };
        match self.roster.deliver(xxh3_64(user.as_bytes()), user, revision, now) {
            Ok(Route::Forward(slot)) => {
                self.watermark.delivered(slot.0, revision, position);
                let Some(kept) = self.roster.kept(slot) else { return };
                if kept.inbox.is_empty() {
                    // Most users have one event in a batch; growth by doubling would begin at four.
                    kept.inbox.reserve_exact(1);
                    self.touched.push(slot);
                }
                kept.inbox.push(event);
            }
            Ok(Route::Hold(slot)) => self.watermark.delivered(slot.0, revision, position),
            Ok(Route::Duplicate(_)) => {}
            Err(bad) => {
                crate::metrics::stage_errors("route", "bad_user_id", 1);
                tracing::warn!(error = %bad, position = position.0, "an event of no user is passed over");
            }
        }
    }

    fn hand_out(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        // Those who began together lie together in memory: in this order a large batch waits less for it.
        touched.sort_unstable();
        for slot in touched.drain(..) {
            let Some(kept) = self.roster.kept(slot) else { continue };
            let events = std::mem::take(&mut kept.inbox);
            // Nobody there: its end is on the way here, and the successor reads the log.
            if let Some(user) = &kept.user {
                user.deliver(events, Arc::clone(&self.market));
            }
        }
        self.touched = touched;
    }

    fn with_user(&mut self, slot: Slot, act: impl Fn(&user::Handle)) {
        if let Some(user) = self.roster.kept(slot).and_then(|kept| kept.user.as_ref()) {
            act(user);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges of counts far below 2^52")]
    fn show(&self) {
        crate::metrics::users_resident(self.roster.resident() as f64);
        crate::metrics::feed_lag(self.watermark.in_flight() as f64);
    }

    fn tell_when_empty(&mut self) {
        // The one who asked may have given up waiting.
        let _heard = self.stopped.take_if(|_| self.roster.is_empty()).map(|done| done.send(()));
    }
}
