//! Every error of the protocol: its code, its text and its trailers.
//!
//! Law: clients decide by these texts and trailers, word for word; nothing else makes a status. Called by all of [`super`].

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

use crate::domain::event::{ExpectedRevision, Revision};
use crate::domain::id::EventId;
use crate::error::Chain;
use crate::store::{self, Conflict};

fn with(
    code: Code,
    text: impl Into<String>,
    exception: &'static str,
    trailers: &[(&'static str, &str)],
) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("exception", AsciiMetadataValue::from_static(exception));
    for (key, value) in trailers {
        // A name may hold what no header can: then it is shown escaped.
        let value = AsciiMetadataValue::try_from(value.as_bytes())
            .or_else(|_| AsciiMetadataValue::try_from(value.escape_default().to_string()));
        if let Ok(value) = value {
            metadata.insert(*key, value);
        }
    }
    Status::with_metadata(code, text, metadata)
}

/// The request makes no sense.
pub(super) fn bad(what: impl Into<String>) -> Status {
    Status::invalid_argument(what)
}

/// A position of `$all` that no event can have.
pub(super) fn position_invalid() -> Status {
    Status::invalid_argument("Trying to read from an invalid position.")
}

/// The server is stopping, or its store takes nothing just now.
pub(super) fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}

/// A bound is reached.
pub(super) fn too_busy() -> Status {
    Status::unavailable("Server Is Too Busy")
}

/// A reader or subscriber was cut off.
pub(super) fn too_slow() -> Status {
    Status::aborted("Operation timed out: Consumer too slow to handle what it asked for. It was cut off.")
}

/// The call's deadline passed before the store answered.
pub(super) fn timed_out() -> Status {
    Status::aborted("Operation timed out: the store did not answer in time")
}

/// A message or an append was begun and did not come to its end.
pub(super) fn sent_too_slowly() -> Status {
    Status::aborted("Operation timed out: the rest of what was begun was not sent in time")
}

/// Something broke here.
pub(super) fn failed() -> Status {
    Status::unknown("Exception was thrown by handler.")
}

/// Nobody that we know.
pub(super) fn unknown_caller() -> Status {
    Status::unauthenticated("Who calls is not known")
}

pub(super) fn access_denied() -> Status {
    with(Code::PermissionDenied, "Access Denied", "access-denied", &[])
}

pub(super) fn stream_deleted(stream: &str) -> Status {
    let text = format!("Event stream '{stream}' is deleted.");
    with(Code::FailedPrecondition, text, "stream-deleted", &[("stream-name", stream)])
}

pub(super) fn append_too_big(most: usize) -> Status {
    let text = format!("Maximum Append Size of {most} Exceeded.");
    let trailers = [("maximum-append-size", &*most.to_string())];
    with(Code::InvalidArgument, text, "maximum-append-size-exceeded", &trailers)
}

/// An event alone is more than the store takes.
pub(super) fn event_too_big(event: EventId, bytes: usize, most: usize) -> Status {
    let (event, bytes, most) = (event.0.to_string(), bytes.to_string(), most.to_string());
    let text = format!("Event {event} of {bytes} bytes exceeds the maximum of {most}.");
    let trailers = [
        ("event-id", &*event),
        ("proposed-append-event-size", &*bytes),
        ("maximum-append-event-size", &*most),
    ];
    with(Code::InvalidArgument, text, "maximum-append-event-size-exceeded", &trailers)
}

/// `type` or `content-type` is not among an event's metadata.
pub(super) fn metadata_missing(key: &str) -> Status {
    let text = format!("Required Metadata Property '{key}' is missing");
    let trailers = [("required-metadata-properties", "type,content-type")];
    with(Code::InvalidArgument, text, "missing-required-metadata-property", &trailers)
}

/// An expected revision as the protocol's texts count it.
fn number(expected: ExpectedRevision) -> i64 {
    match expected {
        ExpectedRevision::NoStream => -1,
        ExpectedRevision::Any => -2,
        ExpectedRevision::Exists => -4,
        ExpectedRevision::Exact(revision) => revision.cast_signed(),
    }
}

/// A stream that was to be deleted does not end where it was expected to.
pub(super) fn delete_conflict(stream: &str, expected: ExpectedRevision, actual: Option<Revision>) -> Status {
    let expected = number(expected).to_string();
    let actual = actual.map_or(-1, u64::cast_signed).to_string();
    let text = format!(
        "Delete failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, \
         Actual version: {actual}"
    );
    let trailers = [("stream-name", stream), ("expected-version", &*expected), ("actual-version", &*actual)];
    with(Code::FailedPrecondition, text, "wrong-expected-version", &trailers)
}

fn of_group(
    code: Code,
    text: String,
    exception: &'static str,
    stream: &str,
    group: &str,
    more: &[(&'static str, &str)],
) -> Status {
    let mut trailers = vec![("stream-name", stream), ("group-name", group)];
    trailers.extend(more);
    with(code, text, exception, &trailers)
}

pub(super) fn group_missing(stream: &str, group: &str) -> Status {
    let text = format!("Subscription group {group} on stream {stream} does not exist.");
    of_group(Code::NotFound, text, "persistent-subscription-does-not-exist", stream, group, &[])
}

pub(super) fn group_exists(stream: &str, group: &str) -> Status {
    let text = format!("Subscription group {group} on stream {stream} exists.");
    of_group(Code::AlreadyExists, text, "persistent-subscription-exists", stream, group, &[])
}

pub(super) fn group_full(stream: &str, group: &str) -> Status {
    let text = format!("Maximum subscriptions reached for subscription group {group} on stream {stream}.");
    of_group(Code::FailedPrecondition, text, "maximum-subscribers-reached", stream, group, &[])
}

/// A consumer was let go.
pub(super) fn group_dropped(stream: &str, group: &str) -> Status {
    let text = format!("Subscription group {group} on stream {stream} was dropped.");
    of_group(Code::Cancelled, text, "persistent-subscription-dropped", stream, group, &[])
}

pub(super) fn group_failed(stream: &str, group: &str, reason: &str) -> Status {
    let text = format!("Subscription group {group} on stream {stream} failed: '{reason}'");
    let more = [("reason", reason)];
    of_group(Code::Internal, text, "persistent-subscription-failed", stream, group, &more)
}

/// What the store itself says.
pub(super) fn of_store(error: &store::Error) -> Status {
    match error {
        store::Error::Unavailable { .. } => {
            tracing::debug!(error = %Chain(error), "the store is not available to a wire client");
            not_ready()
        }
        store::Error::TooBig { event: Some(event), bytes, most, .. } => event_too_big(*event, *bytes, *most),
        store::Error::TooBig { event: None, most, .. } => append_too_big(*most),
        store::Error::Invalid { reason } => bad(reason.clone()),
        store::Error::Corrupt { .. } => {
            tracing::error!(error = %Chain(error), "a wire client met damage in the store");
            failed()
        }
    }
}

/// Why an append was not done.
#[derive(Debug)]
pub(super) enum Refused {
    /// The stream does not end where it was expected to.
    Conflict(Conflict),
    /// The stream is closed for ever.
    Deleted(String),
    /// This stream is not for clients to write.
    Denied,
    /// It is too big.
    TooBig(usize),
    /// One event of it is too big.
    EventTooBig { event: EventId, bytes: usize, most: usize },
    /// The deadline passed.
    TimedOut,
    /// Anything else.
    Failed(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<&store::Error> for Refused {
    fn from(error: &store::Error) -> Self {
        match error {
            store::Error::TooBig { event: Some(event), bytes, most, .. } => {
                Self::EventTooBig { event: *event, bytes: *bytes, most: *most }
            }
            store::Error::TooBig { event: None, most, .. } => Self::TooBig(*most),
            store::Error::Unavailable { .. }
            | store::Error::Corrupt { .. }
            | store::Error::Invalid { .. } => Self::Failed(of_store(error)),
        }
    }
}

impl Refused {
    /// As a call's status; a conflict is a status only where the call has no other way to say it.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Conflict(Conflict { stream, expected, actual }) => {
                delete_conflict(&stream, expected, actual)
            }
            Self::Deleted(stream) => stream_deleted(&stream),
            Self::Denied => access_denied(),
            Self::TooBig(most) => append_too_big(most),
            Self::EventTooBig { event, bytes, most } => event_too_big(event, bytes, most),
            Self::TimedOut => timed_out(),
            Self::Failed(status) => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_trailers_are_those_that_clients_look_for() {
        let status = delete_conflict("s", ExpectedRevision::Exists, None);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(
            status.message(),
            "Delete failed due to WrongExpectedVersion. Stream: s, Expected version: -4, Actual version: -1"
        );
        assert_eq!(status.metadata().get("exception").unwrap(), "wrong-expected-version");
        assert_eq!(status.metadata().get("expected-version").unwrap(), "-4");
        let odd = stream_deleted("a\nb");
        assert_eq!(odd.metadata().get("stream-name").unwrap(), "a\\nb");
        let foreign = stream_deleted("ä");
        assert_eq!(foreign.metadata().get("stream-name").unwrap().as_bytes(), "ä".as_bytes());
    }
}
