//! Which events a reader of `$all` wants.
//!
//! Law: as clients know it: any of the prefixes, or a regular expression that matches anywhere, with look-ahead; a pattern
//! that takes too long ends the read with an error, not the server. Called by reads and subscriptions.

use std::num::NonZeroU64;

use fancy_regex::{Regex, RegexBuilder};
use tonic::Status;

use super::proto::event_store::client::streams::read_req::options::FilterOption;
use super::proto::event_store::client::streams::read_req::{FilterOptions, filter_options};
use super::status::bad;
use crate::domain::event::Recorded;
use crate::store::Filter;

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// Most prefixes, and bytes of all of them: each subscription keeps its own.
const PREFIXES_MAX: usize = 1_024;
const PREFIXES_BYTES_MAX: usize = 16 << 10;
/// Steps back that one match may take: some 100 µs.
const BACKTRACK_MAX: usize = 10_000;
/// Bytes of a compiled pattern.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Events considered between checkpoints when the client names no window.
const WINDOW: u64 = 32;

#[derive(Debug)]
enum Test {
    All,
    Prefixes(Vec<String>),
    Pattern(Box<Regex>),
}

/// What tells filters apart that take no more than linear time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    by_stream: bool,
    prefixes: Vec<String>,
    pattern: Option<String>,
    interval: NonZeroU64,
}

/// A compiled filter.
#[derive(Debug)]
pub(super) struct Wanted {
    by_stream: bool,
    test: Test,
    /// How many events are considered between two checkpoints.
    pub(super) interval: NonZeroU64,
}

impl Wanted {
    /// What a client asks for; none when it wants everything.
    pub(super) fn of(option: Option<FilterOption>) -> Result<Option<Self>, Status> {
        match option {
            Some(FilterOption::Filter(filter)) => Self::compile(filter).map(Some),
            Some(FilterOption::NoFilter(_)) => Ok(None),
            None => Err(bad("neither a filter nor no_filter is given")),
        }
    }

    fn compile(options: FilterOptions) -> Result<Self, Status> {
        let FilterOptions { filter, window, checkpoint_interval_multiplier } = options;
        let (by_stream, expression) = match filter {
            Some(filter_options::Filter::StreamIdentifier(expression)) => (true, expression),
            Some(filter_options::Filter::EventType(expression)) => (false, expression),
            None => return Err(bad("the filter names neither streams nor event types")),
        };
        let window = match window {
            Some(filter_options::Window::Max(max)) => u64::from(max),
            Some(filter_options::Window::Count(_)) => WINDOW,
            None => return Err(bad("the filter has no window")),
        };
        let interval = NonZeroU64::new(window.saturating_mul(checkpoint_interval_multiplier.into()))
            .ok_or_else(|| bad("the checkpoint interval must be greater than 0"))?;
        let test = if !expression.regex.is_empty() {
            Test::Pattern(Box::new(pattern(&expression.regex)?))
        } else if expression.prefix.is_empty() {
            Test::All
        } else if expression.prefix.len() > PREFIXES_MAX {
            return Err(bad(format!("a filter has at most {PREFIXES_MAX} prefixes")));
        } else if expression.prefix.iter().map(String::len).sum::<usize>() > PREFIXES_BYTES_MAX {
            return Err(bad(format!("a filter's prefixes have at most {PREFIXES_BYTES_MAX} bytes together")));
        } else {
            Test::Prefixes(expression.prefix)
        };
        Ok(Self { by_stream, test, interval })
    }

    /// What tells it from other filters; none when a match may take long, so that nobody should wait for it but its owner.
    pub(super) fn key(&self) -> Option<Key> {
        let (prefixes, pattern) = match &self.test {
            Test::All => (Vec::new(), None),
            Test::Prefixes(prefixes) => (prefixes.clone(), None),
            // What this parser knows is matched by an automaton; the rest (look-around, references) by going back.
            Test::Pattern(pattern) if regex_syntax::parse(pattern.as_str()).is_ok() => {
                (Vec::new(), Some(pattern.as_str().to_owned()))
            }
            Test::Pattern(_) => return None,
        };
        Some(Key { by_stream: self.by_stream, prefixes, pattern, interval: self.interval })
    }

    /// Whether an event passes.
    pub(super) fn admits(&self, event: &Recorded) -> Result<bool, Status> {
        let text: &str = if self.by_stream { &event.stream } else { &event.event_type };
        match &self.test {
            Test::All => Ok(true),
            Test::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()))),
            Test::Pattern(pattern) => {
                pattern.is_match(text).map_err(|_| bad("the filter's regular expression takes too long"))
            }
        }
    }

    /// The part of the filter that the store itself can apply.
    pub(super) fn by_store(&self) -> Filter {
        match &self.test {
            Test::Prefixes(prefixes) if self.by_stream => {
                Filter { stream_prefixes: prefixes.clone(), ..Filter::default() }
            }
            Test::Prefixes(_) | Test::All | Test::Pattern(_) => Filter::default(),
        }
    }
}

fn pattern(text: &str) -> Result<Regex, Status> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(bad(format!("a regular expression has at most {PATTERN_BYTES_MAX} bytes")));
    }
    RegexBuilder::new(text)
        .backtrack_limit(BACKTRACK_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| bad(format!("the filter's regular expression is not one: {error}")))
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::event::Position;
    use crate::domain::id::EventId;
    use crate::domain::time::Timestamp;
    use crate::wire::proto::event_store::client::Empty;

    fn event(stream: &str, event_type: &str) -> Recorded {
        Recorded {
            id: EventId(uuid::Uuid::nil()),
            stream: stream.into(),
            revision: 0,
            position: Position(1),
            event_type: event_type.into(),
            data: Bytes::new(),
            metadata: Bytes::new(),
            recorded_at: Timestamp::default(),
        }
    }

    fn options(regex: &str, prefix: &[&str], by_stream: bool, multiplier: u32) -> FilterOptions {
        let expression = filter_options::Expression {
            regex: regex.to_owned(),
            prefix: prefix.iter().map(|&prefix| prefix.to_owned()).collect(),
        };
        let filter = if by_stream {
            filter_options::Filter::StreamIdentifier(expression)
        } else {
            filter_options::Filter::EventType(expression)
        };
        FilterOptions {
            filter: Some(filter),
            window: Some(filter_options::Window::Count(Empty {})),
            checkpoint_interval_multiplier: multiplier,
        }
    }

    /// A filter on stream prefixes that is told a checkpoint every so many events.
    pub(in crate::wire) fn prefixed(prefixes: &[&str], interval: u32) -> Wanted {
        let options = options("", prefixes, true, interval);
        let window = Some(filter_options::Window::Max(1));
        Wanted::compile(FilterOptions { window, ..options }).unwrap()
    }

    #[test]
    fn filters_that_take_long_are_nobody_elses() {
        let key = |regex, by_stream| Wanted::compile(options(regex, &[], by_stream, 1)).unwrap().key();
        assert_eq!(key("^intent-.*$", true), key("^intent-.*$", true));
        assert_ne!(key("^intent-.*$", true), key("^intent-.*$", false));
        assert!(key("^AlertScored$", false).is_some());
        assert_eq!(key(r"^(?!\$)", false), None);
        assert_eq!(key(r"(a)\1", true), None);
        let prefixes = |interval| prefixed(&["a", "b"], interval).key();
        assert_eq!(prefixes(5), prefixes(5));
        assert_ne!(prefixes(5), prefixes(6), "they are told at other times");
        assert_ne!(prefixes(5), key("a", true));
    }

    #[test]
    fn prefixes_and_patterns_pass_what_they_should() {
        let wanted =
            |regex, prefix, by_stream| Wanted::compile(options(regex, prefix, by_stream, 2)).unwrap();
        let passes = |wanted: &Wanted, stream, event_type| wanted.admits(&event(stream, event_type)).unwrap();
        let streams = wanted("", &["a-", "b-"], true);
        assert!(passes(&streams, "b-1", "T") && !passes(&streams, "cb-1", "a-"));
        assert_eq!(streams.by_store().stream_prefixes, ["a-", "b-"]);
        assert_eq!(streams.interval.get(), 64);
        let types = wanted("", &["Alert"], false);
        assert!(passes(&types, "x", "AlertScored") && types.by_store().stream_prefixes.is_empty());
        let usual = wanted(r"^(?!(\$.+|PersistentConfig\d+))", &[], false);
        assert!(passes(&usual, "x", "AlertScored") && !passes(&usual, "x", "$metadata"));
        assert!(
            passes(&wanted("lert", &["never"], false), "x", "AlertScored"),
            "unanchored, and before prefixes"
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        assert!(Wanted::of(None).is_err());
        assert!(Wanted::compile(options("(", &[], true, 1)).is_err());
        assert!(Wanted::compile(options("", &["a"], true, 0)).is_err());
        assert!(Wanted::compile(options(&"a".repeat(20_000), &[], true, 1)).is_err());
        let long = "a".repeat(8 << 10);
        assert!(Wanted::compile(options("", &[&long, &long], true, 1)).is_ok());
        assert!(Wanted::compile(options("", &[&long, &long, "b"], true, 1)).is_err());
        let slow = Wanted::compile(options(r"^(?:(a+)+)+(?!x)$\1", &[], true, 1)).unwrap();
        assert!(slow.admits(&event(&"a".repeat(60), "T")).is_err());
    }
}
