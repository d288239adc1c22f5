//! What SQLite says, as what the caller does next.
//!
//! Law: only what names the file's content is `Unusable`; everything that time, room or rights can mend is `Unavailable`.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::projection::Error;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is open, and what is not named is about the content"
)]
/// The port's error for an error of SQLite on this file.
pub(super) fn translate(path: &Path, error: rusqlite::Error) -> Error {
    let path = path.display();
    let Some(code) = error.sqlite_error_code() else {
        // Not from SQLite: a column held what the schema does not allow, so the content is not ours.
        return Error::Unusable { path: path.to_string(), reason: error.to_string() };
    };
    let unavailable = |way_out: &str| Error::Unavailable { reason: format!("{path}: {error}; {way_out}") };
    match code {
        ErrorCode::DiskFull => unavailable("make room on the disk, or raise projection.file_bytes_max"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            unavailable("the folder and the file must be writable for the daemon's user")
        }
        ErrorCode::CannotOpen => unavailable("the folder must exist and be writable for the daemon's user"),
        ErrorCode::SystemIoFailure => unavailable("look at the disk and the system's log"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            unavailable("another program holds the file")
        }
        ErrorCode::OperationInterrupted => {
            unavailable("the query took longer than projection.query_time_max: ask for less at once")
        }
        ErrorCode::OutOfMemory | ErrorCode::OperationAborted | ErrorCode::SchemaChanged => {
            unavailable("repeat the call")
        }
        _ => Error::Unusable { path: path.to_string(), reason: error.to_string() },
    }
}
