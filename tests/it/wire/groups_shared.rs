//! How groups share events among consumers, give them again, and lead through links; who holds a place and who does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use intentd::store::memory::MemoryStore;
use intentd::wire::Options as WireOptions;
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::persistent_subscriptions::read_req::{
    nack::Action, options::StreamOption as ReadFrom,
};
use intentd::wire::proto::event_store::client::persistent_subscriptions::read_resp::{Content, ReadEvent};
use intentd::wire::proto::event_store::client::persistent_subscriptions::{
    AllOptions, Options, Position, Settings, all_options, options, settings as chosen,
};
use intentd::wire::proto::event_store::client::streams::read_req::{FilterOptions, filter_options};
use tonic::Code;

use super::groups::{Consumer, client, create, of, replay, settings, start, told, until};
use super::rust_client::soon;
use super::{any, append_requests, id, proposed, world, world_over};

fn timeout(ms: i32) -> Option<chosen::MessageTimeout> {
    Some(chosen::MessageTimeout::MessageTimeoutMs(ms))
}

async fn event(consumer: &mut Consumer) -> ReadEvent {
    match consumer.told.message().await.unwrap().unwrap().content.unwrap() {
        Content::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_comes_again_and_is_parked_in_the_end() {
    let mut world = world().await;
    world.put("s", 0..2).await;
    let mut client = client(&world).await;
    let hasty = Settings { message_timeout: timeout(1), ..settings() };
    create(&mut client, of("s", "g", start(), hasty)).await.unwrap();
    let mut consumer = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    for wanted in [(0, 0), (0, 1), (0, 2), (1, 0)] {
        assert_eq!(soon(consumer.next()).await, wanted);
    }
    until(&mut client, "s", "g", |told| told.parked_message_count > 0).await;
}

#[tokio::test]
async fn what_is_pinned_goes_to_one_consumer_by_its_stream() {
    let mut world = world().await;
    let mut client = client(&world).await;
    let prefix =
        filter_options::Expression { prefix: vec!["p-".to_owned()], ..filter_options::Expression::default() };
    let filter = FilterOptions {
        filter: Some(filter_options::Filter::StreamIdentifier(prefix)),
        ..FilterOptions::default()
    };
    let all = AllOptions {
        all_option: Some(all_options::AllOption::Start(Empty {})),
        filter_option: Some(all_options::FilterOption::Filter(filter)),
    };
    let options = Options {
        stream_option: Some(options::StreamOption::All(all)),
        group_name: "g".to_owned(),
        settings: Some(Settings { consumer_strategy: "Pinned".to_owned(), ..settings() }),
        ..Options::default()
    };
    create(&mut client, options).await.unwrap();
    let mut one = Consumer::join(&mut client, ReadFrom::All(Empty {}), "g", 100).await.unwrap();
    let mut two = Consumer::join(&mut client, ReadFrom::All(Empty {}), "g", 100).await.unwrap();
    for round in 0..4 {
        for stream in 0..12 {
            world.put(&format!("p-{stream}"), [100 * stream + round]).await;
        }
    }
    let mut homes: BTreeMap<u128, BTreeSet<u8>> = BTreeMap::new();
    for _ in 0..48 {
        let (number, at) = soon(async {
            tokio::select! {
                got = one.next() => (got.0, 1),
                got = two.next() => (got.0, 2),
            }
        })
        .await;
        homes.entry(number / 100).or_default().insert(at);
    }
    assert_eq!(homes.len(), 12);
    assert!(homes.values().all(|at| at.len() == 1), "{homes:?}");
    assert_eq!(homes.values().flatten().collect::<BTreeSet<_>>().len(), 2, "{homes:?}");
}

#[tokio::test]
async fn what_goes_to_a_single_one_goes_to_the_next_only_when_that_is_full() {
    let mut world = world().await;
    let mut client = client(&world).await;
    let single = Settings { consumer_strategy: "DispatchToSingle".to_owned(), ..settings() };
    create(&mut client, of("s", "g", start(), single)).await.unwrap();
    let mut one = Consumer::of(&mut client, "s", "g", 3).await.unwrap();
    let mut two = Consumer::of(&mut client, "s", "g", 3).await.unwrap();
    world.put("s", 0..5).await;
    assert_eq!((one.some(3).await, two.some(2).await), (vec![0, 1, 2], vec![3, 4]));
    one.ack(&[1]).await;
    until(&mut client, "s", "g", |told| told.total_in_flight_messages == 4).await;
    world.put("s", [5]).await;
    assert_eq!(soon(one.next()).await, (5, 0));
}

#[tokio::test]
async fn what_was_parked_comes_back_as_it_was_first_seen() {
    let mut world = world().await;
    world.put("s", [1]).await;
    let mut link = proposed(10);
    link.metadata.insert("type".to_owned(), "$>".to_owned());
    link.data = Bytes::from_static(b"0@s");
    world.client.append(tokio_stream::iter(append_requests("l", any(), [link]))).await.unwrap();
    let mut client = client(&world).await;
    for (resolve_links, event_id, link_id) in [(true, id(1), id(10)), (false, id(10), None)] {
        let group = format!("g-{resolve_links}");
        create(&mut client, of("l", &group, start(), Settings { resolve_links, ..settings() }))
            .await
            .unwrap();
        let mut consumer = Consumer::of(&mut client, "l", &group, 1).await.unwrap();
        let ids = |event: ReadEvent| {
            let id = |event: Option<super::Recorded>| event.and_then(|event| event.id);
            (id(event.event), id(event.link))
        };
        let first = ids(event(&mut consumer).await);
        assert_eq!(first, (event_id, link_id));
        consumer.nack(&[10], Action::Park, "later").await;
        until(&mut client, "l", &group, |told| told.parked_message_count == 1).await;
        replay(&mut client, "l", &group).await;
        assert_eq!(ids(soon(event(&mut consumer)).await), first);
        consumer.ack(&[10]).await;
        soon(until(&mut client, "l", &group, |told| told.parked_message_count == 0)).await;
    }
}

#[tokio::test]
async fn who_says_nothing_or_is_cut_off_holds_no_place() {
    let options = WireOptions { subscriptions_max: 1, ..WireOptions::default() };
    let mut world = world_over(Arc::new(MemoryStore::default()), options).await;
    let mut wire = client(&world).await;
    // It never says which group it wants.
    let mut mute = client(&world).await;
    let silence = tokio::spawn(async move { mute.read(tokio_stream::pending()).await.map(drop) });
    let hasty = Settings { message_timeout: timeout(1), max_retry_count: 1_000, ..settings() };
    create(&mut wire, of("s", "g", start(), hasty)).await.unwrap();
    create(&mut wire, of("t", "g", start(), settings())).await.unwrap();
    // It takes the confirmation and then nothing: its window is full, its slots are, then too much waits.
    let mut slow = client(&world).await;
    let _slow = Consumer::of(&mut slow, "s", "g", 2).await.unwrap();
    let refused = Consumer::of(&mut wire, "t", "g", 2).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable, "there is one place");
    for number in 0..4 {
        let mut large = proposed(number);
        large.data = Bytes::from(vec![b'7'; 400 << 10]);
        world.client.append(tokio_stream::iter(append_requests("s", any(), [large]))).await.unwrap();
    }
    let another = async { while Consumer::of(&mut wire, "t", "g", 2).await.is_err() {} };
    soon(another).await;
    assert!(!silence.is_finished());
    silence.abort();
}

#[tokio::test]
async fn the_figures_say_who_consumes_and_how_much_since_somebody_looked() {
    let mut world = world().await;
    world.put("s", 0..3).await;
    let mut client = client(&world).await;
    create(&mut client, of("s", "g", start(), settings())).await.unwrap();
    let mut consumer = Consumer::of(&mut client, "s", "g", 10).await.unwrap();
    for (wanted, total) in [(3, 3), (0, 3), (2, 5)] {
        if total > 3 {
            world.put("s", 3..total).await;
        }
        consumer.some(wanted as usize).await;
        let known = told(&mut client, "s", "g").await.unwrap();
        let [one] = &known.connections[..] else { panic!("{known:?}") };
        assert!(one.from.starts_with("127.0.0.1:") && one.username.is_empty(), "{one:?}");
        let (wanted, total) = (i64::from(wanted), i64::try_from(total).unwrap());
        for counts in [
            (known.count_since_last_measurement, known.total_items),
            (one.count_since_last_measurement, one.total_items),
        ] {
            assert_eq!(counts, (wanted, total));
        }
    }
}

#[tokio::test]
async fn positions_that_no_event_can_have_are_refused() {
    let world = world().await;
    let mut client = client(&world).await;
    let at = |commit_position, prepare_position| {
        let at = Position { commit_position, prepare_position };
        let all = AllOptions {
            all_option: Some(all_options::AllOption::Position(at)),
            filter_option: Some(all_options::FilterOption::NoFilter(Empty {})),
        };
        Options {
            stream_option: Some(options::StreamOption::All(all)),
            group_name: format!("g-{commit_position}"),
            settings: Some(settings()),
            ..Options::default()
        }
    };
    for (commit, prepare) in [(3, 4), (1 << 63, 1 << 63)] {
        let refused = create(&mut client, at(commit, prepare)).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "Trying to read from an invalid position.")
        );
    }
    for (commit, prepare) in [(3, 3), (4, 0), (u64::MAX, u64::MAX)] {
        create(&mut client, at(commit, prepare)).await.unwrap();
    }
}
