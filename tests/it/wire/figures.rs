//! What a crowd costs a daemon that works: 10,000 idle subscribers and 100 that take nothing. Prints figures; run alone:
//! `cargo test --test it wire::figures -- --ignored --nocapture` (`INTENTD_PROGRAM`: another build of the program).

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::streams_client::StreamsClient;
use intentd::wire::proto::event_store::client::streams::{ReadReq, ReadResp, read_req};
use serde_json::json;
use tonic::Streaming;
use tonic::transport::Channel;

use super::read::filtered;
use super::{AllOptions, StreamOption, all_options, channel, followed, of_all, of_stream};
use crate::daemon::{Client, Daemon, Place, models_are_there, simulated};

const IDLE: usize = 10_000;
const IDLE_PER_CONNECTION: usize = 250;
const SLOW: usize = 100;
/// Requests of one event each, then of many.
const SINGLE: usize = 400;
const BATCHES: usize = 200;
const BATCH: usize = 500;

type Told = Streaming<ReadResp>;

fn views(first: usize, count: usize) -> serde_json::Value {
    let view = |number: usize| {
        json!({ "id": format!("crowd-{number}"), "userId": format!("crowd-{}", number % 97), "type": "LISTING_VIEWED",
            "occurredAt": "2026-07-01T00:00:00Z", "data": { "listingId": "L1", "price": 286_000, "dwellSeconds": 8.5 } })
    };
    (first..first + count).map(view).collect()
}

/// Milliseconds for single events (half, and 99 of 100, are quicker), events per second in batches.
fn measured(client: &Client, round: usize) -> (f64, f64, f64) {
    let first = round * (SINGLE + BATCHES * BATCH);
    let mut spans: Vec<f64> = (0..SINGLE)
        .map(|number| {
            let began = Instant::now();
            client.post("events", &views(first + number, 1)).expect(202);
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    spans.sort_by(f64::total_cmp);
    let began = Instant::now();
    for batch in 0..BATCHES {
        client.post("events", &views(first + SINGLE + batch * BATCH, BATCH)).expect(202);
    }
    let rate = (BATCHES * BATCH) as f64 / began.elapsed().as_secs_f64();
    (spans[SINGLE / 2], spans[SINGLE * 99 / 100], rate)
}

fn told(what: &str, daemon: &Daemon, client: &Client, round: usize) {
    let cpu = daemon.cpu();
    let (half, most, rate) = measured(client, round);
    println!(
        "{what}: {} MiB resident; one event p50 {half:.2} ms, p99 {most:.2} ms; batches of {BATCH}: {rate:.0} events/s; \
         {:.2} s of CPU",
        daemon.resident() >> 10,
        daemon.cpu() - cpu
    );
}

async fn subscribed(channel: &Channel, options: read_req::Options) -> Told {
    let request = ReadReq { options: Some(followed(options)) };
    let mut told = StreamsClient::new(channel.clone()).read(request).await.unwrap().into_inner();
    let first = told.message().await.unwrap().unwrap().content;
    assert!(matches!(first, Some(Content::Confirmation(_))), "{first:?}");
    told
}

/// What the idle ones wait for: alerts by type, alerts by the pattern that the Python client makes of a stream's name, or
/// those of one person each. A checkpoint every 150 events is that client's default.
fn waits_for(number: usize) -> read_req::Options {
    let end = StreamOption::All(AllOptions { all_option: Some(all_options::AllOption::End(Empty {})) });
    let options = match number % 4 {
        0 | 1 => filtered(false, &["AlertScored"], "", 150, of_all()),
        2 => filtered(true, &[], "^intent-.*$", 150, of_all()),
        _ => return of_stream(&format!("intent-idle-{number}")),
    };
    read_req::Options { stream_option: Some(end), ..options }
}

async fn idle(wire: SocketAddr) -> Vec<Told> {
    let mut all = Vec::with_capacity(IDLE);
    while all.len() < IDLE {
        let channel = channel(wire).await;
        for _ in 0..IDLE_PER_CONNECTION {
            all.push(subscribed(&channel, waits_for(all.len())).await);
        }
    }
    all
}

#[test]
#[ignore = "figures: takes a minute, and the machine for itself"]
fn ten_thousand_idle_and_a_hundred_slow_subscribers() {
    if !models_are_there("ten_thousand_idle_and_a_hundred_slow_subscribers") {
        return;
    }
    let mut place = Place::new();
    let wire = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.set("INTENTD_WIRE__LISTEN", &wire.to_string());
    place.set("INTENTD_WIRE__SLOW_AFTER", "30s");
    let log = place.path("people.jsonl");
    println!("{} events", simulated(&log, 5, 1_500, 240));
    place.done(&["import", log.to_str().unwrap()]);
    let daemon = place.daemon();
    let client = &daemon.client;
    told("warming up", &daemon, client, 0);
    told("alone", &daemon, client, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let began = Instant::now();
    let crowd = runtime.block_on(idle(wire));
    println!("{} idle subscribers came in {:.1} s", crowd.len(), began.elapsed().as_secs_f64());
    told("with the idle ones", &daemon, client, 2);
    let slow = runtime.block_on(async {
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            let channel = channel(wire).await;
            slow.push((subscribed(&channel, of_all()).await, channel));
        }
        slow
    });
    told("with 100 slow ones too", &daemon, client, 3);
    std::thread::sleep(Duration::from_secs(40));
    let mut cut = 0;
    for (mut told, _channel) in slow {
        let ended = runtime.block_on(async {
            loop {
                match told.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                }
            }
        });
        cut += usize::from(ended.is_some_and(|status| status.message().contains("too slow")));
    }
    println!("{cut} of {SLOW} slow ones were cut off");
    told("after they were cut off", &daemon, client, 4);
    drop(crowd);
    drop(runtime);
    std::thread::sleep(Duration::from_secs(2));
    told("after all have gone", &daemon, client, 5);
    assert_eq!(cut, SLOW);
    daemon.stop();
}
