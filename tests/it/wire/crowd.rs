//! Many clients at once: those who take nothing are cut off and free what they held, the others notice nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use intentd::wire::Options;
use intentd::wire::proto::event_store::client::streams::ReadReq;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::streams_client::StreamsClient;
use tonic::Code;

use super::{any, append_requests, channel, followed, of_all, proposed, world_over};

/// More than a client's window holds.
const EVENTS: u128 = 6_000;
const SLOW: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_cut_off_and_the_others_go_on() {
    let options =
        Options { subscriptions_max: SLOW + 1, slow_after: Duration::from_millis(300), ..Options::default() };
    let mut world = world_over(Arc::new(super::MemoryStore::default()), options).await;
    let large = |number| {
        let mut event = proposed(number);
        event.data = Bytes::from(vec![b'7'; 1 << 10]);
        event
    };
    for first in (0..EVENTS).step_by(1_000) {
        let requests = append_requests("s", any(), (first..first + 1_000).map(large));
        world.client.append(tokio_stream::iter(requests)).await.unwrap();
    }
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut client = StreamsClient::new(channel(world.server.address()).await);
        let request = ReadReq { options: Some(followed(of_all())) };
        slow.push((client.read(request).await.unwrap().into_inner(), client));
    }
    let mut quick = world.call(followed(of_all())).await.unwrap();
    let mut seen = 0;
    while seen < EVENTS {
        let message = quick.message().await.unwrap().unwrap();
        seen += u128::from(matches!(message.content, Some(Content::Event(_))));
    }
    // All seats are taken; those of the slow ones come free.
    let mut others = Vec::new();
    while others.len() < SLOW {
        match world.call(followed(of_all())).await {
            Ok(other) => others.push(other),
            Err(refused) => assert_eq!(refused.message(), "Server Is Too Busy"),
        }
        tokio::task::yield_now().await;
    }
    // What they do not take would fill the window that all calls of this client share.
    drop(others);
    for (mut messages, _client) in slow {
        let ended = loop {
            match messages.message().await {
                Ok(message) => assert!(message.is_some(), "a subscription does not end well"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended.code(), Code::Aborted);
        assert!(ended.message().contains("Consumer too slow"), "{ended}");
    }
    world.put("s", [u128::MAX]).await;
    loop {
        let message = quick.message().await.unwrap().unwrap();
        if super::ids(&message.content.into_iter().collect::<Vec<_>>()) == [u128::MAX] {
            break;
        }
    }
}
