//! The largest value of every suffix of the buckets. A cell: bucket, value in two words.
//!
//! Law: the cells are a staircase: buckets ascend, values strictly descend; a cell stays only while no other is both as new
//! and as large. The staircase of a set of events is unique, and windows are suffixes, so nothing that counts is lost.

use super::arena::{Cells, bucket, halves, whole};
use super::{Place, Reach};

/// Takes note of a value; nothing when its bucket is not after `cut`.
pub(super) fn add(mut cells: Cells<'_, 3>, at: i32, value: f64, cut: i32) {
    if at <= cut {
        return;
    }
    cells.expire(cut);
    let steps = cells.all();
    let here = steps.partition_point(|step| bucket(step) < at);
    let mut end = here;
    if let Some(step) = steps.get(here) {
        // Values descend, so this is the largest of all that are as new.
        if value_of(step) >= value {
            return;
        }
        end += usize::from(bucket(step) == at);
    }
    let start = steps.get(..here).map_or(here, |older| older.partition_point(|step| value_of(step) > value));
    let (low, high) = halves(value.to_bits());
    let step = [at.cast_unsigned(), low, high];
    if start == end {
        cells.insert(start, step);
    } else {
        cells.remove(start + 1..end);
        if let Some(first) = cells.get_mut(start) {
            *first = step;
        }
    }
}

/// The largest value in the window; NaN when there is none.
pub(super) fn largest(cells: &[[u32; 3]], reach: Reach, now: &Place) -> f64 {
    let cut = reach.cut(now);
    let first = cells.partition_point(|step| bucket(step) <= cut);
    cells.get(first).map_or(f64::NAN, value_of)
}

fn value_of([_, low, high]: &[u32; 3]) -> f64 {
    f64::from_bits(whole(*low, *high))
}
