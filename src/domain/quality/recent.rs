//! What a version of a model has seen and said in recent days of event time: counts per bin and day, bounded.
//!
//! Law: a row counts on the day of its features (event time); days before the window fall out, rows that come later than
//! that are counted as such and nothing else. Counting needs no memory beyond what [`Recent::new`] takes. Called for every
//! score, alert or not; read by metrics and the API.

use std::sync::Arc;

use super::drift::{Bins, psi};

/// Steps of the probability scale in [`Reading::scores`]: fine enough to tell thresholds apart.
pub const STEPS: usize = 200;

/// The distributions that a version learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Of its calibrated probabilities.
    pub score: Bins,
    /// Of its features, in its order; none for those that training says nothing of.
    pub features: Vec<Option<Bins>>,
}

/// The counts of one day.
#[derive(Clone, Debug)]
struct Day {
    day: i32,
    rows: u64,
    /// Per feature its places, then the score's places, then the steps of the probability scale.
    counts: Box<[u32]>,
}

/// The counts of one version.
#[derive(Clone, Debug)]
pub struct Recent {
    trained: Option<Arc<Trained>>,
    /// Bins per feature, and where its places begin among the counts.
    features: Box<[(Bins, usize)]>,
    score: (Bins, usize),
    steps: usize,
    /// By day modulo their number; a day overwrites the one that left the window.
    days: Box<[Day]>,
    late: u64,
}

/// The counts of the window, summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Rows counted.
    pub rows: u64,
    /// Days since 1970 of the first and the last day with a row.
    pub days: Option<(i32, i32)>,
    /// Rows older than the window when they came: in no count.
    pub late: u64,
    /// Drift of the score; none with too few rows, or when training says nothing.
    pub score_psi: Option<f64>,
    /// Counts per step of the probability scale: at `n`, those from `n / STEPS` to below `(n + 1) / STEPS`.
    pub scores: Vec<u64>,
    /// Per feature, in the model's order.
    pub features: Vec<FeatureReading>,
}

/// One feature's part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureReading {
    /// Drift; none with too few rows, or when training says nothing.
    pub psi: Option<f64>,
    /// Share of rows whose value was missing; none without rows.
    pub missing: Option<f64>,
    /// The same at training; none when training says nothing.
    pub missing_trained: Option<f64>,
}

impl Recent {
    /// Counts over so many days for a version with so many features.
    pub fn new(features: usize, trained: Option<Arc<Trained>>, days: u16) -> Self {
        let mut next = 0;
        let mut begin = |bins: Bins| {
            let at = next;
            next += bins.places();
            (bins, at)
        };
        let of = |at: usize| trained.as_ref().and_then(|trained| trained.features.get(at)?.clone());
        let features = (0..features).map(|at| begin(of(at).unwrap_or_else(Bins::unknown))).collect();
        let score = begin(trained.as_ref().map_or_else(Bins::unknown, |trained| trained.score.clone()));
        let steps = next;
        let empty = Day { day: i32::MIN, rows: 0, counts: vec![0; steps + STEPS].into() };
        let days = vec![empty; usize::from(days.max(1))].into();
        Self { trained, features, score, steps, days, late: 0 }
    }

    /// Counts a score and the features it came from. A row of another length is not counted.
    pub fn note(&mut self, day: i32, features: &[f32], probability: f32) {
        if features.len() != self.features.len() {
            return;
        }
        let length = i32::try_from(self.days.len()).unwrap_or(i32::MAX);
        let slot = usize::try_from(day.rem_euclid(length)).unwrap_or_default();
        let Some(counted) = self.days.get_mut(slot) else { return };
        if counted.day > day {
            self.late += 1;
            return;
        }
        if counted.day < day {
            counted.counts.fill(0);
            (counted.day, counted.rows) = (day, 0);
        }
        counted.rows += 1;
        let mut count = |at: usize| {
            if let Some(count) = counted.counts.get_mut(at) {
                *count = count.saturating_add(1);
            }
        };
        for ((bins, begin), &value) in self.features.iter().zip(features) {
            count(begin + bins.place(value));
        }
        count(self.score.1 + self.score.0.place(probability));
        count(self.steps + step(probability));
    }

    /// The counts of the window that ends with `today`.
    pub fn read(&self, today: i32) -> Reading {
        let length = i32::try_from(self.days.len()).unwrap_or(i32::MAX);
        let begin = today.saturating_sub(length);
        let within: Vec<&Day> =
            self.days.iter().filter(|day| day.rows > 0 && day.day > begin && day.day <= today).collect();
        let rows = within.iter().map(|day| day.rows).sum();
        let sum = |begin: usize, places: usize| -> Vec<u64> {
            let of =
                |at: usize| within.iter().filter_map(|day| day.counts.get(at)).map(|&n| u64::from(n)).sum();
            (begin..begin + places).map(of).collect()
        };
        let read = |(bins, begin): &(Bins, usize), is_known: bool| {
            let counts = sum(*begin, bins.places());
            FeatureReading {
                psi: psi(bins.shares(), &counts).filter(|_| is_known),
                missing: counts.last().map(|&missing| share(missing, rows)).filter(|_| rows > 0),
                missing_trained: bins.shares().last().copied().filter(|_| is_known),
            }
        };
        let is_known =
            |at: usize| self.trained.as_ref().is_some_and(|it| matches!(it.features.get(at), Some(Some(_))));
        let first = within.iter().map(|day| day.day).min();
        Reading {
            rows,
            days: first.zip(within.iter().map(|day| day.day).max()),
            late: self.late,
            score_psi: read(&self.score, self.trained.is_some()).psi,
            scores: sum(self.steps, STEPS),
            features: self.features.iter().enumerate().map(|(at, one)| read(one, is_known(at))).collect(),
        }
    }
}

/// The step of a probability; what is none counts at the nearest end.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 200"
)]
pub(super) fn step(probability: f32) -> usize {
    ((f64::from(probability) * STEPS as f64) as usize).min(STEPS - 1)
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn trained() -> Arc<Trained> {
        let bins = |edges: &[f32], missing| {
            let shares = vec![1.0 / (edges.len() + 1) as f64; edges.len() + 1];
            Bins::new(edges, &shares, missing).unwrap()
        };
        Arc::new(Trained { score: bins(&[0.5], 0.0), features: vec![Some(bins(&[1.0, 2.0], 0.1)), None] })
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![Just(f32::NAN), (0_u8..4).prop_map(f32::from)]
    }

    proptest! {
        /// Whatever the order and whatever leaves the window: the reading is that of the rows within it.
        #[test]
        fn the_window_holds_the_rows_of_its_days(rows in vec((0_i32..12, value(), value(), 0.0_f32..=1.0), 0..400)) {
            let today = rows.iter().map(|row| row.0).max().unwrap_or(0);
            let mut recent = Recent::new(2, Some(trained()), 5);
            let mut late = 0;
            // A row is late when a day that is five or ten days after it was counted in its place.
            let mut newest = [i32::MIN; 5];
            let mut kept = Vec::new();
            for &(day, one, other, probability) in &rows {
                recent.note(day, &[one, other], probability);
                let place = usize::try_from(day % 5).unwrap();
                if newest[place] > day { late += 1 } else { newest[place] = day; kept.push((day, one, other, probability)) }
            }
            let within: Vec<_> = kept.into_iter().filter(|row| row.0 > today - 5).collect();
            let found = recent.read(today);
            prop_assert_eq!((found.rows, found.late), (within.len() as u64, late));
            prop_assert_eq!(found.scores.iter().sum::<u64>(), within.len() as u64);
            let missing = within.iter().filter(|row| row.1.is_nan()).count() as f64 / within.len() as f64;
            prop_assert_eq!(found.features[0].missing, Some(missing).filter(|share| share.is_finite()));
            let place = |value: f32| if value.is_nan() { 3 } else { usize::from(value >= 1.0) + usize::from(value >= 2.0) };
            let mut counts = [0_u64; 4];
            within.iter().for_each(|row| counts[place(row.1)] += 1);
            prop_assert_eq!(found.features[0].psi, psi(&[0.3, 0.3, 0.3, 0.1], &counts).map(|_| found.features[0].psi.unwrap()));
            if let Some(found) = found.features[0].psi {
                prop_assert!((found - psi(&[0.3, 0.3, 0.3, 0.1], &counts).unwrap()).abs() < 1e-9);
            }
            prop_assert_eq!((found.features[1].psi, found.features[1].missing_trained), (None, None));
        }
    }

    #[test]
    fn without_training_s_bins_there_is_no_drift_but_missing_values_are_told() {
        let mut recent = Recent::new(1, None, 30);
        for at in 0_u8..200 {
            recent.note(7, &[if at < 50 { f32::NAN } else { 1.0 }], 0.7);
        }
        recent.note(7, &[1.0, 2.0], 0.7);
        let found = recent.read(8);
        assert_eq!((found.rows, found.days, found.score_psi), (200, Some((7, 7)), None));
        assert_eq!((found.features[0].missing, found.features[0].psi), (Some(0.25), None));
        assert_eq!(recent.read(6).rows, 0, "a day ahead of the clock is not yet there");
        assert_eq!(recent.read(37).rows, 0, "a day before the window is gone");
        assert_eq!(recent.read(36).rows, 200);
    }
}
