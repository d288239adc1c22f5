//! Why an incarnation of a user ended before it was told to, and what the roster is told of it.
//!
//! Law: what was asked for is no failure: it costs no wait, counts for nothing, and is not warned of. Made by users,
//! read by the registry.

use ractor::ActorProcessingErr;

use crate::domain::event::Revision;
use crate::domain::roster::End;

/// Why an incarnation failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Failure {
    /// The event at fault, when it is known and would fail again.
    pub(super) revision: Option<Revision>,
    pub(super) reason: String,
    /// Nothing is wrong: it was asked for what a successor has to begin with.
    pub(super) asked: bool,
}

impl Failure {
    /// A failure that no event is at fault for.
    pub(super) fn here(reason: impl Into<String>) -> Self {
        Self { revision: None, reason: reason.into(), asked: false }
    }

    /// A failure that this event may be at fault for.
    pub(super) fn at(revision: Option<Revision>, reason: String) -> Self {
        Self { revision, reason, asked: false }
    }
}

/// How an incarnation ended that did not leave by itself: told to the log and the metrics, and to the roster.
pub(super) fn end(error: &ActorProcessingErr) -> End {
    let failure = error.downcast_ref::<Failure>();
    let reason = error.to_string();
    if failure.is_some_and(|failure| failure.asked) {
        tracing::info!(reason, "a user is read again from the log");
        crate::metrics::users_restarted("asked", 1);
        return End::Again;
    }
    tracing::warn!(reason, "a user failed and is started again from the log");
    crate::metrics::users_restarted("failed", 1);
    End::Failed { revision: failure.and_then(|failure| failure.revision), reason }
}
