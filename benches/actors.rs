//! What the actors cost beside fold and scoring: trivial events through feed, registry, users and back to the watermark, on
//! the log in memory. `cargo bench --bench actors [-- EVENTS USERS]`; prints one line of JSON.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use intentd::actors::{self, Core, Entity, Options, Parts, ProjectionSink, Watch};
use intentd::domain::catalog::ModelIx;
use intentd::domain::entity::{Effect, Input};
use intentd::domain::event::{Behaviour, Fact, NewEvent, Position, Recorded, Revision};
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::score::{Score, Unscored};
use intentd::domain::shard::Shard;
use intentd::domain::time::Timestamp;
use intentd::projection::performance::{Measure, Performance};
use intentd::projection::{
    AlertChange, AlertDetail, AlertQuery, AlertView, Error, Listed, ParkedView, SignalView, Stats,
    UnscoredView, Views,
};
use intentd::scoring::Scorer;
use intentd::store::checkpoint::MemoryCheckpoints;
use intentd::store::memory::MemoryStore;
use intentd::store::snapshot::MemorySnapshots;
use intentd::store::{Append, EventStore as _, ExpectedRevision, Filter};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nothing;
struct Counter(Revision);

impl Entity for Counter {
    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        if let Input::Deliver { events, .. } = input {
            for event in events {
                assert_eq!(event.revision, self.0, "no gap, no duplicate");
                self.0 += 1;
            }
            effects.push(Effect::Settled { through: self.0 - 1 });
        }
    }
    fn next_event(&self) -> Revision {
        self.0
    }
    fn next_fact(&self) -> Revision {
        0
    }
    fn is_quiet(&self) -> bool {
        true
    }
    fn at_work_on(&self) -> Option<Revision> {
        None
    }
    fn clock(&self) -> Timestamp {
        Timestamp::MIN
    }
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }
}

impl Core for Nothing {
    fn entity(&self, _: &UserId, _: Option<&[u8]>) -> Box<dyn Entity> {
        Box::new(Counter(0))
    }
    fn encode(&self, fact: &Fact) -> NewEvent {
        intentd::domain::codec::encode_fact(fact)
    }
    fn market_streams(&self) -> Vec<String> {
        Vec::new()
    }
    fn market_event(&self, _: &Recorded) -> Option<Behaviour> {
        None
    }
    fn occurred_at(&self, _: &Recorded) -> Option<Timestamp> {
        None
    }
}

impl Scorer for Nothing {
    fn score(&mut self, _: ModelIx, _: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        Vec::new()
    }
}

impl ProjectionSink for Nothing {
    fn filter(&self) -> Filter {
        Filter::streams(&["intent-"])
    }
    fn position(&mut self) -> Result<Option<Position>, Error> {
        Ok(None)
    }
    fn apply(&mut self, _: &[Recorded], _: Position) -> Result<Vec<AlertChange>, Error> {
        Ok(Vec::new())
    }
}

fn none<T>() -> Result<T, Error> {
    Err(Error::BadCursor)
}

impl Views for Nothing {
    fn alerts(&self, _: &AlertQuery) -> Result<Listed<AlertView>, Error> {
        none()
    }
    fn alert(&self, _: AlertId) -> Result<Option<AlertDetail>, Error> {
        none()
    }
    fn signals(&self, _: &UserId, _: usize, _: Option<&str>) -> Result<Listed<SignalView>, Error> {
        none()
    }
    fn stats(&self, _: Option<Timestamp>, _: Option<Timestamp>) -> Result<Stats, Error> {
        none()
    }
    fn performance(&self, _: &Measure) -> Result<Performance, Error> {
        none()
    }
    fn parked(&self, _: usize, _: Option<&str>) -> Result<Listed<ParkedView>, Error> {
        none()
    }
    fn unscored(&self, _: usize, _: Shard) -> Result<Vec<UnscoredView>, Error> {
        Ok(Vec::new())
    }
    fn due(&self, _: Timestamp, _: usize, _: Shard) -> Result<Vec<UserId>, Error> {
        Ok(Vec::new())
    }
    fn changes(&self, _: Position, _: usize) -> Result<Vec<AlertChange>, Error> {
        none()
    }
    fn position(&self) -> Result<Option<Position>, Error> {
        Ok(None)
    }
}

/// User and system time of this process, in seconds (the kernel counts hundredths).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn fill(store: &MemoryStore, events: usize, users: usize) {
    let mut lot = 0x9e37_79b9_7f4a_7c15_u64;
    let mut batch = Vec::new();
    for number in 0..events {
        lot ^= lot << 13;
        lot ^= lot >> 7;
        lot ^= lot << 17;
        let user = lot % users as u64;
        let event = NewEvent {
            id: EventId(Uuid::from_u128(number as u128)),
            event_type: ByteString::from_static("X"),
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::new(),
        };
        batch.push(Append {
            stream: format!("user-{user}"),
            expected: ExpectedRevision::Any,
            events: vec![event],
        });
        if batch.len() == 1_024 {
            store.append_now(std::mem::take(&mut batch)).unwrap();
        }
    }
    store.append_now(batch).unwrap();
}

async fn run(store: MemoryStore) -> (f64, f64) {
    let head = store.head().await.unwrap();
    let parts = Parts {
        store: Arc::new(store),
        core: Arc::new(Nothing),
        snapshots: Arc::new(MemorySnapshots::default()),
        checkpoints: Arc::new(MemoryCheckpoints::default()),
        scorers: Arc::new(|| Box::new(Nothing)),
        challengers: Arc::new(intentd::scoring::Unchallenged),
        open_sink: Arc::new(|| Ok(Box::new(Nothing))),
        views: Arc::new(Nothing),
        models: Arc::new(Vec::new),
        watch: Arc::new(Watch::blind()),
        wall: || Timestamp::MIN,
        shard: Shard::WHOLE,
        options: Options { resident_max: 200_000, ..Options::default() },
    };
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let daemon = actors::start(parts).await.unwrap();
    while daemon.checkpoint() < head {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    assert_eq!(daemon.in_flight(), 0);
    daemon.abort();
    took
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let events = numbers.first().copied().unwrap_or(2_000_000);
    let users = numbers.get(1).copied().unwrap_or(100_000);
    let store = MemoryStore::default();
    fill(&store, events, users);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (wall, cpu) = runtime.block_on(run(store));
    println!(
        "{{\"events\":{events},\"users\":{users},\"eventsPerSecond\":{:.0},\"cpuMicrosPerEvent\":{:.2}}}",
        events as f64 / wall,
        cpu * 1e6 / events as f64
    );
}
