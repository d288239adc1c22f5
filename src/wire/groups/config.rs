//! What makes a group: what it follows, from where, how. As clients say it and as the log keeps it.
//!
//! Law: what is read back from the log is what was written; what makes no sense is refused before it is written. Called by
//! `calls`, `registry` and `journal`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::machine::{Limits, Strategy};
use crate::domain::event::{Position, Revision};
use crate::wire::filter::Wanted;
use crate::wire::proto::event_store::client::Empty;
use crate::wire::proto::event_store::client::persistent_subscriptions::{self as wire, settings};
use crate::wire::proto::event_store::client::streams::read_req::options::FilterOption;
use crate::wire::proto::event_store::client::streams::read_req::{FilterOptions, filter_options};
use crate::wire::status::{bad, group_failed};

/// Bounds whatever a client asks for: events read ahead.
const BUFFER_MAX: i32 = 10_000;
/// How `$all` is named.
const ALL: &str = "$all";

/// What a group follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::wire) enum Followed {
    Stream(String),
    All,
}

impl Followed {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Stream(stream) => stream,
            Self::All => ALL,
        }
    }
}

/// Names a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::wire) struct Key {
    pub(super) follows: Followed,
    pub(super) group: String,
}

/// A filter, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    by_stream: bool,
    regex: String,
    prefixes: Vec<String>,
}

impl Filter {
    /// As a client says it; it is tried, so that one that makes no sense is refused.
    pub(super) fn of(options: FilterOptions) -> Result<Self, Status> {
        let (by_stream, expression) = match options.filter {
            Some(filter_options::Filter::StreamIdentifier(expression)) => (true, expression),
            Some(filter_options::Filter::EventType(expression)) => (false, expression),
            None => return Err(bad("the filter names neither streams nor event types")),
        };
        let filter = Self { by_stream, regex: expression.regex, prefixes: expression.prefix };
        filter.compile().map(|_| filter)
    }

    /// Ready to be used. How often clients want checkpoints says nothing here: the group's settings do.
    pub(super) fn compile(&self) -> Result<Option<Wanted>, Status> {
        let expression =
            filter_options::Expression { regex: self.regex.clone(), prefix: self.prefixes.clone() };
        let filter = match self.by_stream {
            true => filter_options::Filter::StreamIdentifier(expression),
            false => filter_options::Filter::EventType(expression),
        };
        Wanted::of(Some(FilterOption::Filter(FilterOptions {
            filter: Some(filter),
            window: Some(filter_options::Window::Count(Empty {})),
            checkpoint_interval_multiplier: 1,
        })))
    }
}

/// How a group works, in the words of the clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) resolve_links: bool,
    pub(super) extra_statistics: bool,
    pub(super) max_retry_count: i32,
    pub(super) min_checkpoint_count: i32,
    pub(super) max_checkpoint_count: i32,
    pub(super) max_subscriber_count: i32,
    pub(super) live_buffer_size: i32,
    pub(super) read_batch_size: i32,
    pub(super) history_buffer_size: i32,
    pub(super) message_timeout_ms: i32,
    pub(super) checkpoint_after_ms: i32,
    pub(super) consumer_strategy: String,
}

/// Ticks of 100 ns as milliseconds.
fn millis(ticks: i64) -> i32 {
    i32::try_from(ticks / 10_000).unwrap_or(i32::MAX)
}

impl Settings {
    /// As a client says them.
    pub(super) fn of(key: &Key, given: wire::Settings) -> Result<Self, Status> {
        let named = match wire::ConsumerStrategy::try_from(given.named_consumer_strategy) {
            Ok(wire::ConsumerStrategy::DispatchToSingle) => "DispatchToSingle",
            Ok(wire::ConsumerStrategy::RoundRobin) => "RoundRobin",
            Ok(wire::ConsumerStrategy::Pinned) => "Pinned",
            Err(_) => return Err(bad("there is no such consumer strategy")),
        };
        let consumer_strategy =
            if given.consumer_strategy.is_empty() { named.to_owned() } else { given.consumer_strategy };
        let settings = Self {
            resolve_links: given.resolve_links,
            extra_statistics: given.extra_statistics,
            max_retry_count: given.max_retry_count,
            min_checkpoint_count: given.min_checkpoint_count,
            max_checkpoint_count: given.max_checkpoint_count,
            max_subscriber_count: given.max_subscriber_count,
            live_buffer_size: given.live_buffer_size,
            read_batch_size: given.read_batch_size,
            history_buffer_size: given.history_buffer_size,
            message_timeout_ms: match given.message_timeout {
                Some(settings::MessageTimeout::MessageTimeoutMs(ms)) => ms,
                Some(settings::MessageTimeout::MessageTimeoutTicks(ticks)) => millis(ticks),
                None => 0,
            },
            checkpoint_after_ms: match given.checkpoint_after {
                Some(settings::CheckpointAfter::CheckpointAfterMs(ms)) => ms,
                Some(settings::CheckpointAfter::CheckpointAfterTicks(ticks)) => millis(ticks),
                None => 0,
            },
            consumer_strategy,
        };
        match settings.fault() {
            Some(reason) => Err(group_failed(key.follows.name(), &key.group, &reason)),
            None => Ok(settings),
        }
    }

    fn strategy(&self) -> Option<Strategy> {
        match self.consumer_strategy.as_str() {
            "RoundRobin" => Some(Strategy::RoundRobin),
            "DispatchToSingle" => Some(Strategy::DispatchToSingle),
            "Pinned" | "PinnedByCorrelation" => Some(Strategy::Pinned),
            _ => None,
        }
    }

    pub(super) fn pins_by_correlation(&self) -> bool {
        self.consumer_strategy == "PinnedByCorrelation"
    }

    fn fault(&self) -> Option<String> {
        for (name, count) in [
            ("max retry count", self.max_retry_count),
            ("min checkpoint count", self.min_checkpoint_count),
            ("max checkpoint count", self.max_checkpoint_count),
            ("max subscriber count", self.max_subscriber_count),
            ("live buffer size", self.live_buffer_size),
            ("message timeout", self.message_timeout_ms),
            ("checkpoint after", self.checkpoint_after_ms),
        ] {
            if count < 0 {
                return Some(format!("{name} must not be negative, is {count}"));
            }
        }
        let (history, batch) = (self.history_buffer_size, self.read_batch_size);
        if batch < 1 || history <= batch {
            return Some(format!(
                "the history buffer size ({history}) must be greater than the read batch size ({batch})"
            ));
        }
        let strategy = &self.consumer_strategy;
        self.strategy().is_none().then(|| format!("consumer strategy {strategy} does not exist"))
    }

    /// As the machine takes them.
    pub(super) fn limits(&self) -> Limits {
        let count = |count: i32| u32::try_from(count).unwrap_or(0);
        let span = |ms: i32| Duration::from_millis(count(ms).into());
        Limits {
            strategy: self.strategy().unwrap_or(Strategy::RoundRobin),
            retries_max: count(self.max_retry_count),
            timeout: (self.message_timeout_ms > 0).then(|| span(self.message_timeout_ms)),
            consumers_max: count(self.max_subscriber_count) as usize,
            buffer_max: count(self.history_buffer_size.min(BUFFER_MAX)) as usize,
            checkpoint_min: count(self.min_checkpoint_count).into(),
            // 0 would be a checkpoint for every event.
            checkpoint_max: count(self.max_checkpoint_count).max(1).into(),
            checkpoint_after: span(self.checkpoint_after_ms),
        }
    }
}

/// Everything about a group but its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    #[serde(flatten)]
    pub(super) key: Key,
    /// It begins after this revision or position; none: with the first event.
    pub(super) after: Option<u64>,
    /// The same as the client said it.
    pub(super) start_from: String,
    pub(super) filter: Option<Filter>,
    pub(super) settings: Settings,
}

/// Where a client wants a group to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    First,
    /// With this event.
    Revision(Revision),
    /// With this event.
    Position(Position),
    /// With the next one to come.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> wire::Settings {
        wire::Settings {
            read_batch_size: 20,
            history_buffer_size: 500,
            max_retry_count: 10,
            max_checkpoint_count: 1_000,
            message_timeout: Some(settings::MessageTimeout::MessageTimeoutTicks(300_000_000)),
            consumer_strategy: "PinnedByCorrelation".to_owned(),
            ..wire::Settings::default()
        }
    }

    fn key() -> Key {
        Key { follows: Followed::All, group: "g".to_owned() }
    }

    #[test]
    fn what_the_log_keeps_is_what_was_said() {
        let settings = Settings::of(&key(), given()).unwrap();
        assert_eq!((settings.message_timeout_ms, settings.pins_by_correlation()), (30_000, true));
        let filter = FilterOptions {
            filter: Some(filter_options::Filter::EventType(filter_options::Expression {
                regex: "^A".to_owned(),
                prefix: Vec::new(),
            })),
            ..FilterOptions::default()
        };
        let config = Config {
            key: key(),
            after: Some(7),
            start_from: "C:8/P:8".to_owned(),
            filter: Some(Filter::of(filter).unwrap()),
            settings,
        };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config, "{json}");
        assert_eq!(config.settings.limits().timeout, Some(Duration::from_secs(30)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let refused = |change: fn(&mut wire::Settings)| {
            let mut settings = given();
            change(&mut settings);
            Settings::of(&key(), settings).unwrap_err()
        };
        let status = refused(|settings| settings.history_buffer_size = 20);
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(status.message().starts_with("Subscription group g on stream $all failed: 'the history"));
        assert!(refused(|settings| settings.consumer_strategy = "Any".to_owned()).message().contains("Any"));
        assert!(refused(|settings| settings.max_retry_count = -1).message().contains("negative"));
        assert!(Filter::of(FilterOptions::default()).is_err());
    }
}
