//! One reader of the log for all subscriptions that wait at its end.
//!
//! Law: a member hears, once and in order, every event that passes and stands after the place where it joined, until it is told
//! to read on by itself; what is kept for members is bounded over all of them. Without it each of ten thousand idle
//! subscriptions would be woken for every event of others. Joined by `subscribe`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
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
    held: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Fanout {
    pub(super) fn new(store: Arc<dyn EventStore>, stopping: watch::Receiver<bool>) -> Arc<Self> {
        let held = Arc::new(Semaphore::new(HELD_BYTES_MAX));
        Arc::new(Self { store, topics: Mutex::default(), held, stopping })
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // A reader that panicked has told some groups and not others: none is told more, for it is gone with its place.
        self.topics.lock().unwrap_or_else(|poisoned| {
            let mut topics = poisoned.into_inner();
            *topics = Topics::default();
            self.topics.clear_poison();
            topics
        })
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
            tokio::spawn(Arc::clone(self).run(log));
        }
        Ok(topics.join(topic))
    }

    /// Reads the log for all, until nobody waits any more.
    async fn run(self: Arc<Self>, log: Box<dyn Subscription>) {
        let mut stopping = self.stopping.clone();
        let mut reading = pin!(self.read(log));
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                Err(error) = reading.as_mut() => {
                    tracing::debug!(%error, "the log's end cannot be followed; each subscription reads by itself");
                    break;
                }
                () = self.tick() => {
                    let mut topics = self.topics();
                    // Unless somebody has just come.
                    if topics.len() == 0 {
                        *topics = Topics::default();
                        return;
                    }
                }
            }
        }
        // Members hear that they have to read by themselves.
        *self.topics() = Topics::default();
    }

    async fn read(&self, mut log: Box<dyn Subscription>) -> Result<Infallible, Error> {
        loop {
            let Message::Events(events) = log.next().await? else { continue };
            let told = self.topics().tell(&events, &self.held);
            if told {
                // Members take it before there is more.
                tokio::task::yield_now().await;
            } else {
                tokio::task::consume_budget().await;
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
