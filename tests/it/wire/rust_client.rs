//! The official Rust client against our server, plain and over TLS with users: append, read, subscribe, fail, delete, consume.

use std::ops::Range;
use std::time::Duration;

use ::uuid::Uuid;
use bytes::Bytes;
use futures_util::future::join_all;
use intentd::wire::Options;
use kurrentdb::{
    AppendToStreamOptions, CaughtUp, Client, CurrentRevision, DeleteStreamOptions, Error, EventData,
    Position, ReadAllOptions, ReadStream, ReadStreamOptions, ResolvedEvent, StreamMetadataBuilder,
    StreamMetadataResult, StreamPosition, StreamState, SubscribeToAllOptions, SubscribeToStreamOptions,
    Subscription, SubscriptionEvent, SubscriptionFilter, TombstoneStreamOptions, WriteResult,
};
use serde_json::{Value, json};

use super::rust_client_groups::{consumes_a_stream, consumes_all};
use super::secure::{secured, start};

pub async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("nothing within 20 s")
}

fn connect(connection: &str) -> Client {
    Client::new(format!("{connection}&discoveryInterval=10").parse().unwrap()).unwrap()
}

fn new(kind: &str, number: u64) -> EventData {
    EventData::json(kind, &json!({ "n": number })).unwrap().id(Uuid::new_v4())
}

pub fn some(kind: &str, numbers: Range<u64>) -> Vec<EventData> {
    numbers.map(|number| new(kind, number)).collect()
}

pub fn number(event: &ResolvedEvent) -> u64 {
    event.get_original_event().as_json::<Value>().unwrap()["n"].as_u64().unwrap()
}

fn numbers(events: &[ResolvedEvent]) -> Vec<u64> {
    events.iter().map(number).collect()
}

fn place(event: &ResolvedEvent) -> Position {
    event.get_original_event().position
}

fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

pub async fn put(client: &Client, stream: &str, events: Vec<EventData>) -> WriteResult {
    client.append_to_stream(stream, &AppendToStreamOptions::default(), events).await.unwrap()
}

/// Appends one by one, in this order, without waiting for each.
async fn put_each(client: &Client, appends: impl IntoIterator<Item = (String, EventData)>) {
    let session = client.batch_append(&Default::default()).await.unwrap();
    let append =
        |(stream, event): (String, _)| session.append_to_stream(stream, StreamState::Any, vec![event]);
    for done in soon(join_all(appends.into_iter().map(append))).await {
        done.unwrap();
    }
}

async fn every(reading: kurrentdb::Result<ReadStream>) -> kurrentdb::Result<Vec<ResolvedEvent>> {
    let (mut reading, mut events) = (reading?, Vec::new());
    while let Some(event) = soon(reading.next()).await? {
        events.push(event);
    }
    Ok(events)
}

async fn whole(client: &Client, stream: &str) -> kurrentdb::Result<Vec<ResolvedEvent>> {
    every(client.read_stream(stream, &ReadStreamOptions::default()).await).await
}

async fn head(client: &Client) -> Position {
    let last = ReadAllOptions::default().position(StreamPosition::End).max_count(1);
    place(&every(client.read_all(&last).await).await.unwrap()[0])
}

async fn appends_and_reads_a_stream(client: &Client) {
    let one =
        client.append_to_stream("a", &expecting(StreamState::NoStream), new("Opened", 0)).await.unwrap();
    assert_eq!(one.next_expected_version, 0);
    let with_more = |event: EventData| event.metadata(Bytes::from_static(b"{\"m\":1}"));
    let several: Vec<_> = some("Opened", 1..100).into_iter().map(with_more).collect();
    let after_one = expecting(StreamState::StreamRevision(0));
    for _ in 0..2 {
        // The second time it is known and not written again.
        let done = client.append_to_stream("a", &after_one, several.clone()).await.unwrap();
        assert_eq!((done.next_expected_version, done.position > one.position), (99, true));
    }
    let octets = EventData::binary("Raw", Bytes::from_static(b"\xff\x00")).id(Uuid::from_u128(7));
    put(client, "a", vec![octets]).await;

    let mut read = whole(client, "a").await.unwrap();
    let raw = read.pop().unwrap().event.unwrap();
    assert_eq!(
        (raw.id, &*raw.event_type, raw.is_json, raw.revision),
        (Uuid::from_u128(7), "Raw", false, 100)
    );
    assert_eq!((&*raw.data, raw.custom_metadata.is_empty()), (&b"\xff\x00"[..], true));
    assert_eq!(numbers(&read), (0..100).collect::<Vec<_>>());
    let last = read[99].event.as_ref().unwrap();
    assert_eq!((last.stream_id(), &*last.event_type, last.is_json), ("a", "Opened", true));
    assert_eq!((&*last.custom_metadata, last.revision), (&b"{\"m\":1}"[..], 99));
    assert!(read.iter().map(place).is_sorted() && place(&read[0]) == one.position);

    let from = |at| ReadStreamOptions::default().position(at);
    for (options, wanted) in [
        (from(StreamPosition::Position(97)).max_count(3), vec![97, 98, 99]),
        (from(StreamPosition::Position(2)).backwards(), vec![2, 1, 0]),
        (from(StreamPosition::Start).max_count(2), vec![0, 1]),
    ] {
        assert_eq!(numbers(&every(client.read_stream("a", &options).await).await.unwrap()), wanted);
    }
    let end = every(client.read_stream("a", &from(StreamPosition::End).max_count(1)).await).await.unwrap();
    assert_eq!(end[0].get_original_event().revision, 100);
}

async fn appends_in_a_session(client: &Client) {
    let session = client.batch_append(&Default::default()).await.unwrap();
    let append = |nth: u64| {
        let two = some("Job", 2 * nth..2 * nth + 2);
        session.append_to_stream(format!("b-{}", nth % 5), StreamState::Any, two)
    };
    let answers = soon(join_all((0..50).map(append))).await;
    for (nth, answer) in (0..).zip(answers) {
        let answer = answer.unwrap();
        assert_eq!(answer.stream_name(), format!("b-{}", nth % 5));
        assert_eq!(answer.current_revision(), Some(2 * (nth / 5) + 1), "in the order asked");
        assert!(answer.current_position().is_some());
    }
    let wanted: Vec<u64> = (0..10).flat_map(|nth| [10 * nth + 4, 10 * nth + 5]).collect();
    assert_eq!(numbers(&whole(client, "b-2").await.unwrap()), wanted);
    let refused = soon(session.append_to_stream("b-2", StreamState::NoStream, some("Job", 0..2))).await;
    // It has a name for this error only beyond sessions.
    let Err(Error::Grpc { code, message }) = refused else { panic!("{refused:?}") };
    assert_eq!((i32::from(code), &*message), (6, "WrongExpectedVersion"));
    assert_eq!(whole(client, "b-2").await.unwrap().len(), 20);
}

async fn reads_all_both_ways(client: &Client) {
    let counted = |number| {
        let stream = if number % 2 == 0 { "c-even" } else { "c-odd" };
        (stream.to_owned(), new("Counted", number))
    };
    put_each(client, (0..20).map(counted)).await;
    let streams = || SubscriptionFilter::on_stream_name().add_prefix("c-ev").add_prefix("c-od");
    let odd = || SubscriptionFilter::on_stream_name().regex("^c-o");
    let counted = || SubscriptionFilter::on_event_type().add_prefix("Count");
    let forwards = ReadAllOptions::default();
    let found = every(client.read_all(&forwards.clone().filter(streams())).await).await.unwrap();
    assert_eq!(numbers(&found), (0..20).collect::<Vec<_>>());
    let from = |at| ReadAllOptions::default().position(at);
    let middle = || from(StreamPosition::Position(place(&found[10])));
    for (options, wanted) in [
        (forwards.filter(odd()).max_count(3), vec![1, 3, 5]),
        (from(StreamPosition::End).filter(counted()).max_count(3), vec![19, 18, 17]),
        (from(StreamPosition::End).filter(odd()).max_count(2), vec![19, 17]),
        (middle().forwards().filter(counted()).max_count(3), vec![10, 11, 12]),
        (middle().backwards().filter(streams()).max_count(3), vec![9, 8, 7]),
        (middle().backwards().max_count(2), vec![9, 8]),
    ] {
        assert_eq!(numbers(&every(client.read_all(&options).await).await.unwrap()), wanted);
    }
}

async fn fails_on_wrong_versions(client: &Client) {
    use StreamState::{NoStream, StreamExists, StreamRevision};
    put(client, "d", some("Opened", 0..2)).await;
    for (stream, state, known) in [
        ("d", NoStream, CurrentRevision::Current(1)),
        ("d", StreamRevision(7), CurrentRevision::Current(1)),
        ("d-none", StreamExists, CurrentRevision::NoStream),
        ("d-none", StreamRevision(0), CurrentRevision::NoStream),
    ] {
        for count in [1, 3] {
            let refused = client.append_to_stream(stream, &expecting(state), some("Never", 0..count)).await;
            let Err(Error::WrongExpectedVersion { expected, current }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!((expected, current), (state, known));
        }
    }
    let at_five = DeleteStreamOptions::default().stream_state(StreamRevision(5));
    let refused = client.delete_stream("d", &at_five).await;
    let Err(Error::Grpc { code: _, message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("WrongExpectedVersion") && message.contains("Actual version: 1"), "{message}");
    assert_eq!(numbers(&whole(client, "d").await.unwrap()), [0, 1]);
    assert!(matches!(whole(client, "d-none").await, Err(Error::ResourceNotFound)));
    let theirs = client.append_to_stream("$tombstones", &expecting(StreamState::Any), new("X", 1)).await;
    assert!(matches!(theirs, Err(Error::AccessDenied)), "{theirs:?}");
}

/// What is told up to "caught up": numbers and checkpoints.
async fn until_live(told: &mut Subscription) -> (Vec<u64>, Vec<Position>, CaughtUp) {
    let (mut numbers, mut marks, mut last) = (Vec::new(), Vec::new(), Position::start());
    assert!(matches!(soon(told.next_subscription_event()).await, Ok(SubscriptionEvent::Confirmed(_))));
    loop {
        let at = match soon(told.next_subscription_event()).await.unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                numbers.push(number(&event));
                place(&event)
            }
            SubscriptionEvent::Checkpoint(at) => {
                marks.push(at);
                at
            }
            SubscriptionEvent::CaughtUp(at) => return (numbers, marks, at.unwrap()),
            other => panic!("{other:?}"),
        };
        assert!(at >= last, "positions never go back");
        last = at;
    }
}

async fn subscribes_to_a_stream(client: &Client) {
    put(client, "e", some("Opened", 0..10)).await;
    let mut unborn = client.subscribe_to_stream("e-later", &SubscribeToStreamOptions::default()).await;
    until_live(&mut unborn).await;
    for (from, wanted) in [
        (StreamPosition::Start, (0..10).collect()),
        (StreamPosition::Position(6), vec![7, 8, 9]),
        (StreamPosition::End, vec![]),
    ] {
        let options = SubscribeToStreamOptions::default().start_from(from);
        let mut told = client.subscribe_to_stream("e", &options).await;
        let (numbers, _, live) = until_live(&mut told).await;
        assert_eq!((&numbers, live.stream_revision, live.position), (&wanted, Some(9), None), "{from:?}");
        if from == StreamPosition::End {
            put(client, "e-later", some("Opened", 40..41)).await;
            put(client, "e", some("Opened", 10..12)).await;
            let next = [soon(told.next()).await.unwrap(), soon(told.next()).await.unwrap()];
            assert_eq!(numbers_and_revisions(&next), [(10, 10), (11, 11)]);
        }
    }
    assert_eq!(number(&soon(unborn.next()).await.unwrap()), 40);
}

fn numbers_and_revisions(events: &[ResolvedEvent]) -> Vec<(u64, u64)> {
    events.iter().map(|event| (number(event), event.get_original_event().revision)).collect()
}

async fn subscribes_to_all(client: &Client) {
    let from = |at| SubscribeToAllOptions::default().position(StreamPosition::Position(at));
    for (filter, round) in [
        (SubscriptionFilter::on_stream_name().add_prefix("f-even"), 0),
        (SubscriptionFilter::on_event_type().regex("^(?!Odd)E"), 1),
    ] {
        let before = head(client).await;
        let turn = |number| {
            let (stream, kind) = if number % 2 == 0 { ("f-even", "Even") } else { ("f-odd", "Odd") };
            (format!("{stream}-{round}"), new(kind, number))
        };
        put_each(client, (0..40).map(turn)).await;
        let mut told = client.subscribe_to_all(&from(before).filter(filter.clone().max(10))).await;
        let (numbers, marks, live) = until_live(&mut told).await;
        let even: Vec<u64> = (0..40).step_by(2).collect();
        // One mark for every ten considered.
        assert_eq!((numbers, marks.len()), (even, 4));
        assert_eq!((live.position, marks.last()), (Some(head(client).await), live.position.as_ref()));
        put(client, &format!("f-odd-{round}"), some("Odd", 41..42)).await;
        put(client, &format!("f-even-{round}"), some("Even", 42..43)).await;
        assert_eq!(number(&soon(told.next()).await.unwrap()), 42);
        // Another one goes on after a checkpoint.
        let mut again = client.subscribe_to_all(&from(marks[2]).filter(filter)).await;
        assert_eq!(until_live(&mut again).await.0, [30, 32, 34, 36, 38, 42]);
    }
    let mut end =
        client.subscribe_to_all(&SubscribeToAllOptions::default().position(StreamPosition::End)).await;
    assert!(until_live(&mut end).await.0.is_empty());
    put(client, "f", some("Any", 50..51)).await;
    assert_eq!(number(&soon(end.next()).await.unwrap()), 50);
}

async fn deletes(client: &Client) {
    let (any, newest) = (AppendToStreamOptions::default(), ReadStreamOptions::default());
    put(client, "g", some("Opened", 0..5)).await;
    assert!(client.get_stream_metadata("g", &newest).await.unwrap().is_not_found());
    let two = StreamMetadataBuilder::new().max_count(2).insert_custom_property("mine", "kept").build();
    client.set_stream_metadata("g", &any, &two).await.unwrap();
    assert_eq!(numbers(&whole(client, "g").await.unwrap()), [3, 4]);

    let at_four = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(4));
    client.delete_stream("g", &at_four).await.unwrap();
    assert!(matches!(whole(client, "g").await, Err(Error::ResourceNotFound)));
    let again =
        client.append_to_stream("g", &expecting(StreamState::NoStream), new("Again", 5)).await.unwrap();
    assert_eq!(again.next_expected_version, 5, "the numbering goes on");
    assert_eq!(numbers(&whole(client, "g").await.unwrap()), [5]);
    let known = client.get_stream_metadata("g", &newest).await.unwrap();
    let StreamMetadataResult::Success(known) = known else { panic!("{known:?}") };
    assert_eq!(known.metadata().custom_properties["mine"], "kept");

    let closing = TombstoneStreamOptions::default().stream_state(StreamState::StreamRevision(5));
    assert!(client.tombstone_stream("g", &closing).await.unwrap().is_some());
    assert!(matches!(whole(client, "g").await, Err(Error::ResourceDeleted)));
    for count in [1, 2] {
        let never = client.append_to_stream("g", &any, some("Never", 0..count)).await;
        assert!(matches!(never, Err(Error::ResourceDeleted)), "{never:?}");
    }
    let twice = client.delete_stream("g", &DeleteStreamOptions::default()).await;
    assert!(matches!(twice, Err(Error::ResourceDeleted)), "{twice:?}");
}

/// Who may only read, and who is nobody.
async fn may_only_read(reader: &Client, nobody: &Client) {
    assert_eq!(numbers(&whole(reader, "d").await.unwrap()), [0, 1]);
    let mut told = reader.subscribe_to_stream("d", &SubscribeToStreamOptions::default()).await;
    assert!(until_live(&mut told).await.0.is_empty());
    let any = AppendToStreamOptions::default();
    for count in [1, 2] {
        let refused = reader.append_to_stream("d", &any, some("Never", 0..count)).await;
        assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    }
    let session = reader.batch_append(&Default::default()).await.unwrap();
    let refused = soon(session.append_to_stream("d", StreamState::Any, some("Never", 0..1))).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    let refused = reader.delete_stream("d", &Default::default()).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    let refused = reader.create_persistent_subscription("d", "g", &Default::default()).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    assert!(matches!(whole(nobody, "d").await, Err(Error::AccessDenied)));
    assert_eq!(numbers(&whole(reader, "d").await.unwrap()), [0, 1]);
}

async fn every_step(client: &Client) {
    appends_and_reads_a_stream(client).await;
    appends_in_a_session(client).await;
    reads_all_both_ways(client).await;
    fails_on_wrong_versions(client).await;
    subscribes_to_a_stream(client).await;
    subscribes_to_all(client).await;
    deletes(client).await;
    consumes_a_stream(client).await;
    consumes_all(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_over_plain_connections() {
    let server = start(Options::default()).await.unwrap();
    every_step(&connect(&format!("kurrentdb://{}?tls=false", server.address()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_where_gossip_sends_it() {
    let there = start(Options::default()).await.unwrap();
    let here = Options { advertise: there.address().to_string(), ..Options::default() };
    let here = start(here).await.unwrap();
    let found = connect(&format!("kurrentdb+discover://{}?tls=false", here.address()));
    put(&found, "a", some("Opened", 0..2)).await;
    let direct = connect(&format!("kurrentdb://{}?tls=false", there.address()));
    assert_eq!(numbers(&whole(&direct, "a").await.unwrap()), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_over_tls_as_what_its_user_may() {
    let secured = secured();
    let server = start(secured.options.clone()).await.unwrap();
    let (port, trusted) = (server.address().port(), &secured.options.certificate);
    let user =
        |who: &str| connect(&format!("kurrentdb://{who}@localhost:{port}?tls=true&tlsCaFile={trusted}"));
    every_step(&user("boss:b")).await;
    may_only_read(&user("reader:r"), &user("reader:wrong")).await;
}
