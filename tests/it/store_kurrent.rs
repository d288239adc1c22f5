//! The adapter through its client's defects: each has its remedy, shown here against our own server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use intentd::store::kurrent::{Kurrent, Options};
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{
    Direction, Error, EventStore, ExpectedRevision, Filter, Message, StoreId, Subscription,
};
use intentd::wire::{self, Ports, Running};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::store_contract::{append, one};

use ExpectedRevision::{Any, Exact, NoStream};

pub fn options(hosts: &str) -> Options {
    Options {
        connection: format!("kurrentdb://{hosts}?tls=false&maxDiscoverAttempts=2&discoveryInterval=10"),
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(20),
        ..Options::default()
    }
}

pub fn kurrent(options: Options) -> Arc<dyn EventStore> {
    Arc::new(Kurrent::new(StoreId(Uuid::from_u128(9)), options).unwrap())
}

pub fn to(connection: String) -> Arc<dyn EventStore> {
    kurrent(Options { connection, ..Options::default() })
}

pub async fn serve(store: &Arc<dyn EventStore>, at: SocketAddr) -> Running {
    let ports = Ports { store: Arc::clone(store), owned: &[] };
    // The clients here never hang up first.
    let bounds = wire::Options { stop_timeout: Duration::from_millis(100), ..wire::Options::default() };
    loop {
        // The port of a server that has just stopped may be held for a moment.
        match Running::start(at, bounds.clone(), ports.clone()).await {
            Ok(running) => return running,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A port that was free a moment ago.
pub async fn free_port() -> SocketAddr {
    TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap()
}

/// Tries until the store takes it.
pub async fn appended(store: &dyn EventStore, stream: &str, id: u128) {
    loop {
        match store.append(vec![append(stream, Any, [id])]).await {
            Ok(answers) => return assert!(answers[0].is_ok(), "{answers:?}"),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// The ids of the next `count` events, over as many breaks as there are.
async fn told(subscription: &mut dyn Subscription, count: usize) -> Vec<u128> {
    let mut ids = Vec::new();
    while ids.len() < count {
        match tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.unwrap() {
            Ok(Message::Events(events)) => ids.extend(events.iter().map(|event| event.id.0.as_u128())),
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                tokio::task::yield_now().await;
            }
        }
    }
    ids
}

fn memory() -> Arc<dyn EventStore> {
    Arc::new(MemoryStore::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_up_yet_is_waited_for() {
    let at = free_port().await;
    let store = kurrent(options(&at.to_string()));
    let refused = store.append(vec![append("s", Any, [1])]).await.unwrap_err();
    assert!(refused.is_transient() && store.writable().is_err(), "{refused}");
    let mut early = store.subscribe_all(None, Filter::default());
    assert!(early.next().await.is_err());
    let _server = serve(&memory(), at).await;
    appended(&*store, "s", 1).await;
    assert!(store.writable().is_ok());
    assert_eq!(told(&mut *early, 1).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_and_tells_nothing_twice() {
    let log = memory();
    let server = serve(&log, any_port()).await;
    let at = server.address();
    let store = kurrent(options(&at.to_string()));
    let mut all = store.subscribe_all(None, Filter::streams(&["s"]));
    for id in 0..10 {
        appended(&*store, "s", id).await;
    }
    assert_eq!(told(&mut *all, 10).await, (0..10).collect::<Vec<_>>());
    server.stop().await;
    let server = serve(&log, at).await;
    for id in 10..20 {
        appended(&*store, "s", id).await;
    }
    assert_eq!(told(&mut *all, 10).await, (10..20).collect::<Vec<_>>());
    server.stop().await;
}

/// The client's own way would be to begin again at the end: what was written meanwhile would never be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_breaks_before_its_first_event_misses_none() {
    let log = memory();
    appended(&*log, "s", 0).await;
    let server = serve(&log, any_port()).await;
    let at = server.address();
    let store = kurrent(options(&at.to_string()));
    let head = store.head().await.unwrap();
    let mut all = store.subscribe_all(head, Filter::streams(&["s", "later"]));
    let mut unborn = store.subscribe_stream("later", None);
    for subscription in [&mut all, &mut unborn] {
        while !matches!(subscription.next().await.unwrap(), Message::CaughtUp(_)) {}
    }
    server.stop().await;
    for id in 1..4 {
        appended(&*log, "later", id).await;
    }
    let server = serve(&log, at).await;
    assert_eq!(told(&mut *all, 3).await, [1, 2, 3]);
    assert_eq!(told(&mut *unborn, 3).await, [1, 2, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_is_replaced_by_another() {
    let log = memory();
    let (first, second) = (serve(&log, any_port()).await, serve(&log, any_port()).await);
    let at = first.address();
    let store = kurrent(options(&format!("{},{}", first.address(), second.address())));
    appended(&*store, "s", 1).await;
    first.stop().await;
    appended(&*store, "s", 2).await;
    // Whichever it was on, now that one goes.
    let first = serve(&log, at).await;
    second.stop().await;
    appended(&*store, "s", 3).await;
    let page = log.read_stream("s", None, Direction::Forwards, 10).await.unwrap();
    assert_eq!(page.events.len(), 3, "each once");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_revision_fails_itself_and_nobody_else() {
    let log = memory();
    let server = serve(&log, any_port()).await;
    let (ours, theirs) =
        (kurrent(options(&server.address().to_string())), kurrent(options(&server.address().to_string())));
    one(&*ours, append("s", NoStream, [1])).await.unwrap();
    one(&*theirs, append("s", Exact(0), [2])).await.unwrap();
    // What we know of `s` is behind: the session breaks with a hundred others on it.
    let mut batch = vec![append("s", Exact(0), [3])];
    batch.extend((0..100).map(|number| append(&format!("t-{number}"), Any, [number])));
    let mut answers = ours.append(batch).await.unwrap();
    let conflict = answers.remove(0).unwrap_err();
    assert_eq!(conflict.actual, Some(1));
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|done| done.appended == 1)), "{answers:?}");
    for number in 0..100 {
        let page = log.read_stream(&format!("t-{number}"), None, Direction::Forwards, 10).await.unwrap();
        assert_eq!(page.events.len(), 1, "written once");
    }
    assert_eq!(one(&*ours, append("s", Any, [2, 3])).await.unwrap().duplicates, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let log = MemoryStore::default();
    let server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), any_port()).await;
    let store =
        kurrent(Options { call_timeout: Duration::from_secs(1), ..options(&server.address().to_string()) });
    appended(&*store, "s", 1).await;
    log.order_faults([Fault::Delay(Duration::from_secs(3_600))]);
    let late = store.append(vec![append("s", Any, [2])]).await.unwrap_err();
    assert!(matches!(late, Error::Unavailable { .. }), "{late}");
    appended(&*store, "s", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let log = MemoryStore::default();
    let server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), any_port()).await;
    let store = kurrent(options(&server.address().to_string()));
    appended(&*store, "s", 1).await;
    log.order_faults([Fault::LoseAck]);
    let done = one(&*store, append("s", Any, [2])).await.unwrap();
    assert_eq!(done.revision, 1);
    assert_eq!(log.everything().len(), 2, "written once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_cut_off_goes_on_where_it_was() {
    let log = memory();
    let slow_after = Duration::from_millis(300);
    let bounds = wire::Options { slow_after, subscriptions_max: 1, ..wire::Options::default() };
    let ports = Ports { store: Arc::clone(&log), owned: &[] };
    let server = Running::start(any_port(), bounds, ports).await.unwrap();
    let options = Options { waiting_max: 16, ..options(&server.address().to_string()) };
    let store = kurrent(options);
    let mut slow = store.subscribe_all(None, Filter::streams(&["s"]));
    assert!(matches!(slow.next().await.unwrap(), Message::CaughtUp(None)));
    // More than the connection's windows hold.
    const EVENTS: u128 = 3_000;
    for from in (0..EVENTS).step_by(100) {
        let mut large = append("s", Any, from..from + 100);
        for event in &mut large.events {
            event.data = vec![b'x'; 4_096].into();
        }
        one(&*log, large).await.unwrap();
    }
    // There is one seat: another has it once the slow one is cut off.
    let mut other = store.subscribe_stream("none", None);
    while other.next().await.is_err() {
        tokio::task::yield_now().await;
    }
    drop(other);
    let (mut ids, mut cuts) = (Vec::new(), 0);
    while ids.len() < EVENTS as usize {
        match tokio::time::timeout(Duration::from_secs(20), slow.next()).await.unwrap() {
            Ok(Message::Events(events)) => ids.extend(events.iter().map(|event| event.id.0.as_u128())),
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                cuts += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!(ids, (0..EVENTS).collect::<Vec<_>>());
    assert!(cuts > 0, "it was never cut off");
    // The connection is not to blame: others go on with it.
    assert!(store.writable().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_the_server_ends_well_ends_and_costs_no_thread() {
    let (listener, log) = (TcpListener::bind(any_port()).await.unwrap(), memory());
    let at = listener.local_addr().unwrap();
    let ending = tokio::spawn(ends_everything_well(listener));
    let store = kurrent(options(&at.to_string()));
    let mut all = store.subscribe_all(None, Filter::streams(&["s"]));
    for _ in 0..3 {
        let ended = tokio::time::timeout(Duration::from_secs(10), all.next()).await.expect("an end");
        assert!(ended.unwrap_err().is_transient());
    }
    ending.abort();
    assert!(ending.await.unwrap_err().is_cancelled());
    let _server = serve(&log, at).await;
    appended(&*store, "s", 1).await;
    assert_eq!(told(&mut *all, 1).await, [1]);
}

/// What is asked for first stands first, whoever waits for what, and over a break; but for what somebody else got in front of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_stand_in_the_order_in_which_they_were_asked_for() {
    let log = MemoryStore::default();
    let server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), any_port()).await;
    let store = kurrent(Options { appends_max: 7, ..options(&server.address().to_string()) });
    appended(&*store, "known", 10_000).await;
    // Somebody else writes to a stream that we know, and answers are lost: a conflict and breaks on the way.
    one(&log, append("known", Any, [10_001])).await.unwrap();
    log.order_faults([Fault::LoseAck, Fault::LoseAck]);
    let call = |number: u128| {
        let streams = [format!("a-{}", number % 5), "market".to_owned(), format!("b-{number}")];
        let ids = (0..3).map(|nth| number * 3 + nth);
        let known = (number == 20).then(|| append("known", Any, [10_002]));
        ids.zip(streams).map(|(id, stream)| append(&stream, Any, [id])).chain(known).collect::<Vec<_>>()
    };
    let calls = (0..40).map(|number| store.append(call(number)));
    for answers in futures_util::future::join_all(calls).await {
        assert!(answers.unwrap().iter().all(|answer| answer.as_ref().unwrap().appended == 1));
    }
    let ids: Vec<_> = log.everything().into_iter().map(|event| event.id.0.as_u128()).collect();
    let ours: Vec<_> = ids.iter().copied().filter(|id| *id < 10_000).collect();
    assert_eq!(ours, (0..120).collect::<Vec<_>>());
    // In whose place somebody wrote stands behind all that was asked for before it, and behind what was under way with it.
    let at = ids.iter().position(|id| *id == 10_002).unwrap();
    let before = ids[..at].iter().filter(|id| **id < 10_000).count();
    assert!((63..63 + 7).contains(&before), "{before}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_behind_an_append_that_failed_fails_too() {
    let log = MemoryStore::default();
    let server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), any_port()).await;
    let at = server.address();
    let store = kurrent(Options { call_timeout: Duration::from_secs(1), ..options(&at.to_string()) });
    appended(&*store, "s", 1).await;
    log.order_faults([Fault::Delay(Duration::from_secs(3_600))]);
    let (first, second) =
        tokio::join!(store.append(vec![append("s", Any, [2])]), store.append(vec![append("t", Any, [3])]),);
    // It stands; who asked for it may not go on before what was asked for first.
    assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
    assert_eq!(log.read_stream("t", None, Direction::Forwards, 10).await.unwrap().events.len(), 1);
    appended(&*store, "s", 2).await;
    assert_eq!(one(&*store, append("t", Any, [3])).await.unwrap().duplicates, 1);
    server.stop().await;
}

/// Two that were given the same work: ids and place are the same, what they found is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_somebody_else_under_our_ids_are_not_taken_for_ours() {
    let log = memory();
    let server = serve(&log, any_port()).await;
    let at = server.address().to_string();
    let (ours, theirs) = (kurrent(options(&at)), kurrent(options(&at)));
    one(&*ours, append("s", NoStream, [1])).await.unwrap();
    let mut other = append("s", Exact(0), [2, 3]);
    other.events[1].data = "{\"n\":0}".into();
    assert_eq!(one(&*theirs, other).await.unwrap().appended, 2);
    let done = one(&*ours, append("s", Exact(0), [2, 3])).await.unwrap();
    assert_eq!((done.revision, done.appended, done.duplicates), (2, 0, 2));
    server.stop().await;
}

/// The last of the log's events may be nobody's: who waits for the end of the log must hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_log_is_told_to_those_whom_it_does_not_concern() {
    let log = memory();
    let server = serve(&log, any_port()).await;
    let store = kurrent(options(&server.address().to_string()));
    let mut all = store.subscribe_all(None, Filter::streams(&["s"]));
    assert!(matches!(all.next().await.unwrap(), Message::CaughtUp(None)));
    one(&*log, append("other", Any, [1])).await.unwrap();
    let head = log.head().await.unwrap().unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), all.next()).await.expect("a word");
    assert_eq!(told.unwrap(), Message::Checkpoint(head));
    server.stop().await;
}

/// A server that answers every call with a stream that ends at once, and well.
async fn ends_everything_well(listener: TcpListener) {
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let answer = hyper::service::service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
            // It says of no feature that it has it.
            let status = if request.uri().path().ends_with("GetSupportedMethods") { "12" } else { "0" };
            let mut trailers = hyper::HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            let frame = Ok::<_, std::convert::Infallible>(Frame::<Bytes>::trailers(trailers));
            let body = StreamBody::new(futures_util::stream::iter([frame]));
            hyper::Response::builder().header("content-type", "application/grpc").body(body)
        });
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        connections.spawn(async move { serving.serve_connection(TokioIo::new(tcp), answer).await });
    }
}
