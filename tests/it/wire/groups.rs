//! Persistent subscriptions: what consumers get, and what is still known after a restart.

use std::sync::Arc;
use std::time::Duration;

use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{Direction, EventStore};
use intentd::wire::Options as WireOptions;
use intentd::wire::proto::event_store::client::persistent_subscriptions::persistent_subscriptions_client::PersistentSubscriptionsClient;
use intentd::wire::proto::event_store::client::persistent_subscriptions::read_req::{
    Ack, Content as Asked, Nack, nack::Action, options::StreamOption as ReadFrom,
};
use intentd::wire::proto::event_store::client::persistent_subscriptions::read_resp::{
    Content, read_event::Count,
};
use intentd::wire::proto::event_store::client::persistent_subscriptions::{
    AllOptions, CreateReq, DeleteReq, GetInfoReq, ListReq, Options, ReadReq, ReadResp, ReplayParkedReq,
    Settings, StreamOptions, SubscriptionInfo, UpdateReq, all_options, delete_req, get_info_req, list_req,
    options, read_req, replay_parked_req, settings, stream_options,
};
use intentd::wire::proto::event_store::client::streams::read_req::{FilterOptions, filter_options};
use intentd::wire::proto::event_store::client::{Empty, uuid};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::{World, channel, id, said, stream, world, world_over};

pub type Client = PersistentSubscriptionsClient<Channel>;

pub fn settings() -> Settings {
    Settings {
        max_retry_count: 2,
        max_checkpoint_count: 1,
        read_batch_size: 20,
        history_buffer_size: 500,
        live_buffer_size: 500,
        message_timeout: Some(settings::MessageTimeout::MessageTimeoutMs(30_000)),
        consumer_strategy: "RoundRobin".to_owned(),
        ..Settings::default()
    }
}

pub fn of(name: &str, group: &str, start: stream_options::RevisionOption, settings: Settings) -> Options {
    let options = StreamOptions { stream_identifier: stream(name), revision_option: Some(start) };
    Options {
        stream_option: Some(options::StreamOption::Stream(options)),
        group_name: group.to_owned(),
        settings: Some(settings),
        ..Options::default()
    }
}

pub fn start() -> stream_options::RevisionOption {
    stream_options::RevisionOption::Start(Empty {})
}

pub async fn client(world: &World) -> Client {
    Client::new(channel(world.server.address()).await)
}

pub async fn create(client: &mut Client, options: Options) -> Result<(), Status> {
    client.create(CreateReq { options: Some(options) }).await.map(drop)
}

/// A consumer: what it asks, what it gets.
pub struct Consumer {
    asks: mpsc::Sender<ReadReq>,
    pub told: Streaming<ReadResp>,
}

impl Consumer {
    pub async fn join(client: &mut Client, from: ReadFrom, group: &str, slots: i32) -> Result<Self, Status> {
        let (asks, requests) = mpsc::channel(64);
        let options = read_req::Options {
            stream_option: Some(from),
            group_name: group.to_owned(),
            buffer_size: slots,
            uuid_option: None,
        };
        asks.send(ReadReq { content: Some(Asked::Options(options)) }).await.unwrap();
        let mut told = client.read(ReceiverStream::new(requests)).await?.into_inner();
        let first = told.message().await?.unwrap().content.unwrap();
        assert!(matches!(first, Content::SubscriptionConfirmation(_)), "{first:?}");
        Ok(Self { asks, told })
    }

    pub async fn of(client: &mut Client, name: &str, group: &str, slots: i32) -> Result<Self, Status> {
        Self::join(client, ReadFrom::StreamIdentifier(stream(name).unwrap()), group, slots).await
    }

    /// The next event: its number and how often it came before.
    pub async fn next(&mut self) -> (u128, i32) {
        let told = self.told.message().await.unwrap().unwrap().content.unwrap();
        let Content::Event(event) = told else { panic!("{told:?}") };
        let Some(Count::RetryCount(count)) = event.count else { panic!("no count") };
        let Some(uuid::Value::String(text)) = event.event.unwrap().id.unwrap().value else { panic!() };
        (::uuid::Uuid::parse_str(&text).unwrap().as_u128(), count)
    }

    pub async fn some(&mut self, count: usize) -> Vec<u128> {
        let mut some = Vec::new();
        for _ in 0..count {
            some.push(self.next().await.0);
        }
        some
    }

    pub async fn ack(&self, ids: &[u128]) {
        let ids = ids.iter().map(|number| id(*number).unwrap()).collect();
        let content = Asked::Ack(Ack { ids, ..Ack::default() });
        self.asks.send(ReadReq { content: Some(content) }).await.unwrap();
    }

    pub async fn nack(&self, ids: &[u128], action: Action, reason: &str) {
        let ids = ids.iter().map(|number| id(*number).unwrap()).collect();
        let nack = Nack { ids, action: action.into(), reason: reason.to_owned(), ..Nack::default() };
        self.asks.send(ReadReq { content: Some(Asked::Nack(nack)) }).await.unwrap();
    }

    async fn ended(mut self) -> Status {
        loop {
            match self.told.message().await {
                Ok(message) => assert!(message.is_some(), "it does not end well"),
                Err(status) => return status,
            }
        }
    }
}

pub async fn told(client: &mut Client, name: &str, group: &str) -> Result<SubscriptionInfo, Status> {
    let from = get_info_req::options::StreamOption::StreamIdentifier(stream(name).unwrap());
    let options = get_info_req::Options { group_name: group.to_owned(), stream_option: Some(from) };
    let answer = client.get_info(GetInfoReq { options: Some(options) }).await?;
    Ok(answer.into_inner().subscription_info.unwrap())
}

/// Asks until the figures are as wanted: consumers are told before all is written down.
pub async fn until(client: &mut Client, name: &str, group: &str, wanted: impl Fn(&SubscriptionInfo) -> bool) {
    while !wanted(&told(client, name, group).await.unwrap()) {
        tokio::task::yield_now().await;
    }
}

pub async fn replay(client: &mut Client, name: &str, group: &str) {
    let from = replay_parked_req::options::StreamOption::StreamIdentifier(stream(name).unwrap());
    let options = replay_parked_req::Options {
        group_name: group.to_owned(),
        stream_option: Some(from),
        stop_at_option: None,
    };
    client.replay_parked(ReplayParkedReq { options: Some(options) }).await.unwrap();
}

const TRAILERS: &[&str] = &["exception", "stream-name", "group-name"];

#[tokio::test]
async fn groups_are_made_changed_and_deleted_and_errors_are_those_that_clients_know() {
    let world = world().await;
    let mut client = client(&world).await;
    let missing = "Subscription group g on stream s does not exist.";
    let gone = vec![Some("persistent-subscription-does-not-exist"), Some("s"), Some("g")];
    let status = Consumer::of(&mut client, "s", "g", 1).await.err().unwrap();
    assert_eq!(said(&status, TRAILERS), (Code::NotFound, missing, gone.clone()));
    let status = told(&mut client, "s", "g").await.unwrap_err();
    assert_eq!(said(&status, TRAILERS), (Code::NotFound, missing, gone.clone()));
    let update = UpdateReq { options: Some(of("s", "g", start(), settings())) };
    assert_eq!(client.update(update.clone()).await.unwrap_err().code(), Code::NotFound);

    create(&mut client, of("s", "g", start(), settings())).await.unwrap();
    let status = create(&mut client, of("s", "g", start(), settings())).await.unwrap_err();
    let there = vec![Some("persistent-subscription-exists"), Some("s"), Some("g")];
    assert_eq!(
        said(&status, TRAILERS),
        (Code::AlreadyExists, "Subscription group g on stream s exists.", there)
    );
    let wrong = Settings { history_buffer_size: 20, ..settings() };
    let status = create(&mut client, of("s", "h", start(), wrong)).await.unwrap_err();
    assert_eq!(
        (status.code(), &said(&status, TRAILERS).2[..1]),
        (Code::Internal, &[Some("persistent-subscription-failed")][..])
    );

    let consumer = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    client.update(update).await.unwrap();
    let dropped = consumer.ended().await;
    assert_eq!(
        (dropped.code(), dropped.message()),
        (Code::Cancelled, "Subscription group g on stream s was dropped.")
    );
    let list = |option| ListReq { options: Some(list_req::Options { list_option: Some(option) }) };
    let all = list(list_req::options::ListOption::ListAllSubscriptions(Empty {}));
    let listed = client.list(all.clone()).await.unwrap().into_inner().subscriptions;
    assert_eq!(
        listed.iter().map(|one| (&*one.event_source, &*one.group_name)).collect::<Vec<_>>(),
        [("s", "g")]
    );

    let consumer = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    let from = delete_req::options::StreamOption::StreamIdentifier(stream("s").unwrap());
    let options = delete_req::Options { group_name: "g".to_owned(), stream_option: Some(from) };
    client.delete(DeleteReq { options: Some(options) }).await.unwrap();
    assert_eq!(consumer.ended().await.code(), Code::Cancelled);
    assert_eq!(client.list(all).await.unwrap().into_inner().subscriptions, []);
}

#[tokio::test]
async fn a_group_goes_on_where_it_was_after_a_restart_of_the_server() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
    let mut first = world_over(Arc::clone(&store), WireOptions::default()).await;
    first.put("s", 0..10).await;
    let mut wire = client(&first).await;
    create(&mut wire, of("s", "g", stream_options::RevisionOption::Revision(2), settings())).await.unwrap();
    let mut consumer = Consumer::of(&mut wire, "s", "g", 3).await.unwrap();
    assert_eq!(consumer.some(3).await, [2, 3, 4], "its start is inclusive");
    // 3 is acknowledged; 2 is not, so the place stays before it.
    consumer.ack(&[3]).await;
    assert_eq!(consumer.next().await, (5, 0));
    consumer.nack(&[2], Action::Park, "bad luck").await;
    assert_eq!(consumer.next().await, (6, 0));
    until(&mut wire, "s", "g", |told| told.last_checkpointed_event_position == "3").await;
    let World { server, client: _, .. } = first;
    server.stop().await;
    assert_eq!(consumer.ended().await.code(), Code::Unavailable);

    let second = world_over(store, WireOptions::default()).await;
    let mut wire = client(&second).await;
    let known = told(&mut wire, "s", "g").await.unwrap();
    assert_eq!((&*known.last_checkpointed_event_position, known.parked_message_count), ("3", 1));
    assert_eq!((&*known.start_from, &*known.last_known_event_position), ("2", "9"));
    let mut consumer = Consumer::of(&mut wire, "s", "g", 10).await.unwrap();
    assert_eq!(consumer.some(6).await, [4, 5, 6, 7, 8, 9], "after its place, without what is parked");
    replay(&mut wire, "s", "g").await;
    assert_eq!(consumer.next().await, (2, 0));
    consumer.ack(&[2]).await;
    until(&mut wire, "s", "g", |told| told.parked_message_count == 0).await;
}

#[tokio::test]
async fn a_place_in_a_stream_is_a_revision_whatever_others_write() {
    let mut world = world().await;
    let mut client = client(&world).await;
    create(&mut client, of("s", "g", start(), settings())).await.unwrap();
    let mut consumer = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    for number in 0..4 {
        world.put("t", 100 * number + 100..100 * number + 200).await;
        world.put("s", [number]).await;
        assert_eq!(consumer.next().await, (number, 0));
        consumer.ack(&[number]).await;
        let known = told(&mut client, "s", "g").await.unwrap().last_checkpointed_event_position;
        assert!(known.parse().unwrap_or(0) <= number, "{known} after {number}");
    }
}

#[tokio::test]
async fn what_fails_comes_again_and_is_parked_with_its_reason_as_a_link() {
    let mut world = world().await;
    world.put("s", 0..3).await;
    let mut client = client(&world).await;
    create(&mut client, of("s", "g", start(), settings())).await.unwrap();
    let mut consumer = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    for retries in 0..3 {
        assert_eq!(consumer.next().await, (0, retries));
        consumer.nack(&[0], Action::Retry, "not today").await;
    }
    assert_eq!(consumer.next().await, (1, 0), "0 is parked after two more tries");
    consumer.nack(&[1], Action::Skip, "").await;
    assert_eq!(consumer.next().await, (2, 0));
    let name = "$persistentsubscription-s::g-parked";
    let parked = world.store.read_stream(name, None, Direction::Forwards, 10).await.unwrap().events;
    let [link] = &parked[..] else { panic!("{parked:?}") };
    assert_eq!((&*link.event_type, &*link.data), ("$>", &b"0@s"[..]));
    assert!(String::from_utf8_lossy(&link.metadata).contains("not today"));
    let denied = world.append(name, super::any(), [77]).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "they are not for clients to write");
    consumer.nack(&[2], Action::Stop, "").await;
    assert_eq!(consumer.ended().await.code(), Code::Cancelled);
    // It held 2: the next one gets it, and nobody counts that as a try.
    let mut other = Consumer::of(&mut client, "s", "g", 1).await.unwrap();
    assert_eq!(other.next().await, (2, 0));
}

#[tokio::test]
async fn a_group_that_is_made_again_knows_nothing_of_the_one_before() {
    let mut world = world().await;
    world.put("s", 0..3).await;
    let mut client = client(&world).await;
    for _ in 0..2 {
        create(&mut client, of("s", "g", start(), settings())).await.unwrap();
        let known = told(&mut client, "s", "g").await.unwrap();
        assert_eq!((&*known.last_checkpointed_event_position, known.parked_message_count), ("", 0));
        let mut consumer = Consumer::of(&mut client, "s", "g", 10).await.unwrap();
        assert_eq!(consumer.some(3).await, [0, 1, 2]);
        consumer.ack(&[0]).await;
        consumer.nack(&[1], Action::Park, "").await;
        until(&mut client, "s", "g", |told| {
            told.parked_message_count == 1 && told.last_checkpointed_event_position == "1"
        })
        .await;
        let from = delete_req::options::StreamOption::StreamIdentifier(stream("s").unwrap());
        let options = delete_req::Options { group_name: "g".to_owned(), stream_option: Some(from) };
        client.delete(DeleteReq { options: Some(options) }).await.unwrap();
    }
}

#[tokio::test]
async fn consumers_share_and_there_are_no_more_than_allowed() {
    let mut world = world().await;
    let mut client = client(&world).await;
    let two = Settings { max_subscriber_count: 2, ..settings() };
    // As Node's client says it.
    let old = Options {
        stream_identifier: stream("s"),
        group_name: "g".to_owned(),
        settings: Some(two),
        ..Options::default()
    };
    create(&mut client, old).await.unwrap();
    let mut one = Consumer::of(&mut client, "s", "g", 5).await.unwrap();
    let mut two = Consumer::of(&mut client, "s", "g", 5).await.unwrap();
    let full = Consumer::of(&mut client, "s", "g", 5).await.err().unwrap();
    assert_eq!(said(&full, &["exception"]).2, [Some("maximum-subscribers-reached")]);
    assert!(full.message().starts_with("Maximum subscriptions reached"));
    world.put("s", 0..20).await;
    let (mut first, second) = (one.some(5).await, two.some(5).await);
    assert!(first.iter().all(|number| !second.contains(number)), "{first:?} {second:?}");
    // What one leaves behind goes to the other.
    drop(two);
    one.ack(&first).await;
    let next = one.some(5).await;
    assert_eq!(next, second);
    first.extend(&next);
    one.ack(&next).await;
    first.extend(one.some(5).await);
    first.sort_unstable();
    assert_eq!(first, (0..15).collect::<Vec<_>>());
}

#[tokio::test]
async fn all_is_shared_with_a_filter_from_the_end() {
    let mut world = world().await;
    world.put("a-1", 0..5).await;
    let mut client = client(&world).await;
    let prefix =
        filter_options::Expression { prefix: vec!["a-".to_owned()], ..filter_options::Expression::default() };
    let filter = FilterOptions {
        filter: Some(filter_options::Filter::StreamIdentifier(prefix)),
        ..FilterOptions::default()
    };
    let all = AllOptions {
        all_option: Some(all_options::AllOption::End(Empty {})),
        filter_option: Some(all_options::FilterOption::Filter(filter)),
    };
    let options = Options {
        stream_option: Some(options::StreamOption::All(all)),
        group_name: "g".to_owned(),
        settings: Some(settings()),
        ..Options::default()
    };
    create(&mut client, options).await.unwrap();
    world.put("b-1", 10..13).await;
    world.put("a-1", 20..23).await;
    let mut consumer = Consumer::join(&mut client, ReadFrom::All(Empty {}), "g", 10).await.unwrap();
    assert_eq!(consumer.some(3).await, [20, 21, 22]);
}

#[tokio::test]
async fn a_store_that_fails_lets_consumers_go_and_loses_nothing() {
    let store = MemoryStore::default();
    let mut world = world_over(Arc::new(store.clone()), WireOptions::default()).await;
    world.put("s", 0..3).await;
    let mut client = client(&world).await;
    create(&mut client, of("s", "g", start(), settings())).await.unwrap();
    let mut consumer = Consumer::of(&mut client, "s", "g", 10).await.unwrap();
    assert_eq!(consumer.some(3).await, [0, 1, 2]);
    store.order_faults([Fault::Fail]);
    consumer.nack(&[0], Action::Park, "").await;
    assert_eq!(consumer.ended().await.code(), Code::Cancelled);
    // It begins again after a pause.
    let mut again = loop {
        match Consumer::of(&mut client, "s", "g", 10).await {
            Ok(consumer) => break consumer,
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(again.some(3).await, [0, 1, 2], "what could not be parked comes again");
}
