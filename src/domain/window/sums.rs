//! Sum and number of values per bucket.
//!
//! Law: sums are integers of millionths, so that no order of additions changes a bit. A value is rounded to the nearest
//! millionth when it is added (an error of at most 5e-7 a value; none for data written with up to six decimals and below
//! 9e9 in size) and held within ±9.2e12. A bucket takes 2^32 values of that size without overflow.

use serde::{Deserialize, Serialize};

use super::buckets::{Buckets, Cell};
use super::counts::exact;
use super::{Place, Reach};

/// Parts of a unit: six decimals hold every price, share and duration seen in practice exactly.
const MILLIONTHS: f64 = 1e6;

/// A bucket with the number and the sum of its values.
///
/// The sum is a 96-bit integer in three words (2^32 values of 2^63 each just fit), which makes a cell 20 bytes and not 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    bucket: i32,
    values: u32,
    words: [u32; 3],
}

impl Sum {
    #[expect(clippy::cast_possible_wrap, reason = "the top word carries the sign")]
    fn total(&self) -> i128 {
        let [low, middle, high] = self.words;
        (i128::from(high as i32) << 64) | (i128::from(middle) << 32) | i128::from(low)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut into words of 32 bits")]
    fn set_total(&mut self, total: i128) {
        self.words = [total as u32, (total >> 32) as u32, (total >> 64) as u32];
    }
}

impl Cell for Sum {
    type Content = (u32, i128);

    fn new(bucket: i32, (values, total): (u32, i128)) -> Self {
        let mut sum = Self { bucket, values, words: [0; 3] };
        sum.set_total(total);
        sum
    }

    fn bucket(&self) -> i32 {
        self.bucket
    }

    fn content(&self) -> (u32, i128) {
        (self.values, self.total())
    }
}

/// Sums per bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sums(Buckets<[Sum; 0]>);

impl Sums {
    /// Adds one value; nothing when its bucket is not after `cut`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from float holds at the ends of i64, as the law says"
    )]
    pub fn add(&mut self, bucket: i32, value: f64, cut: i32) {
        if let Some(sum) = self.0.cell(bucket, cut, || (0, 0)) {
            let millionths = (value * MILLIONTHS).round() as i64;
            sum.values = sum.values.saturating_add(1);
            sum.set_total(sum.total() + i128::from(millionths));
        }
    }

    /// The sum of the values in the window; 0 when there are none.
    pub fn sum(&self, reach: Reach, now: &Place) -> f64 {
        units(self.total(reach, now).1)
    }

    /// The mean of the values in the window; NaN when there are none.
    pub fn mean(&self, reach: Reach, now: &Place) -> f64 {
        match self.total(reach, now) {
            (0, _) => f64::NAN,
            (values, total) => units(total) / exact(values),
        }
    }

    fn total(&self, reach: Reach, now: &Place) -> (u64, i128) {
        self.0
            .newest_first(reach.cut(now))
            .fold((0, 0), |(values, total), sum| (values + u64::from(sum.values), total + sum.total()))
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
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
    use crate::domain::window::Grain;

    fn sum_of(values: &[f64]) -> f64 {
        let mut sums = Sums::default();
        for value in values {
            sums.add(0, *value, i32::MIN);
        }
        sums.sum(Reach { grain: Grain::Whole, buckets: Reach::UNBOUNDED }, &Place::of(Timestamp::default()))
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
