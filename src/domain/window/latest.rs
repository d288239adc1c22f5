//! The newest value, or the newest time alone. A single cell: the day, the millisecond in it, the value in two words.
//!
//! Law: the newest by event time, then by value (by [`f64::total_cmp`]), so that arrival does not matter.

use super::arena::{Cells, halves, whole};
use super::{Grain, Place, Reach};
use crate::domain::time::{DAY_MS, Timestamp};

/// Takes note of a value.
pub(super) fn add(mut cells: Cells<'_, 4>, at: Timestamp, value: f64) {
    let (day, millis) = split(at);
    let (low, high) = halves(value.to_bits());
    let cell = [day, millis, low, high];
    let Some(known) = cells.get_mut(0) else {
        cells.insert(0, cell);
        return;
    };
    let (known_at, known_value) = read(known);
    if known_at.cmp(&at).then_with(|| known_value.total_cmp(&value)).is_lt() {
        *known = cell;
    }
}

/// The newest value and its time, when the window holds it.
pub(super) fn within(cells: &[[u32; 4]], reach: Reach, now: &Place) -> Option<(Timestamp, f64)> {
    let (at, value) = cells.first().map(read)?;
    let held = reach.grain == Grain::Whole || Place::of(at).bucket(reach.grain) > reach.cut(now);
    held.then_some((at, value))
}

fn read([day, millis, low, high]: &[u32; 4]) -> (Timestamp, f64) {
    (moment_of(*day, *millis), f64::from_bits(whole(*low, *high)))
}

/// A time as its day and the millisecond in it.
#[expect(clippy::cast_possible_truncation, reason = "a day has 86,400,000 milliseconds")]
pub(super) const fn split(at: Timestamp) -> (u32, u32) {
    (at.day().cast_unsigned(), at.millis().rem_euclid(DAY_MS) as u32)
}

/// The time of a day and a millisecond in it.
pub(super) const fn moment_of(day: u32, millis: u32) -> Timestamp {
    Timestamp::from_millis(day.cast_signed() as i64 * DAY_MS + millis as i64)
}
