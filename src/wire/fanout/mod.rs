//! One reader of the log for all subscriptions that wait at its end.
//!
//! Law: a member hears, once and in order, every event that passes and stands after the place where it joined, until it is told
//! to read on by itself; what is kept for members is bounded over all of them. Without it each of ten thousand idle
//! subscriptions would be woken for every event of others. Joined by `subscribe`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use self::topics::Topics;
pub(super) use self::topics::{Member, Told, Topic};
use super::stopped;
use crate::store::{Error, EventStore, Filter, Message, Subscription};

mod topics;

/// Bytes of all tellings that some member has not taken.
const HELD_BYTES_MAX: usize = 32 << 20;
/// How often those who wait are told how far the log has come, when nothing passed.
const TICK: Duration = Duration::from_millis(250);

/// All who wait at the end of one log.
pub(super) struct Fanout {
    store: Arc<dyn EventStore>,
    topics: Mutex<Topics>,
    /// The one who reads for them, and those who have done so and are gone.
    readers: Mutex<JoinSet<()>>,
    held: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Fanout {
    pub(super) fn new(store: Arc<dyn EventStore>, stopping: watch::Receiver<bool>) -> Arc<Self> {
        let held = Arc::new(Semaphore::new(HELD_BYTES_MAX));
        let (topics, readers) = (Mutex::default(), Mutex::default());
        Arc::new(Self { store, topics, readers, held, stopping })
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // Who panicked with it was the reader, which has everybody leave: see `Reader`.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins those who wait for the same; none when it has to read by itself for now.
    ///
    /// # Errors
    /// The log's end cannot be read.
    pub(super) async fn join(self: &Arc<Self>, topic: Topic<'_>) -> Result<Option<Member>, Error> {
        let read = self.topics().read();
        let head = match read {
            Some(read) => read,
            None => self.store.head().await?,
        };
        let mut topics = self.topics();
        if topics.read().is_none() {
            topics.begin(head);
            let log = self.store.subscribe_all(head, Filter::default());
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            while readers.try_join_next().is_some() {}
            readers.spawn(Arc::clone(self).run(log));
        }
        Ok(topics.join(topic))
    }

    /// Reads the log for all, until nobody waits any more.
    async fn run(self: Arc<Self>, log: Box<dyn Subscription>) {
        let mut reader = Reader { fanout: &self, has_left: false };
        let mut stopping = self.stopping.clone();
        let mut reading = pin!(self.read(log));
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                Err(error) = reading.as_mut() => {
                    tracing::debug!(%error, "the log's end cannot be followed; each subscription reads by itself");
                    return;
                }
                () = self.tick() => {
                    if reader.leaves() {
                        return;
                    }
                }
            }
        }
    }

    async fn read(&self, mut log: Box<dyn Subscription>) -> Result<Infallible, Error> {
        loop {
            let Message::Events(events) = log.next().await? else { continue };
            let mut rest = &events[..];
            while let Some((some, others)) = rest.split_at_checked(topics::at_once(rest)) {
                rest = others;
                if some.is_empty() {
                    break;
                }
                let told = self.topics().tell(some, &self.held);
                if told {
                    // Members take it before there is more.
                    tokio::task::yield_now().await;
                } else {
                    tokio::task::consume_budget().await;
                }
            }
        }
    }

    /// Tells how far the log has come from time to time; ends when nobody waits.
    async fn tick(&self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let mut topics = self.topics();
            topics.tick(&self.held);
            topics.sweep();
            if topics.len() == 0 {
                return;
            }
        }
    }
}

/// Who reads for all. However it ends, members hear that they have to read by themselves, and the next one to join begins anew.
struct Reader<'a> {
    fanout: &'a Fanout,
    has_left: bool,
}

impl Reader<'_> {
    /// Ends if nobody waits: somebody may just have come.
    fn leaves(&mut self) -> bool {
        let mut topics = self.fanout.topics();
        self.has_left = topics.len() == 0;
        if self.has_left {
            *topics = Topics::default();
        }
        self.has_left
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if !self.has_left {
            *self.fanout.topics() = Topics::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{ExpectedRevision, NewEvent, Position};
    use crate::domain::id::EventId;
    use crate::store::Append;
    use crate::store::memory::MemoryStore;
    use crate::wire::filter::tests::prefixed;

    async fn put(store: &dyn EventStore, stream: &str, number: u128) -> Position {
        let event = NewEvent {
            id: EventId(uuid::Uuid::from_u128(number)),
            event_type: "Happened".into(),
            data: Vec::new().into(),
            metadata: Vec::new().into(),
        };
        let append =
            Append { stream: stream.to_owned(), expected: ExpectedRevision::Any, events: vec![event] };
        store.append(vec![append]).await.unwrap().remove(0).unwrap().position
    }

    async fn join(fanout: &Arc<Fanout>, prefix: &str, interval: u32) -> Member {
        let wanted = Arc::new(prefixed(&[prefix], interval));
        let key = wanted.key().unwrap();
        fanout.join(Topic::Filter(&wanted, &key)).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_reader_tells_all_who_wait_and_goes_with_the_last() {
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
        let before = put(&*store, "a-1", 1).await;
        let (stop, stopping) = watch::channel(false);
        let fanout = Fanout::new(Arc::clone(&store), stopping);
        let (mut first, mut second) = (join(&fanout, "a-", 2).await, join(&fanout, "b-", 1_000).await);
        assert_eq!((first.from, second.from), (Some(before), Some(before)));
        put(&*store, "b-1", 2).await;
        let told = second.next().await.unwrap();
        assert_eq!((told.events.len(), told.considered), (1, 1));
        let last = put(&*store, "b-1", 3).await;
        let told = first.next().await.unwrap();
        assert_eq!((told.events.len(), told.considered, told.through), (0, 2, last), "the checkpoint of two");
        drop((first, second));
        tokio::time::sleep(TICK * 2).await;
        assert_eq!(fanout.topics().read(), None, "nobody waits, nobody reads");
        let mut third = join(&fanout, "a-", 2).await;
        assert_eq!(third.from, Some(last));
        put(&*store, "a-1", 4).await;
        assert_eq!(third.next().await.unwrap().events.len(), 1);
        stop.send_replace(true);
        assert!(third.next().await.is_none(), "a stop is heard by each itself");
    }
}
