//! What the feed, the registry and the users tell each other without a message per event: counts, and settled reports that
//! are gathered until the registry comes for them.
//!
//! Law: the feed reads on only while fewer than `in_flight_max` events are unsettled and a restart would repeat fewer than
//! `span_max`.
//!
//! ```text
//!   feed ──sent──→ [Flow] ←──done, span, checkpoint── registry ←──Reports── users
//! ```

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::lag::Lag;
use super::overlap::Overlap;
use super::registry;
use crate::domain::event::{Position, Recorded, Revision};
use crate::domain::market::Market;
use crate::domain::roster::{Incarnation, Slot};
use crate::domain::time::Timestamp;

/// Events in log order.
pub(super) struct Batch {
    /// As they were read: joining them would copy 170 bytes each.
    pub(super) events: Vec<Vec<Recorded>>,
    /// The market, complete up to `through`.
    pub(super) market: Arc<Market>,
    /// Everything up to here was read, whether it is in `events` or not.
    pub(super) through: Position,
}

/// Counts shared by feed and registry; each has one writer.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Events handed to the registry (feed).
    sent: AtomicU64,
    /// Of these, those that are settled or needed nothing (registry).
    done: AtomicU64,
    /// Deliveries from the first unsettled one to the newest (registry).
    span: AtomicU64,
    /// One more than the checkpoint's position; 0 = none (registry).
    checkpoint: AtomicU64,
    /// One more than the position handed over last; 0 = none (feed).
    handed: AtomicU64,
    /// The log's clock in milliseconds (registry, feed for market events).
    clock: AtomicI64,
    caught_up: AtomicBool,
    room: Notify,
    /// How long the feed has been behind (feed).
    pub(super) lag: Lag,
    /// Whether others decide about our users (appender).
    pub(super) overlap: Overlap,
}

fn encode(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.0 + 1)
}

fn decode(stored: u64) -> Option<Position> {
    stored.checked_sub(1).map(Position)
}

impl Flow {
    pub(super) fn new(checkpoint: Option<Position>, clock: Timestamp) -> Self {
        let flow = Self::default();
        flow.checkpoint.store(encode(checkpoint), Ordering::Relaxed);
        flow.handed.store(encode(checkpoint), Ordering::Relaxed);
        flow.clock.store(clock.millis(), Ordering::Relaxed);
        flow
    }

    /// Events handed over and not settled.
    pub(super) fn in_flight(&self) -> u64 {
        let done = self.done.load(Ordering::Acquire);
        self.sent.load(Ordering::Acquire).saturating_sub(done)
    }

    /// Waits until the feed may read on.
    pub(super) async fn has_room(&self, in_flight_max: u64, span_max: u64) {
        loop {
            let mut changed = std::pin::pin!(self.room.notified());
            changed.as_mut().enable();
            if self.in_flight() < in_flight_max && self.span.load(Ordering::Acquire) < span_max {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn sent(&self, events: u64) {
        self.sent.fetch_add(events, Ordering::AcqRel);
    }

    pub(super) fn handed(&self, through: Position) {
        self.handed.store(encode(Some(through)), Ordering::Release);
    }

    /// How far the registry has been told: a feed that starts again reads on behind it.
    pub(super) fn handed_through(&self) -> Option<Position> {
        decode(self.handed.load(Ordering::Acquire))
    }

    pub(super) fn settled(&self, done: u64, span: usize, checkpoint: Option<Position>) {
        self.done.store(done, Ordering::Release);
        self.span.store(span as u64, Ordering::Release);
        self.checkpoint.store(encode(checkpoint), Ordering::Release);
        self.room.notify_waiters();
    }

    /// Deliveries from the first unsettled one to the newest.
    pub(super) fn span(&self) -> u64 {
        self.span.load(Ordering::Acquire)
    }

    pub(super) fn checkpoint(&self) -> Option<Position> {
        decode(self.checkpoint.load(Ordering::Acquire))
    }

    /// Waits until everything up to here is settled.
    pub(super) async fn is_settled_through(&self, position: Position) {
        loop {
            let mut changed = std::pin::pin!(self.room.notified());
            changed.as_mut().enable();
            if self.checkpoint() >= Some(position) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn saw(&self, time: Timestamp) {
        self.clock.fetch_max(time.millis(), Ordering::AcqRel);
    }

    /// The largest event time seen in the log.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::Acquire))
    }

    /// The log's clock, which sweeps and requests go by: the largest event time seen, but not ahead of the wall clock;
    /// the wall clock while the log is empty.
    pub(super) fn now(&self, wall: Timestamp) -> Timestamp {
        let clock = self.clock();
        if clock == Timestamp::MIN { wall } else { wall.min(clock) }
    }

    pub(super) fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Whether the feed has been at the end of the log since the start.
    pub(super) fn has_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}

/// What a user says to the registry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Report {
    /// Everything up to here is decided and durable.
    Settled { slot: Slot, incarnation: Incarnation, through: Revision, clock: Timestamp },
    /// Asked, and nothing is left to do.
    Idle { slot: Slot, incarnation: Incarnation, through: Option<Revision> },
}

/// Reports that wait for the registry; the first one rings it, the others ride along.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Mutex<Vec<Report>>,
    registry: OnceLock<registry::Handle>,
}

impl Reports {
    /// Names the registry; before, nobody reports.
    pub(super) fn answer_to(&self, registry: registry::Handle) {
        // A second registry would be a second root: the first one stays.
        let _first = self.registry.set(registry);
    }

    pub(super) fn push(&self, report: Report) {
        let first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(report);
            waiting.len() == 1
        };
        if let (true, Some(registry)) = (first, self.registry.get()) {
            registry.ring();
        }
    }

    /// Takes all that wait, leaving an empty buffer in exchange.
    pub(super) fn take(&self, into: &mut Vec<Report>) {
        into.clear();
        std::mem::swap(into, &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
