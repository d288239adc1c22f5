//! What a group reads, and what it keeps of it.

use bytes::Bytes;

use super::*;
use crate::domain::event::{ExpectedRevision, NewEvent};
use crate::domain::id::EventId;
use crate::store::Append;
use crate::store::memory::MemoryStore;
use crate::wire::groups::config::{Key, Settings};
use crate::wire::proto::event_store::client::persistent_subscriptions as wire;

pub(in crate::wire::groups) fn config(follows: Followed, change: impl FnOnce(&mut wire::Settings)) -> Config {
    let key = Key { follows, group: "g".to_owned() };
    let mut settings = wire::Settings {
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        ..wire::Settings::default()
    };
    change(&mut settings);
    let settings = Settings::of(&key, settings).unwrap();
    Config { key, after: None, start_from: String::new(), filter: None, settings }
}

pub(in crate::wire::groups) fn put(
    store: &MemoryStore,
    stream: &str,
    event_type: &str,
    data: Bytes,
    metadata: &'static [u8],
) {
    let id = EventId(uuid::Uuid::new_v4());
    let metadata = Bytes::from_static(metadata);
    let event = NewEvent { id, event_type: event_type.into(), data, metadata };
    let append = Append { stream: stream.to_owned(), expected: ExpectedRevision::Any, events: vec![event] };
    store.append_now(vec![append]).unwrap().remove(0).unwrap();
}

/// What is read at once.
async fn read(store: &MemoryStore, config: Config) -> Read {
    let store: Arc<dyn EventStore> = Arc::new(store.clone());
    let mut following = Following::begin(&store, &Arc::new(config), None).await.unwrap();
    following.next().await.unwrap()
}

fn stream(name: &str) -> Followed {
    Followed::Stream(name.to_owned())
}

#[tokio::test]
async fn what_is_kept_is_its_own_and_not_the_block_that_it_came_in() {
    let store = MemoryStore::default();
    let block = Bytes::from(vec![b'7'; 256 << 10]);
    put(&store, "s", "Happened", block.slice(1_000..1_010), b"{}");
    let read = read(&store, config(stream("s"), |_| {})).await;
    let [event] = &read.events[..] else { panic!("{} events", read.events.len()) };
    let kept = event.event.event.as_ref().unwrap();
    assert_eq!((&*kept.data, &*kept.metadata, &*kept.stream), (&b"7777777777"[..], &b"{}"[..], "s"));
    assert!(!block.as_ptr_range().contains(&kept.data.as_ptr()), "holds 256 KiB for 10 bytes");
    assert_eq!(event.bytes, 10 + 2 + 1 + 8 + 256);
}

#[tokio::test]
async fn links_do_not_bring_more_at_once_than_there_is_room_for() {
    let store = MemoryStore::default();
    put(&store, "s", "Happened", Bytes::from(vec![b'7'; 300 << 10]), b"");
    for _ in 0..20 {
        put(&store, "l", "$>", Bytes::from_static(b"0@s"), b"");
    }
    let store: Arc<dyn EventStore> = Arc::new(store);
    let config = Arc::new(config(stream("l"), |settings| settings.resolve_links = true));
    let mut following = Following::begin(&store, &config, None).await.unwrap();
    let mut places = Vec::new();
    while places.len() < 20 {
        let read = following.next().await.unwrap();
        assert!(read.events.len() <= 4, "{} events of 300 KiB", read.events.len());
        places.extend(read.events.iter().map(|event| event.place));
    }
    assert_eq!(places, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_too_old_for_a_reader_is_not_shared_either() {
    let store = MemoryStore::default();
    (0..3).for_each(|_| put(&store, "s", "Happened", Bytes::new(), b""));
    // The store in memory counts its events for a clock: all of them are old.
    put(&store, "$$s", "$metadata", Bytes::from_static(br#"{"$maxAge":60}"#), b"");
    let source: Arc<dyn EventStore> = Arc::new(store.clone());
    let config = Arc::new(config(stream("s"), |_| {}));
    let mut following = Following::begin(&source, &config, None).await.unwrap();
    put(&store, "s", "Happened", Bytes::new(), b"");
    let mut places = Vec::new();
    while places.is_empty() {
        places.extend(following.next().await.unwrap().events.iter().map(|event| event.place));
    }
    assert_eq!(places, [3], "what comes later is told, whatever its age");
}

#[tokio::test]
async fn what_belongs_together_is_pinned_alike_whatever_its_content_type() {
    let store = MemoryStore::default();
    let octets = b"\0{\"$correlationId\":\"c-1\"}";
    for (name, metadata) in [
        ("s", &octets[..]),
        ("t", &octets[..]),
        ("u", &octets[1..]),
        ("v", &b"\0{\"$correlationId\":\"c-2\"}"[..]),
    ] {
        put(&store, name, "Happened", Bytes::from_static(b"\xff"), metadata);
    }
    let by = |strategy: &'static str| {
        config(Followed::All, |settings| strategy.clone_into(&mut settings.consumer_strategy))
    };
    let pins = async |strategy| {
        read(&store, by(strategy)).await.events.iter().map(|event| event.pin).collect::<Vec<_>>()
    };
    let pinned = pins("PinnedByCorrelation").await;
    assert_eq!((pinned[0], pinned[0]), (pinned[1], pinned[2]));
    assert_ne!(pinned[0], pinned[3]);
    let by_stream = pins("Pinned").await;
    assert_ne!(by_stream[0], by_stream[1]);
}
