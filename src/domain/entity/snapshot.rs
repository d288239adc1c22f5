//! What a user is, to be kept and taken up again without the log before it.
//!
//! Law: derived. A user restored from a snapshot and told the rest of the log is the user recovered from the whole log. Good
//! only with the store, the catalogue and the shape it was made with: who keeps snapshots keys them by all three.

use serde::{Deserialize, Serialize};

use super::UserEntity;
use super::record::Record;
use super::watch::Watch;
use crate::domain::event::Revision;
use crate::domain::id::UserId;

/// A quiescent user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    watch: Watch,
    record: Record,
    next: Revision,
}

impl Snapshot {
    /// The shape of a snapshot; goes up with each change of a type in it.
    pub const SCHEMA: u16 = 1;

    /// The last revision of `user-<id>` in it: deliver from the one after.
    pub fn user_revision(&self) -> Option<Revision> {
        self.next.checked_sub(1)
    }

    /// The last revision of `intent-<id>` in it: tell facts from the one after.
    pub fn intent_revision(&self) -> Option<Revision> {
        self.record.last()
    }
}

impl UserEntity {
    /// The user as it was: tell it the facts and deliver the events since.
    pub fn restore(user: UserId, snapshot: Snapshot) -> Self {
        Self::at(user, snapshot.watch, snapshot.record, snapshot.next)
    }

    /// The user as it is; none unless it is quiescent.
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.is_quiescent().then(|| Snapshot {
            watch: self.watch.clone(),
            record: self.record.clone(),
            next: self.next,
        })
    }
}
