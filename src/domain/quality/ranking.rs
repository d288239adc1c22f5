//! Measures of order: does what happened stand above what did not?
//!
//! Law: rows of equal probability are one step; how they lie among themselves changes nothing.

use super::Case;

/// The part of the rows that counts as the top.
const TOP: f64 = 0.1;

/// Rows of one probability.
#[derive(Clone, Copy, Debug)]
struct Step {
    probability: f32,
    positives: f64,
    negatives: f64,
}

impl Step {
    fn weight(self) -> f64 {
        self.positives + self.negatives
    }
}

/// Rows by probability, from the highest, with both classes among them.
#[derive(Debug)]
pub(super) struct Ranking {
    steps: Vec<Step>,
    positives: f64,
    negatives: f64,
}

impl Ranking {
    /// The ranking of cases sorted from the highest probability; none when one class is missing.
    pub(super) fn of(sorted: &[Case]) -> Option<Self> {
        let mut ranking = Self { steps: Vec::new(), positives: 0.0, negatives: 0.0 };
        for case in sorted {
            let (positive, negative) = if case.is_positive { (case.weight, 0.0) } else { (0.0, case.weight) };
            ranking.positives += positive;
            ranking.negatives += negative;
            match ranking.steps.last_mut() {
                // 0 and -0 are one probability.
                Some(step) if step.probability <= case.probability => {
                    step.positives += positive;
                    step.negatives += negative;
                }
                Some(_) | None => ranking.steps.push(Step {
                    probability: case.probability,
                    positives: positive,
                    negatives: negative,
                }),
            }
        }
        (ranking.positives > 0.0 && ranking.negatives > 0.0).then_some(ranking)
    }

    /// Share of pairs of a positive and a negative that are in order; a tie counts half (Hanley & McNeil 1982).
    pub(super) fn roc_auc(&self) -> f64 {
        let mut below = self.negatives;
        let mut in_order = 0.0;
        for step in &self.steps {
            below -= step.negatives;
            in_order += step.positives * (below + step.negatives / 2.0);
        }
        (in_order / (self.positives * self.negatives)).clamp(0.0, 1.0)
    }

    /// The sum over thresholds of the recall that a step adds, times the precision down to it.
    pub(super) fn average_precision(&self) -> f64 {
        let (mut positives, mut weight, mut sum) = (0.0, 0.0, 0.0);
        for step in &self.steps {
            positives += step.positives;
            weight += step.weight();
            sum += step.positives / self.positives * (positives / weight);
        }
        sum.clamp(0.0, 1.0)
    }

    /// Share of positives in the top tenth by weight, over the base rate. A step that the border cuts gives its share.
    pub(super) fn lift_top_decile(&self) -> f64 {
        let all = self.positives + self.negatives;
        let size = all * TOP;
        let (mut left, mut positives) = (size, 0.0);
        for step in &self.steps {
            let taken = step.weight().min(left);
            positives += step.positives * (taken / step.weight());
            left -= taken;
            if left <= 0.0 {
                break;
            }
        }
        (positives / size) / (self.positives / all)
    }
}
