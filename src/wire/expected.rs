//! Where a stream is expected to end, in the ways in which the calls say it.
//!
//! Law: an expectation that is not said is refused, never taken for "anywhere". Called by appends and deletes.

use tonic::Status;

use super::proto::event_store::client::streams::append_resp::WrongExpectedVersion;
use super::proto::event_store::client::streams::append_resp::wrong_expected_version as wrong;
use super::proto::event_store::client::streams::{append_req, batch_append_req, delete_req, tombstone_req};
use super::proto::event_store::client::{self, Empty};
use super::status::bad;
use crate::domain::event::{ExpectedRevision, Revision};
use crate::store::Conflict;

fn missing() -> Status {
    bad("the expected revision is missing")
}

/// Of an append.
pub(super) fn of_append(
    option: Option<append_req::options::ExpectedStreamRevision>,
) -> Result<ExpectedRevision, Status> {
    use append_req::options::ExpectedStreamRevision as Given;
    Ok(match option.ok_or_else(missing)? {
        Given::Revision(revision) => ExpectedRevision::Exact(revision),
        Given::NoStream(_) => ExpectedRevision::NoStream,
        Given::Any(_) => ExpectedRevision::Any,
        Given::StreamExists(_) => ExpectedRevision::Exists,
    })
}

/// Of a batch append.
pub(super) fn of_batch(
    option: Option<batch_append_req::options::ExpectedStreamPosition>,
) -> Result<ExpectedRevision, Status> {
    use batch_append_req::options::ExpectedStreamPosition as Given;
    Ok(match option.ok_or_else(missing)? {
        Given::StreamPosition(revision) => ExpectedRevision::Exact(revision),
        Given::NoStream(()) => ExpectedRevision::NoStream,
        Given::Any(()) => ExpectedRevision::Any,
        Given::StreamExists(()) => ExpectedRevision::Exists,
    })
}

/// Of a delete.
pub(super) fn of_delete(
    option: Option<delete_req::options::ExpectedStreamRevision>,
) -> Result<ExpectedRevision, Status> {
    use delete_req::options::ExpectedStreamRevision as Given;
    Ok(match option.ok_or_else(missing)? {
        Given::Revision(revision) => ExpectedRevision::Exact(revision),
        Given::NoStream(_) => ExpectedRevision::NoStream,
        Given::Any(_) => ExpectedRevision::Any,
        Given::StreamExists(_) => ExpectedRevision::Exists,
    })
}

/// Of a tombstone.
pub(super) fn of_tombstone(
    option: Option<tombstone_req::options::ExpectedStreamRevision>,
) -> Result<ExpectedRevision, Status> {
    use tombstone_req::options::ExpectedStreamRevision as Given;
    Ok(match option.ok_or_else(missing)? {
        Given::Revision(revision) => ExpectedRevision::Exact(revision),
        Given::NoStream(_) => ExpectedRevision::NoStream,
        Given::Any(_) => ExpectedRevision::Any,
        Given::StreamExists(_) => ExpectedRevision::Exists,
    })
}

/// Whether a stream that ends with this revision is as expected.
pub(super) fn fits(expected: ExpectedRevision, last: Option<Revision>) -> bool {
    match expected {
        ExpectedRevision::Any => true,
        ExpectedRevision::NoStream => last.is_none(),
        ExpectedRevision::Exists => last.is_some(),
        ExpectedRevision::Exact(revision) => last == Some(revision),
    }
}

/// A conflict as an append answers it: for clients of two generations at once.
pub(super) fn of_conflict(conflict: &Conflict) -> WrongExpectedVersion {
    let (old_current, current) = match conflict.actual {
        Some(last) => (
            wrong::CurrentRevisionOption2060::CurrentRevision2060(last),
            wrong::CurrentRevisionOption::CurrentRevision(last),
        ),
        None => (
            wrong::CurrentRevisionOption2060::NoStream2060(Empty {}),
            wrong::CurrentRevisionOption::CurrentNoStream(Empty {}),
        ),
    };
    let (old_expected, expected) = match conflict.expected {
        ExpectedRevision::Exact(revision) => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(revision),
            wrong::ExpectedRevisionOption::ExpectedRevision(revision),
        ),
        ExpectedRevision::Any => (
            wrong::ExpectedRevisionOption2060::Any2060(Empty {}),
            wrong::ExpectedRevisionOption::ExpectedAny(Empty {}),
        ),
        ExpectedRevision::Exists => (
            wrong::ExpectedRevisionOption2060::StreamExists2060(Empty {}),
            wrong::ExpectedRevisionOption::ExpectedStreamExists(Empty {}),
        ),
        // The old generation knew no other word for it.
        ExpectedRevision::NoStream => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX),
            wrong::ExpectedRevisionOption::ExpectedNoStream(Empty {}),
        ),
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(old_current),
        expected_revision_option_20_6_0: Some(old_expected),
        current_revision_option: Some(current),
        expected_revision_option: Some(expected),
    }
}

/// A conflict as the detail of a failed batch append.
pub(super) fn of_batch_conflict(conflict: &Conflict) -> client::WrongExpectedVersion {
    use client::wrong_expected_version::{CurrentStreamRevisionOption, ExpectedStreamPositionOption};
    let current = match conflict.actual {
        Some(last) => CurrentStreamRevisionOption::CurrentStreamRevision(last),
        None => CurrentStreamRevisionOption::CurrentNoStream(()),
    };
    let expected = match conflict.expected {
        ExpectedRevision::Exact(revision) => ExpectedStreamPositionOption::ExpectedStreamPosition(revision),
        ExpectedRevision::Any => ExpectedStreamPositionOption::ExpectedAny(()),
        ExpectedRevision::Exists => ExpectedStreamPositionOption::ExpectedStreamExists(()),
        ExpectedRevision::NoStream => ExpectedStreamPositionOption::ExpectedNoStream(()),
    };
    client::WrongExpectedVersion {
        current_stream_revision_option: Some(current),
        expected_stream_position_option: Some(expected),
    }
}
