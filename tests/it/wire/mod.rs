//! The KurrentDB protocol, message by message, from a raw client's side: exact codes, texts, trailers and order.

use std::net::SocketAddr;
use std::sync::Arc;

use ::uuid::Uuid;
use bytes::Bytes;
use intentd::store::EventStore;
use intentd::store::memory::MemoryStore;
use intentd::wire::proto::event_store::client::streams::append_req::options::ExpectedStreamRevision;
use intentd::wire::proto::event_store::client::streams::append_resp::{self, Result as Appended, success};
pub use intentd::wire::proto::event_store::client::streams::read_req::Position;
use intentd::wire::proto::event_store::client::streams::read_req::options::{
    CountOption, FilterOption, StreamOption,
};
use intentd::wire::proto::event_store::client::streams::read_req::{
    AllOptions, Options as ReadOptions, ReadDirection, StreamOptions, SubscriptionOptions, UuidOption,
    all_options, stream_options, uuid_option,
};
use intentd::wire::proto::event_store::client::streams::read_resp::Content;
pub use intentd::wire::proto::event_store::client::streams::read_resp::read_event::RecordedEvent as Recorded;
use intentd::wire::proto::event_store::client::streams::streams_client::StreamsClient;
use intentd::wire::proto::event_store::client::streams::{AppendReq, ReadReq, ReadResp, append_req};
use intentd::wire::proto::event_store::client::{Empty, StreamIdentifier, Uuid as WireUuid, uuid};
use intentd::wire::{Options, Ports, Running};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

mod append;
mod batch;
mod crowd;
mod delete;
mod figures;
mod fuzz;
mod groups;
mod groups_broken;
mod groups_shared;
mod odd;
mod other;
mod read;
mod rust_client;
mod rust_client_groups;
mod secure;
mod subscribe;
mod together;

/// A server over a log, and a client of it.
pub struct World {
    pub store: Arc<dyn EventStore>,
    pub server: Running,
    pub client: StreamsClient<Channel>,
}

pub async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub async fn world_over(store: Arc<dyn EventStore>, options: Options) -> World {
    let ports = Ports { store: Arc::clone(&store), owned: &["intent-"] };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Running::start(any, options, ports).await.unwrap();
    let client = StreamsClient::new(channel(server.address()).await);
    World { store, server, client }
}

pub async fn world() -> World {
    world_over(Arc::new(MemoryStore::default()), Options::default()).await
}

pub fn stream(name: &str) -> Option<StreamIdentifier> {
    Some(StreamIdentifier { stream_name: Bytes::copy_from_slice(name.as_bytes()) })
}

pub fn id(number: u128) -> Option<WireUuid> {
    Some(WireUuid { value: Some(uuid::Value::String(Uuid::from_u128(number).to_string())) })
}

pub fn keys(event_type: &str) -> std::collections::BTreeMap<String, String> {
    [("type", event_type), ("content-type", "application/json")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

pub fn proposed(number: u128) -> append_req::ProposedMessage {
    append_req::ProposedMessage {
        id: id(number),
        metadata: keys("Happened"),
        custom_metadata: Bytes::new(),
        data: Bytes::from(format!("{{\"n\":{number}}}")),
    }
}

pub fn any() -> ExpectedStreamRevision {
    ExpectedStreamRevision::Any(Empty {})
}

pub fn append_requests(
    name: &str,
    expected: ExpectedStreamRevision,
    events: impl IntoIterator<Item = append_req::ProposedMessage>,
) -> Vec<AppendReq> {
    let options =
        append_req::Options { stream_identifier: stream(name), expected_stream_revision: Some(expected) };
    let events = events.into_iter().map(append_req::Content::ProposedMessage);
    std::iter::once(append_req::Content::Options(options))
        .chain(events)
        .map(|content| AppendReq { content: Some(content) })
        .collect()
}

impl World {
    pub async fn append(
        &mut self,
        name: &str,
        expected: ExpectedStreamRevision,
        ids: impl IntoIterator<Item = u128>,
    ) -> Result<Appended, Status> {
        let requests = append_requests(name, expected, ids.into_iter().map(proposed));
        let answer = self.client.append(tokio_stream::iter(requests)).await?;
        Ok(answer.into_inner().result.unwrap())
    }

    /// Appends anywhere; answers the revision.
    pub async fn put(&mut self, name: &str, ids: impl IntoIterator<Item = u128>) -> u64 {
        let appended = self.append(name, any(), ids).await.unwrap();
        let Appended::Success(append_resp::Success {
            current_revision_option: Some(success::CurrentRevisionOption::CurrentRevision(revision)),
            ..
        }) = appended
        else {
            panic!("not appended: {appended:?}")
        };
        revision
    }

    /// Writes a stream's metadata.
    pub async fn describe(&mut self, name: &str, json: &'static str) {
        let event = append_req::ProposedMessage {
            id: Some(WireUuid { value: Some(uuid::Value::String(Uuid::new_v4().to_string())) }),
            metadata: keys("$metadata"),
            data: Bytes::from_static(json.as_bytes()),
            ..Default::default()
        };
        let requests = append_requests(&format!("$${name}"), any(), [event]);
        self.client.append(tokio_stream::iter(requests)).await.unwrap();
    }

    pub async fn call(&mut self, options: ReadOptions) -> Result<Streaming<ReadResp>, Status> {
        Ok(self.client.read(ReadReq { options: Some(options) }).await?.into_inner())
    }

    /// All messages of a read that ends.
    pub async fn read(&mut self, options: ReadOptions) -> Result<Vec<Content>, Status> {
        let mut messages = self.call(options).await?;
        let mut told = Vec::new();
        while let Some(message) = messages.message().await? {
            told.push(message.content.unwrap());
        }
        Ok(told)
    }

    /// The ids of a whole stream.
    pub async fn ids(&mut self, name: &str) -> Vec<u128> {
        ids(&self.read(of_stream(name)).await.unwrap())
    }
}

/// Reads a whole stream.
pub fn of_stream(name: &str) -> ReadOptions {
    let start = stream_options::RevisionOption::Start(Empty {});
    let options = StreamOptions { stream_identifier: stream(name), revision_option: Some(start) };
    ReadOptions { stream_option: Some(StreamOption::Stream(options)), ..of_all() }
}

/// Reads all of `$all`.
pub fn of_all() -> ReadOptions {
    let start = all_options::AllOption::Start(Empty {});
    ReadOptions {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(start) })),
        read_direction: ReadDirection::Forwards.into(),
        resolve_links: false,
        count_option: Some(CountOption::Count(u64::MAX)),
        filter_option: Some(FilterOption::NoFilter(Empty {})),
        uuid_option: Some(UuidOption { content: Some(uuid_option::Content::String(Empty {})) }),
        control_option: None,
    }
}

pub fn followed(options: ReadOptions) -> ReadOptions {
    ReadOptions { count_option: Some(CountOption::Subscription(SubscriptionOptions {})), ..options }
}

/// The ids of the events among messages.
pub fn ids(messages: &[Content]) -> Vec<u128> {
    let id = |message: &Content| {
        let Content::Event(event) = message else { return None };
        let Some(uuid::Value::String(text)) = event.event.as_ref()?.id.as_ref()?.value.as_ref() else {
            return None;
        };
        Some(Uuid::parse_str(text).unwrap().as_u128())
    };
    messages.iter().filter_map(id).collect()
}

/// What a status says: code, text, and its trailers by key.
pub fn said<'a>(status: &'a Status, keys: &[&str]) -> (Code, &'a str, Vec<Option<&'a str>>) {
    let trailers = keys.iter().map(|key| status.metadata().get(*key).map(|value| value.to_str().unwrap()));
    (status.code(), status.message(), trailers.collect())
}
