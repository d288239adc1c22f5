//! Events per bucket: counts, active days, streaks and decayed counts all read this one series. A cell: bucket, events.
//!
//! Law: integers only; a decayed count is their weighted sum, taken from the newest bucket to the oldest.

use super::arena::{Cells, bucket, newest_first};
use super::{Grain, Place, Reach};

/// How many half-lives a decayed count looks back: what is older weighs under 2^-20 and counts as nothing.
const HALF_LIVES: u32 = 20;

/// Counts one event; nothing when its bucket is not after `cut`.
pub(super) fn add(mut cells: Cells<'_, 2>, at: i32, cut: i32) {
    if let Some([_, events]) = cells.bucket(at, cut, [at.cast_unsigned(), 0]) {
        // At 2^32 events in one bucket the count stands still, in any order.
        *events = events.saturating_add(1);
    }
}

/// Events in the window.
pub(super) fn count(cells: &[[u32; 2]], reach: Reach, now: &Place) -> f64 {
    exact(newest_first(cells, reach.cut(now)).map(|[_, events]| u64::from(*events)).sum())
}

/// Days with an event in the window, which counts in days (the catalogue's check sees to it).
pub(super) fn active_days(cells: &[[u32; 2]], reach: Reach, now: &Place) -> f64 {
    exact(newest_first(cells, reach.cut(now)).count() as u64)
}

/// Days in a row with an event, ending with the newest such day, when that is today or yesterday; else 0.
pub(super) fn streak(cells: &[[u32; 2]], reach: Reach, now: &Place) -> f64 {
    let mut newest_allowed = now.bucket(reach.grain);
    let mut oldest_allowed = newest_allowed.saturating_sub(1);
    let mut length = 0;
    for day in newest_first(cells, reach.cut(now)).map(bucket) {
        if day < oldest_allowed || day > newest_allowed {
            break;
        }
        length += 1;
        newest_allowed = day.saturating_sub(1);
        oldest_allowed = newest_allowed;
    }
    exact(length)
}

/// Events weighted by the age of their bucket, `weights[age in buckets]`; beyond the weights they count nothing.
pub(super) fn decayed(cells: &[[u32; 2]], grain: Grain, weights: &[f64], now: &Place) -> f64 {
    let newest = now.bucket(grain);
    let mut sum = 0.0;
    for [at, events] in newest_first(cells, i32::MIN) {
        let age = usize::try_from(newest.saturating_sub(at.cast_signed())).unwrap_or(0);
        let Some(weight) = weights.get(age) else { break };
        sum += f64::from(*events) * weight;
    }
    sum
}

/// The weight of a bucket by its age in buckets, `2^-(age / half_life)`, for `min(20 half-lives, buckets_max)` buckets.
///
/// All events of a bucket weigh the same, so an event's weight is off by at most one bucket of age: with a half-life of `h`
/// buckets by a factor of at most `2^(1/h)`. Made of multiplications and additions alone, so that it is the same on every
/// machine (the power functions of C libraries are not).
pub fn decay_weights(half_life_buckets: f64, buckets_max: usize) -> Box<[f64]> {
    let half_life = if half_life_buckets.is_finite() { half_life_buckets.max(1e-3) } else { 1e6 };
    (0..buckets_max)
        .map(|age| age as f64 / half_life)
        .take_while(|half_lives| *half_lives <= f64::from(HALF_LIVES))
        .map(half_to_the)
        .collect()
}

/// `2^-x` for `x` in `0..=20`, to within 2 units in the last place.
fn half_to_the(x: f64) -> f64 {
    let whole = x.floor();
    let exponent = -(x - whole) * std::f64::consts::LN_2;
    // The series of e^y for |y| < 0.7: the 20th term is below 1e-21.
    let mut sum = 1.0;
    for term in (1..=20).rev() {
        sum = 1.0 + sum * exponent / f64::from(term);
    }
    let mut value = sum;
    let mut halvings = 0.0;
    while halvings < whole {
        value *= 0.5;
        halvings += 1.0;
    }
    value
}

/// A count as a feature value: exact, since nobody has 2^53 events.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_halve_every_half_life_and_end_after_twenty() {
        let weights = decay_weights(7.0, 10_000);
        assert_eq!(weights.len(), 141);
        for (age, weight) in weights.iter().enumerate() {
            let expected = (-(age as f64) / 7.0).exp2();
            assert!((weight / expected - 1.0).abs() < 1e-15, "age {age}: {weight} is not {expected}");
        }
        assert_eq!(weights[7].to_bits(), 0.5_f64.to_bits());
        assert_eq!(decay_weights(365.0, 100).len(), 100);
    }
}
