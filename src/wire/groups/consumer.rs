//! One consumer of a group, from the call that brought it to its end.
//!
//! Law: it never ends well, for clients do not expect that; when it goes, what it held goes to others. Made by `calls`.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::command::{Command, Delivery, Joining, Who};
use super::config::Key;
use super::machine::{ConsumerId, Nack};
use super::seat::{Taking, seat};
use crate::wire::convert::{Ids, id};
use crate::wire::proto::event_store::client::Uuid as WireUuid;
use crate::wire::proto::event_store::client::persistent_subscriptions::read_req::{Content, nack};
use crate::wire::proto::event_store::client::persistent_subscriptions::read_resp::{
    Content as Told, SubscriptionConfirmation,
};
use crate::wire::proto::event_store::client::persistent_subscriptions::{ReadReq, ReadResp};
use crate::wire::status::{bad, group_dropped, not_ready};

/// Most events in the hands of one consumer.
const SLOTS_MAX: usize = 10_000;

/// How a consumer wants to be served.
pub(super) struct Manner {
    pub(super) slots: i32,
    pub(super) ids: Ids,
    pub(super) who: Who,
}

/// A consumer.
pub(super) struct Consumer {
    key: Key,
    id: ConsumerId,
    requests: Streaming<ReadReq>,
    deliveries: Taking,
    commands: mpsc::Sender<Command>,
    is_confirmed: bool,
    is_over: bool,
}

fn ids(ids: &[WireUuid]) -> Result<Vec<Uuid>, Status> {
    ids.iter().map(|wire| id(Some(wire))).collect()
}

impl Consumer {
    /// Joins a group.
    pub(super) async fn join(
        key: Key,
        commands: mpsc::Sender<Command>,
        manner: Manner,
        requests: Streaming<ReadReq>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Status> {
        let slots = usize::try_from(manner.slots).unwrap_or(1).clamp(1, SLOTS_MAX);
        let (giving, deliveries) = seat(slots, permit);
        let (answer, joined) = oneshot::channel();
        let Manner { ids, who, .. } = manner;
        let joining = Joining { slots, ids, who, giving };
        commands.send(Command::Join { joining, answer }).await.map_err(|_| not_ready())?;
        let id = joined.await.map_err(|_| not_ready())??;
        Ok(Self { key, id, requests, deliveries, commands, is_confirmed: false, is_over: false })
    }

    /// The next message to the client.
    pub(super) async fn next(&mut self) -> Option<Delivery> {
        if !self.is_confirmed {
            self.is_confirmed = true;
            let subscription_id = format!("{}::{}", self.key.follows.name(), self.key.group);
            let confirmation = SubscriptionConfirmation { subscription_id };
            return Some(Ok(ReadResp { content: Some(Told::SubscriptionConfirmation(confirmation)) }));
        }
        while !self.is_over {
            let request = tokio::select! {
                biased;
                told = self.deliveries.next() => {
                    let told = told.unwrap_or_else(|| Err(self.dropped()));
                    self.is_over = told.is_err();
                    return Some(told);
                }
                request = self.requests.message() => request,
            };
            let failed = match request {
                Ok(Some(ReadReq { content: Some(content) })) => self.take(content).await.err(),
                Ok(Some(ReadReq { content: None })) => Some(bad("neither ack nor nack")),
                // It says no more, so it acknowledges no more.
                Ok(None) => Some(self.dropped()),
                Err(status) => Some(status),
            };
            if let Some(status) = failed {
                self.is_over = true;
                return Some(Err(status));
            }
        }
        None
    }

    fn dropped(&self) -> Status {
        group_dropped(self.key.follows.name(), &self.key.group)
    }

    async fn take(&mut self, content: Content) -> Result<(), Status> {
        let consumer = self.id;
        let command = match content {
            Content::Options(_) => return Err(bad("options come once, first")),
            Content::Ack(ack) => Command::Ack { consumer, ids: ids(&ack.ids)? },
            Content::Nack(nack) => {
                let action = match nack::Action::try_from(nack.action) {
                    Ok(nack::Action::Park) => Nack::Park,
                    Ok(nack::Action::Unknown | nack::Action::Retry) => Nack::Retry,
                    Ok(nack::Action::Skip) => Nack::Skip,
                    Ok(nack::Action::Stop) => Nack::Stop,
                    Err(_) => return Err(bad("there is no such action")),
                };
                Command::Nack { consumer, ids: ids(&nack.ids)?, action, reason: nack.reason }
            }
        };
        self.commands.send(command).await.map_err(|_| self.dropped())
    }
}
