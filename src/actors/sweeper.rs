//! Lets time pass for users whom no event wakes: alerts expire, snoozes end, failed scores are asked for again.
//!
//! Law: time is the log's clock, never ahead of the events read; other shards' users are swept by their own instance. A failed score is asked for again soon a few times, then with
//! the sweep, so that a model that is gone for good costs little.

use std::sync::Arc;

use hashbrown::HashMap;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::flow::Flow;
use super::registry;
use super::requests::Request;
use super::root::Parts;
use crate::domain::backoff::Backoff;
use crate::domain::id::UserId;
use crate::error::Chain;
use crate::projection;

pub(super) struct Arguments {
    pub(super) parts: Parts,
    pub(super) flow: Arc<Flow>,
    pub(super) registry: registry::Handle,
}

pub(super) enum Message {
    /// Time passes for users with something due.
    Sweep,
    /// Failed scores are looked for.
    Rescore,
}

pub(super) async fn start(arguments: Arguments, root: ActorCell) -> Result<ActorCell, ractor::SpawnErr> {
    let sweeper = SweeperActor(arguments);
    Actor::spawn_linked(None, sweeper, (), root).await.map(|(actor, _ended)| actor.get_cell())
}

struct SweeperActor(Arguments);

/// When a user is asked for again, and how often it has been.
struct Again {
    at: Instant,
    asked: u32,
}

#[derive(Default)]
struct State {
    /// At most `sweep_max` users: those of the last look.
    again: HashMap<UserId, Again>,
}

impl Actor for SweeperActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        let options = &self.0.parts.options;
        drop(myself.send_interval(options.sweep_every, || Message::Sweep));
        drop(myself.send_interval(options.rescore_first, || Message::Rescore));
        Ok(State::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Sweep => self.sweep().await,
            Message::Rescore => self.rescore(state).await,
        }
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

impl SweeperActor {
    async fn sweep(&self) {
        let Parts { views, options, wall, shard, .. } = &self.0.parts;
        let now = self.0.flow.now(wall());
        let (views, limit, shard) = (Arc::clone(views), options.sweep_max, *shard);
        if let Some(users) =
            look(move || views.due(now, limit, shard)).await.filter(|users| !users.is_empty())
        {
            crate::metrics::stage_events("sweep", users.len() as u64);
            self.0.registry.sweep(users, now);
        }
    }

    async fn rescore(&self, state: &mut State) {
        let Parts { views, options, wall, store, shard, .. } = &self.0.parts;
        let (views, limit, shard) = (Arc::clone(views), options.sweep_max, *shard);
        let Some(waiting) = look(move || views.unscored(limit, shard)).await else { return };
        let now = self.0.flow.now(wall());
        let backoff = Backoff { first: options.rescore_first, max: options.sweep_every };
        let mut before = std::mem::take(&mut state.again);
        let mut requests = Vec::new();
        for view in waiting {
            let known = before.remove(&view.user_id);
            let asked = known.as_ref().map_or(0, |again| again.asked);
            let due = known.as_ref().is_none_or(|again| again.at <= Instant::now());
            let again = match known {
                Some(again) if !due => again,
                Some(_) | None => {
                    // The first look only starts the wait: the failure is fresh.
                    let wait = if asked < options.rescore_attempts {
                        backoff.delay(asked + 1, 0)
                    } else {
                        options.sweep_every
                    };
                    Again { at: Instant::now() + wait, asked: asked.saturating_add(1) }
                }
            };
            if due && asked > 0 {
                requests.push(Request::sweep(&view, now).append());
            }
            state.again.insert(view.user_id, again);
        }
        if requests.is_empty() {
            return;
        }
        crate::metrics::stage_events("rescore", requests.len() as u64);
        if let Err(error) = store.append(requests).await {
            tracing::warn!(error = %Chain(&error), "failed scores are not asked for again yet");
        }
    }
}

/// Asks the view on a blocking thread; a failure is told, and the next look asks again.
async fn look<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, projection::Error> + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(question).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "the view does not answer the sweeper");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the view does not answer the sweeper");
            None
        }
    }
}
