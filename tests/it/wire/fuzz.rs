//! Requests that no client sends: broken frames, broken messages, impossible options, calls that end in the middle.
//!
//! `INTENTD_FUZZ_CASES` says how many; the seed is fixed, so that a failure comes again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use intentd::wire::Options;
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::{
    BatchAppendReq, DeleteReq, ReadReq, TombstoneReq, batch_append_req, delete_req, tombstone_req,
};
use prost::Message as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::read::filtered;
use super::{
    any, append_requests, followed, groups_broken, id, keys, of_all, of_stream, proposed, stream, world_over,
};

const SEATS: usize = 4;
/// Clients at once.
const WORKERS: u64 = 6;

/// Whole requests, each with the call it is for.
fn sound() -> Vec<(String, Vec<Vec<u8>>)> {
    let read = |options| vec![ReadReq { options: Some(options) }.encode_to_vec()];
    let append = append_requests("s", any(), [proposed(1), proposed(2)]);
    let batch = BatchAppendReq {
        correlation_id: id(7),
        options: Some(batch_append_req::Options {
            stream_identifier: stream("s"),
            expected_stream_position: Some(batch_append_req::options::ExpectedStreamPosition::Any(())),
            deadline_option: None,
        }),
        proposed_messages: vec![batch_append_req::ProposedMessage {
            id: id(3),
            metadata: keys("T"),
            custom_metadata: Bytes::new(),
            data: Bytes::from_static(b"{}"),
        }],
        is_final: true,
    };
    let delete = DeleteReq {
        options: Some(delete_req::Options {
            stream_identifier: stream("d"),
            expected_stream_revision: Some(delete_req::options::ExpectedStreamRevision::Any(Empty {})),
        }),
    };
    let tombstone = TombstoneReq {
        options: Some(tombstone_req::Options {
            stream_identifier: stream("t"),
            expected_stream_revision: Some(tombstone_req::options::ExpectedStreamRevision::Any(Empty {})),
        }),
    };
    let streams = [
        ("Read", read(of_stream("s"))),
        ("Read", read(of_all())),
        ("Read", read(followed(of_all()))),
        ("Read", read(filtered(true, &["a", "s"], "", 3, followed(of_all())))),
        ("Read", read(filtered(false, &[], "^(?!x)(a+)+$", 3, of_all()))),
        ("Append", append.iter().map(prost::Message::encode_to_vec).collect()),
        ("BatchAppend", vec![batch.encode_to_vec(), batch.encode_to_vec()]),
        ("Delete", vec![delete.encode_to_vec()]),
        ("Tombstone", vec![tombstone.encode_to_vec()]),
    ];
    let of = |package: &'static str| {
        move |(call, messages): (&'static str, _)| (format!("/event_store.client.{package}/{call}"), messages)
    };
    let groups =
        groups_broken::sound().into_iter().map(of("persistent_subscriptions.PersistentSubscriptions"));
    streams.into_iter().map(of("streams.Streams")).chain(groups).collect()
}

/// Breaks a message in up to four places.
fn broken(message: &mut Vec<u8>, dice: &mut ChaCha8Rng) {
    for _ in 0..dice.random_range(0..4) {
        let at = if message.is_empty() { 0 } else { dice.random_range(0..message.len()) };
        match dice.random_range(0..5) {
            0 if !message.is_empty() => message[at] = dice.random(),
            1 if !message.is_empty() => message[at] ^= 1 << dice.random_range(0..8),
            2 => message.truncate(at),
            3 => message.insert(at, dice.random()),
            // A huge number where a length or a count may stand.
            _ => drop(message.splice(at..at, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01])),
        }
    }
}

/// The body: frames of messages, some with wrong heads.
fn body(messages: Vec<Vec<u8>>, dice: &mut ChaCha8Rng) -> Bytes {
    let mut body = BytesMut::new();
    for mut message in messages {
        broken(&mut message, dice);
        body.put_u8(if dice.random_ratio(1, 20) { dice.random() } else { 0 });
        body.put_u32(if dice.random_ratio(1, 20) { dice.next_u32() } else { message.len() as u32 });
        body.put_slice(&message);
    }
    body.freeze()
}

async fn one(client: &Client<HttpConnector, Full<Bytes>>, uri: String, body: Bytes, frames: u32) {
    let request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .unwrap();
    let Ok(mut answer) = client.request(request).await else { return };
    // Reads a little and goes, as clients do that are killed.
    for _ in 0..frames {
        let next = answer.body_mut().frame();
        match tokio::time::timeout(std::time::Duration::from_millis(5), next).await {
            Ok(Some(Ok(_))) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// One broken request; the same for the same number.
async fn case(number: u64, server: SocketAddr, client: &Client<HttpConnector, Full<Bytes>>) {
    let mut dice = ChaCha8Rng::seed_from_u64(number);
    let sound = sound();
    let (path, messages) = sound[dice.random_range(0..sound.len())].clone();
    let path = if dice.random_ratio(1, 50) { "/event_store.client.streams.Streams/None" } else { &path };
    let body = body(messages, &mut dice);
    one(client, format!("http://{server}{path}"), body, dice.random_range(0..4)).await;
}

/// Pages that this process holds, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_makes_the_server_panic_or_keep_a_seat() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("wire")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    let cases: u64 = std::env::var("INTENTD_FUZZ_CASES").map_or(600, |cases| cases.parse().unwrap());
    let options = Options { subscriptions_max: SEATS, reads_max: SEATS, ..Options::default() };
    let mut world = world_over(Arc::new(super::MemoryStore::default()), options).await;
    let server = world.server.address();
    for quarter in 0..4 {
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            workers.spawn(async move {
                let mut connector = HttpConnector::new();
                // Or each request waits 40 ms for the other side's acknowledgement.
                connector.set_nodelay(true);
                let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
                let cases = cases * quarter / 4..cases * (quarter + 1) / 4;
                for number in cases.filter(|number| number % WORKERS == worker) {
                    case(number, server, &client).await;
                    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "case {number} or one beside it");
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended.unwrap();
        }
        println!("quarter {quarter}: {} KiB resident", resident());
    }
    world.put("alive", [1]).await;
    assert_eq!(world.ids("alive").await, [1]);
    // Every seat comes back once the server has seen those go who held it.
    let mut seats = Vec::new();
    while seats.len() < SEATS {
        seats.extend(world.call(followed(of_all())).await.ok());
    }
}
