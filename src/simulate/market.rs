//! The market of the simulation: a mortgage rate that swings around its mean, and a home price index.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::kind::Kind;
use super::line::{Datum, Fields, Line};
use crate::domain::time::{DAY_MS, Timestamp};

/// Where the mortgage rate swings around, in percent.
const RATE_MEAN: f64 = 6.3;
/// The share of its distance to the mean that it makes up for in a day: it forgets within about two months, so that a year
/// and a half of training sees every level several times and a level is not a date in disguise.
const REVERSION: f64 = 0.016;
/// The widest daily step of the rate; with the reversion it stays within about half a point of the mean.
const STEP: f64 = 0.06;

/// The market of every day.
pub(crate) struct Rates {
    from: Timestamp,
    rate: Vec<f64>,
    index: Vec<f64>,
}

impl Rates {
    /// A walk for so many days.
    pub(crate) fn new(seed: u64, from: Timestamp, days: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d61_726b_6574);
        let (mut rate, mut index) = (6.6, 3.0);
        let mut rates = Vec::new();
        let mut indices = Vec::new();
        for _ in 0..=days {
            rate += REVERSION * (RATE_MEAN - rate) + STEP * 2.0 * (rng.random::<f64>() - 0.5);
            index += REVERSION * (3.0 - index) + 0.4 * (rng.random::<f64>() - 0.5);
            rates.push(rate.clamp(2.5, 10.0));
            indices.push(index.clamp(-10.0, 15.0));
        }
        Self { from, rate: rates, index: indices }
    }

    /// The rate on the day of `time`, in percent.
    pub(crate) fn at(&self, time: Timestamp) -> f64 {
        let day = usize::try_from(time.millis_since(self.from) / DAY_MS).unwrap_or(0);
        self.rate.get(day).or(self.rate.last()).copied().unwrap_or(RATE_MEAN)
    }

    /// One rate event a day and one index event a week, at six in the morning.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for serial in 0..u32::try_from(self.rate.len()).unwrap_or(u32::MAX) {
            let time = Timestamp::from_millis(self.from.millis() + i64::from(serial) * DAY_MS + DAY_MS / 4);
            let mut push = |kind| lines.push(Line { time, user: None, serial, kind, focus: None });
            push(Kind::MortgageRatePublished);
            if serial % 7 == 0 {
                push(Kind::HomePriceIndexPublished);
                push(Kind::RentIndexPublished);
            }
        }
        lines
    }

    /// The fields of a market event.
    pub(crate) fn fields(&self, kind: Kind, serial: u32) -> Fields {
        let day = usize::try_from(serial).unwrap_or(usize::MAX);
        let rate = self.rate.get(day).copied().unwrap_or(RATE_MEAN);
        let index = self.index.get(day).copied().unwrap_or_default();
        let field = if kind == Kind::HomePriceIndexPublished {
            ("changeYear", Datum::Number(index, 2))
        } else if kind == Kind::RentIndexPublished {
            ("grossYield", Datum::Number(7.5 - 0.3 * rate, 2))
        } else {
            ("rate30", Datum::Number(rate, 3))
        };
        [field].into_iter().collect()
    }
}
