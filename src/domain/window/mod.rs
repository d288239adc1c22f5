//! What a user's past is kept as: one small series per question, in sparse buckets of event time.
//!
//! Law: a series is a function of the set of events it was fed, never of their order. Sums are integers, ties are broken by
//! value, and whatever is dropped could not be seen by any window that ends at or after the user's clock.
//!
//! A window of `n` buckets as of `t` is the buckets `b(t) - n + 1 ..= b(t)`, each counted whole. Windows always end at or
//! after the newest event (the caller sees to it), so a window is a *suffix* of a series: that is why maxima keep only a
//! staircase ([`Frontier`]), distinct values only the bucket each was last seen in ([`Symbols`]), and last values one cell.
//!
//! Read by [`super::features`], which owns one [`Series`] per series of the [`super::plan`].

mod buckets;
mod counts;
mod frontier;
mod sessions;
mod sums;
mod symbols;

pub use buckets::{Buckets, Cell};
pub use counts::{Counts, decay_weights};
pub use frontier::Frontier;
pub use sessions::Sessions;
pub use sums::Sums;
pub use symbols::{DISTINCT_MAX, Symbols};

use serde::{Deserialize, Serialize};

use super::time::{DAY_MS, HOUR_MS, Timestamp};

/// How wide a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grain {
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
    /// Everything in one bucket.
    Whole,
}

/// A point of event time with the buckets it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The time.
    pub at: Timestamp,
    day: i32,
    hour: i32,
}

impl Place {
    /// The place of a time.
    pub const fn of(at: Timestamp) -> Self {
        Self { at, day: at.day(), hour: at.hour() }
    }

    /// The bucket of that width.
    pub const fn bucket(&self, grain: Grain) -> i32 {
        match grain {
            Grain::Hour => self.hour,
            Grain::Day => self.day,
            Grain::Whole => 0,
        }
    }
}

/// How far back a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// In buckets of this width.
    pub grain: Grain,
    /// So many of them, the current one included; [`Reach::UNBOUNDED`] for all.
    pub buckets: i32,
}

impl Reach {
    /// Buckets of a window without an end: no time of [`Timestamp`] is this far from another.
    pub const UNBOUNDED: i32 = i32::MAX;

    /// The newest bucket that a window ending at `now` does not count.
    pub const fn cut(&self, now: &Place) -> i32 {
        if self.buckets == Self::UNBOUNDED {
            i32::MIN
        } else {
            now.bucket(self.grain).saturating_sub(self.buckets)
        }
    }

    /// The first millisecond that a window ending at `now` counts.
    pub const fn start_millis(&self, now: &Place) -> i64 {
        let first = self.cut(now).saturating_add(1) as i64;
        match self.grain {
            _ if self.buckets == Self::UNBOUNDED => i64::MIN,
            Grain::Hour => first * HOUR_MS,
            Grain::Day => first * DAY_MS,
            Grain::Whole => i64::MIN,
        }
    }
}

/// The newest event that carried a value: by event time, then by value, so that arrival does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

impl Latest {
    /// Takes note of a value.
    pub fn add(&mut self, at: Timestamp, value: f64) {
        let newer = self.at.cmp(&at).then_with(|| self.value.total_cmp(&value)).is_lt();
        if newer {
            *self = Self { at, value };
        }
    }
}

/// Which kind of series answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Events per bucket.
    Counts,
    /// Sum and number of values per bucket.
    Sums,
    /// Largest value of every suffix.
    Max,
    /// Smallest value of every suffix.
    Min,
    /// The newest value.
    Latest,
    /// The bucket each distinct value was last seen in.
    Symbols,
    /// Runs of events.
    Sessions,
}

/// One event as a series sees it.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    /// When it happened.
    pub at: Timestamp,
    /// Its bucket in the series.
    pub bucket: i32,
    /// The newest bucket that no window can count any more.
    pub cut: i32,
    /// The value it carries; never NaN.
    pub value: f64,
    /// The catalogue's session gap in milliseconds.
    pub session_gap_ms: i64,
    /// The first millisecond that some window can still count.
    pub start_millis: i64,
}

/// A series of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Series {
    /// See [`Class::Counts`].
    Counts(Counts),
    /// See [`Class::Sums`].
    Sums(Sums),
    /// See [`Class::Max`].
    Max(Frontier),
    /// See [`Class::Min`]; holds the values with their signs turned.
    Min(Frontier),
    /// See [`Class::Latest`].
    Latest(Latest),
    /// See [`Class::Symbols`].
    Symbols(Symbols),
    /// See [`Class::Sessions`].
    Sessions(Sessions),
}

impl Series {
    /// A series that knows one event.
    pub fn starting_with(class: Class, stroke: &Stroke) -> Self {
        let mut series = match class {
            Class::Counts => Self::Counts(Counts::default()),
            Class::Sums => Self::Sums(Sums::default()),
            Class::Max => Self::Max(Frontier::default()),
            Class::Min => Self::Min(Frontier::default()),
            Class::Latest => Self::Latest(Latest { at: stroke.at, value: stroke.value }),
            Class::Symbols => Self::Symbols(Symbols::default()),
            Class::Sessions => Self::Sessions(Sessions::default()),
        };
        series.add(stroke);
        series
    }

    /// Takes in one event.
    pub fn add(&mut self, stroke: &Stroke) {
        let Stroke { at, bucket, cut, value, session_gap_ms, start_millis } = *stroke;
        match self {
            Self::Counts(counts) => counts.add(bucket, cut),
            Self::Sums(sums) => sums.add(bucket, value, cut),
            Self::Max(frontier) => frontier.add(bucket, value, cut),
            Self::Min(frontier) => frontier.add(bucket, -value, cut),
            Self::Latest(latest) => latest.add(at, value),
            Self::Symbols(symbols) => symbols.add(bucket, value, cut),
            Self::Sessions(sessions) => sessions.add(at, session_gap_ms, start_millis),
        }
    }

    /// Bytes on the heap, as asked of the allocator.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Counts(counts) => counts.heap_bytes(),
            Self::Sums(sums) => sums.heap_bytes(),
            Self::Max(frontier) | Self::Min(frontier) => frontier.heap_bytes(),
            Self::Latest(_) => 0,
            Self::Symbols(symbols) => symbols.heap_bytes(),
            Self::Sessions(sessions) => sessions.heap_bytes(),
        }
    }
}
