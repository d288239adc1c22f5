//! Many appends on one stream of messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use intentd::store::embedded::{Embedded, Options as StoreOptions};
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{Direction, EventStore};
use intentd::wire::Options as WireOptions;
use intentd::wire::proto::event_store::client::WrongExpectedVersion;
use intentd::wire::proto::event_store::client::streams::batch_append_req::{
    Options, ProposedMessage, options::DeadlineOption, options::ExpectedStreamPosition as Expected,
};
use intentd::wire::proto::event_store::client::streams::batch_append_resp::{self, success};
use intentd::wire::proto::event_store::client::streams::{BatchAppendReq, BatchAppendResp};
use intentd::wire::proto::event_store::client::wrong_expected_version as wrong;
use intentd::wire::proto::event_store::client::{
    BadRequest, Empty, MaximumAppendEventSizeExceeded, StreamDeleted, StreamIdentifier, uuid,
};
use prost::Message as _;

use super::delete::DeleteExpected;
use super::odd::Odd;
use super::rust_client::soon;
use super::{StreamsClient, World, id, keys, stream, world, world_over};

fn part(correlation: u128, to: Option<(&str, Expected)>, ids: &[u128], is_final: bool) -> BatchAppendReq {
    let message = |number: &u128| ProposedMessage {
        id: id(*number),
        metadata: keys("Happened"),
        custom_metadata: Bytes::new(),
        data: Bytes::from_static(b"{}"),
    };
    let options = to.map(|(name, expected)| Options {
        stream_identifier: stream(name),
        expected_stream_position: Some(expected),
        deadline_option: Some(DeadlineOption::Deadline(prost_types::Duration {
            seconds: 1_700_000_000,
            nanos: 0,
        })),
    });
    BatchAppendReq {
        correlation_id: id(correlation),
        options,
        proposed_messages: ids.iter().map(message).collect(),
        is_final,
    }
}

/// Sends all, ends, and gives the answers by correlation.
async fn answers(world: &mut World, parts: Vec<BatchAppendReq>) -> HashMap<u128, BatchAppendResp> {
    let mut told = world.client.batch_append(tokio_stream::iter(parts)).await.unwrap().into_inner();
    let mut answers = HashMap::new();
    while let Some(answer) = told.message().await.unwrap() {
        let Some(uuid::Value::String(text)) = answer.correlation_id.clone().unwrap().value else { panic!() };
        assert!(answer.stream_identifier.is_some(), "clients count on it");
        let before = answers.insert(::uuid::Uuid::parse_str(&text).unwrap().as_u128(), answer);
        assert!(before.is_none(), "answered twice");
    }
    answers
}

fn revision(answer: &BatchAppendResp) -> Option<u64> {
    match answer.result.as_ref()? {
        batch_append_resp::Result::Success(done) => match done.current_revision_option.as_ref()? {
            success::CurrentRevisionOption::CurrentRevision(revision) => Some(*revision),
            success::CurrentRevisionOption::NoStream(()) => None,
        },
        batch_append_resp::Result::Error(_) => None,
    }
}

fn error(answer: &BatchAppendResp) -> (i32, &str, &str, &[u8]) {
    let Some(batch_append_resp::Result::Error(error)) = &answer.result else { panic!("{answer:?}") };
    let details = error.details.as_ref().unwrap();
    (error.code, &error.message, &details.type_url, &details.value)
}

#[tokio::test]
async fn appends_begin_in_order_and_all_are_answered_after_the_end() {
    in_order(world().await).await;
    let uneven = Odd { uneven: true, ..Odd::default() };
    in_order(world_over(Arc::new(uneven), WireOptions::default()).await).await;
}

async fn in_order(mut world: World) {
    let mut parts = vec![part(1_000, Some(("s", Expected::NoStream(()))), &[0], true)];
    for number in 1..200_u128 {
        let expected = Expected::StreamPosition(number as u64 - 1);
        parts.push(part(1_000 + number, Some(("s", expected)), &[number], true));
    }
    let answers = answers(&mut world, parts).await;
    assert_eq!(answers.len(), 200);
    for (correlation, answer) in &answers {
        assert_eq!(revision(answer), Some((correlation - 1_000) as u64), "{answer:?}");
    }
    assert_eq!(world.ids("s").await, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn parts_of_one_append_are_one_append() {
    let mut world = world().await;
    let parts = vec![
        part(1, Some(("a", Expected::NoStream(()))), &[1, 2], false),
        part(2, Some(("b", Expected::Any(()))), &[3], false),
        part(1, None, &[4], false),
        part(2, None, &[], true),
        part(1, None, &[5], true),
        // Never finished: never written.
        part(3, Some(("c", Expected::Any(()))), &[6], false),
    ];
    let answers = answers(&mut world, parts).await;
    assert_eq!(answers.len(), 2);
    assert_eq!((revision(&answers[&1]), revision(&answers[&2])), (Some(3), Some(0)));
    assert_eq!(world.ids("a").await, [1, 2, 4, 5]);
    assert!(!world.store.read_stream("c", None, Direction::Forwards, 1).await.unwrap().exists);
}

#[tokio::test]
async fn one_failure_leaves_the_others_and_the_session_alone() {
    let mut world = world().await;
    world.put("s", [1]).await;
    let parts = vec![
        part(1, Some(("s", Expected::NoStream(()))), &[2], true),
        part(2, Some(("intent-1", Expected::Any(()))), &[3], true),
        part(3, Some(("s", Expected::StreamPosition(0))), &[4], true),
    ];
    let answers = answers(&mut world, parts).await;
    let (code, text, url, bytes) = error(&answers[&1]);
    assert_eq!((code, text), (6, "WrongExpectedVersion"));
    assert_eq!(url, "type.googleapis.com/event_store.client.WrongExpectedVersion");
    let detail = WrongExpectedVersion::decode(bytes).unwrap();
    assert_eq!(
        detail.current_stream_revision_option,
        Some(wrong::CurrentStreamRevisionOption::CurrentStreamRevision(0))
    );
    assert_eq!(
        detail.expected_stream_position_option,
        Some(wrong::ExpectedStreamPositionOption::ExpectedNoStream(()))
    );
    assert_eq!(error(&answers[&2]).1, "AccessDenied");
    assert_eq!(revision(&answers[&3]), Some(1));
}

#[tokio::test]
async fn closed_streams_and_passed_deadlines_are_named() {
    let store = MemoryStore::default();
    let mut world = world_over(Arc::new(store.clone()), WireOptions::default()).await;
    world.put("s", [1]).await;
    world.tombstone("s").await.unwrap();
    store.order_faults([Fault::Delay(Duration::from_secs(3_600))]);
    let mut late = part(2, Some(("t", Expected::Any(()))), &[3], true);
    late.options.as_mut().unwrap().deadline_option =
        Some(DeadlineOption::Deadline21100(prost_types::Timestamp { seconds: 1, nanos: 0 }));
    let parts = vec![late, part(1, Some(("s", Expected::Any(()))), &[2], true)];
    let answers = answers(&mut world, parts).await;
    let (code, text, _, bytes) = error(&answers[&1]);
    assert_eq!((code, text), (5, "StreamDeleted"));
    assert_eq!(StreamDeleted::decode(bytes).unwrap().stream_identifier, stream("s"));
    assert_eq!((error(&answers[&2]).0, error(&answers[&2]).1), (4, "Timeout"));
}

#[tokio::test]
async fn what_is_too_big_or_malformed_is_answered_by_its_name() {
    let options = WireOptions { append_bytes_max: 1_000, ..WireOptions::default() };
    let mut world = world_over(Arc::new(MemoryStore::default()), options).await;
    let mut nameless = part(2, Some(("s", Expected::Any(()))), &[1], true);
    nameless.proposed_messages[0].metadata.clear();
    let mut unexpecting = part(6, Some(("s", Expected::Any(()))), &[1], true);
    unexpecting.options.as_mut().unwrap().expected_stream_position = None;
    let mut unreadable = part(7, Some(("s", Expected::Any(()))), &[1], true);
    let name = StreamIdentifier { stream_name: Bytes::from_static(b"\xff") };
    unreadable.options.as_mut().unwrap().stream_identifier = Some(name);
    let parts = vec![
        part(1, Some(("s", Expected::Any(()))), &(0..20).collect::<Vec<_>>(), false),
        part(1, None, &[30], true),
        nameless,
        // Without options nobody knows where to; nor with half of them.
        part(4, None, &[1], false),
        part(4, None, &[2], true),
        part(5, Some(("", Expected::Any(()))), &[1], true),
        unexpecting,
        unreadable,
        part(3, Some(("s", Expected::Any(()))), &[40], true),
    ];
    let answers = answers(&mut world, parts).await;
    assert_eq!(error(&answers[&1]).1, "MaximumAppendSizeExceeded");
    assert_eq!(revision(&answers[&3]), Some(0));
    for (correlation, text) in [
        (2, "Required Metadata Property 'type' is missing"),
        (4, "a stream's name is missing"),
        (5, "a stream's name is missing"),
        (6, "the expected revision is missing"),
        (7, "a stream's name is not UTF-8"),
    ] {
        let (code, detail, _, bytes) = error(&answers[&correlation]);
        assert_eq!((code, detail), (3, "BadRequest"), "{correlation}");
        assert_eq!(BadRequest::decode(bytes).unwrap().message, text);
    }
    assert_eq!(&answers[&7].stream_identifier.as_ref().unwrap().stream_name[..], b"\xff");
}

#[tokio::test]
async fn an_event_that_is_too_big_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { event_bytes_max: 200, ..StoreOptions::default() };
    let store = Arc::new(Embedded::open(folder.path(), &options).unwrap());
    let mut world = world_over(store, WireOptions::default()).await;
    let mut large = part(1, Some(("s", Expected::Any(()))), &[1, 2], true);
    large.proposed_messages[1].data = Bytes::from(vec![b' '; 200]);
    let answers = answers(&mut world, vec![large]).await;
    let (code, text, url, bytes) = error(&answers[&1]);
    assert_eq!((code, text), (3, "MaximumAppendEventSizeExceeded"));
    assert_eq!(url, "type.googleapis.com/event_store.client.MaximumAppendEventSizeExceeded");
    let told = MaximumAppendEventSizeExceeded {
        event_id: ::uuid::Uuid::from_u128(2).to_string(),
        proposed_event_size: 257,
        max_append_event_size: 200,
    };
    assert_eq!(MaximumAppendEventSizeExceeded::decode(bytes).unwrap(), told);
}

#[tokio::test]
async fn what_cannot_be_answered_ends_the_session_after_what_can() {
    let slow = Odd { uneven: true, ..Odd::default() };
    let mut world = world_over(Arc::new(slow), WireOptions::default()).await;
    let parts = vec![part(1, Some(("s", Expected::Any(()))), &[1], true), BatchAppendReq::default()];
    let mut told = world.client.batch_append(tokio_stream::iter(parts)).await.unwrap().into_inner();
    assert_eq!(revision(&told.message().await.unwrap().unwrap()), Some(0));
    assert_eq!(told.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_keeps_nobody_waiting() {
    let store = Arc::new(Odd::default());
    let mut world = world_over(Arc::clone(&store) as Arc<dyn EventStore>, WireOptions::default()).await;
    let place = format!("http://{}", world.server.address());
    let endpoint = tonic::transport::Channel::from_shared(place).unwrap().initial_stream_window_size(1);
    let mut lazy = StreamsClient::new(endpoint.connect().await.unwrap());
    let (send, parts) = tokio::sync::mpsc::channel(8);
    let told = lazy.batch_append(tokio_stream::wrappers::ReceiverStream::new(parts)).await.unwrap();
    store.shut.send_replace(Some("b"));
    for (number, name) in [(1, "a"), (2, "b"), (3, "bb")] {
        send.send(part(number, Some((name, Expected::Any(()))), &[number], true)).await.unwrap();
    }
    soon(store.come.subscribe().wait_for(|come| *come == 3)).await.unwrap();
    // The first answer fills the window, the second one waits for it, and nobody asks for the third.
    soon(async { while world.ids("a").await.is_empty() {} }).await;
    store.shut.send_replace(Some("bb"));
    soon(async { while world.ids("b").await.is_empty() {} }).await;
    store.shut.send_replace(None);
    soon(async {
        world.delete("a", DeleteExpected::Any(Empty {})).await.unwrap();
        assert_eq!(world.put("c", [4]).await, 0);
        assert_eq!(world.ids("bb").await, [3]);
    })
    .await;
    drop((told, send));
}
