//! Answers to batch appends, on their way to the client.
//!
//! Law: each append is answered by its correlation, what was wrong with it too; a client that takes none of its answers for
//! too long hears why and is cut off. Called by `batch`.

use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel};
use tonic::{Code, Status};
use uuid::Uuid;

use super::append::Done;
use super::convert::{Ids, identifier, wire_id};
use super::expected::of_batch_conflict;
use super::proto::event_store::client::streams::BatchAppendResp;
use super::proto::event_store::client::streams::batch_append_resp::{self, Success, success};
use super::proto::event_store::client::{
    AccessDenied, AllStreamPosition, BadRequest, MaximumAppendEventSizeExceeded, MaximumAppendSizeExceeded,
    StreamDeleted, StreamIdentifier, Timeout, Unknown,
};
use super::proto::google::rpc::Status as WireStatus;
use super::status::{Refused, too_slow};
use crate::metrics;

/// Detail types are named so.
const TYPE_URL: &str = "type.googleapis.com/event_store.client.";

/// What a client is told.
pub(super) type Told = Result<BatchAppendResp, Status>;

/// Answers that the client has not taken yet, up to a bound.
pub(super) struct Outbox {
    answers: Sender<Told>,
    /// The place of the last word, kept free.
    last: Option<OwnedPermit<Told>>,
    slow_after: Duration,
}

impl Outbox {
    /// For so many answers, and the last word.
    pub(super) fn new(most: usize, slow_after: Duration) -> (Self, Receiver<Told>) {
        let (answers, told) = channel(most + 1);
        let last = answers.clone().try_reserve_owned().ok();
        (Self { answers, last, slow_after }, told)
    }

    /// One more answer; an error when the client is gone, or takes nothing.
    pub(super) async fn tell(&self, answer: BatchAppendResp) -> Result<(), Status> {
        match self.answers.send_timeout(Ok(answer), self.slow_after).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => {
                tracing::warn!("a writer of the wire took no answers and has been cut off");
                metrics::wire_cut(1);
                Err(too_slow())
            }
            Err(SendTimeoutError::Closed(_)) => Err(Status::cancelled("the client has gone")),
        }
    }

    /// The last word, if there is one.
    pub(super) fn end(self, ended: Result<(), Status>) {
        if let (Some(last), Err(status)) = (self.last, ended) {
            last.send(Err(status));
        }
    }
}

/// The answer to one append; `stream` as the client wrote it.
pub(super) fn answer(
    correlation: Uuid,
    stream: StreamIdentifier,
    done: Result<Done, Refused>,
) -> BatchAppendResp {
    let result = match done {
        Ok(done) => batch_append_resp::Result::Success(success(done)),
        Err(refused) => batch_append_resp::Result::Error(error(refused)),
    };
    BatchAppendResp {
        correlation_id: Some(wire_id(correlation, Ids::Text)),
        stream_identifier: Some(stream),
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
        Refused::EventTooBig { event, bytes, most } => {
            let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
            let exceeded = MaximumAppendEventSizeExceeded {
                event_id: event.0.to_string(),
                proposed_event_size: number(bytes),
                max_append_event_size: number(most),
            };
            (Code::InvalidArgument, "MaximumAppendEventSizeExceeded", exceeded.encode_to_vec())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_answers_is_cut_off_and_hears_why() {
        let slow_after = Duration::from_secs(20);
        let (outbox, mut told) = Outbox::new(2, slow_after);
        let began = tokio::time::Instant::now();
        outbox.tell(BatchAppendResp::default()).await.unwrap();
        outbox.tell(BatchAppendResp::default()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let cut = outbox.tell(BatchAppendResp::default()).await;
        assert_eq!(began.elapsed().as_secs(), slow_after.as_secs());
        outbox.end(cut);
        assert!(told.recv().await.unwrap().is_ok() && told.recv().await.unwrap().is_ok());
        let last = told.recv().await.unwrap().unwrap_err();
        assert!(last.message().contains("Consumer too slow"), "{last}");
        assert!(told.recv().await.is_none());
    }
}
