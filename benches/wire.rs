//! The KurrentDB adapter against our own server, and the embedded store beside it in the same run: appended, subscribed,
//! from an append to a subscriber. Prints JSON.
//!
//! `cargo bench --bench wire -- [events]`; 300,000 events in calls of 1,024 over 20,000 streams.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use intentd::domain::id::EventId;
use intentd::store::embedded::{self, Embedded};
use intentd::store::kurrent::{self, Kurrent};
use intentd::store::{
    Append, EventStore, ExpectedRevision, Filter, Message, NewEvent, StoreId, Subscription,
};
use intentd::wire;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STREAMS: u32 = 20_000;
/// Events of one call.
const CALL: u64 = 1_024;
/// Calls under way, as an import has them.
const UNDER_WAY: usize = 4;
const LATENCIES: usize = 2_000;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn event(random: &mut ChaCha8Rng, number: u64) -> NewEvent {
    let data = format!(
        "{{\"id\":\"e-{number:08}\",\"userId\":\"u\",\"type\":\"LISTING_VIEWED\",\"occurredAt\":\"2026-01-01T00:00:00.608Z\",\"data\":{{\"listingId\":\"l-{:06}\",\"price\":{},\"city\":\"Utrecht\",\"seconds\":{},\"source\":\"search\"}}}}",
        number % 900_000,
        random.random_range(100_000..900_000),
        random.random_range(1..600),
    );
    NewEvent {
        id: EventId(Uuid::from_u128(random.random())),
        event_type: "LISTING_VIEWED".into(),
        data: Bytes::from(data),
        metadata: Bytes::new(),
    }
}

/// A call's appends: so many events in each, to a stream of their own.
fn call(random: &mut ChaCha8Rng, first: u64, events: u64) -> Vec<Append> {
    let append = |first| {
        let stream = format!("user-{}", random.random_range(0..STREAMS));
        let events = (first..first + events).map(|number| event(random, number)).collect();
        Append { stream, expected: ExpectedRevision::Any, events }
    };
    (first..first + CALL).step_by(usize::try_from(events).unwrap()).map(append).collect()
}

async fn write(store: &Arc<dyn EventStore>, events: u64, each: u64) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(each);
    let calls: Vec<_> = (0..events / CALL).map(|nth| call(&mut random, nth * CALL, each)).collect();
    let count = (calls.len() as u64 * CALL) as f64;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut answers = iter(calls).map(|call| store.append(call)).buffered(UNDER_WAY);
    while let Some(answers) = answers.next().await {
        assert!(answers.unwrap().iter().all(|answer| answer.is_ok()));
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    json!({ "events_per_s": (count / wall).round(), "cpu_us_per_event": cpu / count * 1e6 })
}

async fn follow(store: &Arc<dyn EventStore>) -> Value {
    let head = store.head().await.unwrap().unwrap();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut subscription = store.subscribe_all(None, Filter::streams(&["user-"]));
    let mut events = 0;
    loop {
        if let Message::Events(told) = subscription.next().await.unwrap() {
            events += told.len();
            if told.last().unwrap().position >= head {
                break;
            }
        }
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    json!({ "events_per_s": (events as f64 / wall).round(), "cpu_us_per_event": cpu / events as f64 * 1e6 })
}

async fn caught_up(subscription: &mut dyn Subscription) {
    while !matches!(subscription.next().await.unwrap(), Message::CaughtUp(_)) {}
}

/// From the call of an append until a subscriber has the event, one after the other.
async fn latency(store: &Arc<dyn EventStore>) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(99);
    let head = store.head().await.unwrap();
    let mut subscription = store.subscribe_all(head, Filter::streams(&["user-"]));
    caught_up(&mut *subscription).await;
    let mut times = Vec::with_capacity(LATENCIES);
    for number in 0..LATENCIES as u64 {
        let append = Append {
            stream: format!("user-{}", number % 100),
            expected: ExpectedRevision::Any,
            events: vec![event(&mut random, number)],
        };
        let wanted = append.events[0].id;
        let begun = Instant::now();
        let appending = store.append(vec![append]);
        let hearing = async {
            loop {
                match subscription.next().await.unwrap() {
                    Message::Events(told) if told.iter().any(|event| event.id == wanted) => {
                        return begun.elapsed();
                    }
                    Message::Events(_) | Message::Checkpoint(_) | Message::CaughtUp(_) => {}
                }
            }
        };
        let (appended, heard) = tokio::join!(appending, hearing);
        appended.unwrap()[0].as_ref().unwrap();
        times.push(heard.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    json!({ "p50_ms": times[LATENCIES / 2], "p99_ms": times[LATENCIES * 99 / 100] })
}

async fn measure(store: &Arc<dyn EventStore>, events: u64) -> Value {
    json!({
        "append_1": write(store, events, 1).await,
        "append_16": write(store, events, 16).await,
        "subscribe": follow(store).await,
        "append_to_subscriber": latency(store).await,
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let events = arguments.next().map_or(300_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let open = |dir: &tempfile::TempDir| -> Arc<dyn EventStore> {
        Arc::new(Embedded::open(dir.path(), &embedded::Options::default()).unwrap())
    };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (alone, served) = (open(&here), open(&there));
    let measured = runtime.block_on(async {
        let ports = wire::Ports { store: served, owned: &[] };
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = wire::Running::start(at, wire::Options::default(), ports).await.unwrap();
        let connection = format!("kurrentdb://{}?tls=false", server.address());
        let options = kurrent::Options { connection, ..kurrent::Options::default() };
        let adapter: Arc<dyn EventStore> =
            Arc::new(Kurrent::new(StoreId(Uuid::from_u128(1)), options).unwrap());
        let adapter = measure(&adapter, events).await;
        let embedded = measure(&alone, events).await;
        server.stop().await;
        json!({ "events": events, "streams": STREAMS, "adapter": adapter, "embedded": embedded })
    });
    println!("{measured:#}");
}
