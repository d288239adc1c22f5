//! Copying a log: everything arrives as it was, again changes nothing, and a difference is found.

use std::sync::Arc;

use intentd::store::copy::{CopyError, content, copy, verify};
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{Direction, EventStore, ExpectedRevision, Filter};

use super::store_contract::{append, embedded, one};

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
