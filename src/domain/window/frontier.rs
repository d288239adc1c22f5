//! The largest value of every suffix of the buckets.
//!
//! Law: the cells are a staircase: buckets ascend, values strictly descend; a cell stays only while no other is both as new
//! and as large. The staircase of a set of events is unique, and windows are suffixes, so nothing that counts is lost.

use serde::{Deserialize, Serialize};

use super::buckets::{Buckets, Cell};
use super::{Place, Reach};

/// A bucket with a value that no later bucket reaches.
///
/// The value is kept in two words, which makes a cell 12 bytes and not 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    bucket: i32,
    words: [u32; 2],
}

impl Step {
    fn value(&self) -> f64 {
        let [low, high] = self.words;
        f64::from_bits(u64::from(high) << 32 | u64::from(low))
    }
}

impl Cell for Step {
    type Content = f64;

    #[expect(clippy::cast_possible_truncation, reason = "cut into words of 32 bits")]
    fn new(bucket: i32, value: f64) -> Self {
        let bits = value.to_bits();
        Self { bucket, words: [bits as u32, (bits >> 32) as u32] }
    }

    fn bucket(&self) -> i32 {
        self.bucket
    }

    fn content(&self) -> f64 {
        self.value()
    }
}

/// The staircase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Frontier(Buckets<[Step; 1]>);

impl Frontier {
    /// Takes note of a value; nothing when its bucket is not after `cut`.
    pub fn add(&mut self, bucket: i32, value: f64, cut: i32) {
        if bucket <= cut {
            return;
        }
        self.0.expire(cut);
        let cells = self.0.cells();
        let here = cells.partition_point(|step| step.bucket < bucket);
        let mut end = here;
        if let Some(step) = cells.get(here) {
            // Values descend, so this is the largest of all that are as new.
            if step.value() >= value {
                return;
            }
            end += usize::from(step.bucket == bucket);
        }
        let start =
            cells.get(..here).map_or(here, |older| older.partition_point(|step| step.value() > value));
        self.0.replace(start..end, Step::new(bucket, value));
    }

    /// The largest value in the window; NaN when there is none.
    pub fn largest(&self, reach: Reach, now: &Place) -> f64 {
        let cut = reach.cut(now);
        let cells = self.0.cells();
        let first = cells.partition_point(|step| step.bucket <= cut);
        cells.get(first).map_or(f64::NAN, Step::value)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}
