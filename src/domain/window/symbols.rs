//! How many different values a window holds. A cell: the newest bucket a value was seen in, the value in two words; cells
//! ascend by value.
//!
//! Law: each value with the newest bucket it was seen in, at most [`DISTINCT_MAX`] of them: the newest by (bucket, value).
//! A value that was pushed out is behind that many others, and these only ever move forward; so what is kept is the same
//! in any order, and a window's answer is exactly `min(true number, DISTINCT_MAX)`.

use super::arena::{Cells, bucket, halves, whole};
use super::counts::exact;
use super::{Place, Reach};

/// Beyond this many different values a feature stands still, which a reader can see by its value: 3 KB a series at most,
/// and no rule or model of ours tells 256 different listings from 1,000.
pub const DISTINCT_MAX: usize = 256;

/// Takes note of a value (no NaN, no negative zero); nothing when its bucket is not after `cut`.
pub(super) fn add(mut cells: Cells<'_, 3>, at: i32, value: f64, cut: i32) {
    if at <= cut {
        return;
    }
    let key = value.to_bits();
    if let Ok(found) = cells.all().binary_search_by_key(&key, key_of) {
        if let Some([newest, ..]) = cells.get_mut(found) {
            *newest = newest.cast_signed().max(at).cast_unsigned();
        }
        return;
    }
    let mut scan = 0;
    while let Some(expired) = cells.all().iter().skip(scan).position(|seen| bucket(seen) <= cut) {
        scan += expired;
        cells.remove(scan..scan + 1);
    }
    if cells.all().len() >= DISTINCT_MAX {
        let seen = cells.all().iter().enumerate();
        let oldest = seen.map(|(nth, seen)| (bucket(seen), key_of(seen), nth)).min();
        match oldest {
            Some((old_bucket, old_key, nth)) if (old_bucket, old_key) < (at, key) => {
                cells.remove(nth..nth + 1);
            }
            Some(_) | None => return,
        }
    }
    let place = cells.all().partition_point(|seen| key_of(seen) < key);
    let (low, high) = halves(key);
    cells.insert(place, [at.cast_unsigned(), low, high]);
}

/// How many different values the window holds, at most [`DISTINCT_MAX`].
pub(super) fn count(cells: &[[u32; 3]], reach: Reach, now: &Place) -> f64 {
    let cut = reach.cut(now);
    exact(cells.iter().filter(|seen| bucket(seen) > cut).count() as u64)
}

fn key_of([_, low, high]: &[u32; 3]) -> u64 {
    whole(*low, *high)
}
