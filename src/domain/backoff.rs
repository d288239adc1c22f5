//! Restart delays and restart intensity, as arithmetic.
//!
//! Law: the delay after each further failure is at least the one before, up to a cap; nothing here reads a clock. Called by
//! the roster (users), the appender and the feed (the store), and the root (its own children).

use std::collections::VecDeque;
use std::time::Duration;

/// How long to wait before trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row (none after zero): doubles each time, up to the cap. `spread` is any
    /// number of the one who waits; it takes up to a quarter off, so that many who failed together do not come back
    /// together.
    pub fn delay(&self, failures: u32, spread: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let whole = self.first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        let share = u32::try_from(spread % 256).unwrap_or_default();
        whole.saturating_sub(whole / 1024 * share)
    }
}

/// How many restarts within how long are still a hiccup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// So many.
    pub restarts_max: usize,
    /// Within this span.
    pub within: Duration,
}

/// The restarts of one child.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    at: VecDeque<Duration>,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this wait.
    Restart {
        /// The wait.
        after: Duration,
    },
    /// It fails too often: a restart does not help, the whole stops.
    GiveUp,
}

impl Restarts {
    /// A failure at `now` (any clock that does not go back).
    pub fn failed(&mut self, now: Duration, intensity: Intensity, backoff: Backoff) -> Verdict {
        while self.at.front().is_some_and(|at| now.saturating_sub(*at) > intensity.within) {
            self.at.pop_front();
        }
        self.at.push_back(now);
        if self.at.len() > intensity.restarts_max {
            return Verdict::GiveUp;
        }
        Verdict::Restart { after: backoff.delay(u32::try_from(self.at.len()).unwrap_or(u32::MAX), 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };

    #[test]
    fn delays_double_up_to_the_cap_and_spread_by_a_quarter_at_most() {
        assert_eq!(BACKOFF.delay(0, 7), Duration::ZERO);
        assert_eq!(BACKOFF.delay(1, 0), Duration::from_millis(100));
        assert_eq!(BACKOFF.delay(3, 0), Duration::from_millis(400));
        for failures in [10, 31, 32, 33, u32::MAX] {
            assert_eq!(BACKOFF.delay(failures, 0), BACKOFF.max, "{failures} failures");
        }
        let spread = BACKOFF.delay(3, 255);
        assert!(spread >= Duration::from_millis(300) && spread < Duration::from_millis(400), "{spread:?}");
    }

    #[test]
    fn too_many_restarts_within_the_span_give_up_and_old_ones_are_forgotten() {
        let intensity = Intensity { restarts_max: 2, within: Duration::from_secs(60) };
        let mut restarts = Restarts::default();
        let mut at = |second| restarts.failed(Duration::from_secs(second), intensity, BACKOFF);
        assert_eq!(at(0), Verdict::Restart { after: Duration::from_millis(100) });
        assert_eq!(at(1), Verdict::Restart { after: Duration::from_millis(200) });
        assert_eq!(at(61), Verdict::Restart { after: Duration::from_millis(200) });
        assert_eq!(at(61), Verdict::GiveUp);
    }
}
