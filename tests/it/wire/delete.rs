//! Deleting for now and for ever.

use std::net::SocketAddr;

use intentd::wire::proto::event_store::client::Empty;
use intentd::wire::proto::event_store::client::streams::append_resp::Result as Appended;
use intentd::wire::proto::event_store::client::streams::delete_req::options::ExpectedStreamRevision as Expected;
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
use intentd::wire::proto::event_store::client::streams::{
    DeleteReq, TombstoneReq, delete_req, tombstone_req,
};
use intentd::wire::{Options, Ports, Running};
use tonic::{Code, Status};

use super::{
    ExpectedStreamRevision, StreamsClient, World, any, channel, followed, ids, of_all, of_stream, said,
    stream, world,
};

impl World {
    pub async fn delete(&mut self, name: &str, expected: Expected) -> Result<(), Status> {
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
    world.delete("s", Expected::Revision(1)).await.unwrap();
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
        ("s", Expected::Revision(7), ("7", "1")),
        ("s", Expected::NoStream(Empty {}), ("-1", "1")),
        ("none", Expected::Any(Empty {}), ("-2", "-1")),
        ("none", Expected::StreamExists(Empty {}), ("-4", "-1")),
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
                world.delete(name, Expected::Any(Empty {})).await.unwrap_err(),
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
            let World { store, server, .. } = world;
            server.stop().await;
            let ports = Ports { store: store.clone(), owned: &[] };
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Running::start(any, Options::default(), ports).await.unwrap();
            let client = StreamsClient::new(channel(server.address()).await);
            world = World { store, server, client };
        }
    }
}

#[tokio::test]
async fn the_daemons_streams_cannot_be_deleted() {
    let mut world = world().await;
    for refused in [
        world.delete("intent-1", Expected::Any(Empty {})).await.unwrap_err(),
        world.tombstone("intent-1").await.unwrap_err(),
        world.delete("$$s", Expected::Any(Empty {})).await.unwrap_err(),
    ] {
        assert_eq!(said(&refused, &["exception"]).2, [Some("access-denied")]);
    }
}
