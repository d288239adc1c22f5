//! What the embedded store does per second: append, read back, read streams, open. Prints JSON.
//!
//! `cargo bench --bench store -- [events] [directory]`; 5,000,000 events in batches of 1,024 over 100,000 streams.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement fails by panicking"
)]

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use intentd::domain::id::EventId;
use intentd::store::embedded::{Embedded, Options};
use intentd::store::{Append, Direction, EventStore, ExpectedRevision, Filter, Message, NewEvent, Position};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STREAMS: u32 = 100_000;
const BATCH: u64 = 1_024;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A batch as an importer sends it: one append per event, bodies of some 250 bytes.
fn batch(random: &mut ChaCha8Rng, types: &[ByteString], first: u64) -> Vec<Append> {
    let mut bodies = BytesMut::with_capacity(BATCH as usize * 256);
    (first..first + BATCH)
        .map(|number| {
            let user = random.random_range(0..STREAMS);
            let at = bodies.len();
            write!(
                bodies,
                "{{\"id\":\"e-{number:08}\",\"userId\":\"{user}\",\"type\":\"LISTING_VIEWED\",\"occurredAt\":\"2026-01-01T00:00:00.608Z\",\"data\":{{\"listingId\":\"l-{:06}\",\"price\":{},\"city\":\"Utrecht\",\"seconds\":{},\"photos\":{},\"source\":\"search\"}}}}",
                number % 900_000,
                random.random_range(100_000..900_000),
                random.random_range(1..600),
                random.random_range(0..30),
            )
            .unwrap();
            let data: Bytes = bodies.split_off(at).freeze();
            let event = NewEvent {
                id: EventId(Uuid::from_u128(random.random())),
                event_type: types[number as usize % types.len()].clone(),
                data,
                metadata: Bytes::new(),
            };
            Append { stream: format!("user-{user}"), expected: ExpectedRevision::Any, events: vec![event] }
        })
        .collect()
}

async fn write(store: &Arc<Embedded>, events: u64) -> (f64, f64, f64, u64) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let types: Vec<ByteString> =
        ["LISTING_VIEWED", "LISTING_SAVED", "SEARCH_RUN"].map(ByteString::from).into();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut flying = std::collections::VecDeque::new();
    let (mut generating, mut bytes) = (0.0, 0);
    let mut first = 0;
    while first < events {
        let making = Instant::now();
        let next = batch(&mut random, &types, first);
        bytes += next.iter().map(|append| append.events[0].data.len() as u64).sum::<u64>();
        generating += making.elapsed().as_secs_f64();
        let store = Arc::clone(store);
        #[allow(clippy::disallowed_methods, reason = "joined below")]
        flying.push_back(tokio::spawn(async move { store.append(next).await }));
        first += BATCH;
        while flying.len() > 4 {
            flying.pop_front().unwrap().await.unwrap().unwrap();
        }
    }
    for append in flying {
        append.await.unwrap().unwrap();
    }
    (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu, generating, bytes)
}

async fn read_streams(store: &Embedded, count: u32) -> (f64, f64, usize) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (mut times, mut events) = (Vec::new(), 0);
    for _ in 0..count {
        let stream = format!("user-{}", random.random_range(0..STREAMS));
        let begun = Instant::now();
        let page = store.read_stream(&stream, None, Direction::Forwards, 1_000).await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        events += page.events.len();
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100], events / count as usize)
}

async fn follow(store: &Embedded, head: Position) -> f64 {
    let begun = Instant::now();
    let mut subscription = store.subscribe_all(None, Filter::streams(&["user-"]));
    let mut events = 0;
    loop {
        match subscription.next().await.unwrap() {
            Message::Events(told) => {
                events += told.len();
                if told.last().unwrap().position >= head {
                    return events as f64 / begun.elapsed().as_secs_f64();
                }
            }
            Message::Checkpoint(_) | Message::CaughtUp(_) => {}
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let events = arguments.next().map_or(5_000_000, |text| text.parse().unwrap());
    let kept = arguments.next().map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = Options::default();
    let store = Arc::new(Embedded::open(&dir, &options).unwrap());
    let (wall, cpu, generating, bytes) = runtime.block_on(write(&store, events));
    let head = runtime.block_on(store.head()).unwrap().unwrap();
    let (p50, p99, mean) = runtime.block_on(read_streams(&store, 10_000));
    let follow_rate = runtime.block_on(follow(&store, head));
    let resident = resident_mib();
    let closing = Instant::now();
    drop(store);
    let close = closing.elapsed().as_secs_f64();
    let opening = Instant::now();
    let store = Embedded::open(&dir, &options).unwrap();
    let open = opening.elapsed().as_secs_f64();
    let absent = Instant::now();
    runtime.block_on(async {
        for number in 0..10_000 {
            assert!(
                !store
                    .read_stream(&format!("none-{number}"), None, Direction::Forwards, 1)
                    .await
                    .unwrap()
                    .exists
            );
        }
    });
    let absent = absent.elapsed().as_secs_f64() * 100.0;
    let verifying = Instant::now();
    let report = store.verify().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "events": events, "event_bytes": bytes.checked_div(events), "streams": STREAMS,
            "append_events_per_s": events as f64 / wall, "append_cpu_us_per_event": cpu / events as f64 * 1e6,
            "generating_us_per_event": generating / events as f64 * 1e6,
            "subscribe_events_per_s": follow_rate,
            "read_stream_us_p50": p50, "read_stream_us_p99": p99, "read_stream_events_mean": mean,
            "read_absent_us_mean": absent, "close_s": close, "open_s": open,
            "verify_s": verifying.elapsed().as_secs_f64(), "log_bytes": report.bytes, "segments": report.segments,
            "resident_mib_max": resident,
        })
    );
}
