//! A daemon on the log in memory, with paused time: what survives a kill is here, what does not is in the daemon.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use intentd::actors::{self, Core, Daemon, Factory, OpenSink, Options, Parts, ProjectionSink, Watch};
use intentd::domain::event::{NewEvent, Position, Recorded};
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::shard::Shard;
use intentd::domain::time::Timestamp;
use intentd::projection::performance::{Measure, Performance};
use intentd::projection::{
    self, AlertChange, AlertDetail, AlertQuery, AlertView, Listed, ParkedView, SignalView, Stats,
    UnscoredView, Views,
};
use intentd::scoring::{Challengers, Unchallenged};
use intentd::store::checkpoint::MemoryCheckpoints;
use intentd::store::memory::MemoryStore;
use intentd::store::snapshot::MemorySnapshots;
use intentd::store::{Append, EventStore, ExpectedRevision, Filter};

use super::fake::{FakeCore, FakeScorer};

/// A view that keeps what it was told.
#[derive(Clone, Default)]
pub struct Seen {
    pub events: Arc<Mutex<Vec<Recorded>>>,
    pub through: Arc<Mutex<Option<Position>>>,
    pub due: Arc<Mutex<Vec<UserId>>>,
    pub unscored: Arc<Mutex<Vec<UnscoredView>>>,
}

impl ProjectionSink for Seen {
    fn filter(&self) -> Filter {
        Filter::streams(&["intent-"])
    }

    fn position(&mut self) -> Result<Option<Position>, projection::Error> {
        Ok(*self.through.lock().unwrap())
    }

    fn apply(
        &mut self,
        events: &[Recorded],
        through: Position,
    ) -> Result<Vec<AlertChange>, projection::Error> {
        self.events.lock().unwrap().extend_from_slice(events);
        *self.through.lock().unwrap() = Some(through);
        Ok(Vec::new())
    }
}

/// The actors ask the view for who is due and who is unscored; for nothing else.
fn not_asked<T>() -> T {
    panic!("an actor asks the view for what only the API shows")
}

impl Views for Seen {
    fn alerts(&self, _: &AlertQuery) -> Result<Listed<AlertView>, projection::Error> {
        not_asked()
    }
    fn alert(&self, _: AlertId) -> Result<Option<AlertDetail>, projection::Error> {
        not_asked()
    }
    fn signals(
        &self,
        _: &UserId,
        _: usize,
        _: Option<&str>,
    ) -> Result<Listed<SignalView>, projection::Error> {
        not_asked()
    }
    fn stats(&self, _: Option<Timestamp>, _: Option<Timestamp>) -> Result<Stats, projection::Error> {
        not_asked()
    }
    fn performance(&self, _: &Measure) -> Result<Performance, projection::Error> {
        Ok(Performance::default())
    }
    fn parked(&self, _: usize, _: Option<&str>) -> Result<Listed<ParkedView>, projection::Error> {
        not_asked()
    }
    fn unscored(&self, _: usize, _: Shard) -> Result<Vec<UnscoredView>, projection::Error> {
        Ok(self.unscored.lock().unwrap().clone())
    }
    fn due(&self, _: Timestamp, _: usize, _: Shard) -> Result<Vec<UserId>, projection::Error> {
        Ok(self.due.lock().unwrap().clone())
    }
    fn changes(&self, _: Position, _: usize) -> Result<Vec<AlertChange>, projection::Error> {
        not_asked()
    }
    fn position(&self) -> Result<Option<Position>, projection::Error> {
        Ok(*self.through.lock().unwrap())
    }
}

/// What survives a kill, and how the next daemon is set.
#[derive(Clone)]
pub struct World {
    pub store: MemoryStore,
    pub snapshots: Arc<MemorySnapshots>,
    pub checkpoints: Arc<MemoryCheckpoints>,
    pub seen: Seen,
    pub open_sink: OpenSink,
    pub views: Arc<dyn Views>,
    pub core: Arc<dyn Core>,
    pub scorers: Factory,
    pub challengers: Arc<dyn Challengers>,
    pub options: Options,
    pub shard: Shard,
    pub wall: fn() -> Timestamp,
}

impl Default for World {
    fn default() -> Self {
        let seen = Seen::default();
        let sink = seen.clone();
        Self {
            store: MemoryStore::default(),
            snapshots: Arc::default(),
            checkpoints: Arc::default(),
            views: Arc::new(seen.clone()),
            open_sink: Arc::new(move || Ok(Box::new(sink.clone()))),
            seen,
            core: Arc::new(FakeCore),
            scorers: Arc::new(|| Box::new(FakeScorer)),
            challengers: Arc::new(Unchallenged),
            options: Options::default(),
            shard: Shard::WHOLE,
            wall: || Timestamp::from_millis(1_700_000_000_000),
        }
    }
}

pub fn user(number: usize) -> UserId {
    format!("u{number}").parse().unwrap()
}

impl World {
    pub async fn start(&self) -> Daemon {
        self.start_on(Arc::new(self.store.clone())).await
    }

    /// On the log by another way.
    pub async fn start_on(&self, store: Arc<dyn EventStore>) -> Daemon {
        let parts = Parts {
            store,
            core: Arc::clone(&self.core),
            snapshots: self.snapshots.clone(),
            checkpoints: self.checkpoints.clone(),
            scorers: Arc::clone(&self.scorers),
            challengers: Arc::clone(&self.challengers),
            open_sink: Arc::clone(&self.open_sink),
            views: Arc::clone(&self.views),
            models: Arc::new(Vec::new),
            watch: Arc::new(Watch::blind()),
            wall: self.wall,
            shard: self.shard,
            options: self.options.clone(),
        };
        actors::start(parts).await.unwrap()
    }

    /// Appends one event of a type to a user's stream.
    pub fn event(&self, user: &UserId, event_type: &'static str, id: usize) {
        self.told(user, event_type, id, Bytes::from_static(b"{}"));
    }

    /// Appends one event with its JSON.
    pub fn told(&self, user: &UserId, event_type: &'static str, id: usize, data: Bytes) {
        let event = NewEvent {
            id: EventId::of_behaviour(user.as_str(), &id.to_string()),
            event_type: ByteString::from_static(event_type),
            data,
            metadata: Bytes::new(),
        };
        let append =
            Append { stream: format!("user-{user}"), expected: ExpectedRevision::Any, events: vec![event] };
        self.store.append_now(vec![append]).unwrap()[0].as_ref().unwrap();
    }

    /// The facts of the log, in order of user and revision, without what depends on when they were written.
    pub fn facts(&self) -> Vec<(String, u64, EventId, String)> {
        let all = self.store.everything().into_iter().filter(|event| event.stream.starts_with("intent-"));
        let mut facts: Vec<_> = all
            .map(|fact| (fact.stream.to_string(), fact.revision, fact.id, fact.event_type.to_string()))
            .collect();
        facts.sort();
        facts
    }

    /// Everything in the log of users is settled.
    pub fn is_settled(&self, daemon: &Daemon) -> bool {
        let all = self.store.everything();
        let newest = all.iter().rev().find(|event| event.stream.starts_with("user-"));
        newest.is_none_or(|newest| daemon.checkpoint() >= Some(newest.position)) && daemon.in_flight() == 0
    }

    /// Lets paused time run until everything is settled.
    pub async fn settle(&self, daemon: &Daemon) {
        self.until("everything is settled", || self.is_settled(daemon)).await;
    }

    /// Lets paused time run until something holds; panics after an hour of it.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..360_000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("an hour has passed and not yet: {what}");
    }
}
