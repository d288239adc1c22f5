//! One persistent subscription, sans IO: who gets which event, what becomes of those that are not acknowledged, and how far
//! the group has come.
//!
//! Law: every event read is acknowledged, skipped or parked before the checkpoint passes it, and every parked one that came
//! back is, before it leaves the parked; a consumer never holds more than its slots; an event goes to one consumer at a
//! time. Driven by `group`, which reads the log and talks to consumers.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;
use uuid::Uuid;

use give::Queue;
pub(super) use terms::{ConsumerId, Effect, Figures, Item, Limits, Nack, New, Place, Strategy};
use terms::{Origin, mixed, order};
use track::Track;

mod give;
mod terms;
#[cfg(test)]
mod tests;
mod track;

/// Bytes of events that a group holds, beyond which it reads no more.
const BYTES_MAX: usize = 16 << 20;
/// Settled places that wait for an older one, per event that may be read ahead.
const SETTLED_PER_SLOT: usize = 16;

#[derive(Debug)]
struct Consumer<T> {
    id: ConsumerId,
    slots: usize,
    /// What it holds, and since when.
    held: HashMap<Uuid, (Item<T>, Duration)>,
    given: u64,
    /// What is pinned to it.
    waiting: Queue<T>,
}

impl<T> Consumer<T> {
    /// Ids are unique in one stream only: two of one id in one hand could not be told apart.
    fn takes(&self, id: Uuid) -> bool {
        self.held.len() < self.slots && !self.held.contains_key(&id)
    }
}

/// A group. `now` is any clock that does not go back.
#[derive(Debug)]
pub(super) struct Machine<T> {
    limits: Limits,
    consumers: Vec<Consumer<T>>,
    /// For whoever can take it.
    waiting: Queue<T>,
    track: Track,
    /// Revisions of the parked that came back and are not settled, and the last that came.
    back: BTreeSet<u64>,
    back_through: Option<u64>,
    unparked: Option<u64>,
    bytes: usize,
    checkpoint: Option<Place>,
    settled_since: u64,
    marked_at: Duration,
    turn: usize,
    given: u64,
    effects: Vec<Effect<T>>,
    /// Events that were taken out of a queue, given out or not.
    #[cfg(test)]
    looked_at: u64,
}

impl<T: Clone> Machine<T> {
    /// A group that begins after its checkpoint.
    pub(super) fn new(limits: Limits, checkpoint: Option<Place>, now: Duration) -> Self {
        Self {
            limits,
            consumers: Vec::new(),
            waiting: Queue::default(),
            track: Track::new(checkpoint),
            back: BTreeSet::new(),
            back_through: None,
            unparked: None,
            bytes: 0,
            checkpoint,
            settled_since: 0,
            marked_at: now,
            turn: 0,
            given: 0,
            effects: Vec::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// How many more events may be read: none without consumers.
    pub(super) fn room(&self) -> usize {
        let most = self.limits.buffer_max;
        let is_full = self.bytes >= BYTES_MAX || self.track.length() >= most.saturating_mul(SETTLED_PER_SLOT);
        if self.consumers.is_empty() || is_full { 0 } else { most.saturating_sub(self.track.unsettled()) }
    }

    /// How many more of the parked may come back.
    pub(super) fn room_for_parked(&self) -> usize {
        let is_full = self.consumers.is_empty() || self.bytes >= BYTES_MAX;
        if is_full { 0 } else { self.limits.buffer_max.saturating_sub(self.back.len()) }
    }

    /// The first revision of the parked that has not come back yet.
    pub(super) fn came_back(&self) -> u64 {
        self.back_through.map_or(0, |through| through + 1)
    }

    /// What is to be done.
    pub(super) fn effects(&mut self) -> Vec<Effect<T>> {
        std::mem::take(&mut self.effects)
    }

    /// The checkpoint that was not written because it was not time.
    pub(super) fn last_checkpoint(&self) -> Option<Place> {
        self.track.through().filter(|_| self.track.through() > self.checkpoint)
    }

    /// A consumer comes; false when there are as many as allowed.
    pub(super) fn joined(&mut self, id: ConsumerId, slots: usize, now: Duration) -> bool {
        let most = self.limits.consumers_max;
        if most > 0 && self.consumers.len() >= most {
            return false;
        }
        let (held, waiting) = (HashMap::new(), Queue::default());
        self.consumers.push(Consumer { id, slots: slots.max(1), held, given: 0, waiting });
        self.arrange();
        self.push(now);
        true
    }

    /// A consumer goes; what it held goes to others, and counts as no try.
    pub(super) fn left(&mut self, id: ConsumerId, now: Duration) {
        let Some(at) = self.consumers.iter().position(|consumer| consumer.id == id) else { return };
        let Consumer { held, waiting, .. } = self.consumers.remove(at);
        let mut held: Vec<Item<T>> = held.into_values().map(|(item, _)| item).collect();
        held.sort_unstable_by_key(|item| std::cmp::Reverse(order(item)));
        held.into_iter().for_each(|item| self.waiting.again.push_front(item));
        self.waiting.again.extend(waiting.again);
        self.waiting.fresh.extend(waiting.fresh);
        self.arrange();
        self.push(now);
    }

    /// Events were read, in order; how many others were looked at, and how far.
    pub(super) fn read(
        &mut self,
        events: impl IntoIterator<Item = New<T>>,
        others: u64,
        through: Place,
        now: Duration,
    ) {
        for New { place, id, pin, bytes, event } in events {
            let origin = Origin::Log(self.track.open(place));
            self.bytes += bytes;
            self.queue(pin).fresh.push_back(Item { origin, id, pin, bytes, retries: 0, event });
        }
        self.settled_since += others;
        self.track.passed(through);
        self.push(now);
    }

    /// Parked events come back; those up to this revision that did not are gone.
    pub(super) fn returned(&mut self, events: impl IntoIterator<Item = New<T>>, through: u64, now: Duration) {
        for New { place, id, pin, bytes, event } in events {
            self.back.insert(place);
            self.bytes += bytes;
            let origin = Origin::Parked(place);
            self.queue(pin).again.push_back(Item { origin, id, pin, bytes, retries: 0, event });
        }
        self.back_through = self.back_through.max(Some(through));
        self.push(now);
    }

    /// A consumer has done with events. Ids that it does not hold are nobody's business any more.
    pub(super) fn ack(&mut self, consumer: ConsumerId, ids: &[Uuid], now: Duration) {
        for id in ids {
            if let Some(item) = self.take(consumer, *id) {
                self.settle(&item);
            }
        }
        self.push(now);
    }

    /// A consumer could not do with events.
    pub(super) fn nack(
        &mut self,
        consumer: ConsumerId,
        ids: &[Uuid],
        action: Nack,
        reason: &str,
        now: Duration,
    ) {
        for id in ids {
            let Some(item) = self.take(consumer, *id) else { continue };
            match action {
                Nack::Park => self.park(item, reason),
                Nack::Skip => self.settle(&item),
                Nack::Retry => self.retry(item, reason),
                Nack::Stop => self.waiting.again.push_front(item),
            }
        }
        if action == Nack::Stop {
            self.effects.push(Effect::Disconnect(consumer));
            return self.left(consumer, now);
        }
        self.push(now);
    }

    /// Time passes: what is held too long is tried again, and checkpoints become due.
    pub(super) fn tick(&mut self, now: Duration) {
        if let Some(timeout) = self.limits.timeout {
            let mut late = Vec::new();
            for consumer in &mut self.consumers {
                let over = consumer.held.extract_if(|_, (_, since)| now.saturating_sub(*since) >= timeout);
                late.extend(over.map(|(_, (item, _))| item));
            }
            late.sort_unstable_by_key(order);
            late.into_iter().for_each(|item| self.retry(item, "not acknowledged in time"));
        }
        self.push(now);
    }

    /// How it is.
    pub(super) fn figures(&self) -> Figures {
        let told = |consumer: &Consumer<T>| {
            let held = consumer.held.len();
            (consumer.id, consumer.given, held, consumer.slots.saturating_sub(held))
        };
        let queues = || self.consumers.iter().map(|consumer| &consumer.waiting).chain([&self.waiting]);
        Figures {
            buffered: queues().map(|queue| queue.fresh.len()).sum(),
            to_retry: queues().map(|queue| queue.again.len()).sum(),
            outstanding: self.consumers.iter().map(|consumer| consumer.held.len()).sum(),
            given: self.given,
            checkpoint: self.checkpoint,
            read: self.track.read(),
            consumers: self.consumers.iter().map(told).collect(),
        }
    }

    fn take(&mut self, consumer: ConsumerId, id: Uuid) -> Option<Item<T>> {
        let consumer = self.consumers.iter_mut().find(|known| known.id == consumer)?;
        consumer.held.remove(&id).map(|(item, _)| item)
    }

    fn retry(&mut self, mut item: Item<T>, reason: &str) {
        if item.retries >= self.limits.retries_max {
            return self.park(item, reason);
        }
        item.retries += 1;
        self.queue(item.pin).again.push_back(item);
    }

    fn park(&mut self, item: Item<T>, reason: &str) {
        self.settle(&item);
        self.effects.push(Effect::Park(item, reason.to_owned()));
    }

    fn settle(&mut self, item: &Item<T>) {
        self.bytes = self.bytes.saturating_sub(item.bytes);
        match item.origin {
            Origin::Log(number) => self.settled_since += u64::from(self.track.settle(number)),
            Origin::Parked(revision) => drop(self.back.remove(&revision)),
        }
    }

    /// Gives out what there are slots for, then writes a checkpoint if it is time.
    fn push(&mut self, now: Duration) {
        self.give(now);
        self.mark(now);
    }

    fn mark(&mut self, now: Duration) {
        let is_time = now.saturating_sub(self.marked_at) >= self.limits.checkpoint_after;
        let is_due = self.settled_since >= self.limits.checkpoint_max
            || (is_time && self.settled_since >= self.limits.checkpoint_min.max(1));
        if is_due && let Some(place) = self.last_checkpoint() {
            self.checkpoint = Some(place);
            (self.settled_since, self.marked_at) = (0, now);
            self.effects.push(Effect::Checkpoint(place));
        }
        let unparked = match self.back.first() {
            Some(first) if is_time => first.checked_sub(1),
            Some(_) => None,
            None => self.back_through,
        };
        if unparked > self.unparked {
            (self.unparked, self.marked_at) = (unparked, now);
            self.effects.extend(unparked.map(Effect::Unpark));
        }
    }
}
