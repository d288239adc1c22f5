//! Runs of events with small gaps between them.
//!
//! Law: the runs are the union of what the events span, which no order changes. A window counts the runs whose last event it
//! holds: the events of one run that lie in a window are neighbours, so that is how many runs the window's own events make.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::buckets::{heap_bytes, make_room};
use super::counts::exact;
use super::{Place, Reach};
use crate::domain::time::Timestamp;

/// From the first to the last event of a run, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: i64,
    last: i64,
}

/// Runs, ascending, never closer than the gap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sessions(SmallVec<[Run; 1]>);

impl Sessions {
    /// Takes in the time of one event; nothing when it is before `start_millis`, which no window reaches any more.
    pub fn add(&mut self, at: Timestamp, gap_ms: i64, start_millis: i64) {
        let at = at.millis();
        if at < start_millis {
            return;
        }
        if self.0.first().is_some_and(|run| run.last < start_millis) {
            self.0.retain(|run| run.last >= start_millis);
        }
        let here = match self.0.last() {
            Some(newest) if newest.last < at => self.0.len(),
            Some(_) | None => self.0.partition_point(|run| run.last < at),
        };
        let (older, newer) = self.0.split_at_mut(here);
        let older = older.last_mut().filter(|run| at - run.last < gap_ms);
        let newer = newer.first_mut().filter(|run| run.first - at < gap_ms);
        match (older, newer) {
            (Some(older), Some(newer)) => {
                older.last = newer.last;
                self.0.remove(here);
            }
            (Some(older), None) => older.last = at,
            (None, Some(newer)) => newer.first = newer.first.min(at),
            (None, None) => {
                make_room(&mut self.0);
                self.0.insert(here, Run { first: at, last: at });
            }
        }
    }

    /// How many runs the events in the window make.
    pub fn count(&self, reach: Reach, now: &Place) -> f64 {
        let start = reach.start_millis(now);
        exact(self.0.iter().rev().take_while(|run| run.last >= start).count() as u64)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        heap_bytes(&self.0)
    }
}
