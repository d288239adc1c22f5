//! Runs of events with small gaps between them. A cell: the day and the millisecond in it of a run's last event, and the
//! run's length in milliseconds in two words; runs ascend and are never closer than the gap.
//!
//! Law: the runs are the union of what the events span, which no order changes. A window counts the runs whose last event it
//! holds: the events of one run that lie in a window are neighbours, so that is how many runs the window's own events make.

use super::arena::{Cells, halves, whole};
use super::counts::exact;
use super::latest::{moment_of, split};
use super::{Place, Reach};
use crate::domain::time::Timestamp;

/// From the first to the last event of a run, in milliseconds since the epoch.
#[derive(Clone, Copy)]
struct Run {
    first: i64,
    last: i64,
}

impl Run {
    const fn of([day, millis, low, high]: &[u32; 4]) -> Self {
        let last = moment_of(*day, *millis).millis();
        Self { first: last - whole(*low, *high).cast_signed(), last }
    }

    fn cell(self) -> [u32; 4] {
        let (day, millis) = split(Timestamp::from_millis(self.last));
        let (low, high) = halves((self.last - self.first).cast_unsigned());
        [day, millis, low, high]
    }
}

/// Takes in the time of one event; nothing when it is before `start_millis`, which no window reaches any more.
pub(super) fn add(mut cells: Cells<'_, 4>, at: Timestamp, gap_ms: i64, start_millis: i64) {
    let at = at.millis();
    if at < start_millis {
        return;
    }
    let expired = cells.all().iter().take_while(|run| Run::of(run).last < start_millis).count();
    if expired > 0 {
        cells.remove(0..expired);
    }
    let runs = cells.all();
    let here = match runs.last() {
        Some(newest) if Run::of(newest).last < at => runs.len(),
        Some(_) | None => runs.partition_point(|run| Run::of(run).last < at),
    };
    let older = here.checked_sub(1).and_then(|before| runs.get(before)).map(Run::of);
    let older = older.filter(|run| at - run.last < gap_ms);
    let newer = runs.get(here).map(Run::of).filter(|run| run.first - at < gap_ms);
    let (place, run) = match (older, newer) {
        (Some(older), Some(newer)) => {
            cells.remove(here..here + 1);
            (here - 1, Run { first: older.first, last: newer.last })
        }
        (Some(older), None) => (here - 1, Run { first: older.first, last: at }),
        (None, Some(newer)) => (here, Run { first: newer.first.min(at), last: newer.last }),
        (None, None) => {
            cells.insert(here, Run { first: at, last: at }.cell());
            return;
        }
    };
    if let Some(cell) = cells.get_mut(place) {
        *cell = run.cell();
    }
}

/// How many runs the events in the window make.
pub(super) fn count(cells: &[[u32; 4]], reach: Reach, now: &Place) -> f64 {
    let start = reach.start_millis(now);
    exact(cells.iter().rev().take_while(|run| Run::of(run).last >= start).count() as u64)
}
