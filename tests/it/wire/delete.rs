//! Deleting for now and for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use intentd::domain::event::{ExpectedRevision, NewEvent};
use intentd::domain::id::EventId;
use intentd::store::{Append, EventStore};
use intentd::wire::Options;
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::append_resp::Result as Appended;
pub use intentd::wire::proto::event_store::client::streams::delete_req::options::ExpectedStreamRevision as DeleteExpected;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::{
    DeleteReq, TombstoneReq, delete_req, tombstone_req,
};
use tonic::{Code, Status};

use super::odd::Odd;
use super::rust_client::soon;
use super::{
    ExpectedStreamRevision, World, any, followed, ids, of_all, of_stream, said, stream, world, world_over,
};

impl World {
    pub async fn delete(&mut self, name: &str, expected: DeleteExpected) -> Result<(), Status> {
        let options =
            delete_req::Options { stream_identifier: stream(name), expected_stream_revision: Some(expected) };
        self.client.delete(DeleteReq { options: Some(options) }).await.map(drop)
    }

    pub async fn tombstone(&mut self, name: &str) -> Result<(), Status> {
        let expected = tombstone_req::options::ExpectedStreamRevision::Any(Empty {});
        let options = tombstone_req::Options {
            stream_identifier: stream(name),
            expected_stream_revision: Some(expected),
        };
        self.client.tombstone(TombstoneReq { options: Some(options) }).await.map(drop)
    }
}

#[tokio::test]
async fn a_deleted_stream_is_not_found_until_it_is_written_again() {
    let mut world = world().await;
    world.put("s", [1, 2]).await;
    world.delete("s", DeleteExpected::Revision(1)).await.unwrap();
    let told = world.read(of_stream("s")).await.unwrap();
    assert!(matches!(&told[..], [Content::StreamNotFound(_)]), "{told:?}");
    assert_eq!(ids(&world.read(of_all()).await.unwrap())[..2], [1, 2], "nothing leaves $all");
    let conflict = world.append("s", ExpectedStreamRevision::StreamExists(Empty {}), [3]).await.unwrap();
    assert!(matches!(conflict, Appended::WrongExpectedVersion(_)), "{conflict:?}");
    let back = world.append("s", ExpectedStreamRevision::NoStream(Empty {}), [3, 4]).await.unwrap();
    assert!(matches!(back, Appended::Success(_)), "{back:?}");
    assert_eq!(world.ids("s").await, [3, 4]);
    let told = world.read(of_stream("s")).await.unwrap();
    let Content::Event(first) = &told[0] else { panic!() };
    assert_eq!(first.event.as_ref().unwrap().stream_revision, 2, "the numbering goes on");
    assert_eq!(world.put("s", [5]).await, 4);
    assert_eq!(world.ids("s").await, [3, 4, 5]);
}

#[tokio::test]
async fn a_delete_at_a_wrong_revision_says_so_in_words_and_trailers() {
    let mut world = world().await;
    world.put("s", [1, 2]).await;
    let keys = ["exception", "stream-name", "expected-version", "actual-version"];
    for (name, expected, numbers) in [
        ("s", DeleteExpected::Revision(7), ("7", "1")),
        ("s", DeleteExpected::NoStream(Empty {}), ("-1", "1")),
        ("none", DeleteExpected::Any(Empty {}), ("-2", "-1")),
        ("none", DeleteExpected::StreamExists(Empty {}), ("-4", "-1")),
    ] {
        let refused = world.delete(name, expected).await.unwrap_err();
        let text = format!(
            "Delete failed due to WrongExpectedVersion. Stream: {name}, Expected version: {}, Actual version: {}",
            numbers.0, numbers.1
        );
        let trailers = vec![Some("wrong-expected-version"), Some(name), Some(numbers.0), Some(numbers.1)];
        assert_eq!(said(&refused, &keys), (Code::FailedPrecondition, &*text, trailers));
    }
    assert_eq!(world.ids("s").await, [1, 2]);
}

/// The next server over the same log.
async fn another(world: World) -> World {
    let World { store, server, .. } = world;
    server.stop().await;
    world_over(store, Options::default()).await
}

/// A world over a store that can be odd.
async fn odd() -> (Arc<Odd>, World) {
    let store = Arc::new(Odd::default());
    let world = world_over(Arc::clone(&store) as Arc<dyn EventStore>, Options::default()).await;
    (store, world)
}

#[tokio::test]
async fn a_close_is_one_call_of_the_store_and_completes_one_done_by_half() {
    let (store, mut world) = odd().await;
    world.put("s", [1, 2]).await;
    let come = *store.come.borrow();
    world.tombstone("never").await.unwrap();
    assert_eq!(*store.come.borrow(), come + 1);
    store.halves.store(true, Ordering::SeqCst);
    assert_eq!(world.tombstone("s").await.unwrap_err().code(), Code::Unavailable);
    world.tombstone("s").await.unwrap();
    for _ in 0..2 {
        let refused = world.append("s", any(), [9]).await.unwrap_err();
        assert_eq!(said(&refused, &["exception"]).2, [Some("stream-deleted")]);
        world = another(world).await;
    }
    // Done by half, then written to: it can be closed all the same.
    world.put("t", [3]).await;
    store.halves.store(true, Ordering::SeqCst);
    world.tombstone("t").await.unwrap_err();
    world.put("t", [4]).await;
    world.tombstone("t").await.unwrap();
    world = another(world).await;
    assert_eq!(world.append("t", any(), [9]).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_close_that_is_refused_is_not_remembered() {
    let (store, mut world) = odd().await;
    world.put("s", [1]).await;
    store.shut.send_replace(Some("s"));
    let come = *store.come.borrow();
    let mut client = World { client: world.client.clone(), ..odd().await.1 };
    let closing = tokio::spawn(async move { client.tombstone("s").await });
    soon(store.come.subscribe().wait_for(|now| *now > come)).await.unwrap();
    // The daemon writes to it meanwhile.
    let event = NewEvent {
        id: EventId(::uuid::Uuid::from_u128(2)),
        event_type: "Happened".into(),
        data: "{}".into(),
        metadata: "{}".into(),
    };
    let append = Append { stream: "s".to_owned(), expected: ExpectedRevision::Any, events: vec![event] };
    store.inner.append_now(vec![append]).unwrap().pop().unwrap().unwrap();
    store.shut.send_replace(None);
    let refused = soon(closing).await.unwrap().unwrap_err();
    assert_eq!(said(&refused, &["exception"]).2, [Some("wrong-expected-version")]);
    assert_eq!(world.put("s", [3]).await, 2);
    world = another(world).await;
    assert_eq!(world.put("s", [4]).await, 3);
    world.tombstone("s").await.unwrap();
    world = another(world).await;
    assert_eq!(world.append("s", any(), [9]).await.unwrap_err().code(), Code::FailedPrecondition);
}

/// A world whose stream `s` held 1 and 2 and is deleted.
async fn deleted() -> (Arc<Odd>, World) {
    let (store, mut world) = odd().await;
    world.put("s", [1, 2]).await;
    world.delete("s", DeleteExpected::Revision(1)).await.unwrap();
    (store, world)
}

#[tokio::test]
async fn a_stream_comes_back_by_one_call_or_by_the_next_one() {
    let new = || ExpectedStreamRevision::NoStream(Empty {});
    let (store, mut world) = deleted().await;
    let come = *store.come.borrow();
    let done = world.append("s", new(), [3, 4]).await.unwrap();
    assert_eq!(*store.come.borrow(), come + 1);
    assert!(matches!(done, Appended::Success(_)), "{done:?}");
    assert_eq!(world.append("s", new(), [3, 4]).await.unwrap(), done, "asked again it is the same");
    let other = world.append("s", new(), [4]).await.unwrap();
    assert!(matches!(other, Appended::WrongExpectedVersion(_)), "{other:?}");

    // By half, then again.
    for expected in [new(), any(), ExpectedStreamRevision::Revision(1)] {
        let (store, mut world) = deleted().await;
        store.halves.store(true, Ordering::SeqCst);
        assert_eq!(world.append("s", expected, [3, 4]).await.unwrap_err().code(), Code::Unavailable);
        assert!(world.ids("s").await.is_empty());
        assert_eq!(world.append("s", expected, [3, 4]).await.unwrap(), done, "{expected:?}");
        assert_eq!(world.ids("s").await, [3, 4]);
    }
    // By half, then something else: what is written is not hidden.
    let (store, mut world) = deleted().await;
    store.halves.store(true, Ordering::SeqCst);
    world.append("s", any(), [3]).await.unwrap_err();
    assert_eq!(world.put("s", [5]).await, 3);
    assert_eq!(world.ids("s").await, [3, 5]);
}

#[tokio::test]
async fn what_was_deleted_does_not_come_back_when_it_is_sent_again() {
    let (_, mut world) = deleted().await;
    let old = world.append("s", any(), [1, 2]).await.unwrap();
    assert!(matches!(old, Appended::WrongExpectedVersion(_)), "{old:?}");
    assert!(world.ids("s").await.is_empty());
}

#[tokio::test]
async fn a_closed_stream_stays_closed_for_the_next_server_too() {
    let mut world = world().await;
    world.put("s", [1]).await;
    world.tombstone("s").await.unwrap();
    world.tombstone("never").await.unwrap();
    for round in 0..2 {
        for name in ["s", "never"] {
            let text = format!("Event stream '{name}' is deleted.");
            let closed = (Code::FailedPrecondition, &*text, vec![Some("stream-deleted"), Some(name)]);
            let keys = ["exception", "stream-name"];
            let refusals = [
                world.read(of_stream(name)).await.unwrap_err(),
                world.call(followed(of_stream(name))).await.unwrap_err(),
                world.append(name, any(), [9]).await.unwrap_err(),
                world.append(&format!("$${name}"), any(), [9]).await.unwrap_err(),
                world.delete(name, DeleteExpected::Any(Empty {})).await.unwrap_err(),
                world.tombstone(name).await.unwrap_err(),
            ];
            for (nth, refused) in refusals.iter().enumerate() {
                if nth == 3 {
                    assert_eq!(refused.code(), Code::FailedPrecondition);
                } else {
                    assert_eq!(said(refused, &keys), closed, "{round} {nth}");
                }
            }
        }
        if round == 0 {
            world = another(world).await;
        }
    }
}

#[tokio::test]
async fn the_daemons_streams_cannot_be_deleted() {
    let mut world = world().await;
    for refused in [
        world.delete("intent-1", DeleteExpected::Any(Empty {})).await.unwrap_err(),
        world.tombstone("intent-1").await.unwrap_err(),
        world.delete("$$s", DeleteExpected::Any(Empty {})).await.unwrap_err(),
    ] {
        assert_eq!(said(&refused, &["exception"]).2, [Some("access-denied")]);
    }
}
