//! The market of the simulation: a mortgage rate that wanders and falls, and a home price index.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Body, Datum, Line};
use crate::domain::time::{DAY_MS, Timestamp};

/// The mortgage rate of every day, in percent.
pub(crate) struct Rates {
    from: Timestamp,
    rate: Vec<f64>,
    index: Vec<f64>,
}

impl Rates {
    /// A walk for so many days: weekly shocks around a slow fall of about one point a year.
    pub(crate) fn new(seed: u64, from: Timestamp, days: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d61_726b_6574);
        let (mut rate, mut index) = (6.8, 3.0);
        let mut rates = Vec::new();
        let mut indices = Vec::new();
        for _ in 0..=days {
            rate = (rate - 1.0 / 365.0 + 0.03 * (rng.random::<f64>() - 0.5)).clamp(2.5, 9.0);
            index = (index + 0.1 * (rng.random::<f64>() - 0.5)).clamp(-10.0, 15.0);
            rates.push(rate);
            indices.push(index);
        }
        Self { from, rate: rates, index: indices }
    }

    /// The rate on the day of `time`, in percent.
    pub(crate) fn at(&self, time: Timestamp) -> f64 {
        let day = usize::try_from(time.millis_since(self.from) / DAY_MS).unwrap_or(0);
        self.rate.get(day).or(self.rate.last()).copied().unwrap_or(6.8)
    }

    /// One rate event a day and one index event a week, at six in the morning.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (day, (rate, index)) in self.rate.iter().zip(&self.index).enumerate() {
            let serial = u32::try_from(day).unwrap_or(u32::MAX);
            let time = Timestamp::from_millis(self.from.millis() + i64::from(serial) * DAY_MS + DAY_MS / 4);
            let fields = [("rate30", Datum::Number(*rate, 3))].into_iter().collect();
            lines.push(Line {
                time,
                user: None,
                serial,
                kind: "MORTGAGE_RATE_PUBLISHED",
                body: Body::Fields(fields),
            });
            if day % 7 == 0 {
                let index = [("changeYear", Datum::Number(*index, 2))].into_iter().collect();
                let rent = [("grossYield", Datum::Number(7.5 - 0.3 * rate, 2))].into_iter().collect();
                for (kind, fields) in [("HOME_PRICE_INDEX_PUBLISHED", index), ("RENT_INDEX_PUBLISHED", rent)]
                {
                    lines.push(Line { time, user: None, serial, kind, body: Body::Fields(fields) });
                }
            }
        }
        lines
    }
}
