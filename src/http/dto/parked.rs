//! Parked events on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::alert::Cause;
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;
use crate::projection::ParkedView;

/// An event that could not be folded.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Parked {
    /// Whose.
    #[schema(value_type = String)]
    user_id: UserId,
    /// The event.
    cause: Cause,
    /// How often it was tried.
    attempts: u32,
    /// Why it could not be folded.
    reason: String,
    /// When it was put aside (wall clock).
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<ParkedView> for Parked {
    fn from(view: ParkedView) -> Self {
        let ParkedView { user_id, cause, attempts, reason, at } = view;
        Self { user_id, cause: cause.into(), attempts, reason, at }
    }
}
