//! The call `BatchAppend`: many appends under way on one stream of messages.
//!
//! Law: appends begin in the order in which they came, each is answered once, and no more are under way than the bound; the
//! client waits then. Called by `streams`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hashbrown::HashMap;
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::App;
use super::append::{Done, Gathered};
use super::convert::{Ids, id, identifier, name, wire_id};
use super::expected::{of_batch, of_batch_conflict};
use super::proto::event_store::client::streams::batch_append_req::{Options, options::DeadlineOption};
use super::proto::event_store::client::streams::batch_append_resp::{self, Success, success};
use super::proto::event_store::client::streams::{BatchAppendReq, BatchAppendResp};
use super::proto::event_store::client::{
    AccessDenied, AllStreamPosition, BadRequest, MaximumAppendSizeExceeded, StreamDeleted, Timeout, Unknown,
};
use super::proto::google::rpc::Status as WireStatus;
use super::status::{Refused, bad};
use crate::clock;
use crate::domain::event::ExpectedRevision;

/// Appends whose parts are still coming, on one stream.
const OPEN_MAX: usize = 64;
/// No append waits longer, whatever deadline its client names.
const DEADLINE_MAX: Duration = Duration::from_secs(60);
/// Detail types are named so.
const TYPE_URL: &str = "type.googleapis.com/event_store.client.";

/// An append whose parts are coming.
struct Open {
    stream: String,
    expected: ExpectedRevision,
    deadline: Duration,
    gathered: Gathered,
    /// Why it will be refused, however it goes on.
    refused: Option<Refused>,
}

type Answer = Pin<Box<dyn Future<Output = BatchAppendResp> + Send>>;

/// One stream of batch appends.
pub(super) struct Session {
    app: Arc<App>,
    /// None when the client has no more.
    requests: Option<Streaming<BatchAppendReq>>,
    open: HashMap<Uuid, Open>,
    under_way: FuturesUnordered<Answer>,
    ready: VecDeque<BatchAppendResp>,
}

impl Session {
    pub(super) fn new(app: Arc<App>, requests: Streaming<BatchAppendReq>) -> Self {
        let (open, under_way, ready) = (HashMap::new(), FuturesUnordered::new(), VecDeque::new());
        Self { app, requests: Some(requests), open, under_way, ready }
    }

    /// The next answer; none when the client has ended and everything is answered.
    pub(super) async fn next(&mut self) -> Option<Result<BatchAppendResp, Status>> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(Ok(answer));
            }
            let has_room = self.under_way.len() < self.app.options.batches_max;
            let request = match (&mut self.requests, self.under_way.is_empty()) {
                (None, true) => return None,
                (None, false) => return self.under_way.next().await.map(Ok),
                (Some(_), false) if !has_room => return self.under_way.next().await.map(Ok),
                (Some(requests), true) => requests.message().await,
                (Some(requests), false) => tokio::select! {
                    // More requests first: what is under way together shares a durable write.
                    biased;
                    request = requests.message() => request,
                    Some(answer) = self.under_way.next() => return Some(Ok(answer)),
                },
            };
            match request {
                Ok(Some(request)) => {
                    if let Err(status) = self.take(request).await {
                        self.requests = None;
                        return Some(Err(status));
                    }
                }
                Ok(None) => self.requests = None,
                Err(status) => {
                    self.requests = None;
                    return Some(Err(status));
                }
            }
        }
    }

    async fn take(&mut self, request: BatchAppendReq) -> Result<(), Status> {
        let correlation = id(request.correlation_id.as_ref())?;
        if !self.open.contains_key(&correlation) {
            if self.open.len() >= OPEN_MAX {
                return Err(bad(format!("more than {OPEN_MAX} appends are open on this stream")));
            }
            self.open.insert(correlation, open(request.options.unwrap_or_default())?);
        }
        let most = self.app.options.append_bytes_max;
        // Together, those that are open are bounded as one append is.
        let mut room = most.saturating_sub(self.open.values().map(|open| open.gathered.bytes()).sum());
        let Some(open) = self.open.get_mut(&correlation) else { return Ok(()) };
        for proposed in request.proposed_messages {
            let before = open.gathered.bytes();
            if open.refused.is_none()
                && let Err(refused) = open.gathered.add(proposed.into(), room, most)
            {
                open.gathered = Gathered::default();
                open.refused = Some(refused);
            }
            room = room.saturating_sub(open.gathered.bytes().saturating_sub(before));
        }
        if request.is_final
            && let Some(open) = self.open.remove(&correlation)
        {
            self.begin(correlation, open).await;
        }
        Ok(())
    }

    /// Begins an append at once: who comes first is in the store's queue first.
    async fn begin(&mut self, correlation: Uuid, open: Open) {
        let app = Arc::clone(&self.app);
        let mut answer: Answer = Box::pin(async move {
            let stream = open.stream.clone();
            let done = run(&app, open).await;
            answer(correlation, &stream, done)
        });
        // Whatever tokio would have it yield for: who is put off here is overtaken.
        let mut first = tokio::task::unconstrained(answer.as_mut());
        match poll_fn(|context| Poll::Ready(Pin::new(&mut first).poll(context))).await {
            Poll::Ready(answer) => self.ready.push_back(answer),
            Poll::Pending => self.under_way.push(answer),
        }
    }
}

fn open(options: Options) -> Result<Open, Status> {
    let deadline = match options.deadline_option {
        Some(DeadlineOption::Deadline(span)) => Duration::try_from(span).unwrap_or(DEADLINE_MAX),
        Some(DeadlineOption::Deadline21100(at)) => {
            let left = at.seconds.saturating_mul(1_000).saturating_sub(clock::wall().millis());
            Duration::from_millis(u64::try_from(left).unwrap_or(0))
        }
        None => DEADLINE_MAX,
    };
    Ok(Open {
        stream: name(options.stream_identifier)?,
        expected: of_batch(options.expected_stream_position)?,
        deadline: deadline.min(DEADLINE_MAX),
        gathered: Gathered::default(),
        refused: None,
    })
}

async fn run(app: &App, open: Open) -> Result<Done, Refused> {
    if let Some(refused) = open.refused {
        return Err(refused);
    }
    let append = app.append(open.stream, open.expected, open.gathered.events());
    tokio::time::timeout(open.deadline, append).await.unwrap_or(Err(Refused::TimedOut))
}

fn answer(correlation: Uuid, stream: &str, done: Result<Done, Refused>) -> BatchAppendResp {
    let result = match done {
        Ok(done) => batch_append_resp::Result::Success(success(done)),
        Err(refused) => batch_append_resp::Result::Error(error(refused)),
    };
    BatchAppendResp {
        correlation_id: Some(wire_id(correlation, Ids::Text)),
        stream_identifier: Some(identifier(stream)),
        expected_stream_position: None,
        result: Some(result),
    }
}

fn success(done: Done) -> Success {
    let revision = done.revision.map_or(success::CurrentRevisionOption::NoStream(()), |revision| {
        success::CurrentRevisionOption::CurrentRevision(revision)
    });
    let position = done.position.map_or(success::PositionOption::NoPosition(()), |at| {
        success::PositionOption::Position(AllStreamPosition { commit_position: at.0, prepare_position: at.0 })
    });
    Success { current_revision_option: Some(revision), position_option: Some(position) }
}

/// A refusal as a status with one detail.
fn error(refused: Refused) -> WireStatus {
    let (code, detail, bytes) = match refused {
        Refused::Conflict(conflict) => {
            (Code::AlreadyExists, "WrongExpectedVersion", of_batch_conflict(&conflict).encode_to_vec())
        }
        Refused::Deleted(stream) => {
            let deleted = StreamDeleted { stream_identifier: Some(identifier(&stream)) };
            (Code::NotFound, "StreamDeleted", deleted.encode_to_vec())
        }
        Refused::Denied => (Code::PermissionDenied, "AccessDenied", AccessDenied {}.encode_to_vec()),
        Refused::TimedOut => (Code::DeadlineExceeded, "Timeout", Timeout {}.encode_to_vec()),
        Refused::TooBig(most) => {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            let exceeded = MaximumAppendSizeExceeded { max_append_size: most };
            (Code::InvalidArgument, "MaximumAppendSizeExceeded", exceeded.encode_to_vec())
        }
        Refused::Failed(status) if status.code() == Code::InvalidArgument => {
            let bad = BadRequest { message: status.message().to_owned() };
            (Code::InvalidArgument, "BadRequest", bad.encode_to_vec())
        }
        // Whether it was done is not known: as with a timeout, the client asks again with the same ids.
        Refused::Failed(status) if status.code() == Code::Unavailable => {
            (Code::DeadlineExceeded, "Timeout", Timeout {}.encode_to_vec())
        }
        Refused::Failed(_) => (Code::Unknown, "Unknown", Unknown {}.encode_to_vec()),
    };
    let details = Any { type_url: format!("{TYPE_URL}{detail}"), value: bytes };
    WireStatus { code: code.into(), message: detail.to_owned(), details: Some(details) }
}
