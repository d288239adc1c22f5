//! Measures of the probabilities themselves: does it happen as often as they say?
//!
//! Law: a bin holds its lower border and not its upper one, but the last holds 1.

use serde::Serialize;

use super::Case;

/// Bins of equal width in the reliability table.
pub const BINS: usize = 10;

/// A bin of the reliability table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reliability {
    /// Its lower border, inside.
    pub from: f64,
    /// Its upper border, outside but for the last bin.
    pub to: f64,
    /// Rows in it.
    pub rows: u64,
    /// Their weight.
    #[serde(skip)]
    pub weight: f64,
    /// Mean probability; none without rows.
    pub mean_probability: Option<f64>,
    /// Share of positives; none without rows.
    pub positive_share: Option<f64>,
}

/// The reliability table.
pub(super) fn table(cases: &[Case]) -> Vec<Reliability> {
    let mut sums = [Sums::default(); BINS];
    for case in cases {
        if let Some(sums) = sums.get_mut(bin(case.probability)) {
            sums.rows += 1;
            sums.weight += case.weight;
            sums.probability += case.weight * f64::from(case.probability);
            sums.positives += case.weight * case.label();
        }
    }
    sums.iter().enumerate().map(|(at, sums)| sums.bin(at)).collect()
}

#[derive(Clone, Copy, Default)]
struct Sums {
    rows: u64,
    weight: f64,
    probability: f64,
    positives: f64,
}

impl Sums {
    #[expect(clippy::cast_precision_loss, reason = "up to ten")]
    fn bin(&self, at: usize) -> Reliability {
        let mean = |sum: f64| (self.rows > 0).then(|| sum / self.weight);
        Reliability {
            from: at as f64 / BINS as f64,
            to: (at + 1) as f64 / BINS as f64,
            rows: self.rows,
            weight: self.weight,
            mean_probability: mean(self.probability),
            positive_share: mean(self.positives),
        }
    }
}

/// The bin of a probability, by its exact value: 0.3 as float32 is over three tenths and lies in the bin above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 10"
)]
fn bin(probability: f32) -> usize {
    ((f64::from(probability) * BINS as f64) as usize).min(BINS - 1)
}

/// The sum over bins of weight times the gap between what was said and what happened.
pub(super) fn gaps(table: &[Reliability]) -> f64 {
    let gap = |bin: &Reliability| Some((bin.mean_probability? - bin.positive_share?).abs());
    table.iter().map(|bin| bin.weight * gap(bin).unwrap_or(0.0)).sum()
}

/// The sum of squared errors, by weight.
pub(super) fn squared_error(cases: &[Case]) -> f64 {
    let error = |case: &Case| f64::from(case.probability) - case.label();
    cases.iter().map(|case| case.weight * error(case) * error(case)).sum()
}
