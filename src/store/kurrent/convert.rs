//! Events and errors as the client crate has them and as the port has them.
//!
//! Law: bytes stay as they are. An error is `Invalid` only when the same call can never succeed. Called by all of [`super`].

use kurrentdb::{EventData, RecordedEvent, StreamState};
use serde_json::value::RawValue;

use crate::domain::event::{ExpectedRevision, NewEvent, Position, Recorded};
use crate::domain::id::EventId;
use crate::domain::time::Timestamp;
use crate::store::Error;

/// The code of a call that makes no sense.
pub(super) const INVALID_ARGUMENT: i32 = 3;

/// What a server that is well says when too much is asked of it at once.
const BUSY: &str = "Server Is Too Busy";

/// Not now.
pub(super) fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { reason: reason.into(), source: None }
}

/// What an error of the client means for a call.
pub(super) enum Fault {
    /// The connection is of no use any more.
    Lost(String),
    /// The server is there and does not do it now.
    NotNow(String),
    /// The stream does not exist.
    NotFound,
    /// The same call can never succeed.
    Refused(String),
}

/// Reads an error.
pub(super) fn fault(error: &kurrentdb::Error) -> Fault {
    use kurrentdb::Error as Said;
    match error {
        Said::ResourceNotFound => Fault::NotFound,
        Said::Grpc { code, message } if i32::from(*code) == INVALID_ARGUMENT => {
            Fault::Refused(message.clone())
        }
        Said::ResourceDeleted => Fault::Refused("the stream is closed for ever".to_owned()),
        Said::ServerError(text) if text.contains(BUSY) => Fault::NotNow(BUSY.to_owned()),
        // Rights may be given, who was too slow may come again.
        Said::AccessDenied
        | Said::Grpc { .. }
        | Said::ResourceAlreadyExists
        | Said::WrongExpectedVersion { .. } => Fault::NotNow(error.to_string()),
        // Nodes may come back, leaders change, servers be updated.
        Said::ServerError(_)
        | Said::NotLeaderException(_)
        | Said::ConnectionClosed
        | Said::GrpcConnectionError(_)
        | Said::InternalParsingError(_)
        | Said::UnsupportedFeature
        | Said::InternalClientError
        | Said::DeadlineExceeded
        | Said::InitializationError(_)
        | Said::IllegalStateError(_) => Fault::Lost(error.to_string()),
    }
}

/// An expectation for the client.
pub(super) fn state(expected: ExpectedRevision) -> StreamState {
    match expected {
        ExpectedRevision::Any => StreamState::Any,
        ExpectedRevision::NoStream => StreamState::NoStream,
        ExpectedRevision::Exists => StreamState::StreamExists,
        ExpectedRevision::Exact(revision) => StreamState::StreamRevision(revision),
    }
}

/// An event for the client: JSON where it is JSON.
pub(super) fn proposed(event: &NewEvent) -> EventData {
    let json = serde_json::from_slice::<&RawValue>(&event.data)
        .ok()
        .filter(|raw| raw.get().len() == event.data.len())
        .and_then(|raw| EventData::json(&*event.event_type, &raw).ok());
    let proposed = json.unwrap_or_else(|| EventData::binary(&*event.event_type, event.data.clone()));
    let proposed = proposed.id(event.id.0);
    if event.metadata.is_empty() { proposed } else { proposed.metadata(event.metadata.clone()) }
}

/// An event of the client.
pub(super) fn recorded(event: RecordedEvent) -> Recorded {
    Recorded {
        id: EventId(event.id),
        stream: event.stream_id().into(),
        revision: event.revision,
        position: Position(event.position.commit),
        event_type: event.event_type.into(),
        data: event.data,
        metadata: event.custom_metadata,
        recorded_at: Timestamp::from_millis(event.created.timestamp_millis()),
    }
}

/// A position for the client.
pub(super) fn position(at: Position) -> kurrentdb::Position {
    kurrentdb::Position { commit: at.0, prepare: at.0 }
}
