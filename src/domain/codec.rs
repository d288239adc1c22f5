//! JSON to events and back.
//!
//! Law: what is encoded decodes to the same, bit for bit.

use xxhash_rust::xxh3::xxh3_64;

/// A text as a number: the upper 52 bits of its XXH3, which a float holds exactly. Two texts have the same symbol only by
/// a chance of one in 4.5e15.
#[expect(clippy::cast_precision_loss, reason = "52 bits fit a float's mantissa")]
pub fn symbol(text: &str) -> f64 {
    (xxh3_64(text.as_bytes()) >> 12) as f64
}
