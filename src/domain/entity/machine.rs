//! The machine: takes inputs, keeps them in order, and says what is to be done.
//!
//! Law: events are folded in revision order, each once; items are decided in order of arrival; at most one append is under
//! way. The one caller is the user's shell, which performs the effects and tells their results.

use std::cmp::Ordering;

use super::command::Command;
use super::decide::{Park, Turn, decide};
use super::flow::{Answers, Appending, Batch, Flow, Item};
use super::order::{Clocks, obey, scores};
use super::record::{Pen, Reasoning, Record};
use super::watch::{Found, Occurrence, Watch};
use super::{Effect, Fenced, Input, Rules, Ticket, Token};
use crate::domain::codec;
use crate::domain::event::{
    Cause, EventParked, EventUnparked, ExpectedRevision, IntentEvent, Recorded, Revision,
};
use crate::domain::id::UserId;
use crate::domain::market::Market;
use crate::domain::score::Row;
use crate::domain::time::Timestamp;

/// One user.
#[derive(Debug)]
pub struct UserEntity {
    pub(super) user: UserId,
    pub(super) watch: Watch,
    pub(super) record: Record,
    /// The revision of `user-<id>` that is folded next.
    pub(super) next: Revision,
    /// Up to here everything was decided by an earlier incarnation: such events only leave their traces.
    pub(super) recovered: Option<Revision>,
    /// The last revision of `intent-<id>` that is durable.
    pub(super) durable: Option<Revision>,
    /// The last revision of `user-<id>` reported as settled.
    pub(super) settled: Option<Revision>,
    pub(super) flow: Flow,
    poison: Vec<(Revision, Park)>,
    tickets: u64,
    folding: Option<Revision>,
    /// After [`Effect::Restart`] or [`Effect::Rebuild`]: nothing that is told now means anything.
    ended: bool,
}

/// What all events of a delivery share.
struct Delivery<'a> {
    rules: &'a Rules,
    market: &'a Market,
    ticket: Ticket,
    rows: Vec<Row>,
}

impl UserEntity {
    /// A user of whom nothing is known yet: tell it all facts, then deliver from revision 0.
    pub fn new(user: UserId) -> Self {
        Self::at(user, Watch::new(), Record::default(), 0)
    }

    pub(super) fn at(user: UserId, watch: Watch, record: Record, next: Revision) -> Self {
        Self {
            user,
            watch,
            recovered: record.decided,
            durable: record.last(),
            settled: next.checked_sub(1),
            record,
            next,
            flow: Flow::default(),
            poison: Vec::new(),
            tickets: 0,
            folding: None,
            ended: false,
        }
    }

    /// Who.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The revision of `user-<id>` that is expected next.
    pub fn next_revision(&self) -> Revision {
        self.next
    }

    /// The user's clock: the largest event time folded.
    pub fn clock(&self) -> Timestamp {
        self.watch.clock()
    }

    /// The revision of `user-<id>` that is being folded or decided just now: after a panic, the one that caused it.
    pub fn folding(&self) -> Option<Revision> {
        self.folding
    }

    /// Whether nothing is under way: no question open, no fact that is not durable, nobody waiting.
    pub fn is_quiescent(&self) -> bool {
        self.flow.is_empty() && self.poison.is_empty() && !self.ended
    }

    /// Bytes on the heap, roughly: what a user costs while resident.
    pub fn heap_bytes(&self) -> usize {
        self.watch.heap_bytes()
    }

    /// Takes an input and adds to `out` what is to be done, in order.
    pub fn step(&mut self, rules: &Rules, input: Input, out: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        match input {
            Input::Facts(facts) => self.recover(rules, &facts, out),
            Input::Deliver { events, market } => self.deliver(rules, &events, &market, out),
            Input::Scored { ticket, answers } => {
                if !self.flow.scored(ticket, answers) {
                    return self.restart(out, "the scorer did not answer each row once".to_owned(), false);
                }
            }
            Input::Appended { ticket, answer } => self.appended(ticket, answer, out),
            Input::Command { token, command: Command::AwaitRevision { revision }, .. } => {
                self.flow.waiting.push((token, revision));
            }
            Input::Command { token, command, now, as_of } => {
                self.flow.queue.push_back(Item::Command { token, command, clocks: Clocks { now, as_of } });
            }
            Input::Sweep { now } => self.flow.queue.push_back(Item::Sweep { now }),
            Input::Park { revision, attempts, reason, at } => {
                if revision >= self.next {
                    self.poison.push((revision, Park { attempts, reason, at }));
                }
            }
        }
        if !self.ended {
            self.pump(rules, out);
        }
    }

    fn restart(&mut self, out: &mut Vec<Effect>, reason: String, forget_snapshot: bool) {
        self.ended = true;
        out.push(Effect::Restart { reason, forget_snapshot });
    }

    /// Folds facts that were decided before. One that parks or unparks an event which the snapshot has folded or left out
    /// makes the snapshot wrong.
    fn recover(&mut self, rules: &Rules, facts: &[Recorded], out: &mut Vec<Effect>) {
        for recorded in facts {
            match recorded.revision.cmp(&self.record.next) {
                Ordering::Less => continue,
                Ordering::Equal => {}
                Ordering::Greater => {
                    let (next, got) = (self.record.next, recorded.revision);
                    return self.restart(out, format!("fact {next} is missing before {got}"), false);
                }
            }
            let read = codec::decode_fact(&recorded.event_type, &recorded.data)
                .and_then(|fact| Ok((fact, codec::decode_metadata(&recorded.metadata)?)));
            let (fact, source) = match read {
                Ok((fact, metadata)) => (fact, metadata.source_revision),
                Err(error) => {
                    let reason = format!("fact {} cannot be read: {error}", recorded.revision);
                    return self.restart(out, reason, false);
                }
            };
            let Some(fact) = fact else {
                // A newer daemon's: it stands there, but it means nothing to us.
                self.record.pass_over(source);
                continue;
            };
            if let IntentEvent::EventParked(EventParked { cause, .. })
            | IntentEvent::EventUnparked(EventUnparked { cause, .. }) = &fact
                && cause.revision < self.next
            {
                let reason = format!("the snapshot does not know what became of event {}", cause.revision);
                return self.restart(out, reason, true);
            }
            self.record.apply(&rules.catalog, &fact, source);
        }
        self.recovered = self.record.decided;
        self.durable = self.record.last();
    }

    fn deliver(&mut self, rules: &Rules, events: &[Recorded], market: &Market, out: &mut Vec<Effect>) {
        let mut delivery = Delivery { rules, market, ticket: Ticket(self.tickets), rows: Vec::new() };
        let mut again = false;
        for event in events {
            match event.revision.cmp(&self.next) {
                Ordering::Less => again = true,
                Ordering::Equal => {
                    self.folding = Some(event.revision);
                    self.fold(&mut delivery, event);
                    self.next += 1;
                    self.folding = None;
                }
                Ordering::Greater => {
                    let (next, got) = (self.next, event.revision);
                    return self.restart(out, format!("event {next} is missing before {got}"), false);
                }
            }
        }
        if !delivery.rows.is_empty() {
            self.tickets += 1;
            out.push(Effect::Score { ticket: delivery.ticket, rows: delivery.rows });
        }
        // Who delivers again may not have heard the first time.
        if let (true, Some(through)) = (again, self.settled) {
            out.push(Effect::Settled { through });
        }
    }

    fn fold(&mut self, delivery: &mut Delivery<'_>, recorded: &Recorded) {
        let revision = recorded.revision;
        let fresh = self.recovered.is_none_or(|recovered| revision > recovered);
        let cause = Cause { event_id: recorded.id, revision };
        if self.record.is_parked(revision) {
            return self.pass(cause, fresh);
        }
        if let Some(at) = self.poison.iter().position(|(poison, _)| *poison == revision) {
            let (_, park) = self.poison.swap_remove(at);
            return self.put_aside(cause, park);
        }
        let rules = delivery.rules;
        let event = match codec::decode(&rules.catalog, recorded) {
            Ok(event) => event,
            Err(undecodable) => {
                let reason = format!("{undecodable}: {}", undecodable.source);
                let park = Park { attempts: 1, reason, at: recorded.recorded_at };
                return self.put_aside(cause, park);
            }
        };
        let occurrence =
            Occurrence { event: &event, cause, position: recorded.position, market: delivery.market };
        match self.watch.observe(rules, &occurrence, fresh) {
            None => self.pass(cause, fresh),
            Some(found) => self.ask(delivery, cause, found),
        }
    }

    /// An event that changed nothing worth deciding about. It waits behind those that do, since the user's clock may have
    /// passed an expiry that a turn before it has yet to set.
    fn pass(&mut self, cause: Cause, fresh: bool) {
        let as_of = if fresh { self.watch.clock() } else { Timestamp::MIN };
        let idle = self.flow.queue.is_empty();
        if idle && self.record.alerts.due(as_of).is_none() {
            self.record.decided_through(cause.revision);
            self.flow.batch.through = Some(cause.revision);
        } else if !self.flow.extends(cause.revision, as_of) {
            self.queue_turn(cause, as_of, None, None, Answers::Given(Vec::new()));
        }
    }

    fn put_aside(&mut self, cause: Cause, park: Park) {
        self.queue_turn(cause, self.watch.clock(), Some(Box::new(park)), None, Answers::Given(Vec::new()));
    }

    fn ask(&mut self, delivery: &mut Delivery<'_>, cause: Cause, found: Box<Found>) {
        let answers = if found.rows.is_empty() {
            Answers::Given(Vec::new())
        } else {
            delivery.rows.extend_from_slice(&found.rows);
            Answers::Awaited(delivery.ticket)
        };
        self.queue_turn(cause, self.watch.clock(), None, Some(found), answers);
    }

    fn queue_turn(
        &mut self,
        cause: Cause,
        as_of: Timestamp,
        park: Option<Box<Park>>,
        found: Option<Box<Found>>,
        answers: Answers,
    ) {
        let turn = Turn { cause, through: cause.revision, as_of, park, found };
        self.flow.queue.push_back(Item::Turn { turn, answers });
    }

    /// Decides all that is ready, then lets it out.
    fn pump(&mut self, rules: &Rules, out: &mut Vec<Effect>) {
        while self.flow.batch.rebuild.is_none()
            && let Some(item) = self.flow.next_ready()
        {
            match item {
                Item::Turn { turn, answers } => self.decide_turn(rules, &turn, answers),
                Item::Command { token, command, clocks } => self.obey(rules, token, command, clocks),
                Item::Sweep { now } => self.pen(rules, None).pass_time(now, "sweep"),
            }
        }
        self.answer_waiting(rules);
        self.flush(out);
        self.flow.rest();
    }

    fn pen<'a>(&'a mut self, rules: &'a Rules, cause: Option<Cause>) -> Pen<'a> {
        let source = self.record.decided.max(cause.map(|cause| cause.revision));
        Pen {
            user: &self.user,
            rules,
            record: &mut self.record,
            facts: &mut self.flow.batch.facts,
            reasoning: Reasoning { cause, source },
        }
    }

    fn decide_turn(&mut self, rules: &Rules, turn: &Turn, answers: Answers) {
        let Answers::Given(answers) = answers else { return };
        self.folding = Some(turn.cause.revision);
        decide(&mut self.pen(rules, Some(turn.cause)), turn, answers);
        self.folding = None;
        self.record.decided_through(turn.through);
        self.flow.batch.through = Some(turn.through);
    }

    fn obey(&mut self, rules: &Rules, token: Token, command: Command, clocks: Clocks) {
        let unparks = matches!(command, Command::Unpark { .. });
        let folded = self.next.checked_sub(1);
        let mut pen = Pen {
            user: &self.user,
            rules,
            record: &mut self.record,
            facts: &mut self.flow.batch.facts,
            reasoning: Reasoning { cause: None, source: None },
        };
        pen.reasoning.source = pen.record.decided;
        let answer = obey(&mut pen, &self.watch, folded, command, clocks);
        if unparks && answer.is_ok() {
            self.flow.batch.rebuild = Some("a parked event is folded again".to_owned());
        }
        self.flow.batch.answers.push((token, answer));
    }

    /// Answers those whose revision is decided by now; the answer leaves when that is durable.
    fn answer_waiting(&mut self, rules: &Rules) {
        let Some(decided) = self.record.decided else { return };
        if !self.flow.waiting.iter().any(|(_, revision)| *revision <= decided) {
            return;
        }
        let answer = scores(&self.pen(rules, None));
        let Flow { waiting, batch, .. } = &mut self.flow;
        waiting.retain(|(token, revision)| {
            let answered = *revision <= decided;
            if answered {
                batch.answers.push((*token, Ok(answer.clone())));
            }
            !answered
        });
    }

    /// Lets out what is decided: as an append when there are facts, at once when not; never past an append under way.
    fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.flow.appending.is_some() || self.flow.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.flow.batch);
        let facts = std::mem::take(&mut batch.facts);
        let Some(last) = self.record.last().filter(|_| !facts.is_empty()) else {
            return self.release(batch, out);
        };
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let expected = self.durable.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        out.push(Effect::Append { ticket, expected, facts });
        self.flow.appending = Some(Box::new(Appending { ticket, last, releases: batch }));
    }

    fn appended(&mut self, ticket: Ticket, answer: Result<Revision, Fenced>, out: &mut Vec<Effect>) {
        if self.flow.appending.as_ref().is_none_or(|appending| appending.ticket != ticket) {
            return;
        }
        let Some(appending) = self.flow.appending.take() else { return };
        match answer {
            Ok(last) if last == appending.last => {
                self.durable = Some(last);
                self.release(appending.releases, out);
            }
            Ok(last) => {
                let reason = format!("the append ended at {last}, not at {}", appending.last);
                self.restart(out, reason, false);
            }
            Err(fenced) => self.restart(out, fenced.to_string(), false),
        }
    }

    fn release(&mut self, batch: Batch, out: &mut Vec<Effect>) {
        if let Some(through) = batch.through {
            self.settled = Some(through);
            out.push(Effect::Settled { through });
        }
        out.extend(batch.answers.into_iter().map(|(token, answer)| Effect::Answer { token, answer }));
        if let Some(reason) = batch.rebuild {
            self.ended = true;
            out.push(Effect::Rebuild { reason });
        }
    }
}
