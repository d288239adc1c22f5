//! The alert budget: how many alerts a year the recent pace makes, and which threshold would keep to the budget.
//!
//! Law: a suggestion is words, nobody's threshold changes by it. Called by the API.

use super::recent::STEPS;

/// With fewer scores at or over the threshold the shape of the top of the distribution is not known.
pub const ABOVE_MIN: u64 = 30;

/// A threshold that would keep to the budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// It.
    pub threshold: f64,
    /// Alerts per user and year that it would make.
    pub rate: f64,
}

/// The lowest threshold (in steps of 1/200) whose alerts would keep to the budget, by the distribution of recent scores.
///
/// Alerts are taken as proportional to scores at or over the threshold: cooldowns and open alerts, which make several
/// scores one alert, count as they do now. None when there are fewer than [`ABOVE_MIN`] such scores, no alerts to compare
/// them with, or no threshold below 1 that keeps to the budget.
#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn suggest(scores: &[u64], threshold: f32, rate: f64, budget: f64) -> Option<Suggestion> {
    let now = (f64::from(threshold) * STEPS as f64).round();
    let above = |from: usize| scores.iter().skip(from).sum::<u64>();
    let at_present: u64 =
        scores.iter().enumerate().filter(|(at, _)| *at as f64 >= now).map(|(_, count)| count).sum();
    if at_present < ABOVE_MIN || rate <= 0.0 || !rate.is_finite() {
        return None;
    }
    let would_be = |from: usize| rate * above(from) as f64 / at_present as f64;
    let lowest = (1..scores.len()).find(|&from| would_be(from) <= budget && above(from) > 0)?;
    Some(Suggestion { threshold: lowest as f64 / STEPS as f64, rate: would_be(lowest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand scores, even over the scale.
    fn even() -> Vec<u64> {
        vec![5; STEPS]
    }

    fn check(threshold: f32, rate: f64, budget: f64, then: Option<(f64, f64)>) {
        let found = suggest(&even(), threshold, rate, budget);
        match (found, then) {
            (Some(found), Some((threshold, rate))) => {
                assert!(
                    (found.threshold - threshold).abs() < 1e-9 && (found.rate - rate).abs() < 1e-9,
                    "{found:?}"
                );
            }
            (found, then) => assert_eq!(found.map(|it| it.threshold), then.map(|it| it.0)),
        }
    }

    #[test]
    fn the_lowest_threshold_within_the_budget() {
        // Half of the scores make 0.2 alerts; a quarter of them make 0.1.
        check(0.5, 0.2, 0.1, Some((0.75, 0.1)));
        // There is room: down to where all of it would be used.
        check(0.5, 0.05, 0.08, Some((0.2, 0.08)));
        // Already at it.
        check(0.5, 0.1, 0.1, Some((0.5, 0.1)));
        // 0.7 as float32 is a little below seven tenths and still means it.
        check(0.7, 0.1, 0.1, Some((0.7, 0.1)));
    }

    #[test]
    fn no_suggestion_without_ground() {
        check(0.5, 0.0, 0.1, None);
        check(0.5, f64::NAN, 0.1, None);
        check(0.5, 100.0, 0.1, None);
        let few: Vec<u64> = (0..STEPS).map(|at| u64::from(at >= STEPS - 29)).collect();
        assert_eq!(suggest(&few, 0.5, 0.2, 0.1), None);
        assert_eq!(suggest(&[], 0.5, 0.2, 0.1), None);
    }
}
