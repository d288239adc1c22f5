//! Copying a log: everything arrives as it was, again changes nothing, and a difference is found.

use std::sync::Arc;

use intentd::store::copy::{CopyError, content, copy, verify};
use intentd::store::embedded::{Embedded, Options};
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, ExpectedRevision, Filter, Page, Position,
    Revision, StoreId, Subscription,
};

use super::daemon::Place;
use super::store_contract::{append, embedded, kurrent, one};

use ExpectedRevision::Any;

/// A log of 3,000 events of seven streams, mixed.
async fn source() -> MemoryStore {
    let store = MemoryStore::default();
    for id in 0..3_000_u128 {
        one(&store, append(&format!("user-{}", id % 7), Any, [id])).await.unwrap();
        if id % 100 == 0 {
            one(&store, append("$own", Any, [id])).await.unwrap();
        }
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_in_order_and_again_changes_nothing() {
    let (source, fresh) = (source().await, embedded());
    let target = &fresh.store;
    let first = copy(&source, &**target, None, |_| {}).await.unwrap();
    assert_eq!((first.written, first.held), (3_000, 0));
    assert_eq!(verify(&source, &**target).await.unwrap().events, 3_000);
    let copied = target.read_all(None, Direction::Forwards, &Filter::default(), 10_000).await.unwrap();
    let ids: Vec<u128> = copied.events.iter().map(|event| event.id.0.as_u128()).collect();
    assert_eq!(ids, (0..3_000).collect::<Vec<_>>());
    let again = copy(&source, &**target, None, |_| {}).await.unwrap();
    assert_eq!((again.written, again.held), (0, 3_000));
    assert_eq!(again.through, first.through);
}

#[tokio::test]
async fn a_copy_that_was_broken_off_goes_on_where_it_stood() {
    let (source, target) = (source().await, MemoryStore::default());
    target.order_faults([Fault::Delay(std::time::Duration::ZERO), Fault::LoseAck]);
    let mut told = Vec::new();
    let broken = copy(&source, &target, None, |progress| told.push(progress)).await.unwrap_err();
    assert!(matches!(broken, CopyError::Store { side: "target", .. }), "{broken}");
    let rest = copy(&source, &target, told.last().unwrap().through, |_| {}).await.unwrap();
    assert!(rest.written > 0 && rest.held > 0, "{rest:?}");
    assert_eq!(verify(&source, &target).await.unwrap(), content(&source).await.unwrap());
}

#[tokio::test]
async fn other_events_are_never_taken_for_ours() {
    let source = source().await;
    let target: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
    one(&*target, append("user-3", Any, [77])).await.unwrap();
    let refused = copy(&source, &*target, None, |_| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::Other(_)), "{refused}");
    let more: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
    copy(&source, &*more, None, |_| {}).await.unwrap();
    one(&*more, append("user-3", Any, [99_999])).await.unwrap();
    let found = verify(&source, &*more).await.unwrap_err();
    assert!(matches!(found, CopyError::Different { .. }), "{found}");
}

#[tokio::test]
async fn another_order_is_another_log() {
    let (one_way, other_way) = (MemoryStore::default(), MemoryStore::default());
    for (store, streams) in [(&one_way, ["user-a", "market-x"]), (&other_way, ["market-x", "user-a"])] {
        for stream in streams {
            one(store, append(stream, Any, [1])).await.unwrap();
        }
    }
    let found = verify(&one_way, &other_way).await.unwrap_err();
    assert!(matches!(found, CopyError::Different { .. }), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_grew_since_it_was_copied_keeps_its_place() {
    let source = MemoryStore::default();
    let (memory, fresh) = (MemoryStore::default(), embedded());
    let targets: [&dyn EventStore; 2] = [&memory, &*fresh.store];
    one(&source, append("user-a", Any, 0..5)).await.unwrap();
    for target in targets {
        copy(&source, target, None, |_| {}).await.unwrap();
    }
    one(&source, append("user-a", Any, 5..10)).await.unwrap();
    one(&source, append("user-b", Any, [10])).await.unwrap();
    for target in targets {
        let grown = copy(&source, target, None, |_| {}).await.unwrap();
        assert_eq!((grown.written, grown.held), (6, 5));
        assert_eq!(verify(&source, target).await.unwrap().events, 11);
    }
}

/// An append whose events have so many bytes each.
fn heavy(stream: &str, ids: std::ops::Range<u128>, bytes: usize) -> Append {
    let mut append = append(stream, Any, ids);
    for event in &mut append.events {
        event.data = vec![b'x'; bytes].into();
    }
    append
}

/// More bytes than a target takes in one append, in events that it takes; and one event that is larger than the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_many_bytes_is_more_than_one_append() {
    let source = MemoryStore::default();
    one(&source, heavy("user-a", 0..40, 100 << 10)).await.unwrap();
    one(&source, heavy("user-a", 40..41, 900 << 10)).await.unwrap();
    one(&source, heavy("user-a", 41..200, 10)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = Options { append_bytes_max: 1 << 20, ..Options::default() };
    let target = Embedded::open(dir.path(), &options).unwrap();
    let copied = copy(&source, &target, None, |_| {}).await.unwrap();
    assert_eq!((copied.written, copied.held), (200, 0));
    assert_eq!(verify(&source, &target).await.unwrap().events, 200);
    // One that holds the first appends of such a run, as after a break between two of them.
    for held in [1, 5, 6, 40, 41, 199] {
        let target = MemoryStore::default();
        let events = source.everything().into_iter().take(held);
        for event in events {
            let mut one_event = append("user-a", Any, [event.id.0.as_u128()]);
            one_event.events[0].data = event.data;
            one(&target, one_event).await.unwrap();
        }
        let rest = copy(&source, &target, None, |_| {}).await.unwrap();
        assert_eq!((rest.written, rest.held), (200 - held as u64, held as u64));
        assert_eq!(verify(&source, &target).await.unwrap().events, 200);
    }
}

/// A log whose streams were scavenged says so; one whose copy was deleted meanwhile is another matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_lost_a_beginning_is_named_for_that() {
    let source = Scavenged { whole: source().await, stream: "user-3", first: 12 };
    for fresh in [embedded(), kurrent().await] {
        let refused = copy(&source, &*fresh.store, None, |_| {}).await.unwrap_err();
        let said = refused.to_string();
        assert!(
            matches!(refused, CopyError::Gone { ref stream, revision: 12 } if stream == "user-3"),
            "{said}"
        );
        assert!(
            said.contains("user-3") && said.contains("scavenged") && !said.contains("other events"),
            "{said}"
        );
    }
    let whole = &source.whole;
    let middle = whole.everything()[1_500].position;
    let refused = copy(whole, &MemoryStore::default(), Some(middle), |_| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::Lost(_)) && refused.to_string().contains("--state"), "{refused}");
}

/// A store that has deleted the beginning of a stream, from all that it reads.
struct Scavenged {
    whole: MemoryStore,
    stream: &'static str,
    first: u64,
}

impl Scavenged {
    fn left(&self, mut page: Page) -> Page {
        page.events.retain(|event| &*event.stream != self.stream || event.revision >= self.first);
        page
    }
}

impl EventStore for Scavenged {
    fn id(&self) -> StoreId {
        self.whole.id()
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        self.whole.append(batch)
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.left(self.whole.read_stream(stream, from, direction, limit).await?)) })
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.left(self.whole.read_all(from, direction, filter, limit).await?)) })
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        self.whole.subscribe_all(after, filter)
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        self.whole.subscribe_stream(stream, after)
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        self.whole.head()
    }

    fn writable(&self) -> Result<(), Error> {
        self.whole.writable()
    }
}

#[test]
fn a_directory_without_a_store_is_refused_and_a_data_directory_shown_its_store() {
    let place = Place::new();
    let store = place.data_dir().join("store");
    drop(Embedded::open(&store, &Options::default()).unwrap());
    let empty = place.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let target = place.path("to").display().to_string();
    for (from, way_out) in [(place.data_dir(), store.display().to_string()), (empty, "--from".to_owned())] {
        let refused = place.run(&["store", "copy", "--from", from.to_str().unwrap(), "--to", &target]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(66), "{said}");
        assert!(said.contains(&format!("there is no store in {}", from.display())), "{said}");
        assert!(said.contains(&way_out), "{said}");
        assert!(!from.join("store.toml").exists() && !place.path("to").exists());
    }
    let copied = place.done(&["store", "copy", "--from", store.to_str().unwrap(), "--to", &target]);
    assert!(copied.contains("0 events written"), "{copied}");
}

#[test]
fn a_connection_that_does_not_parse_keeps_its_password() {
    let place = Place::new();
    let store = place.path("store");
    drop(Embedded::open(&store, &Options::default()).unwrap());
    let store = store.display().to_string();
    for wrong in ["kurrentdb://me:s3cret@host:port", "http://me:s3cret@host", "kurrentdb://me:s3cret/@h:x"] {
        for (which, command) in [
            ("--from", ["store", "copy", "--from", wrong, "--to", &store]),
            ("--to", ["store", "copy", "--from", &store, "--to", wrong]),
        ] {
            let refused = place.run(&command);
            let said = format!("{refused:?}");
            assert_eq!(refused.status.code(), Some(64), "{said}");
            assert!(said.contains(&format!("{which}: ")) && said.contains("connection string"), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
    let unreachable = "kurrentdb://me:s3cret@127.0.0.1:1?tls=false&maxDiscoverAttempts=2";
    let failed = place.run(&["store", "copy", "--from", &store, "--to", unreachable]);
    let said = format!("{failed:?}");
    assert!(!failed.status.success() && !said.contains("s3cret"), "{said}");
}
