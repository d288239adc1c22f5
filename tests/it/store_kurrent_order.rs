//! Order and certainty of the adapter's appends: against callers who give up, servers that refuse, and others who write to the
//! same streams.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use intentd::store::kurrent::{Kurrent, Options};
use intentd::store::memory::MemoryStore;
use intentd::store::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, ExpectedRevision, Filter, Page, Position,
    Revision, StoreId, Subscription,
};
use intentd::wire::{self, Ports, Running};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::store_contract::{append, one};
use super::store_kurrent::{any_port, appended, free_port, options, serve};

use ExpectedRevision::Any;

/// The stream whose pages have to be let through.
const SLOW: &str = "slow-1";
/// An append of this id finds that others were faster, however often.
const OVERRUN: u128 = 666;

/// A log on a server that others use too.
#[derive(Clone)]
struct Busy {
    log: MemoryStore,
    /// How many more pages of [`SLOW`] are given.
    pages: Arc<Semaphore>,
    /// Where those asked for begin.
    asked: Arc<Mutex<Vec<Revision>>>,
}

impl Default for Busy {
    fn default() -> Self {
        Self { log: MemoryStore::default(), pages: Arc::new(Semaphore::new(0)), asked: Arc::default() }
    }
}

impl Busy {
    async fn serve(&self) -> (Running, Kurrent) {
        let server = serve(&(Arc::new(self.clone()) as Arc<dyn EventStore>), any_port()).await;
        let store = kurrent(&server);
        (server, store)
    }

    fn ids(&self) -> Vec<u128> {
        self.log.everything().iter().map(|event| event.id.0.as_u128()).collect()
    }

    fn asked(&self) -> Vec<Revision> {
        self.asked.lock().unwrap().clone()
    }
}

impl EventStore for Busy {
    fn id(&self) -> StoreId {
        self.log.id()
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        for append in &batch {
            if append.events.iter().any(|event| event.id.0.as_u128() == OVERRUN) {
                let next = 1_000_000 + self.ids().len() as u128;
                self.log.append_now(vec![self::append(&append.stream, Any, [next, next + 1])]).unwrap();
            }
        }
        self.log.append(batch)
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move {
            if stream == SLOW && direction == Direction::Forwards {
                self.asked.lock().unwrap().push(from.unwrap_or_default());
                self.pages.acquire().await.unwrap().forget();
            }
            self.log.read_stream(stream, from, direction, limit).await
        })
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.log.read_all(from, direction, filter, limit)
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        self.log.subscribe_all(after, filter)
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        self.log.subscribe_stream(stream, after)
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        self.log.head()
    }

    fn writable(&self) -> Result<(), Error> {
        self.log.writable()
    }
}

fn kurrent(server: &Running) -> Kurrent {
    let connection = format!("kurrentdb://{}?tls=false&discoveryInterval=10", server.address());
    let retry_first = Duration::from_millis(5);
    let options = Options { connection, retry_first, ..Options::default() };
    Kurrent::new(StoreId(Uuid::from_u128(9)), options).unwrap()
}

type Appending<'a> = BoxFuture<'a, Result<Vec<AppendAnswer>, Error>>;

/// An append that has its place in the order.
async fn begun(store: &Kurrent, append: Append) -> Appending<'_> {
    let mut appending = store.append(vec![append]);
    let is_done = poll_fn(|context| Poll::Ready(appending.as_mut().poll(context).is_ready())).await;
    assert!(!is_done);
    appending
}

/// How many were new, and how many were not.
async fn counts(appending: Appending<'_>) -> (u32, u32) {
    let done = tokio::time::timeout(Duration::from_secs(20), appending).await.expect("an answer");
    let done = done.unwrap().remove(0).unwrap();
    (done.appended, done.duplicates)
}

/// Waits for an append until something is so.
async fn until(is_so: impl Fn() -> bool, appending: &mut Appending<'_>) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = appending => panic!("{done:?}"),
        () = waiting => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it is not so"),
    }
}

/// An import that was told "too late" asks again: what it asked for behind that may not stand in front of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_first_stands_first_though_its_caller_has_gone() {
    let busy = Busy::default();
    one(&busy.log, append(SLOW, Any, [100])).await.unwrap();
    let (server, store) = busy.serve().await;
    one(&store, append("known", Any, [101])).await.unwrap();
    let mut first = begun(&store, append(SLOW, Any, [1])).await;
    let second = begun(&store, append("known", Any, [2])).await;
    until(|| !busy.asked().is_empty(), &mut first).await;
    drop(first);
    drop(second);
    let first = begun(&store, append(SLOW, Any, [1])).await;
    let second = begun(&store, append("known", Any, [2])).await;
    busy.pages.add_permits(1_000);
    assert_eq!((counts(first).await, counts(second).await), ((0, 1), (0, 1)));
    assert_eq!(busy.ids(), [100, 101, 1, 2]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_on_where_the_last_caller_who_gave_up_had_come_to() {
    let busy = Busy::default();
    one(&busy.log, append(SLOW, Any, 0..2_500)).await.unwrap();
    let (server, store) = busy.serve().await;
    // Let through until the second of our pages has been asked for.
    let mut given_up = begun(&store, append(SLOW, Any, [7])).await;
    let is_past_one = || {
        busy.pages.add_permits(usize::from(busy.pages.available_permits() == 0));
        busy.asked().iter().any(|from| *from > 1_000)
    };
    until(is_past_one, &mut given_up).await;
    drop(given_up);
    let again = begun(&store, append(SLOW, Any, [7, 2_500])).await;
    busy.pages.add_permits(1_000);
    assert_eq!(counts(again).await, (1, 1), "7 stands on the first page");
    let from_the_start = busy.asked().iter().filter(|from| **from == 0).count();
    assert_eq!((from_the_start, busy.ids().len()), (1, 2_501));
    server.stop().await;
}

/// Nobody hears that an event stands because one that was refused would have written it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_for_written_by_an_append_that_is_refused_is_written() {
    let log = MemoryStore::default();
    let bounds = wire::Options {
        append_bytes_max: 4_096,
        stop_timeout: Duration::from_millis(100),
        ..wire::Options::default()
    };
    let ports = Ports { store: Arc::new(log.clone()), owned: &[] };
    let server = Running::start(any_port(), bounds, ports).await.unwrap();
    let store = kurrent(&server);
    one(&store, append("s", Any, [100])).await.unwrap();
    let mut large = append("s", Any, [1, 9]);
    large.events[0].data = vec![b'x'; 64 << 10].into();
    let refused = begun(&store, large).await;
    let same = begun(&store, append("s", Any, [9])).await;
    let next = begun(&store, append("s", Any, [5, 6])).await;
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    // Something else stands where the refused append would have written it.
    assert_eq!((counts(next).await, counts(same).await), ((2, 0), (1, 0)));
    let ids: Vec<_> = log.everything().iter().map(|event| event.id.0.as_u128()).collect();
    assert_eq!(ids, [100, 9, 5, 6]);
    server.stop().await;
}

/// When others are first met in a stream, appends behind the one in whose place they wrote may have found theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_to_a_stream_with_others_keep_their_order_once_these_are_known() {
    let busy = Busy::default();
    let (server, store) = busy.serve().await;
    one(&store, append("s", Any, [100])).await.unwrap();
    for round in 0..4 {
        one(&busy.log, append("s", Any, [200 + round])).await.unwrap();
        let (mut ours, first) = (Vec::new(), round * 10);
        for id in first..first + 5 {
            ours.push(begun(&store, append("s", Any, [id])).await);
        }
        for one in ours {
            assert_eq!(counts(one).await, (1, 0));
        }
        let stands: Vec<_> = busy.ids().into_iter().filter(|id| (first..first + 10).contains(id)).collect();
        assert_eq!(stands.len(), 5, "each once");
        assert!(round == 0 || stands.is_sorted(), "{stands:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_others_overrun_fails_with_those_behind_it_and_names_nobody() {
    let busy = Busy::default();
    let (server, store) = busy.serve().await;
    one(&store, append("user-ann", Any, [100])).await.unwrap();
    let first = begun(&store, append("user-ann", Any, [OVERRUN])).await;
    let second = begun(&store, append("user-ann", Any, [2])).await;
    for failed in [first.await.unwrap_err(), second.await.unwrap_err()] {
        assert!(failed.is_transient() && !failed.to_string().contains("ann"), "{failed}");
    }
    assert!(!busy.ids().contains(&2), "{:?}", busy.ids());
    appended(&store, "user-ann", 2).await;
    server.stop().await;
}

/// One caller, as an import is one: its second call is made before it can look at how the first one ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_before_a_failure_is_heard_of_fails_too() {
    let at = free_port().await;
    let store = Arc::new(Kurrent::new(StoreId(Uuid::from_u128(9)), options(&at.to_string())).unwrap());
    let mut first = store.append(vec![append("s-1", Any, [1])]);
    let polled = poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    // Asked for behind it by somebody else, who hears: the first has failed, too.
    let other = Arc::clone(&store);
    tokio::spawn(async move { other.append(vec![append("s-2", Any, [2])]).await })
        .await
        .unwrap()
        .unwrap_err();
    let log = MemoryStore::default();
    let _server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), at).await;
    while store.head().await.is_err() {
        tokio::task::yield_now().await;
    }
    let late = store.append(vec![append("s-1", Any, [3])]).await.unwrap_err();
    assert!(late.is_transient() && late.to_string().contains("asked for before"), "{late}");
    first.await.unwrap_err();
    for id in [1, 3] {
        store.append(vec![append("s-1", Any, [id])]).await.unwrap();
    }
    assert_eq!(log.everything().iter().map(|event| event.id.0.as_u128()).collect::<Vec<_>>(), [1, 3]);
}
