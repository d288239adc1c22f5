//! Why an incarnation of a user failed, and which event is at fault.
//!
//! Law: an event is named only when it is known to be the cause and would fail again: what is named too often is put aside.
//! Returned by `user` and `recovery`, read by `registry`.

use crate::domain::event::Revision;

/// Why an incarnation failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Failure {
    /// The event at fault, when it is known and would fail again.
    pub(super) revision: Option<Revision>,
    pub(super) reason: String,
}

impl Failure {
    /// A failure that no event is at fault for.
    pub(super) fn here(reason: impl Into<String>) -> Self {
        Self { revision: None, reason: reason.into() }
    }
}
