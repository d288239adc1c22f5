//! One user in memory: the shell around one entity.
//!
//! Law: it decides nothing; it tells the entity, performs the effects in order, and dies when the entity says that it no
//! longer follows the log, or panics. What it holds is in the log or derived from it.
//!
//! ```text
//!  registry ──Deliver, Command, Sweep, Ask──→ user ──rows──→ scorer ──Scored──→ user
//!      ↑───────── reports (settled, idle) ─────┘ └──facts──→ appender ──Appended──→ user
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::asked::{Asked, Reply};
use super::core::{Core, Entity};
use super::failure::Failure;
use super::flow::{Report, Reports};
use super::options::Options;
use super::{appender, recovery, scorer, tally};
use crate::domain::entity::{Answer, Effect, Fenced, Input, Refusal, Ticket, Token};
use crate::domain::event::{Position, Recorded, Revision};
use crate::domain::market::Market;
use crate::domain::roster::Start;
use crate::domain::score::{Score, Unscored};
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::store::snapshot::Snapshots;
use crate::store::{Appended, Conflict, EventStore};

/// What all users share.
pub(super) struct Shared {
    pub(super) core: Arc<dyn Core>,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) snapshots: Arc<dyn Snapshots>,
    pub(super) scorer: scorer::Handle,
    pub(super) appender: appender::Handle,
    pub(super) reports: Arc<Reports>,
    pub(super) options: Options,
    pub(super) wall: fn() -> Timestamp,
}

pub(super) enum Message {
    Deliver {
        events: Vec<Recorded>,
        market: Arc<Market>,
    },
    Scored {
        ticket: Ticket,
        answers: Vec<Result<Score, Unscored>>,
    },
    Appended {
        ticket: Ticket,
        answer: Result<Appended, appender::Refused>,
    },
    /// Boxed, as an answer's rarest part is: every mailbox and every resident task has room for the largest message.
    Command(Box<Asked>),
    Sweep {
        now: Timestamp,
    },
    Ask,
}

/// A user's mailbox. Mail to one that is gone is dropped: the registry hears of the end and a successor reads the log.
#[derive(Clone, Debug)]
pub(super) struct Handle(ActorRef<Message>);

impl Handle {
    pub(super) async fn start(arguments: Arguments, registry: ActorCell) -> Result<Self, ractor::SpawnErr> {
        Actor::spawn_linked(None, UserActor, arguments, registry).await.map(|(actor, _ended)| Self(actor))
    }

    pub(super) fn id(&self) -> ractor::ActorId {
        self.0.get_id()
    }

    pub(super) fn deliver(&self, events: Vec<Recorded>, market: Arc<Market>) {
        self.send(Message::Deliver { events, market });
    }

    pub(super) fn command(&self, asked: Asked) {
        self.send(Message::Command(Box::new(asked)));
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        self.send(Message::Sweep { now });
    }

    pub(super) fn ask(&self) {
        self.send(Message::Ask);
    }

    pub(super) fn scored(&self, ticket: Ticket, answers: Vec<Result<Score, Unscored>>) {
        self.send(Message::Scored { ticket, answers });
    }

    pub(super) fn appended(&self, ticket: Ticket, answer: Result<Appended, appender::Refused>) {
        self.send(Message::Appended { ticket, answer });
    }

    /// Lets it handle what it has, and end.
    pub(super) fn drain(&self) {
        if let Err(gone) = self.0.drain() {
            tracing::debug!(error = %gone, "a user that was to end has ended already");
        }
    }

    fn send(&self, message: Message) {
        if self.0.send_message(message).is_err() {
            tracing::debug!("mail for a user that has ended");
        }
    }
}

pub(super) struct Arguments {
    pub(super) shared: Arc<Shared>,
    pub(super) start: Start,
    pub(super) market: Arc<Market>,
    /// The market is complete up to here.
    pub(super) complete_to: Position,
}

pub(super) struct State {
    pub(super) shared: Arc<Shared>,
    pub(super) start: Start,
    pub(super) market: Arc<Market>,
    pub(super) complete_to: Position,
    /// None until recovery has read the snapshot.
    pub(super) entity: Option<Box<dyn Entity>>,
    /// Events that wait for the one before them to be settled; only when something has failed before.
    pub(super) one_by_one: VecDeque<Recorded>,
    /// The event that a panic now is the fault of.
    blamed: Option<Revision>,
    /// Everything before is settled, as far as this incarnation knows.
    pub(super) settled: Revision,
    /// Everything before is reported as settled.
    reported: Revision,
    asked: bool,
    replies: Vec<(Token, oneshot::Sender<Reply>)>,
    tokens: u64,
    /// Where in `$all` the facts known here end.
    pub(super) facts_at: Option<Position>,
}

pub(super) struct UserActor;

impl Actor for UserActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { shared, start, market, complete_to } = arguments;
        Ok(State {
            shared,
            start,
            market,
            complete_to,
            entity: None,
            one_by_one: VecDeque::new(),
            blamed: None,
            settled: 0,
            reported: 0,
            asked: false,
            replies: Vec::new(),
            tokens: 0,
            facts_at: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        recovery::recover(&myself, state).await?;
        Ok(state.rest(&myself)?)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Deliver { events, market } => state.deliver(&myself, events, market)?,
            Message::Scored { ticket, answers } => state.step(&myself, Input::Scored { ticket, answers })?,
            Message::Appended { ticket, answer } => state.appended(&myself, ticket, answer)?,
            Message::Command(asked) => state.command(&myself, *asked)?,
            Message::Sweep { now } => state.step(&myself, Input::Sweep { now })?,
            Message::Ask => state.asked = true,
        }
        Ok(state.rest(&myself)?)
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.keep();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // A user has no children.
        match event {
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ActorFailed(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

thread_local! {
    /// Effects of the step under way on this thread: users take turns with one buffer instead of holding one each.
    static EFFECTS: Cell<Vec<Effect>> = const { Cell::new(Vec::new()) };
}

impl State {
    /// Tells the entity something and performs what it wants. Never waits.
    pub(super) fn step(&mut self, myself: &ActorRef<Message>, input: Input) -> Result<(), Failure> {
        let Some(entity) = self.entity.as_mut() else { return Ok(()) };
        let mut effects = EFFECTS.take();
        // The entity is dropped after a panic: nobody sees what it left half done.
        let stepped = catch_unwind(AssertUnwindSafe(|| entity.step(input, &mut effects)));
        if let Err(panic) = stepped {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said =
                said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            let revision = entity.at_work_on().or(self.blamed);
            return Err(Failure::at(revision, said.to_owned()));
        }
        let performed = effects.drain(..).try_for_each(|effect| self.perform(myself, effect));
        EFFECTS.set(effects);
        performed
    }

    fn perform(&mut self, myself: &ActorRef<Message>, effect: Effect) -> Result<(), Failure> {
        match effect {
            Effect::Score { ticket, rows } => self.shared.scorer.score(Handle(myself.clone()), ticket, rows),
            Effect::Append { ticket, expected, facts } => {
                tally::count(&facts);
                let events = facts.iter().map(|fact| self.shared.core.encode(fact)).collect();
                let stream = crate::domain::id::stream::intent(&self.start.user);
                let append = crate::store::Append { stream, expected, events };
                self.shared.appender.append(Handle(myself.clone()), ticket, append);
            }
            Effect::Settled { through } => self.settled(through),
            Effect::Answer { token, answer } => self.answer(token, answer),
            Effect::Restart { reason, forget_snapshot } => {
                if forget_snapshot {
                    self.forget();
                }
                return Err(Failure::here(reason));
            }
            Effect::Rebuild { reason } => {
                self.forget();
                return Err(Failure { asked: true, ..Failure::here(reason) });
            }
        }
        Ok(())
    }

    fn forget(&self) {
        if let Err(error) = self.shared.snapshots.forget(&self.start.user) {
            tracing::warn!(error = %Chain(&error), "a snapshot that does not fit the log stays");
        }
    }

    fn settled(&mut self, through: Revision) {
        self.settled = self.settled.max(through + 1);
        if through < self.reported {
            return;
        }
        self.reported = through + 1;
        let clock = self.entity.as_ref().map_or(Timestamp::MIN, |entity| entity.clock());
        let (slot, incarnation) = (self.start.slot, self.start.incarnation);
        self.shared.reports.push(Report::Settled { slot, incarnation, through, clock });
    }

    fn answer(&mut self, token: Token, answer: Result<Answer, Refusal>) {
        let Some(at) = self.replies.iter().position(|(waits, _)| *waits == token) else { return };
        let (_, reply) = self.replies.swap_remove(at);
        if reply.send((answer, self.facts_at)).is_err() {
            tracing::debug!("nobody waits for this answer any more");
        }
    }

    fn deliver(
        &mut self,
        myself: &ActorRef<Message>,
        events: Vec<Recorded>,
        market: Arc<Market>,
    ) -> Result<(), Failure> {
        self.market = market;
        self.asked = false;
        if self.start.careful {
            self.one_by_one.extend(events);
            return Ok(());
        }
        // One event alone is at fault for what it does; of many, the next incarnation finds the one.
        self.blamed = if let [event] = events.as_slice() { Some(event.revision) } else { None };
        let market = Arc::clone(&self.market);
        self.step(myself, Input::Deliver { events, market })?;
        self.blamed = None;
        Ok(())
    }

    fn appended(
        &mut self,
        myself: &ActorRef<Message>,
        ticket: Ticket,
        answer: Result<Appended, appender::Refused>,
    ) -> Result<(), Failure> {
        let answer = match answer {
            Ok(appended) => {
                self.facts_at = self.facts_at.max(Some(appended.position));
                Ok(appended.revision)
            }
            Err(appender::Refused::Conflict(conflict)) => {
                let Conflict { expected, actual, .. } = *conflict;
                Err(Fenced { expected, actual })
            }
            Err(appender::Refused::Foreign) => {
                return Err(Failure::here("other facts stand in the log under the ids of ours"));
            }
            Err(appender::Refused::Invalid(reason)) => {
                return Err(Failure::at(self.blamed, reason));
            }
        };
        self.step(myself, Input::Appended { ticket, answer })
    }

    fn command(&mut self, myself: &ActorRef<Message>, asked: Asked) -> Result<(), Failure> {
        let Asked { command, as_of, reply } = asked;
        self.asked = false;
        self.tokens += 1;
        let token = Token(self.tokens);
        self.replies.push((token, reply));
        let now = (self.shared.wall)();
        self.step(myself, Input::Command { token, command, now, as_of })
    }

    /// What is left to do when a message is handled: the next single event, and an answer to the registry's question.
    fn rest(&mut self, myself: &ActorRef<Message>) -> Result<(), Failure> {
        while self.settled >= self.next_event() {
            self.blamed = None;
            let Some(event) = self.one_by_one.pop_front() else { break };
            self.blamed = Some(event.revision);
            let market = Arc::clone(&self.market);
            self.step(myself, Input::Deliver { events: vec![event], market })?;
        }
        if !self.is_quiet() {
            return Ok(());
        }
        let next = self.next_event();
        if let Some(through) = next.checked_sub(1) {
            self.settled(through);
        }
        if self.asked && self.replies.is_empty() {
            self.asked = false;
            let (slot, incarnation) = (self.start.slot, self.start.incarnation);
            self.shared.reports.push(Report::Idle { slot, incarnation, through: next.checked_sub(1) });
        }
        Ok(())
    }

    fn next_event(&self) -> Revision {
        self.entity.as_ref().map_or(0, |entity| entity.next_event())
    }

    fn is_quiet(&self) -> bool {
        self.entity.as_ref().is_some_and(|entity| entity.is_quiet())
    }

    /// Keeps a snapshot. Failing to is not worth a restart: the log has everything.
    fn keep(&self) {
        let Some(snapshot) = self.entity.as_ref().and_then(|entity| entity.snapshot()) else { return };
        let kept = self.shared.snapshots.save(&self.start.user, &snapshot);
        crate::metrics::snapshots(if kept.is_ok() { "kept" } else { "failed" }, 1);
        if let Err(error) = kept {
            tracing::warn!(error = %Chain(&error), "a snapshot was not kept");
        }
    }
}
