//! Signs that somebody else decides about our users: another instance with the same shard, or one of another `count`.
//!
//! Law: the exact expected revision on `intent-<id>` fences each of them off, so nothing is lost and nothing doubled; this
//! only tells the operator, who has to stop one. Told by the appender, asked by readiness.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For so long after the last sign the overlap is told of: instances at work meet within it.
const RECENT: Duration = Duration::from_secs(60);

/// What an append found where its facts were to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Other facts: the stream ends elsewhere.
    Conflict,
    /// Facts under the same ids, with other contents.
    Foreign,
    /// The very same facts, though this was the first try to write them.
    Repeated,
}

impl Sign {
    fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Foreign => "foreign",
            Self::Repeated => "repeated",
        }
    }
}

/// The signs so far.
#[derive(Debug, Default)]
pub(super) struct Overlap(Mutex<Option<Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    last: Instant,
    /// Signs since they began, without a pause of [`RECENT`].
    count: u64,
}

impl Overlap {
    pub(super) fn saw(&self, sign: Sign) {
        crate::metrics::fenced(sign.name(), 1);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = seen.filter(|seen| seen.last.elapsed() < RECENT);
        if before.is_none() {
            let found = sign.name();
            tracing::error!(found, "another instance decides about users of this shard; stop one of them");
        }
        *seen = Some(Seen { last: now, count: before.map_or(0, |seen| seen.count) + 1 });
    }

    /// How many signs there were lately and how long ago the last one was; none when that is long ago.
    pub(super) fn recent(&self) -> Option<(u64, Duration)> {
        let seen = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = seen.last.elapsed();
        (since < RECENT).then_some((seen.count, since))
    }
}
