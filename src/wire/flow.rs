//! Messages on their way to a client, and the end of those who do not take them.
//!
//! Law: nothing is fetched before the client has taken what came before, so a slow client costs what it holds at hand; one
//! that takes nothing for too long loses that too and hears why. Opened by reads and subscriptions.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;

use super::proto::event_store::client::streams::ReadResp;
use super::status::too_slow;
use crate::metrics;
use crate::store::BoxFuture;

/// Where messages come from, some at a time; none when there are no more.
pub(super) trait Source: Send + 'static {
    fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>>;
}

type Batches = Pin<Box<dyn Stream<Item = Result<Vec<ReadResp>, Status>> + Send>>;

fn batches(source: Box<dyn Source>) -> Batches {
    Box::pin(unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.more().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(source))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

/// What a flow holds; gone when it was cut off.
struct Held {
    batches: Batches,
    at_hand: std::vec::IntoIter<ReadResp>,
    /// Since when the client could take something and has not come; none while it waits for us.
    untaken_since: Option<Instant>,
    /// Rung when there is something for a client that waits.
    bell: Arc<Bell>,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    /// Since when it could take something: an end of a wait that nobody comes for counts like a message.
    fn waits_since(&self) -> Option<Instant> {
        self.untaken_since.or(*self.bell.rung_at())
    }

    fn take(&mut self, context: &Context<'_>) -> Poll<Option<Result<ReadResp, Status>>> {
        *self.bell.rung_at() = None;
        self.bell.task.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.bell));
        let polled = self.poll(&mut Context::from_waker(&waker));
        self.untaken_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ReadResp, Status>>> {
        loop {
            if let Some(message) = self.at_hand.next() {
                return Poll::Ready(Some(Ok(message)));
            }
            match ready!(self.batches.as_mut().poll_next(context)) {
                Some(Ok(batch)) => {
                    metrics::wire_events("read", batch.len() as u64);
                    self.at_hand = batch.into_iter();
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

type Slot = Mutex<Option<Box<Held>>>;

/// Wakes who polls a flow, and remembers since when it has not come.
#[derive(Default)]
struct Bell {
    task: AtomicWaker,
    rung_at: Mutex<Option<Instant>>,
}

impl Bell {
    fn rung_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rung_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung_at().get_or_insert_with(Instant::now);
        self.task.wake();
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Box<Held>>> {
    // A source that panicked is not polled again: its flow ends with the connection's task.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The messages of one read or subscription.
pub(super) struct Flow {
    slot: Arc<Slot>,
    ended: bool,
}

impl Stream for Flow {
    type Item = Result<ReadResp, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let slot = Arc::clone(&self.slot);
        let mut slot = lock(&slot);
        let Some(held) = slot.as_mut() else {
            self.ended = true;
            return Poll::Ready(Some(Err(too_slow())));
        };
        let polled = held.take(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.ended = true;
            *slot = None;
        }
        polled
    }
}

/// All flows of a server.
#[derive(Default)]
pub(super) struct Flows(Mutex<Vec<Weak<Slot>>>);

impl Flows {
    /// Begins one. `first` goes before what the source gives.
    pub(super) fn open(
        &self,
        source: Box<dyn Source>,
        first: Vec<ReadResp>,
        permit: OwnedSemaphorePermit,
    ) -> Flow {
        let held = Held {
            batches: batches(source),
            at_hand: first.into_iter(),
            untaken_since: Some(Instant::now()),
            bell: Arc::default(),
            _permit: permit,
        };
        let slot = Arc::new(Mutex::new(Some(Box::new(held))));
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flows.push(Arc::downgrade(&slot));
        Flow { slot, ended: false }
    }

    /// Cuts off those who have taken nothing for so long; answers how many run, and how many were cut.
    pub(super) fn cut_slow(&self, slow_after: Duration) -> (usize, usize) {
        let (now, mut cut) = (Instant::now(), 0);
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flows.retain(|flow| {
            let Some(slot) = flow.upgrade() else { return false };
            // Who is being polled is not slow.
            let Ok(mut slot) = slot.try_lock() else { return true };
            let Some(held) = slot.as_ref() else { return false };
            let is_slow = held.waits_since().is_some_and(|since| now - since >= slow_after);
            if is_slow {
                *slot = None;
                cut += 1;
            }
            !is_slow
        });
        (flows.len(), cut)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::wire::convert::message;
    use crate::wire::proto::event_store::client::streams::read_resp::Content;

    /// Tells so many numbers, one a second.
    struct Counting(u64);

    impl Source for Counting {
        fn more(&mut self) -> BoxFuture<'_, Result<Option<Vec<ReadResp>>, Status>> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.0 = self.0.saturating_sub(1);
                Ok((self.0 > 0).then(|| vec![message(Content::LastStreamPosition(self.0))]))
            })
        }
    }

    fn open(flows: &Flows, seats: &Arc<Semaphore>, count: u64) -> Flow {
        let permit = Arc::clone(seats).try_acquire_owned().unwrap();
        flows.open(Box::new(Counting(count)), Vec::new(), permit)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_and_who_waits_for_us_is_not() {
        let (flows, seats) = (Flows::default(), Arc::new(Semaphore::new(2)));
        let slow_after = Duration::from_secs(20);
        let (mut slow, mut idle) = (open(&flows, &seats, 1_000), open(&flows, &seats, 1_000));
        assert!(slow.next().await.unwrap().is_ok());
        for _ in 0..30 {
            assert!(idle.next().await.unwrap().is_ok());
        }
        // Waits: there is nothing to take.
        assert!(poll_fn(|context| Poll::Ready(idle.poll_next_unpin(context))).await.is_pending());
        assert_eq!(flows.cut_slow(Duration::from_secs(40)), (2, 0));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(flows.cut_slow(slow_after), (1, 1));
        assert_eq!(seats.available_permits(), 1, "what it held is free");
        let told = slow.next().await.unwrap().unwrap_err();
        assert!(told.message().contains("Consumer too slow"), "{told}");
        assert!(slow.next().await.is_none());
        assert!(idle.next().await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_waiting_and_does_not_come_when_there_is_something_is_cut_off() {
        let (flows, seats) = (Flows::default(), Arc::new(Semaphore::new(1)));
        let mut stalled = open(&flows, &seats, 1_000);
        // It waits for us, and never comes again: what carries it has no room for what it took before.
        assert!(poll_fn(|context| Poll::Ready(stalled.poll_next_unpin(context))).await.is_pending());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(flows.cut_slow(Duration::ZERO), (1, 0), "there is nothing yet");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(flows.cut_slow(Duration::from_secs(20)), (1, 0), "there was something for 19.5 s");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(flows.cut_slow(Duration::from_secs(20)), (0, 1));
        assert_eq!(seats.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_ends_ends_its_flow() {
        let (flows, seats) = (Flows::default(), Arc::new(Semaphore::new(1)));
        let flow = open(&flows, &seats, 4);
        assert_eq!(flow.collect::<Vec<_>>().await.len(), 3);
        assert_eq!(flows.cut_slow(Duration::ZERO), (0, 0));
        assert_eq!(seats.available_permits(), 1);
    }
}
