//! Sockets that misbehave, and a server that stops: over real TCP, on paused time where time matters.

use std::sync::Arc;
use std::time::Duration;

use intentd::http::Options;
use intentd::http::server::{Error, Server, Stopped};
use tokio::time::{Instant, sleep, timeout};

use super::client::Running;
use super::ports;
use super::world::World;

const EVENT: &str =
    r#"{"id": "a", "userId": "u1", "type": "LISTING_VIEWED", "occurredAt": "2026-01-01T00:00:00Z"}"#;

fn chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n").await;
    assert_eq!(client.rest().await, "");
    let took = began.elapsed();
    assert!((14..=16).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_idles_is_closed() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.get("/healthz", "").await;
        assert_eq!(client.answer().await, (200, "alive\n".to_owned()));
    }
    let began = Instant::now();
    assert_eq!(client.rest().await, "");
    assert!((14..=16).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_with_its_body_is_told_so() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    client.send("POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await;
    let (status, body) = client.answer().await;
    assert_eq!(status, 408);
    assert!(body.contains("body-timeout"), "{body}");
    assert_eq!(client.rest().await, "", "and the connection ends");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    // Far more than the kernel's buffers on both sides hold.
    let asked = 2_000;
    for _ in 0..asked {
        let get = client.get("/api/v1/openapi.json", "");
        if timeout(Duration::from_secs(60), get).await.is_err() {
            break;
        }
    }
    sleep(Duration::from_secs(60)).await;
    let answered = client.rest().await.matches("HTTP/1.1 200").count();
    assert!((1..asked).contains(&answered), "{answered} answers kept for a client that did not read");
}

#[tokio::test]
async fn chunked_bodies_are_taken_up_to_the_limit() {
    let server = Running::start(Options { events_body_max: 1 << 16, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.send(&chunked("/api/v1/events")).await;
    for part in EVENT.as_bytes().chunks(10) {
        client.send(&format!("{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).unwrap())).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.0, 202);
    assert_eq!(server.world.log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413_and_no_reset_for_a_client_that_goes_on_sending() {
    let server = Running::start(Options { events_body_max: 1 << 16, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.send(&chunked("/api/v1/events")).await;
    let blank = format!("4000\r\n{}\r\n", " ".repeat(1 << 14));
    for _ in 0..5 {
        client.send(&blank).await;
    }
    let (status, body) = client.answer().await;
    assert_eq!(status, 413);
    assert!(body.contains("body-too-large"), "{body}");
    for _ in 0..50 {
        // The server lingers: what is still sent is thrown away and not answered by a reset.
        client.send(&blank).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_length_over_the_limit_is_413_before_the_body_is_sent() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    client
        .send("POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.0, 413, "and no 100 Continue");
}

#[tokio::test]
async fn a_head_that_is_none_or_too_large_is_refused() {
    let server = Running::start(Options::default()).await;
    let mut client = server.connect().await;
    client.send("NONSENSE\r\n\r\n").await;
    assert_eq!(client.head().await.0, 400);
    let mut client = server.connect().await;
    client.get(&format!("/{}", "x".repeat(40_000)), "").await;
    assert_eq!(client.head().await.0, 431);
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let server = Running::start(Options { connections_max: 1, streams_max: 1, ..Options::default() }).await;
    let mut first = server.connect().await;
    first.get("/healthz", "").await;
    assert_eq!(first.answer().await.0, 200);
    let mut second = server.connect().await;
    second.get("/healthz", "").await;
    assert!(timeout(Duration::from_secs(5), second.head()).await.is_err(), "no place yet");
    drop(first);
    assert_eq!(second.answer().await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_answers_finish_and_refuses_new_connections() {
    let server = Running::start(Options::default()).await;
    let hold = Arc::default();
    *server.world.hold.lock().unwrap() = Some(Arc::clone(&hold));
    let mut idle = server.connect().await;
    idle.get("/healthz", "").await;
    idle.answer().await;
    let mut busy = server.connect().await;
    busy.send("POST /api/v1/alerts/process-signals HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    while server.world.calls.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let address = server.address;
    let stopped = server.stop();
    assert_eq!(idle.rest().await, "", "idle connections are closed at once");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    hold.notify_one();
    assert_eq!(busy.answer().await.0, 200);
    assert_eq!(busy.rest().await, "");
    assert_eq!(stopped.await.unwrap(), Stopped { cut: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_a_deadline() {
    let server = Running::start(Options::default()).await;
    *server.world.hold.lock().unwrap() = Some(Arc::default());
    let mut busy = server.connect().await;
    busy.send("POST /api/v1/alerts/process-signals HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    while server.world.calls.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    assert_eq!(server.stop().await.unwrap(), Stopped { cut: 1 });
    assert!((9..=11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(busy.rest().await, "");
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it_and_a_socket_can_be_handed_over() {
    let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = given.local_addr().unwrap();
    let options = Options { listen: address, ..Options::default() };
    let Err(error) = Server::bind(options.clone(), ports(&World::new()), None).await else {
        panic!("the address is taken")
    };
    assert!(matches!(error, Error::Bind { .. }));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let server = Server::bind(options, ports(&World::new()), Some(given)).await.unwrap();
    assert_eq!(server.address(), address);
}
