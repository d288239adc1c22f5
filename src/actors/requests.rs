//! Requests for scores, as events in the log: a replay sees them.
//!
//! Law: the sweep's request has an id made from what it repeats, so asking twice for the same failure asks once.

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::domain::event::{NewEvent, SCORE_REQUESTED, ScoreRequested};
use crate::domain::id::{EventId, UserId, stream};
use crate::domain::time::Timestamp;
use crate::projection::UnscoredView;
use crate::store::{Append, ExpectedRevision};

/// A request for scores of one user.
pub(super) struct Request {
    pub(super) user: UserId,
    pub(super) models: Vec<String>,
    id: String,
    reason: &'static str,
    at: Timestamp,
}

impl Request {
    /// Somebody asked.
    pub(super) fn asked(user: UserId, models: Vec<String>, at: Timestamp) -> Self {
        Self { user, models, id: Uuid::new_v4().to_string(), reason: "REQUEST", at }
    }

    /// The sweep asks again for what failed.
    pub(super) fn sweep(failed: &UnscoredView, at: Timestamp) -> Self {
        let id = format!("sweep-{}-{}", failed.as_of, failed.attempts);
        Self { user: failed.user_id.clone(), models: failed.model_types.clone(), id, reason: "SWEEP", at }
    }

    /// The request as it is appended.
    pub(super) fn append(&self) -> Append {
        let requested = ScoreRequested {
            id: self.id.clone(),
            user_id: self.user.clone(),
            occurred_at: self.at,
            model_types: self.models.clone(),
            reason: self.reason.to_owned(),
        };
        let event = NewEvent {
            id: EventId::of_behaviour(self.user.as_str(), &self.id),
            event_type: ByteString::from_static(SCORE_REQUESTED),
            // Strings and a time: this cannot fail, and an empty event would be parked by its user.
            data: Bytes::from(serde_json::to_vec(&requested).unwrap_or_default()),
            metadata: Bytes::new(),
        };
        Append { stream: stream::user(&self.user), expected: ExpectedRevision::Any, events: vec![event] }
    }
}
