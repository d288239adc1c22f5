//! How many different values a window holds.
//!
//! Law: each value with the newest bucket it was seen in, at most [`DISTINCT_MAX`] of them: the newest by (bucket, value).
//! A value that was pushed out is behind that many others, and these only ever move forward; so what is kept is the same
//! in any order, and a window's answer is exactly `min(true number, DISTINCT_MAX)`.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::buckets::{heap_bytes, make_room};
use super::counts::exact;
use super::{Place, Reach};

/// Beyond this many different values a feature stands still, which a reader can see by its value: 3 KB a series at most,
/// and no rule or model of ours tells 256 different listings from 1,000.
pub const DISTINCT_MAX: usize = 256;

/// A value and the newest bucket it was seen in; 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    words: [u32; 2],
    bucket: i32,
}

impl Seen {
    fn key(&self) -> u64 {
        let [low, high] = self.words;
        u64::from(high) << 32 | u64::from(low)
    }
}

/// The values, ascending by their bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Symbols(SmallVec<[Seen; 1]>);

impl Symbols {
    /// Takes note of a value (no NaN, no negative zero); nothing when its bucket is not after `cut`.
    #[expect(clippy::cast_possible_truncation, reason = "cut into words of 32 bits")]
    pub fn add(&mut self, bucket: i32, value: f64, cut: i32) {
        if bucket <= cut {
            return;
        }
        let key = value.to_bits();
        if let Ok(at) = self.0.binary_search_by_key(&key, Seen::key) {
            if let Some(seen) = self.0.get_mut(at) {
                seen.bucket = seen.bucket.max(bucket);
            }
            return;
        }
        self.0.retain(|seen| seen.bucket > cut);
        if self.0.len() >= DISTINCT_MAX {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, seen)| (seen.bucket, seen.key()));
            match oldest {
                Some((at, seen)) if (seen.bucket, seen.key()) < (bucket, key) => {
                    self.0.remove(at);
                }
                Some(_) | None => return,
            }
        }
        let at = self.0.partition_point(|seen| seen.key() < key);
        make_room(&mut self.0);
        self.0.insert(at, Seen { words: [key as u32, (key >> 32) as u32], bucket });
    }

    /// How many different values the window holds, at most [`DISTINCT_MAX`].
    pub fn count(&self, reach: Reach, now: &Place) -> f64 {
        let cut = reach.cut(now);
        exact(self.0.iter().filter(|seen| seen.bucket > cut).count() as u64)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        heap_bytes(&self.0)
    }
}
