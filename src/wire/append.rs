//! Appends, as every call that writes does them.
//!
//! Law: an append to a stream that was deleted for now brings it back, with its numbering; one to a stream that was closed
//! for ever, or that is the daemon's, is refused. Called by `streams` and `batch`.

use std::future::poll_fn;
use std::task::Poll;

use tonic::Status;

use super::App;
use super::convert::{Proposed, name};
use super::expected::{of_append, of_conflict};
use super::proto::event_store::client::Empty;
use super::proto::event_store::client::streams::append_resp::{self, Position as WirePosition, success};
use super::proto::event_store::client::streams::{AppendReq, AppendResp, append_req};
use super::revive::ids;
use super::status::{Refused, bad, failed};
use super::stream_metadata::{self, PREFIX};
use crate::domain::event::{ExpectedRevision, NewEvent, Position, Revision};
use crate::metrics;
use crate::store::{Append, Appended};

/// What an event costs beside its bytes.
const EVENT_BYTES: usize = 64;

/// Events that gather for one append, within its bound.
#[derive(Default)]
pub(super) struct Gathered {
    events: Vec<NewEvent>,
    bytes: usize,
}

impl Gathered {
    /// One more, if there is room; `most` is what a client is told that there is.
    pub(super) fn add(&mut self, proposed: Proposed, room: usize, most: usize) -> Result<(), Refused> {
        let bytes = proposed.size() + EVENT_BYTES;
        self.bytes += bytes;
        if bytes > room {
            return Err(Refused::TooBig(most));
        }
        self.events.push(proposed.event()?);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn events(self) -> Vec<NewEvent> {
        self.events
    }
}

/// What an append did: nothing has no place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) revision: Option<Revision>,
    pub(super) position: Option<Position>,
}

impl From<Appended> for Done {
    fn from(appended: Appended) -> Self {
        Self { revision: Some(appended.revision), position: Some(appended.position) }
    }
}

impl App {
    /// Appends to a stream.
    pub(super) async fn append(
        &self,
        stream: String,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Done, Refused> {
        if !self.may_write(&stream) {
            return Err(Refused::Denied);
        }
        let turn = self.turns.of(&stream).await;
        let _none_closes = self.tombs.while_writing().await;
        if self.tombs.contains(stream.strip_prefix(PREFIX).unwrap_or(&stream)) {
            return Err(Refused::Deleted(stream));
        }
        let metadata = stream_metadata::metadata(&*self.store, &stream).await?;
        if events.is_empty() {
            return self.append_nothing(stream, expected, &metadata).await;
        }
        if metadata.is_deleted() {
            return self.revive(stream, expected, events, metadata).await;
        }
        // A stream that came back was new to who wrote to it first; asked again, that is not forgotten.
        let first = metadata.first().filter(|_| expected == ExpectedRevision::NoStream);
        let again = first.map(|first| (stream.clone(), first, ids(&events)));
        let mut appending = Box::pin(self.append_all(vec![Append { stream, expected, events }]));
        let first = poll_fn(|context| Poll::Ready(appending.as_mut().poll(context))).await;
        // It is in the store's queue now.
        drop(turn);
        let appended = match first {
            Poll::Ready(appended) => appended,
            Poll::Pending => appending.await,
        };
        match (appended, again) {
            (Err(Refused::Conflict(conflict)), Some((stream, first, ids))) => {
                self.standing(&stream, first, &ids).await?.ok_or(Refused::Conflict(conflict))
            }
            (appended, _) => Ok(appended?.into()),
        }
    }

    /// Appends as the store does, all in one call; answers what became of the first.
    pub(super) async fn append_all(&self, appends: Vec<Append>) -> Result<Appended, Refused> {
        let count = appends.iter().map(|append| append.events.len() as u64).sum();
        let answers = self.store.append(appends).await.map_err(|error| Refused::from(&error))?;
        metrics::wire_events("appended", count);
        match answers.into_iter().next() {
            Some(Ok(appended)) => Ok(appended),
            Some(Err(conflict)) => Err(Refused::Conflict(conflict)),
            None => Err(Refused::Failed(failed())),
        }
    }
}

/// The call `Append`: options, then events, then one answer.
pub(super) async fn call(app: &App, mut requests: tonic::Streaming<AppendReq>) -> Result<AppendResp, Status> {
    let Some(append_req::Content::Options(options)) =
        requests.message().await?.and_then(|first| first.content)
    else {
        return Err(bad("an append begins with its options"));
    };
    let stream = name(options.stream_identifier)?;
    let expected = of_append(options.expected_stream_revision)?;
    let mut gathered = Gathered::default();
    while let Some(request) = requests.message().await? {
        let Some(append_req::Content::ProposedMessage(proposed)) = request.content else {
            return Err(bad("after its options an append has events only"));
        };
        let most = app.options.append_bytes_max;
        gathered.add(proposed.into(), most - gathered.bytes(), most).map_err(Refused::status)?;
    }
    let result = match app.append(stream, expected, gathered.events()).await {
        Ok(done) => append_resp::Result::Success(success(done)),
        Err(Refused::Conflict(conflict)) => append_resp::Result::WrongExpectedVersion(of_conflict(&conflict)),
        Err(refused) => return Err(refused.status()),
    };
    Ok(AppendResp { result: Some(result) })
}

fn success(done: Done) -> append_resp::Success {
    let revision = done.revision.map_or(success::CurrentRevisionOption::NoStream(Empty {}), |revision| {
        success::CurrentRevisionOption::CurrentRevision(revision)
    });
    let position = done.position.map_or(success::PositionOption::NoPosition(Empty {}), |at| {
        success::PositionOption::Position(WirePosition { commit_position: at.0, prepare_position: at.0 })
    });
    append_resp::Success { current_revision_option: Some(revision), position_option: Some(position) }
}
