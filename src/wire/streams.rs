//! The calls on streams: what is asked is checked here, then handed on.
//!
//! Law: what is wrong with a request is answered by the call itself, before the first message: clients look for it there.
//! Called by `calls`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status, Streaming};

use super::batch::{self, Answers};
use super::convert::{Ids, name, position};
use super::expected::{of_delete, of_tombstone};
use super::filter::Wanted;
use super::flow::{Flow, Source};
use super::proto::event_store::client::streams::read_req::options::{CountOption, StreamOption};
use super::proto::event_store::client::streams::read_req::{
    AllOptions, Options, ReadDirection, StreamOptions, all_options, stream_options, uuid_option,
};
use super::proto::event_store::client::streams::streams_server::Streams;
use super::proto::event_store::client::streams::{
    AppendReq, AppendResp, BatchAppendReq, DeleteReq, DeleteResp, ReadReq, ReadResp, TombstoneReq,
    TombstoneResp, delete_resp, tombstone_resp,
};
use super::read::{Manner, OfAll, OfStream};
use super::sent::Sent;
use super::status::{bad, too_busy};
use super::subscribe::{After, Subscriber, confirmation};
use super::{App, append};
use crate::domain::event::Position;
use crate::metrics;
use crate::store::{BoxFuture, Direction};

/// How long a read waits for one of those under way to end.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// The calls on streams.
#[derive(Clone)]
pub(super) struct Calls(pub(super) Arc<App>);

async fn turn(seats: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    let waited = tokio::time::timeout(TURN_WITHIN, Arc::clone(seats).acquire_owned()).await;
    waited.ok().and_then(Result::ok).ok_or_else(too_busy)
}

fn manner(options: &Options) -> Result<Manner, Status> {
    let ids = match options.uuid_option.as_ref().and_then(|option| option.content.as_ref()) {
        Some(uuid_option::Content::Structured(_)) => Ids::Halves,
        Some(uuid_option::Content::String(_)) => Ids::Text,
        None => return Err(bad("the form of ids is missing")),
    };
    let tell_ends = options.control_option.is_some_and(|control| control.compatibility > 0);
    Ok(Manner { ids, resolve_links: options.resolve_links, tell_ends })
}

fn direction(options: &Options) -> Result<Direction, Status> {
    match ReadDirection::try_from(options.read_direction) {
        Ok(ReadDirection::Forwards) => Ok(Direction::Forwards),
        Ok(ReadDirection::Backwards) => Ok(Direction::Backwards),
        Err(_) => Err(bad("there is no such direction")),
    }
}

/// A position of `$all`.
fn place(options: AllOptions) -> Result<After<Position>, Status> {
    Ok(match options.all_option.ok_or_else(|| bad("where to begin is missing"))? {
        all_options::AllOption::Start(_) => After::Start,
        all_options::AllOption::End(_) => After::End,
        all_options::AllOption::Position(at) => {
            position(at.commit_position, at.prepare_position)?.map_or(After::End, After::Place)
        }
    })
}

fn revision(options: &StreamOptions) -> Result<After<u64>, Status> {
    Ok(match options.revision_option.as_ref().ok_or_else(|| bad("where to begin is missing"))? {
        stream_options::RevisionOption::Start(_) => After::Start,
        stream_options::RevisionOption::End(_) => After::End,
        stream_options::RevisionOption::Revision(at) if *at > i64::MAX.cast_unsigned() => After::End,
        stream_options::RevisionOption::Revision(at) => After::Place(*at),
    })
}

/// Where a read with an end begins, as the store takes it.
fn inclusive(after: After<u64>, direction: Direction) -> Option<u64> {
    match (after, direction) {
        (After::Place(at), _) => Some(at),
        (After::Start, Direction::Forwards) | (After::End, Direction::Backwards) => None,
        (After::Start, Direction::Backwards) => Some(0),
        (After::End, Direction::Forwards) => Some(u64::MAX),
    }
}

impl Calls {
    async fn begin(&self, options: Options) -> Result<Flow, Status> {
        let Self(app) = self;
        let (manner, direction) = (manner(&options)?, direction(&options)?);
        let wanted = Wanted::of(options.filter_option)?;
        let from = options.stream_option.ok_or_else(|| bad("what to read is missing"))?;
        match (options.count_option, from) {
            (None, _) => Err(bad("neither a count nor a subscription is asked for")),
            (Some(_), StreamOption::Stream(_)) if wanted.is_some() => {
                Err(bad("a read of one stream has no filter"))
            }
            (Some(CountOption::Count(count)), StreamOption::Stream(stream)) => {
                self.read_stream(stream, direction, count, manner).await
            }
            (Some(CountOption::Count(count)), StreamOption::All(all)) => {
                let permit = turn(&app.reads).await?;
                let at = match place(all)? {
                    After::Place(Position(at)) => After::Place(at),
                    After::Start => After::Start,
                    After::End => After::End,
                };
                let at = inclusive(at, direction).map(Position);
                let read = OfAll::begin(app, at, direction, wanted, count, manner);
                self.first_page(Box::new(read), Vec::new(), permit).await
            }
            (Some(CountOption::Subscription(_)), _) if direction == Direction::Backwards => {
                Err(bad("a subscription goes forwards"))
            }
            (Some(CountOption::Subscription(_)), from) => self.subscribe(from, wanted, manner).await,
        }
    }

    async fn read_stream(
        &self,
        options: StreamOptions,
        direction: Direction,
        count: u64,
        manner: Manner,
    ) -> Result<Flow, Status> {
        let Self(app) = self;
        let permit = turn(&app.reads).await?;
        let from = inclusive(revision(&options)?, direction);
        let stream = name(options.stream_identifier)?;
        match OfStream::begin(app, stream, from, direction, count, manner).await? {
            Ok(read) => {
                let before = read.before();
                self.first_page(Box::new(read), before, permit).await
            }
            Err(missing) => Ok(app.flows.open(Box::new(Nothing), vec![missing], permit)),
        }
    }

    /// Begins a read with its first page, so that a store that fails fails the call.
    async fn first_page(
        &self,
        mut source: Box<dyn Source>,
        mut first: Vec<ReadResp>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Flow, Status> {
        first.extend(source.more().await?.into_iter().flatten());
        metrics::wire_events("read", first.len() as u64);
        Ok(self.0.flows.open(source, first, permit))
    }

    async fn subscribe(
        &self,
        from: StreamOption,
        wanted: Option<Wanted>,
        manner: Manner,
    ) -> Result<Flow, Status> {
        let Self(app) = self;
        let permit = Arc::clone(&app.subscriptions).try_acquire_owned().map_err(|_| too_busy())?;
        let subscriber = match from {
            StreamOption::Stream(options) => {
                let after = revision(&options)?;
                let stream = name(options.stream_identifier)?;
                Subscriber::to_stream(app, &stream, after, manner).await?
            }
            StreamOption::All(options) => Subscriber::to_all(app, place(options)?, wanted, manner).await?,
        };
        Ok(app.flows.open(Box::new(subscriber), vec![confirmation()], permit))
    }
}

/// No more messages.
struct Nothing;

impl Source for Nothing {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[tonic::async_trait]
impl Streams for Calls {
    type ReadStream = Flow;
    type BatchAppendStream = Answers;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Flow>, Status> {
        let options = request.into_inner().options.ok_or_else(|| bad("a read has options"))?;
        self.begin(options).await.map(Response::new)
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        append::call(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let options = request.into_inner().options.ok_or_else(|| bad("a delete has options"))?;
        let expected = of_delete(options.expected_stream_revision)?;
        let at = self.0.delete(name(options.stream_identifier)?, expected).await?;
        let at = delete_resp::Position { commit_position: at.0, prepare_position: at.0 };
        Ok(Response::new(DeleteResp { position_option: Some(delete_resp::PositionOption::Position(at)) }))
    }

    async fn tombstone(&self, request: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        let options = request.into_inner().options.ok_or_else(|| bad("a tombstone has options"))?;
        let expected = of_tombstone(options.expected_stream_revision)?;
        let at = self.0.tombstone(name(options.stream_identifier)?, expected).await?;
        let at = tombstone_resp::Position { commit_position: at.0, prepare_position: at.0 };
        let position_option = Some(tombstone_resp::PositionOption::Position(at));
        Ok(Response::new(TombstoneResp { position_option }))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Answers>, Status> {
        let sent = request.extensions().get::<Sent>().cloned();
        let sent = sent.unwrap_or_else(|| Sent::new(&self.0.room));
        Ok(Response::new(batch::begin(&self.0, request.into_inner(), sent)))
    }
}
