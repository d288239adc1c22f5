//! Whoever follows what, and comes when: each hears all that passes, once and in order, and of no place before its events.

use std::sync::Arc;

use bytes::Bytes;
use intentd::store::embedded::{Embedded, Options as StoreOptions};
use intentd::store::memory::MemoryStore;
use intentd::store::{Direction, EventStore, Filter};
use intentd::wire::Options;
use intentd::wire::proto::event_store::client::streams::read_req::Options as ReadOptions;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::streams_client::StreamsClient;
use intentd::wire::proto::event_store::client::streams::{ReadReq, ReadResp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Streaming;

use super::read::filtered;
use super::{World, any, append_requests, channel, followed, ids, of_all, of_stream, proposed, world_over};

const STREAMS: [&str; 5] = ["a-0", "a-1", "b-0", "b-1", "c-0"];
const ROUNDS: usize = 300;
/// The last event of each stream has this id and more.
const LAST: u128 = 1 << 64;

type Passes = fn(&str) -> bool;

/// What may be followed, and what passes then.
fn kinds() -> [(ReadOptions, Passes); 7] {
    [
        (filtered(true, &["a-"], "", 7, of_all()), |stream| stream.starts_with("a-")),
        (filtered(true, &[], "^b-.*$", 50, of_all()), |stream| stream.starts_with("b-")),
        (filtered(true, &[], "^(?!a-)", 9, of_all()), |stream| !stream.starts_with("a-")),
        (filtered(false, &["Happened"], "", 20, of_all()), |_| true),
        (of_all(), |_| true),
        (of_stream("a-1"), |stream| stream == "a-1"),
        (of_stream("c-0"), |stream| stream == "c-0"),
    ]
}

/// Events, by id, and places told, until the last event that passes.
async fn heard(mut told: Streaming<ReadResp>, passes: Passes) -> Vec<u128> {
    let last = STREAMS.iter().rposition(|stream| passes(stream)).unwrap() as u128 + LAST;
    let (mut events, mut at) = (Vec::new(), 0);
    while events.last() != Some(&last) {
        let content = told.message().await.unwrap().unwrap().content.unwrap();
        match &content {
            Content::Event(event) => {
                let position = event.event.as_ref().unwrap().commit_position;
                assert!(position > at, "{position} after {at}");
                at = position;
            }
            Content::Checkpoint(checkpoint) => {
                assert!(checkpoint.commit_position >= at);
                at = checkpoint.commit_position;
            }
            _ => {}
        }
        events.extend(ids(&[content]));
    }
    events
}

async fn write(world: &mut World, stream: &str, numbers: std::ops::Range<u128>, bytes: usize) {
    let event = |number| {
        let mut event = proposed(number);
        event.data = Bytes::from(vec![b'7'; bytes]);
        event
    };
    let requests = append_requests(stream, any(), numbers.map(event));
    world.client.append(tokio_stream::iter(requests)).await.unwrap();
}

async fn all_hear_all(store: Arc<dyn EventStore>, seed: u64) {
    let mut world = world_over(store, Options::default()).await;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut followers = Vec::new();
    let mut number = 0;
    for round in 0..ROUNDS {
        if round % 6 == 0 {
            let (options, passes) = kinds().into_iter().nth(round / 6 % 7).unwrap();
            let mut client = StreamsClient::new(channel(world.server.address()).await);
            let request = ReadReq { options: Some(followed(options)) };
            let told = client.read(request).await.unwrap().into_inner();
            followers.push((passes, tokio::spawn(heard(told, passes))));
        }
        // A few small ones mostly; sometimes more than is told to many at once.
        let (count, bytes) =
            if random.random_bool(0.05) { (150, 1 << 10) } else { (random.random_range(1..4), 100) };
        let stream = STREAMS[random.random_range(0..STREAMS.len())];
        write(&mut world, stream, number..number + count, bytes).await;
        number += count;
    }
    for (stream, id) in STREAMS.iter().zip(LAST..) {
        write(&mut world, stream, id..id + 1, 10).await;
    }
    let everything = Filter::default();
    let all = world.store.read_all(None, Direction::Forwards, &everything, 1 << 20).await.unwrap().events;
    for (passes, follower) in followers {
        let expected: Vec<u128> =
            all.iter().filter(|event| passes(&event.stream)).map(|event| event.id.0.as_u128()).collect();
        assert_eq!(follower.await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_when_hears_all_that_passes_once_and_in_order() {
    all_hear_all(Arc::new(MemoryStore::default()), 1).await;
    let folder = tempfile::tempdir().unwrap();
    // So little is kept in memory that who has to leave reads from the disk.
    let options = StoreOptions { live_bytes: 32 << 10, ..StoreOptions::default() };
    let store = Arc::new(Embedded::open(folder.path(), &options).unwrap());
    all_hear_all(Arc::clone(&store) as Arc<dyn EventStore>, 2).await;
}
