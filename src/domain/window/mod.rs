//! What a user's past is kept as: one small series per question, in sparse buckets of event time.
//!
//! Law: a series is a function of the set of events it was fed, never of their order. Sums are integers, ties are broken by
//! value, and whatever is dropped could not be seen by any window that ends at or after the user's clock.
//!
//! A window of `n` buckets as of `t` is the buckets `b(t) - n + 1 ..= b(t)`, each counted whole. Windows always end at or
//! after the newest event (the caller sees to it), so a window is a *suffix* of a series: that is why maxima keep only a
//! staircase, distinct values only the bucket each was last seen in, and last values one cell.
//!
//! Read by [`super::features`]: a user's [`Arena`] holds the series of the [`super::plan`] that the user's events fed.

mod arena;
mod counts;
mod frontier;
mod latest;
mod sessions;
mod sums;
mod symbols;

pub use arena::{Arena, Cells};
pub use counts::decay_weights;
pub use symbols::DISTINCT_MAX;

use super::catalog::Aggregation;
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

/// Which kind of series answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Class {
    /// Events per bucket.
    Counts,
    /// Sum and number of values per bucket.
    Sums,
    /// Largest value of every suffix.
    Max,
    /// Smallest value of every suffix; held with its sign turned.
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

impl Class {
    /// All, in the order of their numbers, which snapshots hold.
    pub const ALL: [Self; 7] =
        [Self::Counts, Self::Sums, Self::Max, Self::Min, Self::Latest, Self::Symbols, Self::Sessions];

    /// Words of a cell.
    pub const fn words(self) -> usize {
        match self {
            Self::Counts => 2,
            Self::Sums => 5,
            Self::Max | Self::Min | Self::Symbols => 3,
            Self::Latest | Self::Sessions => 4,
        }
    }
}

/// Lets a series take in one event.
pub fn add(arena: &mut Arena, slot: usize, class: Class, stroke: &Stroke) {
    let Stroke { at, bucket, cut, value, session_gap_ms, start_millis } = *stroke;
    match class {
        Class::Counts => counts::add(arena.edit(slot), bucket, cut),
        Class::Sums => sums::add(arena.edit(slot), bucket, value, cut),
        Class::Max => frontier::add(arena.edit(slot), bucket, value, cut),
        Class::Min => frontier::add(arena.edit(slot), bucket, -value, cut),
        Class::Latest => latest::add(arena.edit(slot), at, value),
        Class::Symbols => symbols::add(arena.edit(slot), bucket, value, cut),
        Class::Sessions => sessions::add(arena.edit(slot), at, session_gap_ms, start_millis),
    }
}

/// What a series answers for a window that ends at `now`; what nothing answers when there is no such series.
pub fn answer(
    arena: &Arena,
    slot: Option<usize>,
    aggregation: Aggregation,
    reach: Reach,
    now: &Place,
) -> f64 {
    // A slot beyond the last has no cells.
    let slot = slot.unwrap_or(usize::MAX);
    match aggregation {
        Aggregation::Count => counts::count(arena.cells(slot), reach, now),
        Aggregation::ActiveDays => counts::active_days(arena.cells(slot), reach, now),
        Aggregation::Streak => counts::streak(arena.cells(slot), reach, now),
        Aggregation::Sum => sums::sum(arena.cells(slot), reach, now),
        Aggregation::Mean => sums::mean(arena.cells(slot), reach, now),
        Aggregation::Max => frontier::largest(arena.cells(slot), reach, now),
        Aggregation::Min => -frontier::largest(arena.cells(slot), reach, now),
        Aggregation::Distinct => symbols::count(arena.cells(slot), reach, now),
        Aggregation::Sessions => sessions::count(arena.cells(slot), reach, now),
        Aggregation::Last => latest::within(arena.cells(slot), reach, now).map_or(f64::NAN, |last| last.1),
        Aggregation::DaysSinceLast => {
            latest::within(arena.cells(slot), reach, now).map_or(f64::NAN, |last| now.at.days_since(last.0))
        }
        Aggregation::DaysSinceFirst => days_since(-frontier::largest(arena.cells(slot), reach, now), now),
    }
}

/// The decayed count that a series of counts answers, by its weights ([`decay_weights`]).
pub fn decayed(arena: &Arena, slot: Option<usize>, grain: Grain, weights: &[f64], now: &Place) -> f64 {
    counts::decayed(arena.cells(slot.unwrap_or(usize::MAX)), grain, weights, now)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "event times in whole milliseconds, or NaN, which is kept"
)]
fn days_since(millis: f64, now: &Place) -> f64 {
    if millis.is_nan() { f64::NAN } else { now.at.days_since(Timestamp::from_millis(millis as i64)) }
}
