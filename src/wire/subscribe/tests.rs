//! What a subscription tells, and when it waits with others.

use super::*;
use crate::domain::event::{ExpectedRevision, NewEvent};
use crate::domain::id::EventId;
use crate::store::Append;
use crate::store::memory::MemoryStore;
use crate::wire::convert::Ids;
use crate::wire::filter::tests::prefixed;
use crate::wire::read::tests::{linked, links};
use crate::wire::{Options, Ports};

struct World {
    app: Arc<App>,
    number: u128,
    _stop: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let (stop, stopping) = watch::channel(false);
        let ports = Ports { store: Arc::new(MemoryStore::default()), owned: &[] };
        let app = App::new(ports, Options::default(), stopping).await.unwrap();
        Self { app, number: 0, _stop: stop }
    }

    async fn put(&mut self, stream: &str, bytes: usize) {
        self.number += 1;
        let event = NewEvent {
            id: EventId(Uuid::from_u128(self.number)),
            event_type: "Happened".into(),
            data: vec![b'7'; bytes].into(),
            metadata: Vec::new().into(),
        };
        let append =
            Append { stream: stream.to_owned(), expected: ExpectedRevision::Any, events: vec![event] };
        self.app.store.append(vec![append]).await.unwrap().remove(0).unwrap();
    }

    async fn follow(&self, prefix: Option<&str>, stream: Option<&str>) -> Subscriber {
        let manner = Manner { ids: Ids::Text, resolve_links: false, tell_ends: false };
        match stream {
            Some(stream) => Subscriber::to_stream(&self.app, stream, After::Start, manner).await.unwrap(),
            None => {
                let wanted = prefix.map(|prefix| prefixed(&[prefix], 3));
                Subscriber::to_all(&self.app, After::Start, wanted, manner).await.unwrap()
            }
        }
    }
}

/// What is told next: revisions, `at` for checkpoints, `live` for "caught up"; and whether it waits with others then.
async fn next(subscriber: &mut Subscriber) -> (String, bool) {
    let told = tokio::time::timeout(Duration::from_secs(60), subscriber.step()).await;
    let told = told.expect("told within a minute").unwrap().unwrap();
    let word = |message: ReadResp| {
        let content = message.content.unwrap();
        if let Content::Event(event) = content {
            return event.event.unwrap().stream_revision.to_string();
        }
        (if matches!(content, Content::Checkpoint(_)) { "at" } else { "live" }).to_owned()
    };
    let words: Vec<String> = told.into_iter().map(word).collect();
    (words.join(" "), matches!(subscriber.way, Way::Together(_)))
}

fn said(words: &str, together: bool) -> (String, bool) {
    (words.to_owned(), together)
}

#[tokio::test(start_paused = true)]
async fn history_is_read_alone_and_the_end_is_waited_for_together() {
    let mut world = World::new().await;
    world.put("a", 9).await;
    world.put("b", 9).await;
    let (mut filtered, mut one) = (world.follow(Some("a"), None).await, world.follow(None, Some("b")).await);
    let mut all = world.follow(None, None).await;
    assert_eq!(next(&mut filtered).await, said("0", false));
    assert_eq!(next(&mut filtered).await, said("at live", true));
    assert_eq!((next(&mut one).await, next(&mut one).await), (said("0", false), said("live", true)));
    assert_eq!((next(&mut all).await, next(&mut all).await), (said("0 0", false), said("live", false)));
    for (stream, revision) in [("a", 1), ("b", 1), ("b", 2)] {
        world.put(stream, 9).await;
        assert_eq!(next(&mut all).await, said(&revision.to_string(), false), "gains nothing");
        if stream == "b" {
            assert_eq!(next(&mut one).await, said(&revision.to_string(), true));
        }
    }
    assert_eq!(next(&mut filtered).await, said("1", true));
    for _ in 0..3 {
        world.put("b", 9).await;
    }
    assert_eq!(next(&mut filtered).await, said("at", true), "of what did not pass, after a while");
}

/// The next events told, by revision.
async fn revisions(subscriber: &mut Subscriber, count: usize) -> Vec<u64> {
    let mut told = Vec::new();
    while told.len() < count {
        let words = next(subscriber).await.0;
        told.extend(words.split(' ').filter_map(|word| word.parse::<u64>().ok()));
    }
    told
}

/// It has come to the end, and others hear of more (for it, or for somebody else) before it joins them.
async fn joins_late(prefix: Option<&str>, stream: Option<&str>, between: &str, expected: &str) {
    let mut world = World::new().await;
    let mut waiting = world.follow(Some(""), None).await;
    assert_eq!(next(&mut waiting).await, said("live", true));
    let mut late = world.follow(prefix, stream).await;
    let Way::Alone(inner) = &mut late.way else { panic!() };
    assert_eq!(inner.next().await.unwrap().unwrap(), Message::CaughtUp(None));
    world.put(between, 9).await;
    world.put(between, 9).await;
    assert_eq!(revisions(&mut waiting, 2).await, [0, 1]);
    assert_eq!(late.said(Message::CaughtUp(None)).await.len(), 1, "live");
    assert!(late.seat.is_some() && matches!(late.way, Way::Alone(_)));
    if between == "b" {
        let told = tokio::time::timeout(Duration::from_millis(1), late.step()).await;
        assert!(told.is_err(), "{told:?}: it is live since long");
    }
    world.put("a", 9).await;
    revisions(&mut waiting, 1).await;
    let mut told = Vec::new();
    while told.concat() != expected {
        let words = next(&mut late).await.0;
        told.extend(words.split(' ').filter(|word| *word != "at").map(str::to_owned));
        assert!(told.len() < 9, "{told:?}");
    }
    assert!(late.seat.is_none() && matches!(late.way, Way::Together(_)), "{stream:?}");
    world.put("a", 9).await;
    assert_eq!(revisions(&mut late, 1).await, [expected.len() as u64]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_it_joins_is_told_once() {
    for (prefix, stream) in [(Some("a"), None), (None, Some("a"))] {
        joins_late(prefix, stream, "a", "012").await;
        joins_late(prefix, stream, "b", "0").await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_for_the_others_misses_nothing_and_comes_back() {
    const EVENTS: u64 = 20;
    for (prefix, stream) in [(Some("a"), None), (None, Some("a"))] {
        let mut world = World::new().await;
        let mut slow = world.follow(prefix, stream).await;
        let mut quick = world.follow(prefix, stream).await;
        assert_eq!((next(&mut slow).await, next(&mut quick).await), (said("live", true), said("live", true)));
        for revision in 0..EVENTS {
            world.put("a", 9).await;
            assert_eq!(revisions(&mut quick, 1).await, [revision]);
        }
        assert_eq!(revisions(&mut slow, EVENTS as usize).await, (0..EVENTS).collect::<Vec<_>>());
        assert!(next(&mut slow).await.0.ends_with("live"), "again");
        assert!(matches!(slow.way, Way::Alone(_)) && matches!(quick.way, Way::Together(_)), "not at once");
        // Only others are told of this.
        world.put("b", 9).await;
        let nothing = tokio::time::timeout(ALONE_FOR + Duration::from_millis(1), slow.step()).await;
        assert!(nothing.is_err() && matches!(slow.way, Way::Together(_)), "{nothing:?}");
        world.put("a", 100_000).await;
        assert_eq!(revisions(&mut slow, 1).await, [EVENTS]);
        assert_eq!(revisions(&mut quick, 1).await, [EVENTS]);
        assert!(matches!(slow.way, Way::Together(_)), "one large event is told together, too");
    }
}

#[tokio::test(start_paused = true)]
async fn links_do_not_bring_more_at_once_than_should_be_held() {
    let manner = Manner { ids: Ids::Text, resolve_links: true, tell_ends: false };
    for (prefix, is_together) in [(None, false), (None, true), (Some("l"), false), (Some("l"), true)] {
        let world = World::new().await;
        let put = |append| world.app.store.append(vec![append]);
        put(linked()).await.unwrap().remove(0).unwrap();
        let follow = async || match prefix {
            None => Subscriber::to_stream(&world.app, "l", After::Start, manner).await.unwrap(),
            Some(prefix) => {
                // A checkpoint behind every event.
                let wanted = Some(prefixed(&[prefix], 1));
                Subscriber::to_all(&world.app, After::Start, wanted, manner).await.unwrap()
            }
        };
        let mut subscriber = if is_together {
            let mut waiting = follow().await;
            while !matches!(waiting.way, Way::Together(_)) {
                waiting.step().await.unwrap();
            }
            put(links(30)).await.unwrap().remove(0).unwrap();
            waiting
        } else {
            put(links(30)).await.unwrap().remove(0).unwrap();
            follow().await
        };
        let mut revisions = Vec::new();
        while revisions.len() < 30 {
            let told: Vec<_> = subscriber.step().await.unwrap().unwrap();
            let link = |message: ReadResp| {
                let Content::Event(event) = message.content? else { return None };
                event.link.map(|link| link.stream_revision)
            };
            let told: Vec<u64> = told.into_iter().filter_map(link).collect();
            assert!(told.len() <= 4, "{} events of 300 KiB", told.len());
            revisions.extend(told);
        }
        assert_eq!(revisions, (0..30).collect::<Vec<_>>(), "{prefix:?} {is_together}");
    }
}
