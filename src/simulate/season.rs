//! When things happen: the year, the week, the day, and what the last months changed.
//!
//! Law: plain functions of time; hazards and behaviour read the same ones.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::domain::time::{DAY_MS, Timestamp};

/// The change of the last months begins so many days before the log's end.
const DRIFT_FROM_DAYS: f64 = 150.0;
/// And is whole so many days before it: inside of the shortest horizon (60 days), so that mature rows see most of it.
const DRIFT_WHOLE_DAYS: f64 = 75.0;
const YEAR_DAYS: f64 = 365.25;
/// Share of sessions by hour of the day, in percent: few at night, a hump at noon, most in the evening.
const HOURS: [u32; 24] = [1, 1, 0, 0, 0, 1, 2, 3, 4, 4, 5, 5, 7, 6, 4, 4, 5, 6, 8, 9, 10, 8, 5, 2];

/// The log's stretch of time; days are counted from its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Its beginning.
    pub(crate) from: Timestamp,
    /// How many days it has.
    pub(crate) days: f64,
}

impl Span {
    /// The time of a day.
    pub(crate) fn at(&self, day: f64) -> Timestamp {
        at(self.from, day)
    }

    /// A yearly wave around 1 with its crest on a day of the year.
    pub(crate) fn year(&self, day: f64, height: f64, crest: f64) -> f64 {
        // 1970-01-01 is day 0 of its year; leap years shift the crest by a day at most.
        let of_epoch = f64::from(self.from.day()) + day;
        1.0 + height * (std::f64::consts::TAU * (of_epoch - crest) / YEAR_DAYS).cos()
    }

    /// How far the change of the last months has come: 0 before, 1 when whole.
    pub(crate) fn drift(&self, day: f64) -> f64 {
        let left = self.days - day;
        ((DRIFT_FROM_DAYS - left) / (DRIFT_FROM_DAYS - DRIFT_WHOLE_DAYS)).clamp(0.0, 1.0)
    }

    /// Whether a day is a Saturday or Sunday.
    pub(crate) fn is_weekend(&self, day: f64) -> bool {
        // 1970-01-01 was a Thursday: days 2 and 3 of its week are the weekend.
        matches!(self.at(day).day().rem_euclid(7), 2 | 3)
    }

    /// The same day at an hour at which people are awake; never before the beginning.
    pub(crate) fn awake(&self, day: f64, rng: &mut ChaCha8Rng) -> f64 {
        let mut left = rng.random_range(0..HOURS.iter().sum::<u32>());
        let mut hour = 0.0;
        for share in HOURS {
            if left < share {
                break;
            }
            left -= share;
            hour += 1.0;
        }
        day.floor() + (hour + rng.random::<f64>()) / 24.0
    }
}

/// The time so many days after another.
pub(crate) fn at(from: Timestamp, days: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "days of a simulation, far below 2^53 ms")]
    let millis = (days * DAY_MS as f64) as i64;
    Timestamp::from_millis(from.millis() + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wave_has_its_crest_where_it_says_and_the_change_comes_at_the_end() {
        let span = Span { from: "2025-01-01T00:00:00Z".parse().unwrap(), days: 540.0 };
        assert!(span.year(150.0, 0.3, 150.0) > 1.29 && span.year(150.0 + 182.0, 0.3, 150.0) < 0.71);
        assert!(span.drift(300.0) <= 0.0 && span.drift(540.0) >= 1.0);
        // 2025-01-04 was a Saturday.
        assert!(
            !span.is_weekend(2.5) && span.is_weekend(3.5) && span.is_weekend(4.5) && !span.is_weekend(5.5)
        );
    }
}
