//! Group appends: the facts of many users in one call to the store, one durable write for all.
//!
//! Law: an append is answered when it is durable or refused, and never given up: while the store is unavailable the same
//! batch is tried again, so an acknowledgement that got lost is found again. A success that wrote nothing is believed only
//! when what stands there is ours to the byte: the ids alone may be another daemon's, with other scores behind them. One call is under way at a time; what arrives
//! meanwhile goes into the next. Appends that wait are bounded by the events in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::flow::Flow;
use super::options::Options;
use super::overlap::{Overlap, Sign};
use super::root::Parts;
use super::user;
use crate::domain::entity::Ticket;
use crate::domain::event::{NewEvent, Recorded};
use crate::error::Chain;
use crate::store::{Append, Appended, Conflict, Direction, Error, EventStore, ExpectedRevision};

/// Why an append was not done.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// The stream ends elsewhere.
    Conflict(Box<Conflict>),
    /// The ids of these facts stand in the log already, with other contents: somebody else has decided otherwise.
    Foreign,
    /// It is outside the store's bounds.
    Invalid(String),
}

type Answer = Result<Appended, Refused>;

pub(super) struct Job {
    user: user::Handle,
    ticket: Ticket,
    append: Append,
    /// It was sent before, and may stand.
    was_sent: bool,
}

pub(super) enum Message {
    Append(Job),
    Done { jobs: Vec<Job>, answer: Result<Vec<Answer>, Error> },
    Retry(Vec<Job>),
}

/// Appends facts.
#[derive(Clone, Debug)]
pub(super) struct Handle(ActorRef<Message>);

impl Handle {
    pub(super) async fn start(
        parts: &Parts,
        flow: Arc<Flow>,
        root: ActorCell,
    ) -> Result<Self, ractor::SpawnErr> {
        let (store, options) = (Arc::clone(&parts.store), parts.options.clone());
        let appender = AppenderActor { store, flow, options };
        Actor::spawn_linked(None, appender, (), root).await.map(|(actor, _ended)| Self(actor))
    }

    /// Appends; the answer comes back to the user's mailbox.
    pub(super) fn append(&self, user: user::Handle, ticket: Ticket, append: Append) {
        if self.0.send_message(Message::Append(Job { user, ticket, append, was_sent: false })).is_err() {
            tracing::debug!("facts for an appender that has ended");
        }
    }

    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }
}

struct AppenderActor {
    store: Arc<dyn EventStore>,
    flow: Arc<Flow>,
    options: Options,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// The call under way, or none; also none while a batch waits to be tried again.
    calls: JoinSet<()>,
    busy: bool,
    failures: u32,
}

impl Actor for AppenderActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Append(job) => {
                state.queue.push_back(job);
                self.next(&myself, state);
            }
            Message::Done { jobs, answer } => self.done(&myself, state, jobs, answer)?,
            Message::Retry(jobs) => self.call(&myself, state, jobs),
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

impl AppenderActor {
    fn next(&self, myself: &ActorRef<Message>, state: &mut State) {
        if state.busy || state.queue.is_empty() {
            return;
        }
        let batch = state.queue.len().min(self.options.append_batch_max);
        let jobs = state.queue.drain(..batch).collect();
        self.call(myself, state, jobs);
    }

    fn call(&self, myself: &ActorRef<Message>, state: &mut State, jobs: Vec<Job>) {
        state.busy = true;
        let (store, flow, myself) = (Arc::clone(&self.store), Arc::clone(&self.flow), myself.clone());
        // Ended calls are taken out, so that the set holds one at most.
        while state.calls.try_join_next().is_some() {}
        state.calls.spawn(async move {
            let began = Instant::now();
            let answer = append(&*store, &jobs, &flow.overlap).await;
            crate::metrics::stage_duration("append", began.elapsed());
            if myself.send_message(Message::Done { jobs, answer }).is_err() {
                tracing::debug!("an append for an appender that has ended");
            }
        });
    }

    fn done(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        mut jobs: Vec<Job>,
        answer: Result<Vec<Answer>, Error>,
    ) -> Result<(), ActorProcessingErr> {
        state.busy = false;
        // Whatever the answer says: a store may write some and fail over another.
        jobs.iter_mut().for_each(|job| job.was_sent = true);
        match answer {
            Ok(answers) => {
                state.failures = 0;
                crate::metrics::stage_events(
                    "append",
                    jobs.iter().map(|job| job.append.events.len() as u64).sum(),
                );
                for (job, answer) in jobs.into_iter().zip(answers) {
                    job.user.appended(job.ticket, answer);
                }
                self.next(myself, state);
            }
            Err(error) if error.is_transient() => {
                state.failures = state.failures.saturating_add(1);
                state.busy = true;
                crate::metrics::stage_errors("append", "unavailable", 1);
                let wait = self.options.backoff().delay(state.failures, 0);
                tracing::warn!(error = %Chain(&error), retry_in = ?wait, "facts are not written yet");
                drop(myself.send_after(wait, || Message::Retry(jobs)));
            }
            Err(error @ (Error::Invalid { .. } | Error::TooBig { .. })) => {
                self.refuse(myself, state, jobs, &Chain(&error).to_string());
            }
            Err(error) => return Err(Box::new(error)),
        }
        Ok(())
    }

    /// One of them is out of bounds: alone, each shows whether it is the one.
    fn refuse(&self, myself: &ActorRef<Message>, state: &mut State, mut jobs: Vec<Job>, reason: &str) {
        if jobs.len() > 1 {
            let half = jobs.split_off(jobs.len() / 2);
            for job in half.into_iter().rev() {
                state.queue.push_front(job);
            }
            return self.call(myself, state, jobs);
        }
        for job in jobs {
            job.user.appended(job.ticket, Err(Refused::Invalid(reason.to_owned())));
        }
        self.next(myself, state);
    }
}

/// Appends and looks at what stands there. Tried again, finding our own is no sign of anybody else.
async fn append(store: &dyn EventStore, jobs: &[Job], overlap: &Overlap) -> Result<Vec<Answer>, Error> {
    let answers = store.append(jobs.iter().map(|job| job.append.clone()).collect()).await?;
    let mut told = Vec::with_capacity(answers.len());
    for (job, answer) in jobs.iter().zip(answers) {
        told.push(match answer {
            Ok(appended) if appended.appended == 0 && !stands(store, &job.append).await? => {
                crate::metrics::stage_errors("append", "foreign", 1);
                overlap.saw(Sign::Foreign);
                Err(Refused::Foreign)
            }
            Ok(appended) => {
                if !job.was_sent && appended.appended == 0 {
                    overlap.saw(Sign::Repeated);
                }
                Ok(appended)
            }
            Err(conflict) => {
                overlap.saw(Sign::Conflict);
                Err(Refused::Conflict(Box::new(conflict)))
            }
        });
    }
    Ok(told)
}

/// Whether exactly these events stand where they were to go.
async fn stands(store: &dyn EventStore, append: &Append) -> Result<bool, Error> {
    let from = match append.expected {
        ExpectedRevision::Exact(last) => last + 1,
        ExpectedRevision::NoStream | ExpectedRevision::Any | ExpectedRevision::Exists => 0,
    };
    let wanted = append.events.len();
    let page = store.read_stream(&append.stream, Some(from), Direction::Forwards, wanted).await?;
    let same = |(there, ours): (&Recorded, &NewEvent)| {
        there.id == ours.id && there.data == ours.data && there.metadata == ours.metadata
    };
    Ok(page.events.len() == wanted && page.events.iter().zip(&append.events).all(same))
}
