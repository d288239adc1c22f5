//! Subscriptions.

use std::collections::VecDeque;

use intentd::wire::Options as WireOptions;
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::ReadResp;
use intentd::wire::proto::event_store::client::streams::read_req::Options;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use tonic::{Code, Streaming};

use super::read::filtered;
use super::{
    AllOptions, StreamOption, StreamOptions, World, all_options, followed, ids, of_all, of_stream, stream,
    stream_options, world, world_over,
};

async fn next(messages: &mut Streaming<ReadResp>) -> Content {
    messages.message().await.unwrap().expect("a subscription does not end").content.unwrap()
}

/// Begins, expects the confirmation, and gives what is told up to "caught up" and with it.
async fn until_live(world: &mut World, options: Options) -> (Vec<Content>, Streaming<ReadResp>) {
    let mut messages = world.call(followed(options)).await.unwrap();
    let first = next(&mut messages).await;
    assert!(matches!(first, Content::Confirmation(_)), "{first:?}");
    let mut told = Vec::new();
    loop {
        told.push(next(&mut messages).await);
        if let Some(Content::CaughtUp(_)) = told.last() {
            return (told, messages);
        }
    }
}

fn after(name: &str, at: stream_options::RevisionOption) -> Options {
    let options = StreamOptions { stream_identifier: stream(name), revision_option: Some(at) };
    Options { stream_option: Some(StreamOption::Stream(options)), ..of_all() }
}

#[tokio::test]
async fn a_stream_is_followed_from_before_it_exists() {
    use stream_options::RevisionOption::{End, Revision, Start};
    let mut world = world().await;
    let (told, mut early) = until_live(&mut world, after("s", Start(Empty {}))).await;
    let [Content::CaughtUp(caught_up)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(caught_up.stream_revision, None);
    world.put("s", 0..5).await;
    world.put("t", 50..60).await;
    for wanted in 0..5 {
        assert_eq!(ids(&[next(&mut early).await]), [wanted]);
    }
    for (at, wanted) in
        [(Start(Empty {}), vec![0, 1, 2, 3, 4]), (Revision(2), vec![3, 4]), (End(Empty {}), vec![])]
    {
        let (told, mut live) = until_live(&mut world, after("s", at)).await;
        assert_eq!(ids(&told), wanted, "{at:?}");
        let Some(Content::CaughtUp(caught_up)) = told.last() else { panic!() };
        assert_eq!((caught_up.stream_revision, caught_up.position), (Some(4), None));
        assert!(caught_up.timestamp.is_some());
        drop(live.message());
    }
    let (_, mut live) = until_live(&mut world, after("s", End(Empty {}))).await;
    world.put("s", [5]).await;
    assert_eq!((ids(&[next(&mut live).await]), ids(&[next(&mut early).await])), (vec![5], vec![5]));
}

#[tokio::test]
async fn metadata_hide_history_from_those_who_begin_later() {
    let mut world = world().await;
    world.put("s", 0..10).await;
    world.describe("s", r#"{"$tb":7}"#).await;
    let (told, _live) = until_live(&mut world, of_stream("s")).await;
    assert_eq!(ids(&told), [7, 8, 9]);
    // The store in memory counts its events for a clock: all of them are old.
    world.describe("s", r#"{"$maxAge":60}"#).await;
    let (told, mut live) = until_live(&mut world, of_stream("s")).await;
    assert_eq!(ids(&told), [0; 0]);
    world.put("s", [10]).await;
    assert_eq!(ids(&[next(&mut live).await]), [10], "what comes later is told");
}

#[tokio::test]
async fn all_is_followed_with_checkpoints_by_count() {
    let mut world = world().await;
    for number in 0..100 {
        world.put(if number % 10 == 0 { "a-1" } else { "b-1" }, [number]).await;
    }
    let (told, mut live) = until_live(&mut world, filtered(true, &["a-"], "", 25, of_all())).await;
    assert_eq!(ids(&told), (0..100).step_by(10).collect::<Vec<_>>());
    let positions: VecDeque<(bool, u64)> = told
        .iter()
        .filter_map(|message| match message {
            Content::Event(event) => Some((false, event.event.as_ref().unwrap().commit_position)),
            Content::Checkpoint(at) => Some((true, at.commit_position)),
            _ => None,
        })
        .collect();
    assert!(positions.iter().map(|(_, at)| at).is_sorted(), "{positions:?}");
    let marks: Vec<u64> = positions.iter().filter(|(mark, _)| *mark).map(|(_, at)| *at).collect();
    let head = world.store.head().await.unwrap().unwrap().0;
    assert_eq!(
        (marks.len(), marks.last()),
        (4, Some(&head)),
        "one every 25 considered, the last with going live"
    );
    let Some(Content::CaughtUp(caught_up)) = told.last() else { panic!() };
    assert_eq!(caught_up.position.map(|at| at.commit_position), Some(head));

    world.put("b-1", 200..224).await;
    world.put("a-1", [300]).await;
    assert_eq!(ids(&[next(&mut live).await]), [300]);
    let Content::Checkpoint(at) = next(&mut live).await else { panic!("no checkpoint after 25") };
    assert!(at.commit_position > head && at.timestamp.is_some());

    let from =
        all_options::AllOption::Position(super::Position { commit_position: head, prepare_position: head });
    let options = Options {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(from) })),
        ..filtered(false, &[], "^Happened$", 1_000, of_all())
    };
    let (told, _live) = until_live(&mut world, options).await;
    assert_eq!(ids(&told), (200..224).chain([300]).collect::<Vec<_>>(), "after the position, not at it");
}

#[tokio::test]
async fn a_stop_ends_subscriptions_with_an_error() {
    let mut world = world().await;
    world.put("s", [1]).await;
    let (_, mut live) = until_live(&mut world, of_all()).await;
    let World { server, client, .. } = world;
    server.stop().await;
    let ended = live.message().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "Server Is Not Ready"));
    drop(client);
}

#[tokio::test]
async fn there_are_no_more_subscriptions_than_allowed() {
    let options = WireOptions { subscriptions_max: 2, ..WireOptions::default() };
    let mut world = world_over(std::sync::Arc::new(super::MemoryStore::default()), options).await;
    let first = until_live(&mut world, of_all()).await;
    let _second = until_live(&mut world, of_all()).await;
    let refused = world.call(followed(of_all())).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "Server Is Too Busy"));
    drop(first);
    // The seat is free once the server has seen the client go.
    while world.call(followed(of_all())).await.is_err() {
        tokio::task::yield_now().await;
    }
}
