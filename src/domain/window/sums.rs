//! Sum and number of values per bucket. A cell: bucket, values, sum in three words.
//!
//! Law: sums are integers of millionths, so that no order of additions changes a bit. A value is rounded to the nearest
//! millionth when it is added (an error of at most 5e-7 a value; none for data written with up to six decimals and below
//! 9e9 in size) and held within ±9.2e12. The sum of a bucket has 96 bits: 2^32 values of 2^63 each just fit.

use super::arena::{Cells, newest_first};
use super::counts::exact;
use super::{Place, Reach};

/// Parts of a unit: six decimals hold every price, share and duration seen in practice exactly.
const MILLIONTHS: f64 = 1e6;

/// Adds one value; nothing when its bucket is not after `cut`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from float holds at the ends of i64, as the law says"
)]
pub(super) fn add(mut cells: Cells<'_, 5>, at: i32, value: f64, cut: i32) {
    if let Some([_, values, words @ ..]) = cells.bucket(at, cut, [at.cast_unsigned(), 0, 0, 0, 0]) {
        let millionths = (value * MILLIONTHS).round() as i64;
        *values = values.saturating_add(1);
        *words = words_of(total_of(*words) + i128::from(millionths));
    }
}

/// The sum of the values in the window; 0 when there are none.
pub(super) fn sum(cells: &[[u32; 5]], reach: Reach, now: &Place) -> f64 {
    units(total(cells, reach, now).1)
}

/// The mean of the values in the window; NaN when there are none.
pub(super) fn mean(cells: &[[u32; 5]], reach: Reach, now: &Place) -> f64 {
    match total(cells, reach, now) {
        (0, _) => f64::NAN,
        (values, total) => units(total) / exact(values),
    }
}

fn total(cells: &[[u32; 5]], reach: Reach, now: &Place) -> (u64, i128) {
    newest_first(cells, reach.cut(now)).fold((0, 0), |(count, total), [_, values, words @ ..]| {
        (count + u64::from(*values), total + total_of(*words))
    })
}

fn total_of([low, middle, high]: [u32; 3]) -> i128 {
    (i128::from(high.cast_signed()) << 64) | (i128::from(middle) << 32) | i128::from(low)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut into words of 32 bits")]
fn words_of(total: i128) -> [u32; 3] {
    [total as u32, (total >> 32) as u32, (total >> 64) as u32]
}

#[expect(clippy::cast_precision_loss, reason = "rounded once to the nearest double")]
fn units(millionths: i128) -> f64 {
    // The usual sum fits 64 bits, which convert ten times faster.
    let rounded = i64::try_from(millionths).map_or(millionths as f64, |small| small as f64);
    rounded / MILLIONTHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::domain::window::{Arena, Class, Grain};

    fn sum_of(values: &[f64]) -> f64 {
        let mut arena = Arena::default();
        arena.begin(0, Class::Sums);
        for value in values {
            add(arena.edit(0), 0, *value, i32::MIN);
        }
        let reach = Reach { grain: Grain::Whole, buckets: Reach::UNBOUNDED };
        sum(arena.cells(0), reach, &Place::of(Timestamp::default()))
    }

    #[test]
    fn decimals_come_back_as_they_were_written() {
        for value in [80.3, 0.1, 286_000.0, -12.345_678, 1e-6, 8_999_999_999.25] {
            assert_eq!(sum_of(&[value]).to_bits(), value.to_bits(), "{value}");
        }
        assert_eq!(sum_of(&[0.1, 0.2]).to_bits(), 0.3_f64.to_bits());
    }

    #[test]
    fn sums_beyond_64_bits_and_below_zero_are_whole() {
        assert_eq!(sum_of(&[9e12, 9e12, 9e12]).to_bits(), 27e12_f64.to_bits());
        assert_eq!(sum_of(&[-9e12, -9e12, 9e12, 9e12, -0.5]).to_bits(), (-0.5_f64).to_bits());
        assert_eq!(sum_of(&[1e300]).to_bits(), (i64::MAX as f64 / 1e6).to_bits());
    }
}
