//! One user's world: two streams with exact revisions and idempotent appends, an incarnation of the entity, and a schedule
//! that delivers, answers, writes, loses, crashes and commands as its seed says.

use std::fmt::Write as _;

use intentd::domain::codec;
use intentd::domain::entity::{Answer, Effect, Fenced, Input, Refusal, Snapshot, Ticket, Token, UserEntity};
use intentd::domain::event::{ExpectedRevision, NewEvent, Position, Recorded, Revision};
use intentd::domain::score::{Row, Score, Unscored};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::log::Log;
use super::story::{RULES, Story, answer, start, user};

/// What a schedule may do beside delivering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    pub disturbed: bool,
    pub failures: bool,
    pub sweeps: bool,
    pub commands: bool,
    /// No version runs in shadow.
    pub unchallenged: bool,
}

/// An append under way, as the store sees it.
struct Append {
    ticket: Ticket,
    expected: ExpectedRevision,
    events: Vec<NewEvent>,
    answer: Option<Result<Revision, Fenced>>,
}

pub struct World<'a> {
    pub story: &'a Story,
    pub log: Log,
    pub settled: Option<Revision>,
    pub entity: Option<UserEntity>,
    pub trace: String,
    pub crashes: u32,
    /// Whether an append of a dead incarnation landed since the living one recovered.
    pub overtaken: bool,
    /// Source revisions of the facts of the undisturbed run, when they are known.
    pub reference: Option<Vec<Revision>>,
    weather: Weather,
    pub rng: ChaCha8Rng,
    scores: Vec<(Ticket, Vec<Row>)>,
    tickets: Vec<Ticket>,
    append: Option<Append>,
    /// Appends of dead incarnations that may still reach the store.
    zombies: Vec<Append>,
    snapshot: Option<Vec<u8>>,
    /// How often the poisonous event killed an incarnation; whether it no longer does.
    strikes: u32,
    pub cured: bool,
    told: bool,
    pub tokens: u64,
    pub awaited: Vec<(Token, Revision)>,
}

impl<'a> World<'a> {
    pub fn new(seed: u64, story: &'a Story, weather: Weather) -> Self {
        Self {
            story,
            weather,
            rng: ChaCha8Rng::seed_from_u64(seed),
            log: Log::default(),
            settled: None,
            entity: None,
            scores: Vec::new(),
            tickets: Vec::new(),
            append: None,
            zombies: Vec::new(),
            snapshot: None,
            strikes: if weather.disturbed { 0 } else { 2 },
            cured: false,
            told: false,
            tokens: 0,
            awaited: Vec::new(),
            crashes: 0,
            overtaken: false,
            trace: String::new(),
            reference: None,
        }
    }

    /// Runs the schedule, then lets all come to rest.
    pub fn run(&mut self) {
        for _ in 0..if self.weather.disturbed { 120 } else { 0 } {
            self.act();
        }
        self.weather.disturbed = false;
        self.weather.failures = false;
        for _ in 0..10_000 {
            if self.rest() {
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.trace);
    }

    pub fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_range(0..one_in) == 0
    }

    fn act(&mut self) {
        match self.rng.random_range(0..24_u32) {
            0..8 => self.deliver(),
            8..12 => self.score(),
            12..15 => self.write(),
            15..18 => self.acknowledge(),
            18 => self.crash("crash"),
            19 => self.keep_snapshot(),
            20 => {
                if let Some(zombie) = self.zombies.pop() {
                    let answer = self.log.append(&zombie.expected, &zombie.events);
                    self.overtaken |= answer.is_ok();
                    writeln!(self.trace, "zombie: {answer:?}").unwrap();
                }
            }
            21 if self.weather.sweeps => {
                let now = self.log_clock();
                self.tell(Input::Sweep { now });
            }
            _ if self.weather.commands => self.command(),
            _ => {}
        }
    }

    /// One step towards rest; true when there.
    fn rest(&mut self) -> bool {
        self.zombies.clear();
        if !self.scores.is_empty() {
            self.score();
        } else if self.append.is_some() {
            self.write();
            self.acknowledge();
        } else if self.weather.commands && (self.entity.is_none() || self.overtaken) {
            // After an unpark the shell brings the user up again.
            self.crash("passivated");
            self.recover();
        } else if self.settled < Some(self.story.last()) || self.is_behind() {
            self.deliver();
        } else {
            return self.entity.as_ref().is_none_or(UserEntity::is_quiescent);
        }
        false
    }

    /// Whether an incarnation is there that has not seen all.
    fn is_behind(&self) -> bool {
        self.entity.as_ref().is_some_and(|entity| entity.next_revision() <= self.story.last())
    }

    /// The next events, sometimes with ones that were delivered before; brings up an incarnation when there is none.
    fn deliver(&mut self) {
        // Nobody wakes a user who has nothing new: what was settled too early stays undone.
        if self.settled == Some(self.story.last()) && !self.is_behind() {
            return;
        }
        let Some(entity) = &self.entity else { return self.recover() };
        let next = entity.next_revision();
        let unsettled = self.settled.map_or(0, |settled| settled + 1);
        let (from, many) = if self.weather.disturbed {
            let from = if self.chance(3) { self.rng.random_range(unsettled.min(next)..=next) } else { next };
            (from, self.rng.random_range(1..8))
        } else {
            (next.min(self.story.last()), 1)
        };
        let to = (from + many).min(self.story.last() + 1);
        if let Some(poison) = self.story.poison
            && (next..to).contains(&poison)
            && !(self.cured || self.told || self.log.is_parked(poison))
        {
            self.strikes += 1;
            return self.crash("poison");
        }
        let events = self.story.events[from as usize..to as usize].to_vec();
        let Some(last) = events.last() else { return };
        let full = self.weather.disturbed && self.chance(2);
        let market = self.story.market_before(if full { Position(u64::MAX) } else { last.position });
        self.tell(Input::Deliver { events, market });
    }

    fn recover(&mut self) {
        self.overtaken = false;
        let entity = match &self.snapshot {
            Some(bytes) => UserEntity::restore(user(), postcard::from_bytes(bytes).unwrap()),
            None => UserEntity::new(user()),
        };
        let snapshot: Option<Snapshot> = entity.snapshot();
        let from =
            snapshot.and_then(|snapshot| snapshot.intent_revision()).map_or(0, |last| last as usize + 1);
        writeln!(self.trace, "recover {} {from}", entity.next_revision()).unwrap();
        self.entity = Some(entity);
        let mut pages: Vec<Vec<Recorded>> = Vec::new();
        let rest = self.log.intent[from..].to_vec();
        let mut rest = &rest[..];
        while !rest.is_empty() {
            let (page, later) = rest.split_at(self.rng.random_range(1..=rest.len()));
            pages.push(page.to_vec());
            rest = later;
        }
        for page in pages {
            self.tell(Input::Facts(page));
        }
        self.told = false;
        if let Some(revision) = self.story.poison
            && self.strikes >= 2
            && !(self.cured || self.log.is_parked(revision))
        {
            self.told = true;
            self.tell(Input::Park { revision, attempts: 2, reason: "it panics".into(), at: start() });
        }
    }

    pub fn tell(&mut self, input: Input) {
        let Some(entity) = &mut self.entity else { return };
        let mut effects = Vec::new();
        entity.step(&RULES, input, &mut effects);
        for effect in effects {
            writeln!(self.trace, "{effect:?}").unwrap();
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Score { ticket, rows } => {
                self.take_ticket(ticket);
                assert!(!rows.is_empty(), "a question without rows");
                self.scores.push((ticket, rows));
            }
            Effect::Append { ticket, expected, facts } => {
                self.take_ticket(ticket);
                assert!(self.append.is_none(), "two appends under way");
                assert!(!facts.is_empty(), "an append of nothing");
                let events = facts.iter().map(codec::encode_fact).collect();
                self.append = Some(Append { ticket, expected, events, answer: None });
            }
            Effect::Settled { through } => self.settle(through),
            Effect::Answer { token, answer } => self.hear(token, answer),
            Effect::Restart { reason, forget_snapshot } => {
                if forget_snapshot {
                    self.snapshot = None;
                }
                self.crash(&reason);
            }
            Effect::Rebuild { reason } => {
                self.snapshot = None;
                self.crash(&reason);
            }
        }
    }

    fn take_ticket(&mut self, ticket: Ticket) {
        assert!(!self.tickets.contains(&ticket), "{ticket:?} names two questions");
        self.tickets.push(ticket);
    }

    fn settle(&mut self, through: Revision) {
        assert!(through <= self.story.last());
        if let Some(reference) = &self.reference {
            let due = reference.iter().filter(|source| **source <= through).count();
            assert!(due <= self.log.intent.len(), "settled through {through} before its facts were durable");
        }
        self.settled = self.settled.max(Some(through));
    }

    fn hear(&mut self, token: Token, answer: Result<Answer, Refusal>) {
        let durable = self.log.intent.len() as u64;
        match answer {
            Ok(Answer::Done { intent_revision } | Answer::Scores { intent_revision, .. }) => {
                assert!(intent_revision.is_none_or(|last| last < durable), "answered before it was durable");
            }
            Ok(Answer::Description(description)) => {
                assert_eq!(description.features.len(), RULES.catalog.features.len());
            }
            Err(Refusal::NotAllowed { from, to, allowed }) => {
                assert_eq!(from.moves(), allowed);
                assert!(!allowed.contains(&to));
            }
            Err(Refusal::NoAlert { .. } | Refusal::Invalid { .. }) => {}
        }
        if let Some(at) = self.awaited.iter().position(|(awaited, _)| *awaited == token) {
            let (_, revision) = self.awaited.swap_remove(at);
            let decided = self.log.decided().max(self.settled);
            assert!(decided >= Some(revision), "answered before {revision} was decided for good");
        }
    }

    fn score(&mut self) {
        if self.scores.is_empty() {
            return;
        }
        let at = if self.weather.disturbed { self.rng.random_range(0..self.scores.len()) } else { 0 };
        let (ticket, rows) = self.scores.swap_remove(at);
        let failing = self.weather.failures && self.chance(3);
        let unchallenged = self.weather.unchallenged;
        let answer = |row| {
            let score = answer(row);
            if unchallenged { Score { shadow: None, ..score } } else { score }
        };
        let answers = rows.iter().map(|row| if failing { Err(Unscored::Timeout) } else { Ok(answer(row)) });
        let answers = answers.collect();
        self.tell(Input::Scored { ticket, answers });
    }

    /// The store takes the append; a second time it is the same append again.
    fn write(&mut self) {
        let Some(mut append) = self.append.take() else { return };
        append.answer = Some(self.log.append(&append.expected, &append.events));
        self.append = Some(append);
    }

    fn acknowledge(&mut self) {
        if self.append.as_ref().is_some_and(|append| append.answer.is_some())
            && let Some(Append { ticket, answer: Some(answer), .. }) = self.append.take()
        {
            self.tell(Input::Appended { ticket, answer });
        }
    }

    fn crash(&mut self, why: &str) {
        if self.entity.take().is_none() {
            return;
        }
        self.crashes += 1;
        writeln!(self.trace, "end: {why}").unwrap();
        self.scores.clear();
        self.tickets.clear();
        self.awaited.clear();
        if let Some(append) = self.append.take()
            && append.answer.is_none()
            && self.chance(2)
        {
            self.zombies.push(append);
        }
    }

    fn keep_snapshot(&mut self) {
        if let Some(snapshot) = self.entity.as_ref().and_then(UserEntity::snapshot) {
            self.snapshot = Some(postcard::to_allocvec(&snapshot).unwrap());
        }
    }
}
