//! What the machine speaks of: limits, events, effects, figures.
//!
//! Law: plain values. Used by the machine and by who drives it.

use std::time::Duration;

use uuid::Uuid;

/// A place in what the group follows: a revision or a position.
pub(crate) type Place = u64;
/// A connected consumer.
pub(crate) type ConsumerId = u64;

/// How events are shared among consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Each event to the next one with a free slot.
    RoundRobin,
    /// All to the first one that has a free slot.
    DispatchToSingle,
    /// What is pinned alike to one consumer, as long as it is there; while it has no slot, others get theirs.
    Pinned,
}

/// What bounds a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) strategy: Strategy,
    /// Tries after the first before an event is parked.
    pub(crate) retries_max: u32,
    /// An event not acknowledged for so long is tried again; none: never.
    pub(crate) timeout: Option<Duration>,
    /// Consumers; 0 for any number.
    pub(crate) consumers_max: usize,
    /// Events read ahead.
    pub(crate) buffer_max: usize,
    /// Settled events after which a checkpoint may be written when it is time …
    pub(crate) checkpoint_min: u64,
    /// … and must be.
    pub(crate) checkpoint_max: u64,
    pub(crate) checkpoint_after: Duration,
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// What the group follows: the number on the track.
    Log(u64),
    /// The parked: the revision there.
    Parked(u64),
}

/// An event to be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct New<T> {
    /// Where it stands in what the group follows, or among the parked.
    pub(crate) place: Place,
    /// What consumers acknowledge.
    pub(crate) id: Uuid,
    /// What a pinned strategy goes by.
    pub(crate) pin: u64,
    /// Bytes that it holds.
    pub(crate) bytes: usize,
    pub(crate) event: T,
}

/// An event as the group handles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item<T> {
    pub(super) origin: Origin,
    pub(super) id: Uuid,
    pub(super) pin: u64,
    pub(super) bytes: usize,
    /// How often it was given out again.
    pub(crate) retries: u32,
    pub(crate) event: T,
}

/// What a consumer says of an event that it does not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nack {
    Park,
    Retry,
    Skip,
    /// The consumer wants no more.
    Stop,
}

/// What the driver does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<T> {
    Deliver(ConsumerId, Item<T>),
    Park(Item<T>, String),
    /// Everything up to here is settled.
    Checkpoint(Place),
    /// The parked up to this revision have come back and are settled.
    Unpark(u64),
    Disconnect(ConsumerId),
}

/// A group in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) buffered: usize,
    pub(crate) to_retry: usize,
    pub(crate) outstanding: usize,
    pub(crate) given: u64,
    pub(crate) checkpoint: Option<Place>,
    pub(crate) read: Option<Place>,
    /// Consumer, what it was given, what it holds, its free slots.
    pub(crate) consumers: Vec<(ConsumerId, u64, usize, usize)>,
}

/// What came back from the parked goes before what was just read.
pub(super) fn order<T>(item: &Item<T>) -> (bool, u64) {
    match item.origin {
        Origin::Parked(revision) => (false, revision),
        Origin::Log(number) => (true, number),
    }
}

/// Every bit of the answer depends on every bit asked (the finalizer of splitmix64).
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
