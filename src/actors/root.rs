//! Starts the actors in order, starts again what may fail, and stops all in order.
//!
//! Law: each stage of the stop has a deadline; what it leaves undone is in the log and done after the next start. A feed,
//! projector or sweeper that fails is started again, slower each time; when that does not help, or anything else fails, the
//! daemon cannot go on and says so.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::core::Core;
use super::daemon::{Daemon, Inner};
use super::flow::{Flow, Reports};
use super::options::Options;
use super::projector::{self, OpenSink, Told};
use super::user::Shared;
use super::watch::Watch;
use super::{appender, feed, registry, scorer, sweeper};
use crate::commands::NotReady;
use crate::domain::backoff::{Restarts, Verdict};
use crate::domain::market::Market;
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::projection::Views;
use crate::scoring::Challengers;
use crate::store::checkpoint::{self, Checkpoint, Checkpoints};
use crate::store::snapshot::Snapshots;
use crate::store::{self, EventStore};

/// What `app` gives the actors.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The rules.
    pub core: Arc<dyn Core>,
    /// Users out of memory.
    pub snapshots: Arc<dyn Snapshots>,
    /// How far the feed has come.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Makes scorers.
    pub scorers: scorer::Factory,
    /// Versions in shadow.
    pub challengers: Arc<dyn Challengers>,
    /// Opens the view for writing.
    pub open_sink: OpenSink,
    /// The view for reading.
    pub views: Arc<dyn Views>,
    /// What the models lack; empty when nothing.
    pub models: Arc<dyn Fn() -> Vec<NotReady> + Send + Sync>,
    /// Watches what models see and say.
    pub watch: Arc<Watch>,
    /// The wall clock.
    pub wall: fn() -> Timestamp,
    /// Whose users are ours.
    pub shard: Shard,
    /// The bounds.
    pub options: Options,
}

/// Why the actors did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The checkpoint cannot be read.
    #[error("the checkpoint cannot be read")]
    Checkpoint(#[from] checkpoint::Error),
    /// The market cannot be read from the log.
    #[error("the market cannot be read from the log")]
    Market(#[from] store::Error),
    /// An actor did not start.
    #[error("an actor did not start")]
    Spawn(#[from] Box<SpawnErr>),
}

impl From<SpawnErr> for StartError {
    fn from(error: SpawnErr) -> Self {
        Self::Spawn(Box::new(error))
    }
}

/// Starts the daemon's actors. Answers when all run; reading the log goes on behind.
///
/// # Errors
/// What a start needs cannot be read.
pub async fn start(parts: Parts) -> Result<Daemon, StartError> {
    let kept = parts.checkpoints.load(parts.store.id())?.filter(|kept| is_ours(kept, parts.shard));
    let position = kept.map(|kept| kept.position);
    let flow = Arc::new(Flow::new(position, kept.map_or(Timestamp::MIN, |kept| kept.clock)));
    let market = feed::market_of(&parts.store, &parts.core, parts.options.page_max, position).await?;
    let told = Told::new(&parts.options);
    let (failed, _) = watch::channel(None);
    let arguments = Arguments { parts: parts.clone(), flow: Arc::clone(&flow), told: told.clone(), failed };
    let failed = arguments.failed.clone();
    let (ready, registry) = oneshot::channel();
    let (actor, _ended) = Actor::spawn(None, RootActor, (arguments, market, ready)).await?;
    let root = Handle { actor, failed };
    let registry = registry.await.map_err(|gone| SpawnErr::StartupFailed(Box::new(gone)))?;
    let ingesting = Semaphore::new(parts.options.ingest_max);
    Ok(Daemon(Arc::new(Inner { parts, registry, flow, told, root, ingesting, stopping: false.into() })))
}

/// Whether a checkpoint says of all our users that they are settled.
fn is_ours(kept: &Checkpoint, shard: Shard) -> bool {
    let covers = shard.is_covered_by(&[kept.shard]);
    if !covers {
        let (ours, of) = (shard.to_string(), kept.shard.to_string());
        tracing::warn!(
            ours,
            of,
            "the checkpoint is of another shard's users: the log is read from its start"
        );
    }
    covers
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Feed,
    Projector,
    Sweeper,
}

pub(super) enum Message {
    Again(Child),
    Stop(oneshot::Sender<()>),
}

/// The root of the tree.
pub(super) struct Handle {
    actor: ActorRef<Message>,
    failed: watch::Sender<Option<String>>,
}

impl Handle {
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.actor.send_message(Message::Stop(done)).is_ok() && stopped.await.is_err() {
            tracing::warn!("the actors ended before they were stopped");
        }
    }

    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the root actor is gone".to_owned(),
        }
    }

    /// Why the daemon cannot go on; none while it can.
    pub(super) fn reason(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    pub(super) fn abort(&self) {
        self.actor.kill();
    }
}

struct Arguments {
    parts: Parts,
    flow: Arc<Flow>,
    told: Told,
    failed: watch::Sender<Option<String>>,
}

struct RootActor;

struct State {
    arguments: Arguments,
    began: Instant,
    registry: registry::Handle,
    appender: appender::Handle,
    scorer: scorer::Handle,
    feed: Option<feed::Handle>,
    projector: Option<ActorCell>,
    sweeper: Option<ActorCell>,
    restarts: [Restarts; 3],
    stopping: bool,
}

impl Actor for RootActor {
    type Msg = Message;
    type State = State;
    type Arguments = (Arguments, Market, oneshot::Sender<registry::Handle>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, market, ready): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let (root, parts) = (myself.get_cell(), &arguments.parts);
        let appender = appender::Handle::start(parts, Arc::clone(&arguments.flow), root.clone()).await?;
        let scorer = scorer::Handle::start(
            Arc::clone(&parts.scorers),
            Arc::clone(&parts.challengers),
            Arc::clone(&parts.watch),
            parts.options.clone(),
            root.clone(),
        )
        .await?;
        let shared = Arc::new(Shared {
            core: Arc::clone(&parts.core),
            store: Arc::clone(&parts.store),
            snapshots: Arc::clone(&parts.snapshots),
            scorer: scorer.clone(),
            appender: appender.clone(),
            reports: Arc::new(Reports::default()),
            options: parts.options.clone(),
            wall: parts.wall,
        });
        let flow = Arc::clone(&arguments.flow);
        let registry = registry::Handle::start(shared, flow, Arc::new(market), root.clone()).await?;
        let mut state = State {
            arguments,
            began: Instant::now(),
            registry,
            appender,
            scorer,
            feed: None,
            projector: None,
            sweeper: None,
            restarts: Default::default(),
            stopping: false,
        };
        for child in [Child::Projector, Child::Feed, Child::Sweeper] {
            state.begin(child, root.clone()).await?;
        }
        // The one who started us waits for it, or is gone; then we are stopped.
        let _waits = ready.send(state.registry.clone());
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Again(child) if !state.stopping => Ok(state.begin(child, myself.get_cell()).await?),
            Message::Again(_) => Ok(()),
            Message::Stop(done) => {
                state.stop().await;
                myself.stop(None);
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the stop");
                }
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) if !state.stopping => {
                state.failed(&myself, who.get_id(), &*error);
            }
            SupervisionEvent::ActorFailed(..)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl State {
    async fn begin(&mut self, child: Child, root: ActorCell) -> Result<(), SpawnErr> {
        let Arguments { parts, flow, told, .. } = &self.arguments;
        match child {
            Child::Feed => {
                let parts = feed::Parts {
                    store: Arc::clone(&parts.store),
                    core: Arc::clone(&parts.core),
                    checkpoints: Arc::clone(&parts.checkpoints),
                    registry: self.registry.clone(),
                    flow: Arc::clone(flow),
                    shard: parts.shard,
                    options: parts.options.clone(),
                };
                self.feed = Some(feed::Handle::start(parts, root).await?);
            }
            Child::Projector => {
                let parts = projector::Parts {
                    store: Arc::clone(&parts.store),
                    open: Arc::clone(&parts.open_sink),
                    told: told.clone(),
                    options: parts.options.clone(),
                };
                self.projector = Some(projector::start(parts, root).await?);
            }
            Child::Sweeper => {
                let (parts, flow, registry) = (parts.clone(), Arc::clone(flow), self.registry.clone());
                self.sweeper =
                    Some(sweeper::start(sweeper::Arguments { parts, flow, registry }, root).await?);
            }
        }
        Ok(())
    }

    fn failed(
        &mut self,
        myself: &ActorRef<Message>,
        who: ActorId,
        error: &(dyn std::error::Error + 'static),
    ) {
        let is = |cell: &ActorCell| cell.get_id() == who;
        let (child, restarts) = match &mut self.restarts {
            [restarts, _, _] if self.feed.as_ref().is_some_and(|feed| is(&feed.cell())) => {
                (Child::Feed, restarts)
            }
            [_, restarts, _] if self.projector.as_ref().is_some_and(is) => (Child::Projector, restarts),
            [_, _, restarts] if self.sweeper.as_ref().is_some_and(is) => (Child::Sweeper, restarts),
            _ => return self.give_up(format!("an actor that all others need failed: {}", Chain(error))),
        };
        let options = &self.arguments.parts.options;
        match restarts.failed(self.began.elapsed(), options.intensity(), options.backoff()) {
            Verdict::Restart { after } => {
                tracing::error!(?child, error = %Chain(error), retry_in = ?after, "an actor failed");
                drop(myself.send_after(after, move || Message::Again(child)));
            }
            Verdict::GiveUp => self.give_up(format!("{child:?} fails again and again: {}", Chain(error))),
        }
    }

    fn give_up(&self, reason: String) {
        tracing::error!(reason, "the daemon cannot go on");
        self.arguments.failed.send_replace(Some(reason));
    }

    async fn stop(&mut self) {
        self.stopping = true;
        let deadline = self.arguments.parts.options.stop_deadline;
        let flow = Arc::clone(&self.arguments.flow);
        if let Some(sweeper) = self.sweeper.take() {
            end("sweeper", &sweeper, deadline).await;
        }
        if let Some(feed) = &self.feed {
            within("feed", deadline, feed.halt()).await;
        }
        within("users settle", deadline, flow.has_room(1, u64::MAX)).await;
        within("users leave", deadline, self.registry.stop()).await;
        if let Some(feed) = self.feed.take() {
            end("feed", &feed.cell(), deadline).await;
        }
        end("registry", &self.registry.cell(), deadline).await;
        end("scorer", &self.scorer.cell(), deadline).await;
        end("appender", &self.appender.cell(), deadline).await;
        if let Some(projector) = self.projector.take() {
            let told = self.arguments.told.clone();
            let store = Arc::clone(&self.arguments.parts.store);
            within("projector", deadline, async move {
                if let Ok(Some(head)) = store.head().await {
                    told.shows(head).await;
                }
            })
            .await;
            end("projector", &projector, deadline).await;
        }
    }
}

async fn within<T>(stage: &str, deadline: Duration, work: impl Future<Output = T>) {
    let began = Instant::now();
    if timeout(deadline, work).await.is_ok() {
        tracing::info!(stage, took = ?began.elapsed(), "stopped");
    } else {
        tracing::warn!(stage, ?deadline, "not stopped in time; the log has what is undone");
    }
}

async fn end(stage: &str, actor: &ActorCell, deadline: Duration) {
    if let Err(error) = actor.stop_and_wait(None, Some(deadline)).await {
        tracing::debug!(stage, %error, "an actor that was to stop has ended already");
    }
}
