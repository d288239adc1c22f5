//! Every bound of the actors, with its reason.
//!
//! Law: nothing in the actors is unbounded; a bound that is not here is a bug. Read by `config`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::backoff::{Backoff, Intensity};
use crate::domain::roster;

/// Settings of the actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Events given to users and not yet settled; the feed stops there. 262,144: a second of full load, some 80 MB.
    pub in_flight_max: usize,
    /// Events of one batch from the feed, while users are busy. 131,072: two batches in flight, so that neither side waits.
    pub feed_batch_max: usize,
    /// Events between the checkpoint and the newest one read: what a restart repeats. 1,048,576: a user that waits out a
    /// failure holds the checkpoint, not the others; some 5 s to repeat, 40 MB to remember.
    pub span_max: usize,
    /// Users in memory, more or less: those at work stay. 100,000: about 1 GiB.
    pub resident_max: usize,
    /// A user without events or commands for so long leaves memory. 15 min: a session and its pauses.
    #[serde(with = "humantime_serde")]
    pub idle_after: Duration,
    /// How often waits and idle users are looked after. 100 ms: the shortest wait of a user that failed.
    #[serde(with = "humantime_serde")]
    pub tick_every: Duration,
    /// Commands that wait for a user that is starting again; more are refused. 64: people retry, programs back off.
    pub commands_waiting_max: usize,
    /// Events of one page when a user is brought to memory. 1,000: some 300 KB.
    pub page_max: usize,

    /// An event that failed so often is put aside. 3: once by chance, twice by bad luck, then it is the event.
    pub attempts_max: u32,
    /// Wait after a user's first failure, doubled after each further one. 100 ms: a hiccup of the store.
    #[serde(with = "humantime_serde")]
    pub backoff_first: Duration,
    /// Longest wait after failures. 30 s: an operator who mends something sees it work at once.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Failures of the feed or the projector within `restart_within` after which the daemon stops. 10: the waits
    /// between them add up to minutes; what lasts that long needs the service manager, or a person.
    pub restarts_max: usize,
    /// See `restarts_max`.
    #[serde(with = "humantime_serde")]
    pub restart_within: Duration,

    /// Rows of one call to a model. 1,024: more make a call longer and not cheaper.
    pub score_batch_max: usize,
    /// Wait for more rows before a call when no call is under way; 0 = none: under load, rows gather during calls anyway.
    #[serde(with = "humantime_serde")]
    pub score_wait: Duration,
    /// Threads that score. 1: two would take the second core from the users.
    pub score_threads: usize,
    /// A call to a model that lasts longer counts as failed. 10 s: a thousand times the usual.
    #[serde(with = "humantime_serde")]
    pub score_timeout: Duration,
    /// Longest wait of a decision for the version in shadow, once the serving version has answered. 50 ms: a challenger that
    /// is slower goes unrecorded; it must not cost the alerts their speed.
    #[serde(with = "humantime_serde")]
    pub challenger_wait: Duration,

    /// Appends (each of one user) of one call to the store. 1,024: one durable write of some 500 KB.
    pub append_batch_max: usize,
    /// Appends of clients under way at once; more are refused with "retry". 256: each holds up to 10,000 events.
    pub ingest_max: usize,

    /// Feed or view may be behind the end of the log for so long before the daemon says that it is not ready. 30 s: a burst
    /// passes, a reader that is stuck or too slow does not.
    #[serde(with = "humantime_serde")]
    pub lag_max: Duration,

    /// Time between two checkpoints while there is anything new. 1 s: at full load a restart repeats 225,000 events.
    #[serde(with = "humantime_serde")]
    pub checkpoint_every: Duration,

    /// Alert changes that a slow reader of the live stream may be behind before it must resume by position. 4,096.
    pub changes_max: usize,
    /// Time between looks for expiring alerts, ending snoozes and unscored users.
    #[serde(with = "humantime_serde")]
    pub sweep_every: Duration,
    /// Users of one such look. 1,000: a look stays under a second; the next one goes on.
    pub sweep_max: usize,
    /// First wait before an unscored user is scored again; doubled twice, then only with the sweep.
    #[serde(with = "humantime_serde")]
    pub rescore_first: Duration,
    /// Tries of that kind.
    pub rescore_attempts: u32,

    /// Days of event time over which drift and the pace of alerts are told. 28: four whole weeks, so that weekends weigh as
    /// they do; some 200 KB per model version.
    pub watch_days: u16,
    /// Time between two measurements of the models for the metrics: a walk over all recorded scores, up to a second.
    #[serde(with = "humantime_serde")]
    pub measure_every: Duration,

    /// Longest wait for the answer to a command. 10 s: an HTTP client's patience.
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    /// Longest time that each stage may take to stop. 10 s: with five stages below systemd's usual 90 s.
    #[serde(with = "humantime_serde")]
    pub stop_deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight_max: 262_144,
            feed_batch_max: 131_072,
            span_max: 1 << 20,
            resident_max: 100_000,
            idle_after: Duration::from_secs(15 * 60),
            tick_every: Duration::from_millis(100),
            commands_waiting_max: 64,
            page_max: 1_000,
            attempts_max: 3,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            restarts_max: 10,
            restart_within: Duration::from_secs(10 * 60),
            score_batch_max: 1_024,
            score_wait: Duration::ZERO,
            score_threads: 1,
            score_timeout: Duration::from_secs(10),
            challenger_wait: Duration::from_millis(50),
            append_batch_max: 1_024,
            ingest_max: 256,
            lag_max: Duration::from_secs(30),
            checkpoint_every: Duration::from_secs(1),
            changes_max: 4_096,
            sweep_every: Duration::from_secs(5 * 60),
            sweep_max: 1_000,
            rescore_first: Duration::from_secs(5),
            rescore_attempts: 3,
            watch_days: 28,
            measure_every: Duration::from_secs(5 * 60),
            command_timeout: Duration::from_secs(10),
            stop_deadline: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// What is wrong with them, each fault with its key.
    pub fn check(&self) -> Vec<String> {
        let counts = [
            ("in_flight_max", self.in_flight_max),
            ("feed_batch_max", self.feed_batch_max),
            ("resident_max", self.resident_max),
            ("commands_waiting_max", self.commands_waiting_max),
            ("page_max", self.page_max),
            ("attempts_max", self.attempts_max as usize),
            ("score_batch_max", self.score_batch_max),
            ("score_threads", self.score_threads),
            ("append_batch_max", self.append_batch_max),
            ("ingest_max", self.ingest_max),
            ("watch_days", usize::from(self.watch_days)),
            ("changes_max", self.changes_max),
            ("sweep_max", self.sweep_max),
        ];
        let spans = [
            ("tick_every", self.tick_every),
            ("backoff_first", self.backoff_first),
            ("score_timeout", self.score_timeout),
            ("lag_max", self.lag_max),
            ("checkpoint_every", self.checkpoint_every),
            ("sweep_every", self.sweep_every),
            ("rescore_first", self.rescore_first),
            ("command_timeout", self.command_timeout),
        ];
        let zero = |key: &str| format!("{key}: must be more than zero");
        let mut faults: Vec<String> = counts.iter().filter(|it| it.1 == 0).map(|it| zero(it.0)).collect();
        faults.extend(spans.iter().filter(|it| it.1.is_zero()).map(|it| zero(it.0)));
        if self.span_max < self.in_flight_max {
            faults.push("span_max: must be at least in_flight_max".to_owned());
        }
        if self.backoff_max < self.backoff_first {
            faults.push("backoff_max: must be at least backoff_first".to_owned());
        }
        if self.watch_days > 366 {
            faults.push("watch_days: must be at most 366".to_owned());
        }
        faults
    }

    /// The waits after failures.
    pub fn backoff(&self) -> Backoff {
        Backoff { first: self.backoff_first, max: self.backoff_max }
    }

    /// How many failures are still a hiccup.
    pub fn intensity(&self) -> Intensity {
        Intensity { restarts_max: self.restarts_max, within: self.restart_within }
    }

    /// The bounds of the roster.
    pub fn limits(&self) -> roster::Limits {
        roster::Limits {
            resident_max: self.resident_max,
            idle_after: self.idle_after,
            attempts_max: self.attempts_max,
            backoff: self.backoff(),
        }
    }
}
