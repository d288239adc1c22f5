//! What every event store keeps to: one suite, run on each adapter. The laws are those of `store::EventStore`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use intentd::domain::id::EventId;
use intentd::store::{
    Append, AppendAnswer, Appended, Conflict, Direction, Error, EventStore, ExpectedRevision, Filter,
    Message, NewEvent, Position, Recorded, Subscription,
};
use uuid::Uuid;

pub use super::support::stores::{embedded, kurrent, memory, small};

use Direction::{Backwards, Forwards};
use ExpectedRevision::{Any, Exact, Exists, NoStream};

pub fn event(id: u128) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::from_u128(id)),
        event_type: "Happened".into(),
        data: Bytes::from(format!("{{\"n\":{id}}}")),
        metadata: Bytes::new(),
    }
}

pub fn append(stream: &str, expected: ExpectedRevision, ids: impl IntoIterator<Item = u128>) -> Append {
    Append { stream: stream.to_owned(), expected, events: ids.into_iter().map(event).collect() }
}

pub async fn one(store: &dyn EventStore, append: Append) -> AppendAnswer {
    store.append(vec![append]).await.unwrap().remove(0)
}

fn ids(events: &[Recorded]) -> Vec<u128> {
    events.iter().map(|event| event.id.0.as_u128()).collect()
}

async fn stream_ids(store: &dyn EventStore, stream: &str) -> Vec<u128> {
    ids(&store.read_stream(stream, None, Forwards, 10_000).await.unwrap().events)
}

pub async fn next(subscription: &mut dyn Subscription) -> Message {
    tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.expect("a message").unwrap()
}

/// All that a subscription tells until it has caught up.
async fn until_caught_up(subscription: &mut dyn Subscription) -> (Vec<Recorded>, Option<Position>) {
    let mut told = Vec::new();
    loop {
        match next(subscription).await {
            Message::Events(events) => told.extend(events),
            Message::Checkpoint(at) => assert!(told.last().is_none_or(|last| last.position < at)),
            Message::CaughtUp(at) => return (told, at),
        }
    }
}

async fn appends_and_reads_back(store: Arc<dyn EventStore>) {
    assert_eq!(store.head().await.unwrap(), None);
    let missing = store.read_stream("a", None, Forwards, 10).await.unwrap();
    assert!(missing.events.is_empty() && !missing.exists && missing.next.is_none());

    let answer = one(&*store, append("a", NoStream, 1..=3)).await.unwrap();
    assert_eq!((answer.revision, answer.appended, answer.duplicates), (2, 3, 0));
    assert_eq!(store.head().await.unwrap(), Some(answer.position));
    let page = store.read_stream("a", None, Forwards, 10).await.unwrap();
    assert_eq!(ids(&page.events), [1, 2, 3]);
    let first = &page.events[0];
    assert_eq!((&*first.stream, first.revision, &*first.event_type), ("a", 0, "Happened"));
    assert_eq!((&*first.data, first.metadata.len()), (&b"{\"n\":1}"[..], 0));
    assert!(page.events.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert_eq!(page.events[2].position, answer.position);
}

async fn expected_revisions(store: Arc<dyn EventStore>) {
    let conflict = |expected, actual| Conflict { stream: "a".to_owned(), expected, actual };
    assert_eq!(one(&*store, append("a", Exists, [9])).await, Err(conflict(Exists, None)));
    assert_eq!(one(&*store, append("a", Exact(0), [9])).await, Err(conflict(Exact(0), None)));
    one(&*store, append("a", NoStream, [1])).await.unwrap();
    assert_eq!(one(&*store, append("a", NoStream, [2])).await, Err(conflict(NoStream, Some(0))));
    one(&*store, append("a", Exact(0), [2])).await.unwrap();
    one(&*store, append("a", Exists, [3])).await.unwrap();
    assert_eq!(one(&*store, append("a", Exact(1), [4])).await, Err(conflict(Exact(1), Some(2))));
    assert_eq!(one(&*store, append("a", Exact(9), [4])).await, Err(conflict(Exact(9), Some(2))));
    assert_eq!(
        one(&*store, append("a", Exact(u64::MAX), [4])).await,
        Err(conflict(Exact(u64::MAX), Some(2)))
    );
    one(&*store, append("a", Any, [4])).await.unwrap();
    assert_eq!(stream_ids(&*store, "a").await, [1, 2, 3, 4]);
}

async fn any_drops_duplicates_one_by_one(store: Arc<dyn EventStore>) {
    let first = one(&*store, append("a", Any, [1, 2, 3])).await.unwrap();
    let mixed = one(&*store, append("a", Any, [2, 4, 3, 5])).await.unwrap();
    assert_eq!((mixed.revision, mixed.appended, mixed.duplicates), (4, 2, 2));
    assert!(mixed.position > first.position);
    let again = one(&*store, append("a", Any, [3, 1])).await.unwrap();
    assert_eq!(again, Appended { revision: 2, position: first.position, appended: 0, duplicates: 2 });
    // The same id in another stream is another event.
    assert_eq!(one(&*store, append("b", Any, [1])).await.unwrap().appended, 1);
    assert_eq!(stream_ids(&*store, "a").await, [1, 2, 3, 4, 5]);
}

async fn the_same_append_again_is_a_success(store: Arc<dyn EventStore>) {
    for (expected, events) in [(NoStream, [1, 2]), (Exact(1), [3, 4]), (Exists, [5, 6])] {
        let first = one(&*store, append("a", expected, events)).await.unwrap();
        let again = one(&*store, append("a", expected, events)).await.unwrap();
        assert_eq!(again, Appended { appended: 0, duplicates: 2, ..first }, "{expected:?}");
    }
    // Not the same: another order, another place, only in part, or new events beside old ones.
    for (expected, events) in [
        (NoStream, vec![2, 1]),
        (NoStream, vec![3]),
        (Exact(1), vec![3, 9]),
        (Exact(3), vec![3, 4]),
        (Exact(5), vec![7, 1]),
        (Exists, vec![6, 7]),
        (Exists, vec![1, 3]),
    ] {
        let answer = one(&*store, append("a", expected, events.clone())).await;
        assert_eq!(answer.unwrap_err().actual, Some(5), "{expected:?} {events:?}");
    }
    assert_eq!(stream_ids(&*store, "a").await, [1, 2, 3, 4, 5, 6]);
}

async fn one_conflict_leaves_the_others_alone(store: Arc<dyn EventStore>) {
    let batch = vec![
        append("a", NoStream, [1, 2]),
        append("b", Exact(5), [3]),
        append("a", Exact(1), [4]),
        append("a", Exact(1), [5]),
        append("c", Any, [6, 7]),
        append("a", Any, [4, 8]),
    ];
    let answers = store.append(batch).await.unwrap();
    let new: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().map(|done| done.appended)).collect();
    assert_eq!(new, [Some(2), None, Some(1), None, Some(2), Some(1)]);
    assert_eq!(stream_ids(&*store, "a").await, [1, 2, 4, 8]);
    assert!(!store.read_stream("b", None, Forwards, 1).await.unwrap().exists);
    assert_eq!(store.append(Vec::new()).await.unwrap(), []);
}

async fn pages_of_a_stream(store: Arc<dyn EventStore>) {
    for id in 0..100 {
        one(&*store, append("a", Any, [id])).await.unwrap();
        one(&*store, append("b", Any, [id])).await.unwrap();
    }
    let (mut at, mut seen) = (Some(0), Vec::new());
    while let Some(from) = at {
        let page = store.read_stream("a", Some(from), Forwards, 7).await.unwrap();
        assert!(page.events.len() <= 7 && page.exists);
        seen.extend(ids(&page.events));
        at = page.next;
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    let (mut at, mut seen) = (None, Vec::new());
    loop {
        let page = store.read_stream("a", at, Backwards, 9).await.unwrap();
        seen.extend(ids(&page.events));
        at = page.next;
        if at.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..100).rev().collect::<Vec<_>>());
    let beyond = store.read_stream("a", Some(100), Forwards, 5).await.unwrap();
    assert!(beyond.events.is_empty() && beyond.exists && beyond.next.is_none());
    let from_beyond = store.read_stream("a", Some(500), Backwards, 2).await.unwrap();
    assert_eq!((ids(&from_beyond.events), from_beyond.next), (vec![99, 98], Some(97)));
    let inclusive = store.read_stream("a", Some(5), Backwards, 1).await.unwrap();
    assert_eq!((ids(&inclusive.events), inclusive.next), (vec![5], Some(4)));
}

/// 60 events each of x-, y- and z-streams, mixed; gives all in order.
async fn mixed(store: &dyn EventStore) -> Vec<Recorded> {
    for id in 0..60 {
        let batch = ["x-1", "y-1", "z-1"].map(|stream| append(stream, Any, [id])).to_vec();
        store.append(batch).await.unwrap();
    }
    let mut all = Vec::new();
    let mut at = Some(0);
    while let Some(from) = at {
        let page = store.read_all(Some(Position(from)), Forwards, &Filter::default(), 11).await.unwrap();
        all.extend(page.events);
        at = page.next;
    }
    assert_eq!(all.len(), 180);
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
    all
}

async fn pages_of_all(store: Arc<dyn EventStore>) {
    let all = mixed(&*store).await;
    for (filter, wanted) in [
        (Filter::default(), &["x-", "y-", "z-"][..]),
        (Filter::streams(&["x-"]), &["x-"]),
        (Filter::streams(&["z-", "x-1"]), &["x-", "z-"]),
        (Filter::streams(&["none-"]), &[]),
    ] {
        let admitted = |event: &&Recorded| wanted.iter().any(|prefix| event.stream.starts_with(prefix));
        let expected: Vec<_> = all.iter().filter(admitted).cloned().collect();
        for direction in [Forwards, Backwards] {
            let (mut at, mut seen) = (None, Vec::new());
            loop {
                let page = store.read_all(at, direction, &filter, 8).await.unwrap();
                seen.extend(page.events);
                at = page.next.map(Position);
                if at.is_none() {
                    break;
                }
            }
            if direction == Backwards {
                seen.reverse();
            }
            assert_eq!(seen, expected, "{filter:?} {direction:?}");
        }
    }
    // From every event and the places around it: forwards inclusive, backwards exclusive.
    for (at, event) in all.iter().enumerate().step_by(7) {
        for (shift, first) in [(0, at), (1, at + 1)] {
            let from = Some(Position(event.position.0 + shift));
            let page = store.read_all(from, Forwards, &Filter::default(), 1).await.unwrap();
            assert_eq!(page.events.first(), all.get(first));
            let page = store.read_all(from, Backwards, &Filter::default(), 1).await.unwrap();
            assert_eq!(page.events.first(), first.checked_sub(1).and_then(|last| all.get(last)));
        }
    }
}

async fn subscriptions_to_all(store: Arc<dyn EventStore>) {
    let mut early = store.subscribe_all(None, Filter::default());
    assert_eq!(next(&mut *early).await, Message::CaughtUp(None));
    let all = mixed(&*store).await;
    for (after, rest) in
        [(None, &all[..]), (Some(all[20].position), &all[21..]), (Some(all[179].position), &[])]
    {
        let mut subscription = store.subscribe_all(after, Filter::default());
        let (told, at) = until_caught_up(&mut *subscription).await;
        assert_eq!((told.as_slice(), at), (rest, Some(all[179].position)));
    }
    let mut told = Vec::new();
    while told.len() < all.len() {
        if let Message::Events(events) = next(&mut *early).await {
            told.extend(events);
        }
    }
    assert_eq!(told, all);

    // Live, filtered: what does not pass is told by checkpoints that never go back.
    let mut filtered = store.subscribe_all(None, Filter::streams(&["y-"]));
    assert_eq!(until_caught_up(&mut *filtered).await.0.len(), 60);
    for id in 100..140 {
        one(&*store, append("x-1", Any, [id])).await.unwrap();
    }
    let mut marks = vec![all[179].position];
    let Message::Checkpoint(at) = next(&mut *filtered).await else { panic!("no checkpoint") };
    marks.push(at);
    let last = one(&*store, append("y-1", Any, [500])).await.unwrap();
    loop {
        match next(&mut *filtered).await {
            Message::Events(events) => {
                assert_eq!((ids(&events), events[0].position), (vec![500], last.position));
                break;
            }
            Message::Checkpoint(at) => marks.push(at),
            Message::CaughtUp(_) => {}
        }
    }
    assert!(
        marks.len() > 1 && marks.is_sorted() && marks.windows(2).all(|pair| pair[0] < pair[1]),
        "{marks:?}"
    );
    assert!(marks.last() < Some(&last.position));
}

/// Of x-streams only the first events and those of one type: everywhere where a filter is taken.
async fn sparse_streams(store: Arc<dyn EventStore>) {
    let mut all = mixed(&*store).await;
    let mut special = append("x-1", Any, [70]);
    special.events[0].event_type = "Special".into();
    one(&*store, special).await.unwrap();
    all.extend(store.read_stream("x-1", Some(60), Forwards, 1).await.unwrap().events);
    let filter = Filter::streams(&["x-", "y-"]).sparsely("x-", &["Special"]);
    all.retain(|it| it.stream.starts_with("y-") || (&*it.stream == "x-1" && [0, 60].contains(&it.revision)));
    assert_eq!(all.len(), 62);
    assert_eq!(store.read_all(None, Forwards, &filter, 1_000).await.unwrap().events, all);
    assert_eq!(until_caught_up(&mut *store.subscribe_all(None, filter)).await.0, all);
}

async fn subscriptions_to_a_stream(store: Arc<dyn EventStore>) {
    let mut unborn = store.subscribe_stream("y-1", None);
    assert!(matches!(next(&mut *unborn).await, Message::CaughtUp(_)));
    mixed(&*store).await;
    let mut late = store.subscribe_stream("y-1", Some(49));
    let (told, _) = until_caught_up(&mut *late).await;
    assert_eq!(ids(&told), (50..60).collect::<Vec<_>>());
    one(&*store, append("y-10", Any, [1])).await.unwrap();
    one(&*store, append("y-1", Any, [77])).await.unwrap();
    for (subscription, wanted) in [(&mut unborn, 0..60), (&mut late, 0..0)] {
        let wanted: Vec<u128> = wanted.chain([77]).collect();
        let mut told = Vec::new();
        while told.len() < wanted.len() {
            if let Message::Events(events) = next(&mut **subscription).await {
                told.extend(ids(&events));
            }
        }
        assert_eq!(told, wanted);
    }
}

async fn misuse_is_refused_and_writes_nothing(store: Arc<dyn EventStore>) {
    for bad in [append("a", Any, []), append("a", Any, [1, 2, 1])] {
        let answer = store.append(vec![append("b", Any, [1]), bad]).await;
        assert!(matches!(answer, Err(Error::Invalid { .. })), "{answer:?}");
    }
    assert_eq!(store.head().await.unwrap(), None);
    assert!(store.writable().is_ok());
}

macro_rules! on_every_store {
    ($($law:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $law() {
            super::$law(super::memory().store).await;
        })* }
        mod on_embedded { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $law() {
            let fresh = super::embedded();
            super::$law(fresh.store.clone()).await;
        })* }
        mod on_kurrent { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $law() {
            let fresh = super::kurrent().await;
            super::$law(fresh.store.clone()).await;
        })* }
    };
}

on_every_store!(
    appends_and_reads_back,
    expected_revisions,
    any_drops_duplicates_one_by_one,
    the_same_append_again_is_a_success,
    one_conflict_leaves_the_others_alone,
    pages_of_a_stream,
    pages_of_all,
    subscriptions_to_all,
    sparse_streams,
    subscriptions_to_a_stream,
    misuse_is_refused_and_writes_nothing,
);
