//! Which users are whose, where several instances share one log: each folds the users of its shard, and nobody else's.
//!
//! Law: with one `count`, each user is in exactly one shard, the same for ever and in every program: the upper 64 bits of
//! `xxh3_64(user id) * count`, so shard i of n has the i-th n-th of all hashes. Called by the feed, which reads past other
//! shards' users, and by whoever asks for the users of one.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::id::UserId;

/// Instances that share one log at most: each reads all of it, so that more would only read.
pub const COUNT_MAX: u32 = 1024;

/// The users of one instance: part `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shard {
    /// Which part, from 0.
    pub index: u32,
    /// How many parts there are, the same for all instances of one log.
    pub count: u32,
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.count)
    }
}

/// The shard of a user, of so many.
#[expect(clippy::cast_possible_truncation, reason = "the product shifted is below count")]
pub fn owner(user: &str, count: u32) -> u32 {
    ((u128::from(xxh3_64(user.as_bytes())) * u128::from(count)) >> 64) as u32
}

impl Shard {
    /// One instance for all users.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether it is everybody's.
    pub fn is_whole(self) -> bool {
        self.count <= 1
    }

    /// Whether a user is one of its users.
    pub fn holds(self, user: &UserId) -> bool {
        self.holds_name(user.as_str())
    }

    /// The same for a user's name as it stands in a stream's.
    pub fn holds_name(self, user: &str) -> bool {
        self.is_whole() || owner(user, self.count) == self.index
    }

    /// The shard of a user, where there are as many as here.
    pub fn owner_of(self, user: &UserId) -> Self {
        Self { index: owner(user.as_str(), self.count), ..self }
    }

    /// What is wrong with it.
    pub fn fault(self) -> Option<(&'static str, String)> {
        if self.count == 0 || self.count > COUNT_MAX {
            return Some(("count", format!("must be from 1 to {COUNT_MAX}, not {}", self.count)));
        }
        (self.index >= self.count).then(|| {
            ("index", format!("must be below count, from 0 to {}, not {}", self.count - 1, self.index))
        })
    }

    /// Whether these have, together, every user that this one has.
    pub fn is_covered_by(self, others: &[Self]) -> bool {
        // Shards are ranges of hashes: [index / count, (index + 1) / count), compared as products.
        let below =
            |a: (u32, u32), b: (u32, u32)| u64::from(a.0) * u64::from(b.1) < u64::from(b.0) * u64::from(a.1);
        let (mut covered, end) = ((self.index, self.count), (self.index + 1, self.count));
        while below(covered, end) {
            let reaches = |other: &&Self| {
                !below(covered, (other.index, other.count)) && below(covered, (other.index + 1, other.count))
            };
            let Some(next) = others.iter().find(reaches) else { return false };
            covered = (next.index + 1, next.count);
        }
        true
    }

    /// Whether it has any user that another one has.
    pub fn overlaps(self, other: Self) -> bool {
        let below =
            |a: (u32, u32), b: (u32, u32)| u64::from(a.0) * u64::from(b.1) < u64::from(b.0) * u64::from(a.1);
        below((self.index, self.count), (other.index + 1, other.count))
            && below((other.index, other.count), (self.index + 1, self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(index: u32, count: u32) -> Shard {
        Shard { index, count }
    }

    #[test]
    fn each_user_has_one_shard_and_shards_are_alike_in_size() {
        for count in [1, 2, 3, 5, 16] {
            let mut sizes = vec![0_u32; count as usize];
            for user in 0..4_000 {
                let user: UserId = format!("u{user}").parse().unwrap();
                let holders: Vec<u32> =
                    (0..count).filter(|index| shard(*index, count).holds(&user)).collect();
                assert_eq!(holders, [owner(user.as_str(), count)]);
                assert_eq!(shard(0, count).owner_of(&user).index, holders[0]);
                sizes[holders[0] as usize] += 1;
            }
            let fair = 4_000 / count;
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 4 + 20), "{count}: {sizes:?}");
        }
    }

    #[test]
    fn the_shard_of_a_user_is_the_same_for_ever() {
        // Other programs route by this, and checkpoints rest on it.
        let known = [("user-123", 2, 1), ("user-123", 16, 15), ("me", 2, 0), ("me", 7, 1), ("ü", 3, 1)];
        assert_eq!(known.map(|(user, count, _)| owner(user, count)), known.map(|(.., index)| index));
    }

    #[test]
    fn shards_cover_what_lies_in_their_ranges() {
        for (one, others, covered) in [
            (shard(0, 2), vec![shard(0, 1)], true),
            (shard(0, 1), vec![shard(0, 2)], false),
            (shard(0, 1), vec![shard(1, 2), shard(0, 2)], true),
            (shard(1, 3), vec![shard(0, 2)], false),
            (shard(1, 3), vec![shard(0, 2), shard(1, 2)], true),
            (shard(2, 4), vec![shard(1, 2)], true),
            (shard(0, 1), vec![shard(0, 3), shard(2, 3)], false),
            (shard(0, 1), vec![], false),
        ] {
            assert_eq!(one.is_covered_by(&others), covered, "{one} by {others:?}");
        }
        // By users: the ranges are what the hash says.
        for user in (0..500).map(|user| format!("u{user}")) {
            if shard(1, 3).holds_name(&user) {
                assert!(shard(0, 2).holds_name(&user) || shard(1, 2).holds_name(&user));
            }
            assert_eq!(
                shard(1, 2).holds_name(&user),
                shard(2, 4).holds_name(&user) || shard(3, 4).holds_name(&user)
            );
        }
        assert!(shard(1, 3).overlaps(shard(0, 2)) && shard(1, 3).overlaps(shard(1, 2)));
        assert!(!shard(0, 3).overlaps(shard(1, 2)) && !shard(0, 2).overlaps(shard(1, 2)));
    }

    #[test]
    fn a_shard_that_cannot_be_is_named() {
        assert_eq!(shard(0, 1).fault(), None);
        assert_eq!(shard(1023, 1024).fault(), None);
        for (wrong, key) in [(shard(0, 0), "count"), (shard(0, 1025), "count"), (shard(2, 2), "index")] {
            assert_eq!(wrong.fault().map(|(key, _)| key), Some(key));
        }
    }
}
