//! The log told once more, to entities that decide afresh and write nothing: for training sets and back-tests.
//!
//! Law: users are the ones that serve ([`crate::domain::entity::UserEntity`]); what came to them from outside (commands, the
//! sweep, events put aside, scores that failed) is taken from the facts, at the place in the order where it was. What is told
//! of a user does not depend on how many threads share the work.
//!
//! ```text
//!  intent-* ──facts──→ shard (a thread, a part of the users): what came from outside ─┐
//!  user-*, market-* ──events──→ shard: entity ──rows──→ scorer, by the page ──answers──→ entity ──facts──→ listener
//! ```

use std::sync::Arc;

use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::codec;
use crate::domain::entity::Rules;
use crate::domain::event::{Fact, IntentEvent, Position, Recorded, Revision, UserEvent};
use crate::domain::id::{EventId, UserId, stream};
use crate::domain::market::Market;
use crate::domain::score::{Row, Score, Unscored};
use crate::domain::time::Timestamp;
use crate::scoring::Scorer;
use crate::store::{self, Direction, EventStore, Filter};

mod given;
mod seat;
mod shard;

use shard::Shard;

/// Events read at a time.
const PAGE: usize = 8_192;
/// Pages that wait for a shard: enough that none runs dry, few enough to stay small.
const PAGES_WAITING: usize = 4;

/// What is replayed, and how.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Events that happened at this time or later are not told, whatever their place in the log.
    pub known_until: Option<Timestamp>,
    /// A user is told nothing more once the own clock has reached this time.
    pub to: Option<Timestamp>,
    /// Models, by their place in the catalogue, whose scores fail where the log says that they failed.
    pub fail_as_live: Vec<bool>,
    /// Threads that share the users.
    pub threads: usize,
}

/// A question that an event led to.
#[derive(Clone, Debug)]
pub struct Question {
    /// The event's place in `user-<id>`.
    pub revision: Revision,
    /// Its id.
    pub event_id: EventId,
    /// Whether it is a `ScoreRequested`.
    pub is_request: bool,
    /// The user's clock then.
    pub as_of: Timestamp,
    /// How many market events had been seen.
    pub market_revision: u64,
    /// What the models are asked.
    pub rows: Vec<Row>,
}

/// One answer to a row.
pub type Answer = Result<Score, Unscored>;

/// Hears what happens in a replay; one for each thread.
pub trait Listener: Send + 'static {
    /// What it keeps of each user.
    type Known: Default + Send + 'static;

    /// A fact as the log has it; all of a user's are told, in their order, before the user's first event.
    fn fact(&mut self, known: &mut Self::Known, recorded: &Recorded, fact: Option<&IntentEvent>);

    /// An event of the user, before it is folded.
    fn event(&mut self, known: &mut Self::Known, recorded: &Recorded);

    /// The rows that an event leads to, before they are scored.
    fn asked(&mut self, user: &UserId, known: &mut Self::Known, question: &Question);

    /// Their answers, in order.
    fn answered(&mut self, user: &UserId, known: &mut Self::Known, question: &Question, answers: &[Answer]);

    /// Facts that are decided in the replay, in their order.
    fn decided(&mut self, known: &mut Self::Known, facts: &[Fact]);
}

/// What a thread has heard.
pub struct Heard<L: Listener> {
    /// Who listened.
    pub listener: L,
    /// What it kept of its users.
    pub users: Vec<(UserId, L::Known)>,
    clock: Timestamp,
    unreadable: u64,
    refused: u64,
}

/// A whole replay.
pub struct Told<L: Listener> {
    /// By thread.
    pub heard: Vec<Heard<L>>,
    /// The log's clock at the end: the largest event time told.
    pub clock: Timestamp,
    /// The position of the first event told.
    pub log_from: Position,
    /// The position of the last event told.
    pub log_until: Position,
    /// Events of users and markets told.
    pub events: u64,
    /// Facts told.
    pub facts: u64,
    /// Facts that this program cannot read.
    pub unreadable: u64,
    /// Commands of the log that the replayed user refused: on alerts that it did not open, or that stood elsewhere.
    pub refused: u64,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] store::Error),
    /// An entity cannot go on.
    #[error("a user cannot be replayed beyond revision {revision}: {reason}")]
    Stuck {
        /// The last revision folded, or the one that failed.
        revision: Revision,
        /// Why.
        reason: String,
    },
    /// A thread panicked: an event that this program cannot fold and that the daemon has not put aside.
    #[error("a thread of the replay failed")]
    Lost(#[from] tokio::task::JoinError),
    /// A thread ended before the log did.
    #[error("a thread of the replay ended early")]
    Ended,
}

/// Mail for a shard.
enum Mail {
    /// Facts of its users.
    Facts(Vec<Recorded>),
    /// Events of its users, and the market, complete up to the last of them.
    Events { events: Vec<Recorded>, market: Arc<Market> },
}

/// Replays a store's log. `shard` makes a listener and, where scores are wanted, a scorer for each thread.
///
/// # Errors
/// The log cannot be read, or a user cannot be replayed.
pub async fn run<L: Listener>(
    store: &dyn EventStore,
    rules: &Arc<Rules>,
    settings: &Settings,
    mut shard: impl FnMut() -> (L, Option<Box<dyn Scorer>>),
) -> Result<Told<L>, Error> {
    let threads = settings.threads.max(1);
    let (mut senders, mut running) = (Vec::with_capacity(threads), JoinSet::new());
    for place in 0..threads {
        let (sender, mut mail) = channel(PAGES_WAITING);
        senders.push(sender);
        let (listener, scorer) = shard();
        let mut shard = Shard::new(Arc::clone(rules), settings.clone(), listener, scorer);
        running.spawn_blocking(move || -> Result<(usize, Heard<L>), Error> {
            while let Some(mail) = mail.blocking_recv() {
                match mail {
                    Mail::Facts(facts) => shard.facts(&facts),
                    Mail::Events { events, market } => shard.events(events, &market)?,
                }
            }
            Ok((place, shard.finish()?))
        });
    }
    let mut reader = Reader {
        rules,
        settings,
        senders,
        market: Arc::new(Market::default()),
        clock: Timestamp::MIN,
        read: Read::default(),
    };
    let read = reader.read(store).await;
    let Reader { clock, read: done, .. } = reader;
    let mut heard = Vec::with_capacity(threads);
    while let Some(ended) = running.join_next().await {
        heard.push(ended??);
    }
    // After the threads: when one failed, that is the reason why its mail was not taken.
    read?;
    heard.sort_by_key(|(place, _)| *place);
    let heard: Vec<Heard<L>> = heard.into_iter().map(|(_, heard)| heard).collect();
    Ok(Told {
        clock: heard.iter().map(|heard| heard.clock).fold(clock, Timestamp::max),
        log_from: done.first.unwrap_or_default(),
        log_until: done.last,
        events: done.events,
        facts: done.facts,
        unreadable: heard.iter().map(|heard| heard.unreadable).sum(),
        refused: heard.iter().map(|heard| heard.refused).sum(),
        heard,
    })
}

#[derive(Default)]
struct Read {
    first: Option<Position>,
    last: Position,
    events: u64,
    facts: u64,
}

/// Reads the log twice, facts and then events, and hands each user's to one shard.
struct Reader<'a> {
    rules: &'a Rules,
    settings: &'a Settings,
    senders: Vec<Sender<Mail>>,
    market: Arc<Market>,
    clock: Timestamp,
    read: Read,
}

impl Reader<'_> {
    async fn read(&mut self, store: &dyn EventStore) -> Result<(), Error> {
        let facts = Filter::streams(&[stream::INTENT]);
        let mut next = Some(Position(0));
        while let Some(from) = next {
            let page = store.read_all(Some(from), Direction::Forwards, &facts, PAGE).await?;
            next = page.next.map(Position);
            self.read.facts += page.events.len() as u64;
            let parts = self.parts(page.events, stream::INTENT);
            for (sender, facts) in self.senders.iter().zip(parts) {
                sender.send(Mail::Facts(facts)).await.map_err(|_| Error::Ended)?;
            }
        }
        let events = Filter::streams(&[stream::USER, stream::MARKET]);
        let mut next = Some(Position(0));
        while let Some(from) = next {
            let page = store.read_all(Some(from), Direction::Forwards, &events, PAGE).await?;
            next = page.next.map(Position);
            if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
                self.read.first = self.read.first.or(Some(first.position));
                self.read.last = last.position;
            }
            self.read.events += page.events.len() as u64;
            let events = self.without_market(page.events);
            let parts = self.parts(events, stream::USER);
            for (sender, events) in self.senders.iter().zip(parts) {
                let mail = Mail::Events { events, market: Arc::clone(&self.market) };
                sender.send(mail).await.map_err(|_| Error::Ended)?;
            }
        }
        // Their mail ends here, and they finish.
        self.senders.clear();
        Ok(())
    }

    /// Takes the market's events into the market; what remains is the users'.
    fn without_market(&mut self, mut events: Vec<Recorded>) -> Vec<Recorded> {
        events.retain(|event| {
            if !event.stream.starts_with(stream::MARKET) {
                return true;
            }
            if let Ok(UserEvent::Behaviour(behaviour)) = codec::decode(&self.rules.catalog, event)
                && self.settings.known_until.is_none_or(|until| behaviour.occurred_at < until)
            {
                self.clock = self.clock.max(behaviour.occurred_at);
                self.market = Arc::new(self.market.with(event.position, behaviour));
            }
            false
        });
        events
    }

    fn parts(&self, events: Vec<Recorded>, prefix: &str) -> Vec<Vec<Recorded>> {
        let count = self.senders.len();
        let mut parts: Vec<Vec<Recorded>> = (0..count).map(|_| Vec::new()).collect();
        for event in events {
            let Some(name) = event.stream.strip_prefix(prefix) else { continue };
            let place = xxh3_64(name.as_bytes()) % count as u64;
            if let Some(part) = usize::try_from(place).ok().and_then(|place| parts.get_mut(place)) {
                part.push(event);
            }
        }
        parts
    }
}
