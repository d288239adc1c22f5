//! Who gets an event, and where it waits until somebody can take it.
//!
//! Law: an event goes to a consumer with a free slot, and what came back before what is new; what is pinned waits with the
//! consumer whose it is, so that one that is full costs the others nothing. Called by the machine.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Consumer, Effect, Item, Machine, Strategy, mixed, order};

/// What waits to be given out.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Before what was never given out.
    pub(super) again: VecDeque<Item<T>>,
    pub(super) fresh: VecDeque<Item<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { again: VecDeque::new(), fresh: VecDeque::new() }
    }
}

impl<T: Clone> Machine<T> {
    /// Where an event waits.
    pub(super) fn queue(&mut self, pin: u64) -> &mut Queue<T> {
        let home = self.home(pin);
        match home.and_then(|at| self.consumers.get_mut(at)) {
            Some(consumer) => &mut consumer.waiting,
            None => &mut self.waiting,
        }
    }

    /// Whose an event is: nobody's when it is not pinned.
    pub(super) fn home(&self, pin: u64) -> Option<usize> {
        if self.limits.strategy != Strategy::Pinned {
            return None;
        }
        // The highest draw: when a consumer comes or goes, only what was or becomes its own moves.
        let draw = |(_, consumer): &(usize, &Consumer<T>)| mixed(pin ^ mixed(consumer.id));
        self.consumers.iter().enumerate().max_by_key(draw).map(|(at, _)| at)
    }

    /// A consumer came or went: what is pinned waits with those whose it is now, oldest first.
    pub(super) fn arrange(&mut self) {
        if self.limits.strategy != Strategy::Pinned {
            return;
        }
        let (mut again, mut fresh) = (Vec::new(), Vec::new());
        let consumers = self.consumers.iter_mut().map(|consumer| &mut consumer.waiting);
        for queue in consumers.chain([&mut self.waiting]) {
            again.extend(queue.again.drain(..));
            fresh.extend(queue.fresh.drain(..));
        }
        again.sort_by_key(order);
        fresh.sort_by_key(order);
        again.into_iter().for_each(|item| self.queue(item.pin).again.push_back(item));
        fresh.into_iter().for_each(|item| self.queue(item.pin).fresh.push_back(item));
    }

    /// Gives out what there are slots for.
    pub(super) fn give(&mut self, now: Duration) {
        let Queue { again, fresh } = std::mem::take(&mut self.waiting);
        let again = self.give_of(again, None, now);
        self.waiting = Queue { again, fresh: self.give_of(fresh, None, now) };
        if self.limits.strategy != Strategy::Pinned {
            return;
        }
        for at in 0..self.consumers.len() {
            let Some(consumer) = self.consumers.get_mut(at) else { return };
            let Queue { again, fresh } = std::mem::take(&mut consumer.waiting);
            let again = self.give_of(again, Some(at), now);
            let fresh = self.give_of(fresh, Some(at), now);
            if let Some(consumer) = self.consumers.get_mut(at) {
                consumer.waiting = Queue { again, fresh };
            }
        }
    }

    /// Gives out of a queue, to one consumer or to any; answers what is left of it.
    fn give_of(
        &mut self,
        mut queue: VecDeque<Item<T>>,
        home: Option<usize>,
        now: Duration,
    ) -> VecDeque<Item<T>> {
        let mut passed_over = Vec::new();
        while self.has_slot(home) {
            let Some(item) = queue.pop_front() else { break };
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let Some(consumer) = self.chosen(&item, home).and_then(|at| self.consumers.get_mut(at)) else {
                passed_over.push(item);
                continue;
            };
            self.given += 1;
            consumer.given += 1;
            self.effects.push(Effect::Deliver(consumer.id, item.clone()));
            consumer.held.insert(item.id, (item, now));
        }
        passed_over.into_iter().rev().for_each(|item| queue.push_front(item));
        queue
    }

    fn has_slot(&self, home: Option<usize>) -> bool {
        let has_slot = |consumer: &Consumer<T>| consumer.held.len() < consumer.slots;
        match home {
            Some(at) => self.consumers.get(at).is_some_and(has_slot),
            None => self.consumers.iter().any(has_slot),
        }
    }

    /// Who gets an event; none while it has to wait.
    fn chosen(&mut self, item: &Item<T>, home: Option<usize>) -> Option<usize> {
        let count = self.consumers.len();
        let free = |at: &usize| self.consumers.get(*at).is_some_and(|consumer| consumer.takes(item.id));
        match self.limits.strategy {
            Strategy::DispatchToSingle => (0..count).find(free),
            Strategy::RoundRobin => {
                let at = (0..count).map(|step| (self.turn + step) % count).find(free)?;
                self.turn = at + 1;
                Some(at)
            }
            Strategy::Pinned => home.filter(free),
        }
    }
}
