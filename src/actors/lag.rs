//! How long a reader of the log has been behind it.
//!
//! Law: a reader is behind for as long as it has not come to where the log ended then. One to whom the store has had nothing
//! to tell for a second is not behind, wherever the log ends: what stands there is not for it. Told by the feed and the
//! projector, marked with the gauges, asked by readiness.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::event::Position;

/// Marks that are kept; a look every 5 s makes them five minutes. Of a longer lag only its beginning is known, and counts.
const MARKS_MAX: usize = 64;
/// A reader waits this long for the store only when there is nothing for it.
const IDLE: Duration = Duration::from_secs(1);

/// The lag of one reader.
#[derive(Debug, Default)]
pub(super) struct Lag(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Where the log ended, and when; ascending.
    marks: VecDeque<(Position, Instant)>,
    idle_since: Option<Instant>,
}

impl Lag {
    /// The reader has nothing to do and waits for the store.
    pub(super) fn idles(&self) {
        self.lock().idle_since.get_or_insert_with(Instant::now);
    }

    /// The reader has something to do.
    pub(super) fn works(&self) {
        self.lock().idle_since = None;
    }

    /// The log ends here now.
    pub(super) fn mark(&self, head: Position) {
        let mut state = self.lock();
        if state.marks.len() < MARKS_MAX && state.marks.back().is_none_or(|(last, _)| *last < head) {
            state.marks.push_back((head, Instant::now()));
        }
    }

    /// How long a reader that has come to `at` has been behind.
    pub(super) fn behind(&self, at: Option<Position>) -> Duration {
        let mut state = self.lock();
        while state.marks.pop_front_if(|(mark, _)| Some(*mark) <= at).is_some() {}
        if state.idle_since.is_some_and(|since| since.elapsed() >= IDLE) {
            state.marks.clear();
        }
        state.marks.front().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_behind_since_the_oldest_end_that_it_has_not_reached() {
        let lag = Lag::default();
        lag.works();
        lag.mark(Position(10));
        advance(5 * SECOND).await;
        lag.mark(Position(20));
        advance(5 * SECOND).await;
        assert_eq!(lag.behind(None), 10 * SECOND);
        assert_eq!(lag.behind(Some(Position(9))), 10 * SECOND);
        assert_eq!(lag.behind(Some(Position(10))), 5 * SECOND);
        assert_eq!(lag.behind(Some(Position(20))), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_the_store_tells_nothing_is_not_behind() {
        let lag = Lag::default();
        lag.mark(Position(10));
        lag.idles();
        advance(SECOND / 2).await;
        assert_eq!(lag.behind(Some(Position(9))), SECOND / 2);
        advance(SECOND / 2).await;
        assert_eq!(lag.behind(Some(Position(9))), Duration::ZERO);
        lag.mark(Position(11));
        lag.works();
        advance(SECOND).await;
        assert_eq!(lag.behind(Some(Position(9))), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_lag_keeps_its_beginning() {
        let lag = Lag::default();
        for nth in 1..1_000 {
            lag.mark(Position(nth));
            advance(SECOND).await;
        }
        assert_eq!(lag.behind(Some(Position(0))), 999 * SECOND);
        assert!(lag.lock().marks.len() <= MARKS_MAX);
    }
}
