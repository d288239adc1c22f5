//! A core that does what a test orders: to test the shell's protocol apart from the rules.
//!
//! `PLAIN` events change nothing; `SCORE` events ask for one row and write one fact; `POISON` events panic until parked.

use std::collections::{BTreeSet, VecDeque};

use intentd::actors::{Core, Entity};
use intentd::domain::catalog::ModelIx;
use intentd::domain::codec;
use intentd::domain::entity::{Answer, Command, Effect, Input, Ticket, Token};
use intentd::domain::event::{
    Behaviour, Cause, EventParked, EventUnparked, ExpectedRevision, Fact, IntentEvent, Metadata, NewEvent,
    Recorded, Revision,
};
use intentd::domain::id::{EventId, UserId};
use intentd::domain::score::{Row, Score, Unscored};
use intentd::domain::time::Timestamp;
use intentd::scoring::Scorer;

pub struct FakeCore;

impl Core for FakeCore {
    fn entity(&self, user: &UserId, snapshot: Option<&[u8]>) -> Box<dyn Entity> {
        let (next, durable): (Revision, Option<Revision>) =
            snapshot.map_or((0, None), |bytes| serde_json::from_slice(bytes).unwrap());
        let user = user.clone();
        Box::new(FakeEntity { user, next, durable, ..FakeEntity::default_of("nobody") })
    }

    fn encode(&self, fact: &Fact) -> NewEvent {
        codec::encode_fact(fact)
    }

    fn market_streams(&self) -> Vec<String> {
        Vec::new()
    }

    fn market_event(&self, _: &Recorded) -> Option<Behaviour> {
        None
    }

    fn occurred_at(&self, event: &Recorded) -> Option<Timestamp> {
        Some(event.recorded_at)
    }
}

enum Turn {
    Plain(Recorded),
    Score(Recorded, Option<Ticket>),
    Park(Recorded),
}

struct FakeEntity {
    user: UserId,
    next: Revision,
    durable: Option<Revision>,
    decided: Option<Revision>,
    parked: BTreeSet<Revision>,
    park: BTreeSet<Revision>,
    turns: VecDeque<Turn>,
    appending: Option<(Ticket, Revision)>,
    waiting: Vec<(Token, Revision)>,
    tickets: u64,
    at: Option<Revision>,
    clock: Timestamp,
}

impl FakeEntity {
    fn default_of(user: &str) -> Self {
        Self {
            user: user.parse().unwrap(),
            next: 0,
            durable: None,
            decided: None,
            parked: BTreeSet::new(),
            park: BTreeSet::new(),
            turns: VecDeque::new(),
            appending: None,
            waiting: Vec::new(),
            tickets: 0,
            at: None,
            clock: Timestamp::MIN,
        }
    }

    fn fold(&mut self, event: Recorded, effects: &mut Vec<Effect>) {
        if event.revision < self.next {
            return;
        }
        if event.revision > self.next {
            let reason = format!("event {} is missing", self.next);
            return effects.push(Effect::Restart { reason, forget_snapshot: false });
        }
        self.at = Some(event.revision);
        self.clock = self.clock.max(event.recorded_at);
        let parked = self.parked.contains(&event.revision);
        let done = self.decided >= Some(event.revision);
        let turn = match &*event.event_type {
            _ if parked => Turn::Plain(event),
            _ if self.park.contains(&event.revision) => Turn::Park(event),
            "POISON" => panic!("poison"),
            "SCORE" if !done => {
                self.tickets += 1;
                let ticket = Ticket(self.tickets);
                let features = vec![event.revision as f32].into();
                let row = Row { model: ModelIx(0), as_of: self.clock, features };
                effects.push(Effect::Score { ticket, rows: vec![row] });
                Turn::Score(event, Some(ticket))
            }
            _ => Turn::Plain(event),
        };
        self.turns.push_back(turn);
        self.next += 1;
        self.at = None;
    }

    /// Decides in order; one append at a time.
    fn pump(&mut self, effects: &mut Vec<Effect>) {
        while self.appending.is_none() {
            let fact = match self.turns.front() {
                None | Some(Turn::Score(_, Some(_))) => break,
                Some(Turn::Plain(event)) => {
                    effects.push(Effect::Settled { through: event.revision });
                    self.turns.pop_front();
                    continue;
                }
                Some(Turn::Score(event, None)) => self.fact(event, false),
                Some(Turn::Park(event)) => self.fact(event, true),
            };
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let expected = self.durable.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            let last = self.durable.map_or(0, |last| last + 1);
            effects.push(Effect::Append { ticket, expected, facts: vec![fact] });
            self.appending = Some((ticket, last));
        }
        let settled = self.turns.is_empty().then(|| self.next.checked_sub(1)).flatten();
        let durable = self.durable;
        self.waiting.retain(|(token, revision)| {
            let ready = settled >= Some(*revision);
            if ready {
                let answer = Ok(Answer::Scores { scores: Vec::new(), intent_revision: durable });
                effects.push(Effect::Answer { token: *token, answer });
            }
            !ready
        });
    }

    fn fact(&self, event: &Recorded, park: bool) -> Fact {
        let cause = Cause { event_id: event.id, revision: event.revision };
        let (user_id, at) = (self.user.clone(), event.recorded_at);
        let fact = if park {
            let reason = "ordered".to_owned();
            IntentEvent::EventParked(EventParked { user_id, cause, attempts: 0, reason, at })
        } else {
            IntentEvent::EventUnparked(EventUnparked { user_id, cause, at, by: "test".to_owned() })
        };
        let metadata = Metadata { source_revision: Some(event.revision), ..Metadata::default() };
        Fact {
            id: EventId::of_decision(&self.user, codec::event_type(&fact), "", event.id),
            event: fact,
            metadata,
        }
    }
}

impl Entity for FakeEntity {
    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Facts(facts) => {
                for fact in facts {
                    assert_eq!(
                        fact.revision,
                        self.durable.map_or(0, |last| last + 1),
                        "facts come without a gap"
                    );
                    self.durable = Some(fact.revision);
                    let source = codec::decode_metadata(&fact.metadata).unwrap().source_revision;
                    self.decided = self.decided.max(source);
                    if &*fact.event_type == "EventParked" {
                        self.parked.extend(source);
                    }
                }
            }
            Input::Deliver { events, .. } => events.into_iter().for_each(|event| self.fold(event, effects)),
            Input::Scored { ticket, answers } => {
                for turn in &mut self.turns {
                    if let Turn::Score(event, waits) = turn
                        && *waits == Some(ticket)
                    {
                        self.at = Some(event.revision);
                        assert_eq!(answers.len(), 1);
                        *waits = None;
                        self.at = None;
                    }
                }
            }
            Input::Appended { ticket, answer } => match (self.appending.take(), answer) {
                (Some((waits, last)), Ok(revision)) if waits == ticket && last == revision => {
                    self.durable = Some(last);
                    let (Turn::Plain(event) | Turn::Score(event, _) | Turn::Park(event)) =
                        self.turns.pop_front().unwrap();
                    effects.push(Effect::Settled { through: event.revision });
                }
                (_, answer) => {
                    effects.push(Effect::Restart { reason: format!("{answer:?}"), forget_snapshot: false })
                }
            },
            Input::Command { token, command, .. } => match command {
                Command::AwaitRevision { revision } => self.waiting.push((token, revision)),
                Command::SetStatus { .. }
                | Command::RecordOutcome { .. }
                | Command::Describe { .. }
                | Command::Unpark { .. } => {
                    effects.push(Effect::Answer { token, answer: Ok(Answer::Done { intent_revision: None }) })
                }
            },
            Input::Sweep { .. } => {}
            Input::Park { revision, .. } => self.park.extend([revision]),
        }
        self.pump(effects);
    }

    fn next_event(&self) -> Revision {
        self.next
    }

    fn next_fact(&self) -> Revision {
        self.durable.map_or(0, |last| last + 1)
    }

    fn is_quiet(&self) -> bool {
        self.turns.is_empty() && self.waiting.is_empty()
    }

    fn at_work_on(&self) -> Option<Revision> {
        self.at
    }

    fn clock(&self) -> Timestamp {
        self.clock
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.is_quiet().then(|| serde_json::to_vec(&(self.next, self.durable)).unwrap())
    }
}

/// Answers each row with its first feature.
pub struct FakeScorer;

impl Scorer for FakeScorer {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let score = |row: &&[f32]| {
            Ok(Score {
                version: "1".into(),
                raw: 0.5,
                probability: row[0],
                bias: 0.0,
                contributions: Box::new([]),
                shadow: None,
            })
        };
        rows.iter().map(score).collect()
    }
}
