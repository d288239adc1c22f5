//! The calls on persistent subscriptions: what is asked is checked here, then handed on.
//!
//! Law: what is wrong with a request is answered by the call itself. Called by `wire::calls`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::command::{Command, Delivery, Who};
use super::config::{Config, Filter, Followed, Key, Settings, Start};
use super::consumer::{Consumer, Manner};
use super::figures::{newest, place_text};
use super::registry::Groups;
use crate::store::{Direction, EventStore, Filter as Any};
use crate::wire::App;
use crate::wire::calls::Caller;
use crate::wire::convert::{Ids, name, position};
use crate::wire::proto::event_store::client::persistent_subscriptions::all_options::{
    AllOption, FilterOption,
};
use crate::wire::proto::event_store::client::persistent_subscriptions::options::StreamOption;
use crate::wire::proto::event_store::client::persistent_subscriptions::persistent_subscriptions_server::PersistentSubscriptions;
use crate::wire::proto::event_store::client::persistent_subscriptions::stream_options::RevisionOption;
use crate::wire::proto::event_store::client::persistent_subscriptions::{
    AllOptions, CreateReq, CreateResp, DeleteReq, DeleteResp, GetInfoReq, GetInfoResp, ListReq, ListResp,
    Options, ReadReq, ReplayParkedReq, ReplayParkedResp, SubscriptionInfo, UpdateReq, UpdateResp, delete_req,
    get_info_req, list_req, read_req, replay_parked_req,
};
use crate::wire::proto::event_store::client::streams::read_req::uuid_option;
use crate::wire::proto::event_store::client::{Empty, StreamIdentifier};
use crate::wire::status::{bad, group_missing, not_ready, of_store, too_busy};

/// Longest name of a group.
const NAME_BYTES_MAX: usize = 512;
/// How long a read may take to say what it wants: clients say it at once.
const OPTIONS_WITHIN: Duration = Duration::from_secs(10);

/// The calls on persistent subscriptions.
#[derive(Clone)]
pub(in crate::wire) struct Calls(pub(in crate::wire) Arc<App>);

type Deliveries = Pin<Box<dyn Stream<Item = Delivery> + Send>>;

fn key(follows: Followed, group: String) -> Result<Key, Status> {
    if group.is_empty() || group.len() > NAME_BYTES_MAX {
        return Err(bad(format!("a group's name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(Key { follows, group })
}

fn stream(identifier: StreamIdentifier) -> Result<Followed, Status> {
    name(Some(identifier)).map(Followed::Stream)
}

fn no_source() -> Status {
    bad("neither a stream nor $all is named")
}

fn at(revision: u64) -> Start {
    if revision > i64::MAX.cast_unsigned() { Start::End } else { Start::Revision(revision) }
}

/// The options with which a read begins.
async fn first(
    requests: &mut (impl Stream<Item = Result<ReadReq, Status>> + Unpin),
) -> Result<read_req::Options, Status> {
    let missing = || bad(format!("a read begins with its options, within {} s", OPTIONS_WITHIN.as_secs()));
    let first = tokio::time::timeout(OPTIONS_WITHIN, requests.next()).await.map_err(|_| missing())?;
    match first.transpose()?.and_then(|first| first.content) {
        Some(read_req::Content::Options(options)) => Ok(options),
        Some(read_req::Content::Ack(_) | read_req::Content::Nack(_)) | None => Err(missing()),
    }
}

/// What is asked of a group that is made or changed.
struct Asked {
    key: Key,
    start: Start,
    filter: Option<Filter>,
    settings: Settings,
}

fn of_all(all: AllOptions) -> Result<(Start, Option<Filter>), Status> {
    let start = match all.all_option.ok_or_else(|| bad("where to begin is missing"))? {
        AllOption::Start(_) => Start::First,
        AllOption::End(_) => Start::End,
        AllOption::Position(at) => {
            position(at.commit_position, at.prepare_position)?.map_or(Start::End, Start::Position)
        }
    };
    let filter = match all.filter_option {
        Some(FilterOption::Filter(filter)) => Some(Filter::of(filter)?),
        Some(FilterOption::NoFilter(_)) | None => None,
    };
    Ok((start, filter))
}

fn asked(options: Option<Options>) -> Result<Asked, Status> {
    let options = options.ok_or_else(|| bad("options are missing"))?;
    let settings = options.settings.ok_or_else(|| bad("settings are missing"))?;
    let (follows, start, filter) = match (options.stream_option, options.stream_identifier) {
        (Some(StreamOption::Stream(options)), _) => {
            let start = match options.revision_option.ok_or_else(|| bad("where to begin is missing"))? {
                RevisionOption::Revision(revision) => at(revision),
                RevisionOption::Start(_) => Start::First,
                RevisionOption::End(_) => Start::End,
            };
            (Followed::Stream(name(options.stream_identifier)?), start, None)
        }
        (Some(StreamOption::All(all)), _) => {
            let (start, filter) = of_all(all)?;
            (Followed::All, start, filter)
        }
        // As clients said it before the others were possible.
        (None, Some(identifier)) => (stream(identifier)?, at(settings.revision), None),
        (None, None) => return Err(no_source()),
    };
    let key = key(follows, options.group_name)?;
    let settings = Settings::of(&key, settings)?;
    Ok(Asked { key, start, filter, settings })
}

/// The place after which a group begins, and how the client would write where it begins.
async fn begin(store: &dyn EventStore, follows: &Key, start: Start) -> Result<(Option<u64>, String), Status> {
    let text = |place| place_text(&follows.follows, place);
    Ok(match start {
        Start::First => (None, text(Some(0))),
        Start::Revision(revision) => (revision.checked_sub(1), text(Some(revision))),
        Start::Position(at) => {
            let before = store.read_all(Some(at), Direction::Backwards, &Any::default(), 1).await;
            let before = before.map_err(|error| of_store(&error))?.events.pop();
            (before.map(|event| event.position.0), text(Some(at.0)))
        }
        Start::End => (newest(store, follows).await?, text(None)),
    })
}

impl Calls {
    fn groups(&self) -> &Groups {
        &self.0.groups
    }

    async fn config(&self, options: Option<Options>) -> Result<Config, Status> {
        let Asked { key, start, filter, settings } = asked(options)?;
        let (after, start_from) = begin(self.groups().store(), &key, start).await?;
        Ok(Config { key, after, start_from, filter, settings })
    }

    async fn told(&self, key: &Key) -> Result<SubscriptionInfo, Status> {
        let (answer, told) = oneshot::channel();
        let group = self.groups().reach(key).await?;
        group.send(Command::Tell { answer }).await.map_err(|_| not_ready())?;
        told.await.map_err(|_| not_ready())
    }

    /// Of all these that are still there.
    async fn told_of(&self, keys: Vec<Key>) -> Result<Vec<SubscriptionInfo>, Status> {
        let mut known = Vec::with_capacity(keys.len());
        for key in keys {
            match self.told(&key).await {
                Ok(told) => known.push(told),
                Err(_) if !self.groups().has(&key).await => {}
                // It was changed meanwhile, and works anew.
                Err(_) => known.push(self.told(&key).await?),
            }
        }
        Ok(known)
    }
}

#[tonic::async_trait]
impl PersistentSubscriptions for Calls {
    type ReadStream = Deliveries;

    async fn create(&self, request: Request<CreateReq>) -> Result<Response<CreateResp>, Status> {
        let config = self.config(request.into_inner().options).await?;
        self.groups().create(config).await?;
        Ok(Response::new(CreateResp {}))
    }

    async fn update(&self, request: Request<UpdateReq>) -> Result<Response<UpdateResp>, Status> {
        let asked = self.config(request.into_inner().options).await?;
        let key = asked.key.clone();
        // An update cannot name a filter, so the old one stays.
        let change = |before: &Config| Config { filter: before.filter.clone(), ..asked };
        self.groups().update(&key, change).await?;
        Ok(Response::new(UpdateResp {}))
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        use delete_req::options::StreamOption as From;
        let options = request.into_inner().options.ok_or_else(no_source)?;
        let follows = match options.stream_option.ok_or_else(no_source)? {
            From::StreamIdentifier(identifier) => stream(identifier)?,
            From::All(_) => Followed::All,
        };
        self.groups().delete(&key(follows, options.group_name)?).await?;
        Ok(Response::new(DeleteResp {}))
    }

    async fn read(&self, request: Request<Streaming<ReadReq>>) -> Result<Response<Deliveries>, Status> {
        use read_req::options::StreamOption as From;
        let Self(app) = self;
        let connection = request.metadata().get("connection-name").and_then(|name| name.to_str().ok());
        let connection = connection.unwrap_or_default().to_owned();
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let mut requests = request.into_inner();
        let options = first(&mut requests).await?;
        // Who says nothing has no place.
        let permit = Arc::clone(&app.subscriptions).try_acquire_owned().map_err(|_| too_busy())?;
        let follows = match options.stream_option.ok_or_else(no_source)? {
            From::StreamIdentifier(identifier) => stream(identifier)?,
            From::All(_) => Followed::All,
        };
        let ids = match options.uuid_option.and_then(|option| option.content) {
            Some(uuid_option::Content::Structured(_)) => Ids::Halves,
            Some(uuid_option::Content::String(_)) | None => Ids::Text,
        };
        let key = key(follows, options.group_name)?;
        let group = self.groups().reach(&key).await?;
        let manner = Manner { slots: options.buffer_size, ids, who: Who { connection, caller } };
        let consumer = Consumer::join(key, group, manner, requests, permit).await?;
        let deliveries = unfold(Box::new(consumer), |mut consumer| async move {
            consumer.next().await.map(|delivery| (delivery, consumer))
        });
        Ok(Response::new(Box::pin(deliveries)))
    }

    async fn get_info(&self, request: Request<GetInfoReq>) -> Result<Response<GetInfoResp>, Status> {
        use get_info_req::options::StreamOption as From;
        let options = request.into_inner().options.ok_or_else(no_source)?;
        let follows = match options.stream_option.ok_or_else(no_source)? {
            From::StreamIdentifier(identifier) => stream(identifier)?,
            From::All(_) => Followed::All,
        };
        let told = self.told(&key(follows, options.group_name)?).await?;
        Ok(Response::new(GetInfoResp { subscription_info: Some(told) }))
    }

    async fn replay_parked(
        &self,
        request: Request<ReplayParkedReq>,
    ) -> Result<Response<ReplayParkedResp>, Status> {
        use replay_parked_req::options::{StopAtOption, StreamOption as From};
        let options = request.into_inner().options.ok_or_else(no_source)?;
        let follows = match options.stream_option.ok_or_else(no_source)? {
            From::StreamIdentifier(identifier) => stream(identifier)?,
            From::All(_) => Followed::All,
        };
        let before = match options.stop_at_option {
            Some(StopAtOption::StopAt(at)) => {
                Some(u64::try_from(at).map_err(|_| bad("where to stop must not be negative"))?)
            }
            Some(StopAtOption::NoLimit(_)) | None => None,
        };
        let group = self.groups().reach(&key(follows, options.group_name)?).await?;
        let (answer, done) = oneshot::channel();
        group.send(Command::Replay { before, answer }).await.map_err(|_| not_ready())?;
        done.await.map_err(|_| not_ready())?;
        Ok(Response::new(ReplayParkedResp {}))
    }

    async fn list(&self, request: Request<ListReq>) -> Result<Response<ListResp>, Status> {
        use list_req::options::ListOption;
        use list_req::stream_option::StreamOption as From;
        let options = request.into_inner().options.and_then(|options| options.list_option);
        let follows = match options.ok_or_else(no_source)? {
            ListOption::ListAllSubscriptions(_) => None,
            ListOption::ListForStream(option) => match option.stream_option.ok_or_else(no_source)? {
                From::Stream(identifier) => Some(stream(identifier)?),
                From::All(_) => Some(Followed::All),
            },
        };
        let keys = self.groups().keys(follows.as_ref()).await;
        if let (Some(follows), true) = (&follows, keys.is_empty()) {
            return Err(group_missing(follows.name(), ""));
        }
        Ok(Response::new(ListResp { subscriptions: self.told_of(keys).await? }))
    }

    async fn restart_subsystem(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.groups().restart().await;
        Ok(Response::new(Empty {}))
    }
}

#[cfg(test)]
mod tests;
