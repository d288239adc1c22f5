//! Appending one stream at a time.

use std::sync::Arc;

use bytes::Bytes;
use intentd::store::embedded::{Embedded, Options as StoreOptions};
use intentd::wire::Options;
use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::append_resp::{
    Result as Appended, success, wrong_expected_version as wrong,
};
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::{AppendReq, append_req};
use tonic::Code;

use super::{
    ExpectedStreamRevision as Expected, any, append_requests, of_stream, proposed, said, world, world_over,
};

#[tokio::test]
async fn what_is_appended_comes_back_whole() {
    let mut world = world().await;
    let mut octets = proposed(1);
    octets.metadata.insert("content-type".to_owned(), "application/octet-stream".to_owned());
    (octets.data, octets.custom_metadata) = (Bytes::from_static(b"\xff\0"), Bytes::from_static(b"mine"));
    let requests = append_requests("s", Expected::NoStream(Empty {}), [octets, proposed(2)]);
    let answer = world.client.append(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let Some(Appended::Success(done)) = answer.result else { panic!("{answer:?}") };
    assert_eq!(done.current_revision_option, Some(success::CurrentRevisionOption::CurrentRevision(1)));
    let Some(success::PositionOption::Position(at)) = done.position_option else { panic!("{done:?}") };
    let head = world.store.head().await.unwrap().unwrap().0;
    assert_eq!((at.commit_position, at.prepare_position), (head, head));

    let told = world.read(of_stream("s")).await.unwrap();
    let [Content::Event(first), Content::Event(second)] = &told[..] else { panic!("{told:?}") };
    let (first, second) = (first.event.as_ref().unwrap(), second.event.as_ref().unwrap());
    assert_eq!((&*first.data, &*first.custom_metadata), (&b"\xff\0"[..], &b"mine"[..]));
    assert_eq!(first.metadata["content-type"], "application/octet-stream");
    assert_eq!(
        (&*second.metadata["type"], &*second.metadata["content-type"]),
        ("Happened", "application/json")
    );
    assert_eq!((second.stream_revision, second.commit_position), (1, head));
    assert!(second.metadata["created"].parse::<i64>().unwrap() > 0);
}

#[tokio::test]
async fn a_wrong_revision_is_an_answer_for_both_generations_of_clients() {
    let mut world = world().await;
    world.put("s", [1, 2]).await;
    let Appended::WrongExpectedVersion(conflict) =
        world.append("s", Expected::NoStream(Empty {}), [3]).await.unwrap()
    else {
        panic!("appended")
    };
    assert_eq!(conflict.current_revision_option, Some(wrong::CurrentRevisionOption::CurrentRevision(1)));
    assert_eq!(
        conflict.current_revision_option_20_6_0,
        Some(wrong::CurrentRevisionOption2060::CurrentRevision2060(1))
    );
    assert_eq!(
        conflict.expected_revision_option,
        Some(wrong::ExpectedRevisionOption::ExpectedNoStream(Empty {}))
    );
    assert_eq!(
        conflict.expected_revision_option_20_6_0,
        Some(wrong::ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX))
    );
    let missing = world.append("none", Expected::Revision(7), [3]).await.unwrap();
    let Appended::WrongExpectedVersion(conflict) = missing else { panic!("{missing:?}") };
    assert_eq!(
        conflict.current_revision_option,
        Some(wrong::CurrentRevisionOption::CurrentNoStream(Empty {}))
    );
    // The same append again is the same success.
    assert_eq!(world.append("s", Expected::NoStream(Empty {}), [1, 2]).await.unwrap(), {
        world.append("s", any(), [1, 2]).await.unwrap()
    });
    assert_eq!(world.ids("s").await, [1, 2]);
}

#[tokio::test]
async fn nothing_to_append_is_answered_by_where_the_stream_ends() {
    let mut world = world().await;
    world.put("s", [1, 2]).await;
    for (name, revision) in [
        ("s", success::CurrentRevisionOption::CurrentRevision(1)),
        ("none", success::CurrentRevisionOption::NoStream(Empty {})),
    ] {
        let Appended::Success(done) = world.append(name, any(), []).await.unwrap() else { panic!("{name}") };
        assert_eq!(done.current_revision_option, Some(revision), "{name}");
    }
    let refused = world.append("s", Expected::Revision(5), []).await.unwrap();
    assert!(matches!(refused, Appended::WrongExpectedVersion(_)), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused_by_the_call() {
    let options = Options { append_bytes_max: 1_000, ..Options::default() };
    let mut world = world_over(Arc::new(super::MemoryStore::default()), options).await;
    let mut lacking = proposed(1);
    lacking.metadata.remove("content-type");
    let mut nameless = proposed(1);
    nameless.id = None;
    let mut large = proposed(1);
    large.data = Bytes::from(vec![b' '; 1_001]);
    let begins_badly = vec![AppendReq { content: Some(append_req::Content::ProposedMessage(proposed(1))) }];
    let cases = [
        (
            append_requests("s", any(), [lacking]),
            Code::InvalidArgument,
            "Required Metadata Property 'content-type' is missing",
            Some("missing-required-metadata-property"),
        ),
        (
            append_requests("s", any(), [large]),
            Code::InvalidArgument,
            "Maximum Append Size of 1000 Exceeded.",
            Some("maximum-append-size-exceeded"),
        ),
        (append_requests("s", any(), [nameless]), Code::InvalidArgument, "an id is missing", None),
        (
            append_requests("", any(), [proposed(1)]),
            Code::InvalidArgument,
            "a stream's name is missing",
            None,
        ),
        (
            append_requests(&"n".repeat(1_025), any(), [proposed(1)]),
            Code::InvalidArgument,
            "a stream's name has at most 1024 bytes",
            None,
        ),
        (begins_badly, Code::InvalidArgument, "an append begins with its options", None),
        (
            append_requests("intent-1", any(), [proposed(1)]),
            Code::PermissionDenied,
            "Access Denied",
            Some("access-denied"),
        ),
        (
            append_requests("$$intent-1", any(), [proposed(1)]),
            Code::PermissionDenied,
            "Access Denied",
            Some("access-denied"),
        ),
        (
            append_requests("$tombstones", any(), [proposed(1)]),
            Code::PermissionDenied,
            "Access Denied",
            Some("access-denied"),
        ),
    ];
    for (requests, code, text, exception) in cases {
        let refused = world.client.append(tokio_stream::iter(requests)).await.unwrap_err();
        assert_eq!(said(&refused, &["exception"]), (code, text, vec![exception]));
    }
    assert_eq!(world.store.head().await.unwrap(), None);
}

#[tokio::test]
async fn what_the_store_finds_too_big_is_named_with_its_trailers() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { event_bytes_max: 1_000, append_bytes_max: 5_000, ..StoreOptions::default() };
    let store = Arc::new(Embedded::open(folder.path(), &options).unwrap());
    let mut world = world_over(store, Options::default()).await;
    let of = |number, bytes| {
        let mut event = proposed(number);
        event.data = Bytes::from(vec![b' '; bytes]);
        event
    };
    let keys = [
        "exception",
        "event-id",
        "proposed-append-event-size",
        "maximum-append-event-size",
        "maximum-append-size",
    ];
    let requests = append_requests("s", any(), [of(1, 10), of(2, 1_000)]);
    let refused = world.client.append(tokio_stream::iter(requests)).await.unwrap_err();
    let (code, _, trailers) = said(&refused, &keys);
    assert_eq!(code, Code::InvalidArgument);
    let exception = Some("maximum-append-event-size-exceeded");
    let id = Some("00000000-0000-0000-0000-000000000002");
    // Beside its data it has a head of 48 bytes, its stream and its type.
    assert_eq!(trailers, [exception, id, Some("1057"), Some("1000"), None]);
    let requests = append_requests("s", any(), (0..6).map(|number| of(number, 900)));
    let refused = world.client.append(tokio_stream::iter(requests)).await.unwrap_err();
    let exception = Some("maximum-append-size-exceeded");
    let told = (
        Code::InvalidArgument,
        "Maximum Append Size of 5000 Exceeded.",
        vec![exception, None, None, None, Some("5000")],
    );
    assert_eq!(said(&refused, &keys), told);
    assert_eq!(world.put("s", [1]).await, 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_in_its_middle_writes_nothing() {
    let mut world = world().await;
    let (send, requests) = tokio::sync::mpsc::channel(8);
    for request in append_requests("s", any(), [proposed(1), proposed(2)]) {
        send.send(request).await.unwrap();
    }
    let mut other = world.client.clone();
    let calling = tokio::spawn(async move {
        other.append(tokio_stream::wrappers::ReceiverStream::new(requests)).await.map(drop)
    });
    // All of it has been taken from us when the last place is free again; then it goes before what follows.
    while send.capacity() < 8 {
        tokio::task::yield_now().await;
    }
    world.put("t", [3]).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    for number in 4..10 {
        world.put("t", [number]).await;
        assert!(world.ids("s").await.is_empty());
    }
}

#[tokio::test]
async fn clients_together_send_no_more_than_the_bound_and_all_come_to_their_end() {
    let options = Options { sent_bytes_max: 100 << 10, ..Options::default() };
    let world = world_over(Arc::new(super::MemoryStore::default()), options).await;
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..20_u128 {
        let mut client = super::StreamsClient::new(super::channel(world.server.address()).await);
        calls.spawn(async move {
            for round in 0..3 {
                let event = |number| {
                    let mut event = proposed(1_000 * call + 100 * round + number);
                    event.data = Bytes::from(vec![b' '; 8 << 10]);
                    event
                };
                // More than half of the bound.
                let requests = append_requests(&format!("s-{call}"), any(), (0..8).map(event));
                client.append(tokio_stream::iter(requests)).await.unwrap();
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let all = intentd::store::Filter::default();
    let page = world.store.read_all(None, intentd::store::Direction::Forwards, &all, 1_000).await.unwrap();
    assert_eq!(page.events.len(), 20 * 3 * 8);
}
