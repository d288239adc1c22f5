//! A command on its way from the daemon to a user, and its answer on the way back.
//!
//! Law: whoever drops a command tells the one who waits that there is no answer, and to ask again. Passed on by the registry.

use tokio::sync::oneshot;

use crate::domain::entity::{Answer, Command, Refusal};
use crate::domain::event::Position;
use crate::domain::time::Timestamp;

/// An answer, and where in `$all` the facts behind it end.
pub(super) type Reply = (Result<Answer, Refusal>, Option<Position>);

/// A command on its way. Dropped, it tells the one who waits that there is no answer.
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) as_of: Timestamp,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Asked {
    /// Who has given up waiting is not obeyed behind its back.
    pub(super) fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }
}
