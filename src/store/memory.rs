//! The log in memory: for tests and simulation, with faults to order.
//!
//! Law: as [`super`] says for every adapter; a fault only ever does what a real store may do. Called by tests, benches and
//! `--store memory`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use hashbrown::HashMap;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Append, AppendAnswer, Appended, BoxFuture, Conflict, Direction, Error, EventStore, ExpectedRevision,
    Filter, Message, Page, Position, Recorded, Revision, StoreId, Subscription,
};
use crate::domain::event::NewEvent;
use crate::domain::id::EventId;
use crate::domain::time::Timestamp;

/// Distance between the positions of two events: above one, so that nobody comes to rely on dense positions.
const STRIDE: u64 = 3;
/// Most events of one subscription message.
const TOLD_MAX: usize = 1024;
/// Most events a subscription looks at for one message, so that a filter that admits little does not hold the lock long.
const LOOKED_AT_MAX: usize = 16 * TOLD_MAX;

/// What the next append does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; answers [`Error::Unavailable`].
    Fail,
    /// All is written and durable; answers [`Error::Unavailable`] all the same.
    LoseAck,
    /// All is written and durable; answers [`Error::Invalid`], as if one more append of the call were out of bounds.
    Blame,
    /// Waits so long before it writes.
    Delay(Duration),
    /// Nothing is written; answers [`Error::Corrupt`].
    Corrupt,
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable { reason: reason.to_owned(), source: None }
}

#[derive(Debug, Default)]
struct Stream {
    /// Index in [`Log::events`] by revision.
    at: Vec<usize>,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Recorded>,
    streams: HashMap<ByteString, Stream>,
    held: HashMap<(ByteString, EventId), Revision>,
    faults: VecDeque<Fault>,
    /// How many reads still miss how many of the newest events.
    stale: (u32, usize),
    unwritable: Option<String>,
}

/// An event store in memory. Clones share the log.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    id: StoreId,
    log: Arc<Mutex<Log>>,
    /// How many events there are: wakes subscriptions.
    count: watch::Sender<usize>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(StoreId(Uuid::from_u128(1)))
    }
}

impl MemoryStore {
    /// An empty log.
    pub fn new(id: StoreId) -> Self {
        Self { id, log: Arc::default(), count: watch::Sender::new(0) }
    }

    /// The next appends meet these faults, one each, after those ordered before.
    pub fn order_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// The next `reads` reads do not see the newest `events` events, as on a replica that lags.
    pub fn order_stale_reads(&self, reads: u32, events: usize) {
        self.lock().stale = (reads, events);
    }

    /// Subscriptions that are open.
    pub fn subscriptions(&self) -> usize {
        self.count.receiver_count()
    }

    /// Refuses appends from now on with this reason; none ends it.
    pub fn set_unwritable(&self, reason: Option<&str>) {
        self.lock().unwritable = reason.map(str::to_owned);
    }

    /// Everything, in log order.
    pub fn everything(&self) -> Vec<Recorded> {
        self.lock().events.clone()
    }

    /// Appends at once, without faults: for tests that need no runtime.
    ///
    /// # Errors
    /// The append is outside the store's bounds.
    pub fn append_now(&self, batch: Vec<Append>) -> Result<Vec<AppendAnswer>, Error> {
        let mut log = self.lock();
        if let Some(fault) = batch.iter().find_map(Append::misuse) {
            return Err(Error::Invalid { reason: fault });
        }
        let answers = batch.into_iter().map(|append| log.append(append)).collect();
        self.count.send_replace(log.events.len());
        Ok(answers)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Every change under the lock is whole before anything can panic.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position(index: usize) -> Position {
    Position((index as u64 + 1) * STRIDE)
}

/// The index of the first event at or after a position.
fn index(position: Position) -> usize {
    usize::try_from(position.0.div_ceil(STRIDE)).unwrap_or(usize::MAX).saturating_sub(1)
}

impl Log {
    fn append(&mut self, append: Append) -> AppendAnswer {
        let name = ByteString::from(append.stream);
        let end = self.streams.get(&name).map_or(0, |stream| stream.at.len() as u64);
        let held = |event: &NewEvent| self.held.get(&(name.clone(), event.id)).copied();
        let known: Vec<Option<Revision>> = append.events.iter().map(held).collect();
        let fits = match append.expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => end == 0,
            ExpectedRevision::Exists => end > 0,
            ExpectedRevision::Exact(revision) => revision.checked_add(1) == Some(end),
        };
        let first = match append.expected {
            ExpectedRevision::NoStream => Some(0),
            ExpectedRevision::Exact(revision) => revision.checked_add(1),
            ExpectedRevision::Any | ExpectedRevision::Exists => known.first().copied().flatten(),
        };
        let again = (0..).zip(&known).all(|(nth, at)| at.is_some() && *at == first.map(|first| first + nth));
        let any = append.expected == ExpectedRevision::Any;
        // An id stands in a stream once: new events beside old ones are taken only where duplicates are left out.
        if !any && !again && (!fits || known.iter().any(Option::is_some)) {
            let actual = end.checked_sub(1);
            return Err(Conflict { stream: name.to_string(), expected: append.expected, actual });
        }
        let (mut last, mut appended, mut duplicates) = (0, 0, 0);
        for (event, known) in append.events.into_iter().zip(known) {
            if let Some(revision) = known {
                duplicates += 1;
                last = last.max(revision);
            } else {
                appended += 1;
                last = self.push(&name, event);
            }
        }
        let at = self.streams.get(&name).and_then(|stream| stream.at.get(usize::try_from(last).ok()?));
        Ok(Appended {
            revision: last,
            position: at.copied().map(position).unwrap_or_default(),
            appended,
            duplicates,
        })
    }

    fn push(&mut self, name: &ByteString, event: NewEvent) -> Revision {
        let stream = self.streams.entry_ref(name).or_default();
        let revision = stream.at.len() as u64;
        stream.at.push(self.events.len());
        self.held.insert((name.clone(), event.id), revision);
        self.events.push(Recorded {
            id: event.id,
            stream: name.clone(),
            revision,
            position: position(self.events.len()),
            event_type: event.event_type,
            data: event.data,
            metadata: event.metadata,
            // The log's own count is its clock: no test depends on the wall clock.
            recorded_at: Timestamp::from_millis(i64::try_from(self.events.len()).unwrap_or(i64::MAX)),
        });
        revision
    }

    /// How many events a read sees.
    fn visible(&mut self) -> usize {
        let (reads, hidden) = self.stale;
        if reads == 0 {
            return self.events.len();
        }
        self.stale.0 = reads - 1;
        self.events.len().saturating_sub(hidden)
    }

    fn read_stream(
        &mut self,
        name: &str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Page {
        let visible = self.visible();
        let at = self.streams.get(name).map_or(&[][..], |stream| stream.at.as_slice());
        let end = at.partition_point(|&index| index < visible);
        let at = at.get(..end).unwrap_or_default();
        let from = from.map(|from| usize::try_from(from).unwrap_or(usize::MAX));
        let pick = |index: &usize| self.events.get(*index).cloned();
        let (events, next): (Vec<_>, _) = match direction {
            Direction::Forwards => {
                let rest = at.get(from.unwrap_or(0)..).unwrap_or_default();
                (rest.iter().take(limit).filter_map(pick).collect(), from.unwrap_or(0).saturating_add(limit))
            }
            Direction::Backwards => {
                let end = from.map_or(end, |from| from.saturating_add(1).min(end));
                let rest = at.get(..end).unwrap_or_default();
                let next = end.checked_sub(limit + 1).unwrap_or(usize::MAX);
                (rest.iter().rev().take(limit).filter_map(pick).collect(), next)
            }
        };
        Page { events, next: (next < end).then_some(next as u64), exists: end > 0 }
    }

    fn read_all(
        &mut self,
        from: Option<Position>,
        direction: Direction,
        filter: &Filter,
        limit: usize,
    ) -> Page {
        let visible = self.visible();
        let events = self.events.get(..visible).unwrap_or_default();
        let admitted = |event: &&Recorded| filter.admits_event(event);
        // One more than asked for tells where to read on.
        let mut found: Vec<Recorded> = match direction {
            Direction::Forwards => {
                let rest = events.get(from.map_or(0, index)..).unwrap_or_default();
                rest.iter().filter(admitted).take(limit + 1).cloned().collect()
            }
            Direction::Backwards => {
                let end = from.map_or(visible, |from| index(from).min(visible));
                let rest = events.get(..end).unwrap_or_default();
                rest.iter().rev().filter(admitted).take(limit + 1).cloned().collect()
            }
        };
        let over = if found.len() > limit { found.pop() } else { None };
        let next = match direction {
            Direction::Forwards => over.map(|event| event.position.0),
            Direction::Backwards => over.and(found.last()).map(|event| event.position.0),
        };
        Page { events: found, next, exists: true }
    }
}

impl EventStore for MemoryStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        Box::pin(async move {
            let fault = self.lock().faults.pop_front();
            match fault {
                Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
                Some(Fault::Fail) => return Err(unavailable("ordered by a test")),
                Some(Fault::Corrupt) => {
                    return Err(Error::Corrupt { what: "ordered".into(), path: "memory".into(), offset: 0 });
                }
                Some(Fault::LoseAck | Fault::Blame) | None => {}
            }
            self.writable()?;
            let answers = self.append_now(batch)?;
            if fault == Some(Fault::Blame) {
                return Err(Error::Invalid { reason: "ordered by a test".to_owned() });
            }
            if fault == Some(Fault::LoseAck) { Err(unavailable("answer lost")) } else { Ok(answers) }
        })
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.lock().read_stream(stream, from, direction, limit)) })
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(async move { Ok(self.lock().read_all(from, direction, filter, limit)) })
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        let next = after.map_or(0, |after| index(Position(after.0 + 1)));
        Box::new(Tail::new(self, next, Box::new(move |event| filter.admits_event(event))))
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        let stream = stream.to_owned();
        let wanted = move |event: &Recorded| *event.stream == *stream && Some(event.revision) > after;
        Box::new(Tail::new(self, 0, Box::new(wanted)))
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        Box::pin(async move { Ok(self.lock().events.last().map(|event| event.position)) })
    }

    fn writable(&self) -> Result<(), Error> {
        match &self.lock().unwritable {
            None => Ok(()),
            Some(reason) => Err(unavailable(reason)),
        }
    }
}

type Wanted = Box<dyn Fn(&Recorded) -> bool + Send>;

/// A subscription: a place in the log and a bell.
struct Tail {
    store: MemoryStore,
    count: watch::Receiver<usize>,
    next: usize,
    wanted: Wanted,
    caught_up: bool,
}

impl Tail {
    fn new(store: &MemoryStore, next: usize, wanted: Wanted) -> Self {
        Self { store: store.clone(), count: store.count.subscribe(), next, wanted, caught_up: false }
    }

    fn poll_log(&mut self) -> Option<Message> {
        let log = self.store.lock();
        let rest = log.events.get(self.next..).unwrap_or_default();
        let mut told = Vec::new();
        let looked_at = rest.iter().take(LOOKED_AT_MAX).take_while(|event| {
            let room = told.len() < TOLD_MAX;
            if room && (self.wanted)(event) {
                told.push((*event).clone());
            }
            room
        });
        let looked_at = looked_at.count();
        self.next += looked_at;
        let last = self.next.checked_sub(1).map(position);
        if looked_at < rest.len() {
            self.caught_up = false;
        }
        if !told.is_empty() {
            return Some(Message::Events(told));
        }
        if let (Some(last), true) = (last, looked_at > 0) {
            return Some(Message::Checkpoint(last));
        }
        let late = !self.caught_up;
        self.caught_up = true;
        late.then_some(Message::CaughtUp(last))
    }
}

impl Subscription for Tail {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(async move {
            loop {
                self.count.borrow_and_update();
                if let Some(message) = self.poll_log() {
                    return Ok(message);
                }
                // The sender lives in `self.store`: this cannot fail while we wait.
                if self.count.changed().await.is_err() {
                    return Err(unavailable("the log is gone"));
                }
            }
        })
    }
}
