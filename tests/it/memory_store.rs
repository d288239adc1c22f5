//! What is special about the log in memory: its faults and its positions. The rest is the contract suite's.

use bytes::Bytes;
use bytestring::ByteString;
use intentd::domain::id::EventId;
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{Append, Direction, EventStore, ExpectedRevision, Filter, Message, NewEvent, Position};
use uuid::Uuid;

fn append(stream: &str, expected: ExpectedRevision, ids: &[u128]) -> Append {
    let event = |id: &u128| NewEvent {
        id: EventId(Uuid::from_u128(*id)),
        event_type: ByteString::from_static("X"),
        data: Bytes::from_static(b"{}"),
        metadata: Bytes::new(),
    };
    Append { stream: stream.to_owned(), expected, events: ids.iter().map(event).collect() }
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_found_again_by_the_same_append() {
    let store = MemoryStore::default();
    store.order_faults([Fault::Fail, Fault::LoseAck]);
    let first = || vec![append("intent-a", ExpectedRevision::NoStream, &[1, 2])];
    assert!(store.append(first()).await.unwrap_err().is_transient());
    assert!(store.everything().is_empty(), "a failed append writes nothing");
    assert!(store.append(first()).await.unwrap_err().is_transient());
    let again = store.append(first()).await.unwrap().remove(0).unwrap();
    assert_eq!((again.revision, again.appended, again.duplicates), (1, 0, 2));
    let other = store.append(vec![append("intent-a", ExpectedRevision::NoStream, &[3])]).await.unwrap();
    assert_eq!(other[0].as_ref().unwrap_err().actual, Some(1));
    let partly = store.append(vec![append("intent-a", ExpectedRevision::Exact(1), &[2, 4])]).await.unwrap();
    assert!(partly[0].is_err(), "an id stands in a stream once");
}

#[tokio::test(start_paused = true)]
async fn stale_reads_miss_the_newest_and_then_see_again() {
    let store = MemoryStore::default();
    store.append_now(vec![append("user-a", ExpectedRevision::Any, &[1, 2, 3, 4])]).unwrap();
    store.order_stale_reads(1, 2);
    let seen = |page: intentd::store::Page| page.events.len();
    assert_eq!(seen(store.read_stream("user-a", None, Direction::Forwards, 10).await.unwrap()), 2);
    assert_eq!(seen(store.read_stream("user-a", None, Direction::Forwards, 10).await.unwrap()), 4);
    let back = store.read_stream("user-a", None, Direction::Backwards, 3).await.unwrap();
    assert_eq!((back.events[0].revision, back.next), (3, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_tells_everything_once_and_says_when_it_has_caught_up() {
    let store = MemoryStore::default();
    store.append_now(vec![append("user-a", ExpectedRevision::Any, &[1, 2])]).unwrap();
    store.append_now(vec![append("intent-a", ExpectedRevision::Any, &[3])]).unwrap();
    let mut tail = store.subscribe_all(Some(Position(3)), Filter::streams(&["user-"]));
    let Message::Events(events) = tail.next().await.unwrap() else { panic!("events first") };
    assert_eq!(events.iter().map(|event| event.position.0).collect::<Vec<_>>(), [6]);
    assert_eq!(tail.next().await.unwrap(), Message::CaughtUp(Some(Position(9))));
    let writer = store.clone();
    let (told, ()) = tokio::join!(tail.next(), async move {
        writer.append(vec![append("user-b", ExpectedRevision::Any, &[1])]).await.unwrap();
    });
    assert!(matches!(told.unwrap(), Message::Events(events) if &*events[0].stream == "user-b"));
}
