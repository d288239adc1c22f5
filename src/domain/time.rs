//! Event time: milliseconds since the Unix epoch, and the day and hour buckets that windows count in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A point in time in milliseconds since 1970-01-01T00:00:00Z; written as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time such as 2026-01-01T00:00:00.608Z")]
pub struct BadTimestamp {
    /// The text as given, cut to 64 bytes.
    pub text: String,
}

impl Timestamp {
    /// The last representable time: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// The earliest time: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);

    /// A time from milliseconds since the epoch, held between [`Self::MIN`] and [`Self::MAX`].
    pub const fn from_millis(millis: i64) -> Self {
        if millis > Self::MAX.0 {
            Self::MAX
        } else if millis < Self::MIN.0 {
            Self::MIN
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The UTC day this time lies in, counted from 1970-01-01.
    #[expect(clippy::cast_possible_truncation, reason = "MIN..=MAX is within 4 million days")]
    pub const fn day(self) -> i32 {
        self.0.div_euclid(DAY_MS) as i32
    }

    /// The UTC hour this time lies in, counted from 1970-01-01T00.
    #[expect(clippy::cast_possible_truncation, reason = "MIN..=MAX is within 90 million hours")]
    pub const fn hour(self) -> i32 {
        self.0.div_euclid(HOUR_MS) as i32
    }

    /// This time plus a span, held at [`Self::MAX`].
    pub fn plus(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Days from `earlier` to this time, with fraction.
    #[expect(clippy::cast_precision_loss, reason = "spans of event time are far below 2^52 ms")]
    pub fn days_since(self, earlier: Self) -> f64 {
        self.millis_since(earlier) as f64 / DAY_MS as f64
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        text.parse::<jiff::Timestamp>().map(|time| Self::from_millis(time.as_millisecond())).map_err(|_| {
            let mut end = text.len().min(64);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            BadTimestamp { text: text.get(..end).unwrap_or_default().to_owned() }
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self::from_millis(i64::deserialize(deserializer)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_with_milliseconds() {
        let time: Timestamp = "2026-01-01T00:00:00.608Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-01T00:00:00.608Z");
        assert_eq!(
            "2026-01-01T01:00:00+01:00".parse::<Timestamp>().unwrap().to_string(),
            "2026-01-01T00:00:00.000Z"
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn days_before_the_epoch_round_down() {
        assert_eq!(Timestamp::from_millis(-1).day(), -1);
        assert_eq!(Timestamp::from_millis(DAY_MS).day(), 1);
    }
}
