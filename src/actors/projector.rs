//! Keeps the view in step with the log, tells its changes, and says how far it is.
//!
//! Law: the sink is told every event once, in log order; its own checkpoint, kept with its data, says where to go on. Who
//! waits for a position is told when the view shows it.
//!
//! ```text
//!  store ──subscription──→ reader ──batch──→ sink (blocking thread) ──changes──→ live streams
//!                                                     └──position──→ commands that wait
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::lag::Lag;
use super::options::Options;
use crate::domain::event::{Position, Recorded};
use crate::error::Chain;
use crate::projection::{self, AlertChange};
use crate::store::{self, EventStore, Filter};

/// Events of one transaction, and messages of the log (each speaks for up to 1,024 events that may say nothing to the view).
const SHOWN_AT_ONCE: usize = 1_024;
const MESSAGES_MAX: usize = 64;

/// A view that events are applied to. Calls block on disk.
pub trait ProjectionSink: Send + 'static {
    /// Which events it wants.
    fn filter(&self) -> Filter;

    /// How far it has come, as kept with its data.
    ///
    /// # Errors
    /// Unavailable or unusable.
    fn position(&mut self) -> Result<Option<Position>, projection::Error>;

    /// Applies events, and keeps `through` with them in one transaction: everything up to it was told.
    ///
    /// # Errors
    /// Unavailable or unusable; nothing was applied.
    fn apply(
        &mut self,
        events: &[Recorded],
        through: Position,
    ) -> Result<Vec<AlertChange>, projection::Error>;
}

/// Opens a sink: at the start, and again when the projector starts again.
pub type OpenSink = Arc<dyn Fn() -> Result<Box<dyn ProjectionSink>, projection::Error> + Send + Sync>;

/// What the projector tells others; outlives it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) changes: broadcast::Sender<Arc<AlertChange>>,
    pub(super) position: watch::Sender<Option<Position>>,
    pub(super) caught_up: watch::Sender<bool>,
    pub(super) lag: Arc<Lag>,
}

impl Told {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            changes: broadcast::Sender::new(options.changes_max),
            position: watch::Sender::new(None),
            caught_up: watch::Sender::new(false),
            lag: Arc::default(),
        }
    }

    /// Waits until the view shows everything up to here.
    pub(super) async fn shows(&self, position: Position) {
        let mut shown = self.position.subscribe();
        // The sender lives in `self`: this ends only when it is so.
        let _shown = shown.wait_for(|shown| *shown >= Some(position)).await;
    }
}

#[derive(Clone)]
pub(super) struct Parts {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) open: OpenSink,
    pub(super) told: Told,
    pub(super) options: Options,
}

pub(super) struct Ended(Error);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the log cannot be projected")]
    Store(#[from] store::Error),
    #[error("the view takes no events")]
    View(#[from] projection::Error),
    #[error("the view's thread panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::View(error) => matches!(error, projection::Error::Unavailable { .. }),
            Self::Panicked(_) => false,
        }
    }
}

pub(super) struct ProjectorActor;

pub(super) async fn start(parts: Parts, root: ActorCell) -> Result<ActorCell, ractor::SpawnErr> {
    Actor::spawn_linked(None, ProjectorActor, parts, root).await.map(|(actor, _ended)| actor.get_cell())
}

impl Actor for ProjectorActor {
    type Msg = Ended;
    type State = JoinSet<()>;
    type Arguments = Parts;

    async fn pre_start(
        &self,
        myself: ActorRef<Ended>,
        parts: Parts,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let error = match read(&parts).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if myself.send_message(Ended(error)).is_err() {
                tracing::debug!("a reader outlived its projector");
            }
        });
        Ok(reader)
    }

    async fn handle(
        &self,
        _: ActorRef<Ended>,
        Ended(error): Ended,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        Err(Box::new(error))
    }

    async fn post_stop(
        &self,
        _: ActorRef<Ended>,
        reader: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        reader.shutdown().await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Ended>,
        event: SupervisionEvent,
        _: &mut JoinSet<()>,
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

async fn read(parts: &Parts) -> Result<Infallible, Error> {
    let mut failures = 0;
    loop {
        let Err(error) = project(parts, &mut failures).await;
        if !error.is_transient() {
            return Err(error);
        }
        failures += 1;
        parts.told.lag.works();
        let wait = parts.options.backoff().delay(failures, 0);
        tracing::warn!(error = %Chain(&error), retry_in = ?wait, "the view falls behind; trying again");
        crate::metrics::stage_errors("project", "unavailable", 1);
        sleep(wait).await;
    }
}

async fn project(parts: &Parts, failures: &mut u32) -> Result<Infallible, Error> {
    let open = Arc::clone(&parts.open);
    let opened = tokio::task::spawn_blocking(move || {
        let mut sink = open()?;
        let position = sink.position()?;
        Ok::<_, projection::Error>((sink, position))
    });
    let (mut sink, position) = opened.await??;
    parts.told.position.send_replace(position);
    let mut subscription = parts.store.subscribe_all(position, sink.filter());
    let mut read = Read::default();
    let (mut last, mut has_spoken) = (position, false);
    loop {
        // A subscription that has said nothing yet may be one that cannot be had.
        if has_spoken && read.through <= last {
            parts.told.lag.idles();
        }
        let mut next = subscription.next();
        let message = tokio::select! {
            biased;
            message = &mut next => message?,
            // Nothing more is at hand: what is there is shown at once.
            () = std::future::ready(()), if read.through > last => {
                (sink, last) = show(parts, sink, &mut read, last).await?;
                *failures = 0;
                read.tell_caught_up(parts);
                parts.told.lag.idles();
                next.await?
            }
        };
        parts.told.lag.works();
        has_spoken = true;
        read.add(message);
        if read.events.len() >= SHOWN_AT_ONCE || read.messages >= MESSAGES_MAX {
            (sink, last) = show(parts, sink, &mut read, last).await?;
            *failures = 0;
        }
        if read.through <= last {
            read.tell_caught_up(parts);
        }
    }
}

/// What is read and not applied yet: many messages share a transaction, as many as are at hand.
#[derive(Default)]
struct Read {
    events: Vec<Recorded>,
    messages: usize,
    through: Option<Position>,
    caught_up: bool,
}

impl Read {
    fn add(&mut self, message: store::Message) {
        self.messages += 1;
        let through = match message {
            store::Message::Events(events) => {
                let through = events.last().map(|event| event.position);
                if self.events.is_empty() {
                    self.events = events;
                } else {
                    self.events.extend(events);
                }
                through
            }
            store::Message::Checkpoint(through) => Some(through),
            store::Message::CaughtUp(through) => {
                self.caught_up = true;
                through
            }
        };
        self.through = self.through.max(through);
    }

    /// Says that the view shows the log up to its end, once it does.
    fn tell_caught_up(&mut self, parts: &Parts) {
        if std::mem::take(&mut self.caught_up) {
            parts.told.caught_up.send_replace(true);
        }
    }
}

/// Applies what is read, then tells of it; gives the sink back.
async fn show(
    parts: &Parts,
    mut sink: Box<dyn ProjectionSink>,
    read: &mut Read,
    last: Option<Position>,
) -> Result<(Box<dyn ProjectionSink>, Option<Position>), Error> {
    let events = std::mem::take(&mut read.events);
    read.messages = 0;
    let Some(through) = read.through.filter(|through| last < Some(*through)) else { return Ok((sink, last)) };
    let count = events.len() as u64;
    let applied = tokio::task::spawn_blocking(move || {
        // A store may tell an event twice.
        let new = events.iter().position(|event| last < Some(event.position)).unwrap_or(events.len());
        let changes = sink.apply(events.get(new..).unwrap_or_default(), through)?;
        Ok::<_, projection::Error>((sink, changes))
    });
    let (sink, changes) = applied.await??;
    crate::metrics::stage_events("project", count);
    for change in changes {
        // Nobody may be listening.
        let _listeners = parts.told.changes.send(Arc::new(change));
    }
    parts.told.position.send_replace(Some(through));
    Ok((sink, Some(through)))
}
