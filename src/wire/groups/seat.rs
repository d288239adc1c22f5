//! What waits for one consumer: given by its group, taken by its call.
//!
//! Law: who is let go loses what waits and hears why, and its place among the subscriptions is free then, whether it listens or
//! not. Made by `consumer`, given to by `live`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use super::command::Delivery;

type Waiting = Mutex<mpsc::Receiver<Delivery>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, mpsc::Receiver<Delivery>> {
    // Held for single steps of the queue, none of which can panic half done.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where deliveries are put.
#[derive(Debug)]
pub(super) struct Giving {
    deliveries: mpsc::Sender<Delivery>,
    waiting: Weak<Waiting>,
    _permit: OwnedSemaphorePermit,
}

/// Where they are taken; dropped, the consumer is gone.
#[derive(Debug)]
pub(super) struct Taking(Arc<Waiting>);

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Waits,
    /// More wait than the consumer has slots for.
    TooMany,
    Gone,
}

/// A seat for so many deliveries.
pub(super) fn seat(slots: usize, permit: OwnedSemaphorePermit) -> (Giving, Taking) {
    // One place is kept for the error that ends it.
    let (deliveries, waiting) = mpsc::channel(slots + 1);
    let waiting = Arc::new(Mutex::new(waiting));
    (Giving { deliveries, waiting: Arc::downgrade(&waiting), _permit: permit }, Taking(waiting))
}

impl Giving {
    pub(super) fn give(&self, delivery: Delivery) -> Given {
        if self.deliveries.capacity() <= 1 {
            return Given::TooMany;
        }
        match self.deliveries.try_send(delivery) {
            Ok(()) => Given::Waits,
            Err(_) => Given::Gone,
        }
    }

    /// Lets the consumer go.
    pub(super) fn end(self, why: Status) {
        let Some(waiting) = self.waiting.upgrade() else { return };
        let mut waiting = lock(&waiting);
        while waiting.try_recv().is_ok() {}
        // It may be gone.
        drop(self.deliveries.try_send(Err(why)));
    }

    /// Ready when the consumer is gone.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let deliveries = self.deliveries.clone();
        async move { deliveries.closed().await }
    }
}

impl Taking {
    /// The next delivery; none when its group ended without a word.
    pub(super) async fn next(&self) -> Option<Delivery> {
        poll_fn(|context| lock(&self.0).poll_recv(context)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::wire::proto::event_store::client::persistent_subscriptions::ReadResp;
    use crate::wire::status::too_slow;

    #[tokio::test]
    async fn who_is_let_go_holds_nothing_and_hears_why() {
        let places = Arc::new(Semaphore::new(2));
        let seat_of_two = || seat(2, Arc::clone(&places).try_acquire_owned().unwrap());
        let ((slow, taking), (quick, other)) = (seat_of_two(), seat_of_two());
        let some = || Ok(ReadResp::default());
        assert_eq!([slow.give(some()), slow.give(some())], [Given::Waits; 2]);
        assert_eq!(slow.give(some()), Given::TooMany);
        slow.end(too_slow());
        assert_eq!(places.available_permits(), 1, "although it has not listened");
        assert!(taking.next().await.unwrap().unwrap_err().message().contains("too slow"));
        assert!(taking.next().await.is_none(), "what waited is gone");
        let gone = quick.gone();
        drop(other);
        gone.await;
        assert_eq!(quick.give(some()), Given::Gone);
        quick.end(too_slow());
        assert_eq!(places.available_permits(), 2);
    }
}
