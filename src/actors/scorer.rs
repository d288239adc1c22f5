//! Micro-batches for the models, off the async threads.
//!
//! Law: every question is answered, by a score or by why there is none; a model that hangs costs its own time-out and not the
//! daemon. Rows that wait are bounded by the events in flight.
//!
//! ```text
//!  users ──Score──→ queue ──batch, when a lane is free──→ lane (a thread with its own Scorer) ──Done──→ answers to users
//!                                      └── rows of models with a version in shadow ──→ shadow lane ──Shadowed──┘
//! ```
//! Batches make themselves: what arrives during a call goes into the next one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::options::Options;
use super::shadow::{self, STUCK_MAX};
use super::user;
use super::watch::Watch;
use crate::domain::catalog::ModelIx;
use crate::domain::entity::Ticket;
use crate::domain::score::{Row, Score, Unscored};
use crate::scoring::{Challengers, Interrupt, Scorer};

/// Makes scorers: one for each lane, and another when one has panicked.
pub type Factory = Arc<dyn Fn() -> Box<dyn Scorer> + Send + Sync>;

pub(super) type Answer = Result<Score, Unscored>;

pub(super) struct Job {
    user: user::Handle,
    ticket: Ticket,
    rows: Vec<Row>,
}

pub(super) enum Message {
    Score(Job),
    /// The wait for more rows is over.
    Go,
    Done {
        lane: usize,
        batch: u64,
        scorer: Option<Box<dyn Scorer>>,
        answers: Vec<Answer>,
    },
    /// The version in shadow has answered for a batch.
    Shadowed {
        batch: u64,
        scorer: Option<Box<dyn Scorer>>,
        said: shadow::Said,
    },
    /// A batch has waited long enough for its shadow.
    Late {
        batch: u64,
    },
    /// Look for calls that last too long.
    Look,
}

/// Asks for scores.
#[derive(Clone, Debug)]
pub(super) struct Handle(ActorRef<Message>);

impl Handle {
    pub(super) async fn start(
        factory: Factory,
        challengers: Arc<dyn Challengers>,
        watch: Arc<Watch>,
        options: Options,
        root: ActorCell,
    ) -> Result<Self, ractor::SpawnErr> {
        Actor::spawn_linked(None, ScorerActor { factory, watch, options }, challengers, root)
            .await
            .map(|(actor, _ended)| Self(actor))
    }

    /// Asks for the scores of these rows; they come back to the user's mailbox.
    pub(super) fn score(&self, user: user::Handle, ticket: Ticket, rows: Vec<Row>) {
        if self.0.send_message(Message::Score(Job { user, ticket, rows })).is_err() {
            tracing::debug!("rows for a scorer that has ended");
        }
    }

    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }
}

struct ScorerActor {
    factory: Factory,
    watch: Arc<Watch>,
    options: Options,
}

/// A thread's worth of scoring.
struct Lane {
    /// Here while it is free.
    scorer: Option<Box<dyn Scorer>>,
    /// Under way: since when, and who waits. The jobs are gone when they were answered by the time-out.
    call: Option<Call>,
}

struct Call {
    batch: u64,
    since: Instant,
    interrupt: Option<Interrupt>,
    jobs: Vec<(user::Handle, Ticket, usize)>,
}

struct State {
    queue: VecDeque<Job>,
    rows: usize,
    lanes: Vec<Lane>,
    batches: u64,
    waiting: bool,
    /// Calls given up on that have not come back: each holds a thread.
    stuck: usize,
    shadow: shadow::Lane,
}

impl Actor for ScorerActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<dyn Challengers>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        challengers: Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let lane = |_| Lane { scorer: Some((self.factory)()), call: None };
        let lanes = (0..self.options.score_threads).map(lane).collect();
        // Dropping the handle does not end the timer; it ends with the actor.
        drop(myself.send_interval(self.options.score_timeout / 4, || Message::Look));
        let (queue, shadow) = (VecDeque::new(), shadow::Lane::new(challengers, Arc::clone(&self.watch)));
        Ok(State { queue, rows: 0, lanes, batches: 0, waiting: false, stuck: 0, shadow })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Score(job) => self.queue(&myself, state, job),
            Message::Go => {
                state.waiting = false;
                self.go(&myself, state);
            }
            Message::Done { lane, batch, scorer, answers } => {
                self.done(&myself, state, lane, batch, scorer, answers);
                self.go(&myself, state);
            }
            Message::Shadowed { batch, scorer, said } => {
                state.shadow.shadowed(&myself, batch, scorer, said);
            }
            Message::Late { batch } => state.shadow.late(batch),
            Message::Look => {
                self.look(state);
                state.shadow.look(&self.options);
                self.go(&myself, state);
            }
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

impl ScorerActor {
    fn queue(&self, myself: &ActorRef<Message>, state: &mut State, job: Job) {
        state.rows += job.rows.len();
        state.queue.push_back(job);
        if state.waiting {
            return;
        }
        if self.options.score_wait.is_zero() || state.rows >= self.options.score_batch_max {
            self.go(myself, state);
        } else {
            state.waiting = true;
            drop(myself.send_after(self.options.score_wait, || Message::Go));
        }
    }

    /// Starts a call on every free lane, as far as there are rows.
    fn go(&self, myself: &ActorRef<Message>, state: &mut State) {
        if state.waiting && state.rows < self.options.score_batch_max {
            return;
        }
        for at in 0..state.lanes.len() {
            let Some(lane) = state.lanes.get_mut(at).filter(|lane| lane.call.is_none()) else { continue };
            if state.queue.is_empty() {
                return;
            }
            if state.stuck >= STUCK_MAX {
                return refuse(state);
            }
            let scorer = lane.scorer.take().unwrap_or_else(|| (self.factory)());
            let (mut rows, mut jobs) = (Vec::new(), Vec::new());
            while let Some(job) = state.queue.pop_front() {
                jobs.push((job.user, job.ticket, job.rows.len()));
                rows.extend(job.rows);
                if rows.len() >= self.options.score_batch_max {
                    break;
                }
            }
            state.rows -= rows.len();
            state.batches += 1;
            let batch = state.batches;
            let interrupt = scorer.interrupt();
            lane.call = Some(Call { batch, since: Instant::now(), interrupt, jobs });
            state.shadow.ask(myself, batch, &rows);
            let (myself, watch) = (myself.clone(), Arc::clone(&self.watch));
            // The runtime's blocking threads stay warm; each holds one scorer for one call.
            drop(tokio::task::spawn_blocking(move || {
                let (scorer, answers) = call(scorer, &rows);
                watch.note(&rows, &answers);
                if myself.send_message(Message::Done { lane: at, batch, scorer, answers }).is_err() {
                    tracing::debug!("scores for a scorer that has ended");
                }
            }));
        }
    }

    fn done(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        at: usize,
        batch: u64,
        scorer: Option<Box<dyn Scorer>>,
        answers: Vec<Answer>,
    ) {
        let Some(lane) = state.lanes.get_mut(at) else { return };
        // A call that was given up on and came back after all: its lane has a new scorer.
        let Some(call) = lane.call.take_if(|call| call.batch == batch) else {
            state.stuck = state.stuck.saturating_sub(1);
            return;
        };
        lane.scorer = scorer;
        crate::metrics::stage_duration("score", call.since.elapsed());
        crate::metrics::stage_events("score", answers.len() as u64);
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        if failed > 0 {
            crate::metrics::stage_errors("score", "unscored", failed as u64);
        }
        state.shadow.done(myself, &self.options, batch, call.jobs, answers);
    }

    /// Answers those who have waited too long for a call, and gives its lane a new scorer.
    fn look(&self, state: &mut State) {
        let timeout = self.options.score_timeout;
        let late = |call: &mut Call| call.since.elapsed() > timeout;
        for lane in &mut state.lanes {
            let Some(call) = lane.call.take_if(late) else { continue };
            tracing::error!(rows = call.jobs.len(), timeout = ?timeout, "a model does not answer; its call is given up");
            crate::metrics::stage_errors("score", "timeout", 1);
            state.stuck += 1;
            state.shadow.forget(call.batch);
            if let Some(interrupt) = call.interrupt {
                interrupt();
            }
            for (user, ticket, rows) in call.jobs {
                user.scored(ticket, vec![Err(Unscored::Timeout); rows]);
            }
        }
    }
}

/// Answers all that wait: too many calls hang to begin another.
fn refuse(state: &mut State) {
    state.rows = 0;
    crate::metrics::stage_errors("score", "stuck", state.queue.len() as u64);
    for Job { user, ticket, rows } in state.queue.drain(..) {
        user.scored(ticket, vec![Err(Unscored::Timeout); rows.len()]);
    }
}

/// Scores rows of several models, each model's together; answers in the order of the rows. No scorer comes back when it
/// panicked.
pub(super) fn call(mut scorer: Box<dyn Scorer>, rows: &[Row]) -> (Option<Box<dyn Scorer>>, Vec<Answer>) {
    let mut answers: Vec<Answer> = vec![Err(Unscored::Timeout); rows.len()];
    let mut models: Vec<ModelIx> = rows.iter().map(|row| row.model).collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let (places, features): (Vec<usize>, Vec<&[f32]>) = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.model == model)
            .map(|(at, row)| (at, &*row.features))
            .unzip();
        // The scorer is dropped after a panic: nobody sees what it left half done.
        let Ok(scored) = catch_unwind(AssertUnwindSafe(|| scorer.score(model, &features))) else {
            return (None, answers.into_iter().map(|answer| answer.map_err(|_| panicked(model))).collect());
        };
        let scored = if scored.len() == places.len() {
            scored
        } else {
            vec![Err(odd(model, scored.len(), places.len())); places.len()]
        };
        for (place, score) in places.into_iter().zip(scored) {
            if let Some(answer) = answers.get_mut(place) {
                *answer = score;
            }
        }
    }
    (Some(scorer), answers)
}

fn failed(model: ModelIx, reason: String) -> Unscored {
    Unscored::Failed { model_type: format!("#{}", model.0), version: String::new(), reason }
}

fn panicked(model: ModelIx) -> Unscored {
    failed(model, "the scorer panicked".to_owned())
}

fn odd(model: ModelIx, scores: usize, rows: usize) -> Unscored {
    failed(model, format!("{scores} scores for {rows} rows"))
}
