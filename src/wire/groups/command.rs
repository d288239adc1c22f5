//! What a group is asked, and what it says to consumers.
//!
//! Law: an answer that does not come means that the group is not ready. Sent by `calls` and `consumer` to `group`.

use tokio::sync::oneshot;
use tonic::Status;
use uuid::Uuid;

use super::machine::{ConsumerId, Nack};
use super::seat::Giving;
use crate::wire::calls::Caller;
use crate::wire::convert::Ids;
use crate::wire::proto::event_store::client::persistent_subscriptions::{ReadResp, SubscriptionInfo};

/// What a consumer gets.
pub(super) type Delivery = Result<ReadResp, Status>;

/// A consumer, for those who look at the group.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    /// As the client calls its connection.
    pub(super) connection: String,
    pub(super) caller: Caller,
}

/// Who wants to consume.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) slots: usize,
    pub(super) ids: Ids,
    pub(super) who: Who,
    pub(super) giving: Giving,
}

/// What a group is asked.
#[derive(Debug)]
pub(super) enum Command {
    Join {
        joining: Joining,
        answer: oneshot::Sender<Result<ConsumerId, Status>>,
    },
    Ack {
        consumer: ConsumerId,
        ids: Vec<Uuid>,
    },
    Nack {
        consumer: ConsumerId,
        ids: Vec<Uuid>,
        action: Nack,
        reason: String,
    },
    /// Parked events come back, those before this revision among them, or all.
    Replay {
        before: Option<u64>,
        answer: oneshot::Sender<()>,
    },
    Tell {
        answer: oneshot::Sender<SubscriptionInfo>,
    },
    /// Writes its checkpoint, lets all consumers go and ends; `done` is dropped then.
    End {
        done: oneshot::Sender<()>,
    },
}
