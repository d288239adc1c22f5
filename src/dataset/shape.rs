//! Splits and samples: which rows stand where, and for how many.
//!
//! Law: every choice follows from the rows and the options; chance is a hash of an id, so it is the same each time.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::{Count, Example, Negatives, Options, Split};
use crate::domain::time::Timestamp;

/// Share of users in training, and in training or validation, when users are kept apart; as by default for time.
const SHARES: [f64; 2] = [0.6, 0.8];

/// Where the slices of time begin.
pub(super) struct Slices {
    pub(super) valid_from: Timestamp,
    pub(super) test_from: Timestamp,
}

impl Slices {
    /// As the options say; else at 60 % and 80 % of the mature rows, which are sorted by time.
    pub(super) fn of(rows: &[Example], options: &Options) -> Self {
        let mature: Vec<Timestamp> =
            rows.iter().filter(|row| !row.is_immature).map(|row| row.as_of).collect();
        let [valid, test] = SHARES.map(|share| quantile(&mature, share));
        Self { valid_from: options.valid_from.unwrap_or(valid), test_from: options.test_from.unwrap_or(test) }
    }

    pub(super) fn split(&self, row: &Example) -> Split {
        match row.as_of {
            time if time < self.valid_from => Split::Train,
            time if time < self.test_from => Split::Valid,
            _ => Split::Test,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
fn quantile(times: &[Timestamp], share: f64) -> Timestamp {
    let at = (times.len() as f64 * share) as usize;
    times.get(at).or(times.last()).copied().unwrap_or(Timestamp::MIN)
}

/// A number from 0 to 1 that follows from some bytes.
#[expect(clippy::cast_precision_loss, reason = "52 bits fit a float's mantissa")]
fn chance(bytes: &[u8]) -> f64 {
    (xxh3_64(bytes) >> 12) as f64 / (1_u64 << 52) as f64
}

fn split_of(user: &str) -> Split {
    let [train, valid] = SHARES;
    match chance(user.as_bytes()) {
        place if place < train => Split::Train,
        place if place < valid => Split::Valid,
        _ => Split::Test,
    }
}

/// Leaves out the rows of users who belong to another split than the rows' time; answers how many.
pub(super) fn keep_apart(mut rows: Vec<(Split, Example)>, is_wanted: bool) -> (Vec<(Split, Example)>, u64) {
    let before = rows.len();
    if is_wanted {
        rows.retain(|(split, row)| *split == split_of(row.user.as_str()));
    }
    let left = (before - rows.len()) as u64;
    (rows, left)
}

/// Leaves out negatives and gives the others their weight; answers the share kept, and how many were left out.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts and weights")]
pub(super) fn sample(
    mut rows: Vec<(Split, Example)>,
    negatives: Negatives,
) -> (Vec<(Split, Example)>, f64, u64) {
    let before = rows.len();
    let positives = rows.iter().filter(|(_, row)| row.is_positive).count();
    let share = match negatives {
        Negatives::All => 1.0,
        Negatives::Rate(rate) => rate,
        Negatives::Ratio(ratio) => ratio * positives as f64 / (before - positives).max(1) as f64,
    };
    // Without a positive row there is nothing to hold the negatives to.
    let share = if share > 0.0 { share.min(1.0) } else { 1.0 };
    rows.retain(|(_, row)| row.is_positive || chance(row.event_id.0.as_bytes()) < share);
    for (_, row) in rows.iter_mut().filter(|(_, row)| !row.is_positive) {
        row.weight = (1.0 / share) as f32;
    }
    let left = (before - rows.len()) as u64;
    (rows, share, left)
}

/// Rows, positives and users by split.
pub(super) fn counts(rows: &[(Split, Example)]) -> Vec<Count> {
    let count = |split: Split| {
        let of = || rows.iter().filter(move |(at, _)| *at == split).map(|(_, row)| row);
        let users: HashSet<&str> = of().map(|row| row.user.as_str()).collect();
        Count {
            split,
            rows: of().count() as u64,
            positives: of().filter(|row| row.is_positive).count() as u64,
            users: users.len() as u64,
            base_rate: base_rate(of()),
        }
    };
    Split::ALL.map(count).into()
}

/// Share of positives, by weight; 0 when there are no rows.
pub(super) fn base_rate<'a>(rows: impl Iterator<Item = &'a Example>) -> f64 {
    let (mut positive, mut all) = (0.0, 0.0);
    for row in rows {
        let weight = f64::from(row.weight);
        all += weight;
        positive += if row.is_positive { weight } else { 0.0 };
    }
    if all > 0.0 { positive / all } else { 0.0 }
}
