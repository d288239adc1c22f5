//! Server-sent events: live, resumed, behind, too many; over real TCP.

use std::time::Duration;

use intentd::http::Options;
use tokio::time::timeout;

use super::STORE;
use super::client::{Client, Running};
use super::samples::change;

const PATH: &str = "/api/v1/stream/alerts";

fn id(position: u64) -> String {
    format!("{STORE}:{position}")
}

/// Opens a stream, after an id or from now on, and takes its first event, which has an id alone.
async fn open(server: &Running, after: Option<u64>) -> Client {
    let mut client = server.connect().await;
    let header = after.map(|position| format!("Last-Event-ID: {}\r\n", id(position))).unwrap_or_default();
    // The end of the stream shall be the end of the connection: this client does not look for the last chunk.
    client.get(PATH, &format!("Connection: close\r\n{header}")).await;
    let (status, head) = client.head().await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let first = client.through("\n\n").await.unwrap();
    assert!(first.contains("id:") && !first.contains("data:"), "{first}");
    client
}

/// The position of the next change; none when the stream ends.
async fn next(client: &mut Client) -> Option<u64> {
    loop {
        let event = client.through("\n\n").await?;
        if let Some(line) = event.lines().find_map(|line| line.strip_prefix("id:")) {
            assert!(event.contains("event:AlertScored\n"), "{event}");
            assert!(event.contains("data:{\"id\":"), "{event}");
            return Some(line.rsplit(':').next().unwrap().parse().unwrap());
        }
    }
}

#[tokio::test]
async fn changes_are_told_as_they_happen_from_now_on() {
    let server = Running::start(Options::default()).await;
    server.world.commit(change(3, 1));
    let mut client = open(&server, None).await;
    server.world.commit(change(5, 1));
    server.world.commit(change(9, 2));
    assert_eq!((next(&mut client).await, next(&mut client).await), (Some(5), Some(9)));
}

#[tokio::test]
async fn a_resumed_stream_has_no_gap_and_nothing_twice() {
    let server = Running::start(Options::default()).await;
    for position in 1..=600 {
        server.world.changes.lock().unwrap().push(change(position, 1));
    }
    let mut client = open(&server, Some(2)).await;
    // Told late: it stands in the projection already.
    let _listeners = server.world.live.send(std::sync::Arc::new(change(600, 1)));
    for position in 3..=600 {
        assert_eq!(next(&mut client).await, Some(position));
    }
    let _listeners = server.world.live.send(std::sync::Arc::new(change(599, 1)));
    server.world.commit(change(601, 1));
    assert_eq!(next(&mut client).await, Some(601));
}

#[tokio::test]
async fn a_client_that_falls_behind_resumes_and_misses_nothing() {
    let server = Running::start(Options::default()).await;
    let world = std::sync::Arc::clone(&server.world);
    let last = 2_000;
    let mut client = open(&server, None).await;
    let writer = tokio::spawn(async move {
        for position in 1..=last {
            world.commit(change(position, 1));
            // Bursts larger than the live channel: some stream will fall behind.
            if position % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut seen, mut resumed) = (0, 0);
    while seen < last {
        match next(&mut client).await {
            Some(position) => {
                assert_eq!(position, seen + 1, "in order, each once");
                seen = position;
            }
            None => {
                resumed += 1;
                client = open(&server, Some(seen)).await;
            }
        }
    }
    writer.await.unwrap();
    assert!(resumed > 0, "the channel holds 4 changes: a burst of 7 ends the stream");
}

#[tokio::test]
async fn ids_of_another_store_or_of_nobody_are_refused() {
    let server = Running::start(Options::default()).await;
    for (given, status) in [
        ("00000000-0000-0000-0000-000000000008:5", 410),
        ("5", 400),
        ("x:y", 400),
        (":", 400),
        ("00000000-0000-0000-0000-000000000007:-1", 400),
    ] {
        let mut client = server.connect().await;
        client.get(PATH, &format!("Last-Event-ID: {given}\r\n")).await;
        assert_eq!(client.answer().await.0, status, "{given}");
    }
}

#[tokio::test]
async fn streams_are_capped_and_a_closed_one_makes_room() {
    let server = Running::start(Options { streams_max: 1, ..Options::default() }).await;
    let first = open(&server, None).await;
    let mut second = server.connect().await;
    second.get(PATH, "").await;
    let (status, body) = second.answer().await;
    assert_eq!(status, 503);
    assert!(body.contains("event streams"), "{body}");
    drop(first);
    let mut status = 503;
    while status == 503 {
        let mut again = server.connect().await;
        again.get(PATH, "Connection: close\r\n").await;
        status = again.head().await.0;
    }
    assert_eq!(status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive_and_a_stop_ends_it() {
    let server = Running::start(Options::default()).await;
    let mut client = open(&server, None).await;
    for _ in 0..10 {
        let comment = timeout(Duration::from_secs(16), client.through("\n\n")).await.unwrap().unwrap();
        assert!(comment.contains(':') && !comment.contains("id:"), "{comment:?}");
    }
    let stopped = server.stop();
    assert_eq!(client.rest().await.trim(), "0", "the last chunk");
    assert_eq!(stopped.await.unwrap().cut, 0);
}
