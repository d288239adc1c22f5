//! The wall clock, read in one place so that everything else takes time as an argument.

use crate::domain::time::Timestamp;

/// The current wall-clock time.
///
/// A clock before 1970 reads as 1970: event time can still be compared, and nothing panics.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
