//! How good probabilities are against what happened, and how far what a model sees has moved from what it learned from.
//!
//! Law: a measure depends on the cases and not on their order, floats included; where a measure has no meaning (no rows, one
//! class only) it is none, never 0 or NaN. Called by the view's figures of models, by back-tests and by the live watch.
//!
//! | measure | definition | after |
//! |---|---|---|
//! | ROC AUC | share of (positive, negative) pairs that are in the right order, a tie counts half | Hanley & McNeil 1982 |
//! | average precision | sum over distinct thresholds of (recall step) × precision, no interpolation | scikit-learn |
//! | Brier score | mean of (probability − what happened)² | Brier 1950 |
//! | calibration error | over ten bins of equal width: share of rows × abs(mean probability − share of positives) | Naeini et al. 2015 |
//! | lift at the top decile | share of positives in the tenth with the highest probabilities, over the base rate | Ling & Li 1998 |
//! | PSI | sum over bins of (live − trained) × ln(live / trained) | Siddiqi 2006 |

mod budget;
mod calibration;
mod drift;
mod ranking;
mod recent;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use budget::{ABOVE_MIN, Suggestion, suggest};
pub use calibration::{BINS, Reliability};
pub use drift::{BadBins, Bins, EDGES_MAX, ROWS_MIN, psi};
pub use recent::{FeatureReading, Reading, Recent, STEPS, Trained};

/// A scored row whose label is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The calibrated probability that the model gave, 0 to 1.
    pub probability: f32,
    /// Whether it happened.
    pub is_positive: bool,
    /// How many rows it stands for: 1, or more where negatives were sampled.
    pub weight: f64,
}

impl Case {
    /// A row that stands for itself.
    pub fn new(probability: f32, is_positive: bool) -> Self {
        Self { probability, is_positive, weight: 1.0 }
    }

    /// What happened, as a number.
    fn label(&self) -> f64 {
        f64::from(u8::from(self.is_positive))
    }

    /// Whether it can be measured: a probability, and a weight over nothing.
    fn is_sound(&self) -> bool {
        (0.0..=1.0).contains(&self.probability) && self.weight > 0.0 && self.weight.is_finite()
    }
}

/// How good the probabilities of some rows are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// Rows measured.
    pub rows: u64,
    /// Of these, positive.
    pub positives: u64,
    /// Rows left out: no probability from 0 to 1, or no weight.
    #[serde(skip)]
    pub left_out: u64,
    /// Share of positives by weight; none without rows.
    pub base_rate: Option<f64>,
    /// How well positives stand above negatives, 0 to 1, 0.5 by chance; none unless both classes are there.
    pub roc_auc: Option<f64>,
    /// Mean precision over the recall; none unless both classes are there.
    pub average_precision: Option<f64>,
    /// Mean squared error of the probability, 0 best; none without rows.
    pub brier: Option<f64>,
    /// Expected calibration error over [`BINS`] bins, 0 best; none without rows.
    pub calibration_error: Option<f64>,
    /// How many times the base rate the top tenth has; none unless both classes are there.
    pub lift_top_decile: Option<f64>,
    /// The table behind the calibration error: always [`BINS`] bins, ascending.
    pub reliability: Vec<Reliability>,
}

/// Measures cases; sorts them on the way.
pub fn measure(cases: &mut Vec<Case>) -> Quality {
    let given = cases.len();
    cases.retain(Case::is_sound);
    // From the highest; equal probabilities by label and weight, so that sums come out the same whatever the order was.
    cases.sort_unstable_by(|one, other| {
        let by_probability = other.probability.total_cmp(&one.probability);
        by_probability.then(other.is_positive.cmp(&one.is_positive)).then(other.weight.total_cmp(&one.weight))
    });
    let reliability = calibration::table(cases);
    let weight: f64 = cases.iter().map(|case| case.weight).sum();
    let of_all = |sum: f64| (!cases.is_empty()).then(|| sum / weight);
    let ranking = ranking::Ranking::of(cases);
    Quality {
        rows: cases.len() as u64,
        positives: cases.iter().filter(|case| case.is_positive).count() as u64,
        left_out: (given - cases.len()) as u64,
        base_rate: of_all(cases.iter().map(|case| case.weight * case.label()).sum()),
        roc_auc: ranking.as_ref().map(ranking::Ranking::roc_auc),
        average_precision: ranking.as_ref().map(ranking::Ranking::average_precision),
        brier: of_all(calibration::squared_error(cases)),
        calibration_error: of_all(calibration::gaps(&reliability)),
        lift_top_decile: ranking.as_ref().map(ranking::Ranking::lift_top_decile),
        reliability,
    }
}
