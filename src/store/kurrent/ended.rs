//! The end of a subscription that the client does not notice.
//!
//! Law: what the server ends without an error ends here with one. Version 1.2 of the client asks a stream that has ended again
//! and again without once giving way, so the thread is lost and nobody outside can end the task. All that it does meanwhile is
//! to log a warning, each time: that is where it is stopped, by unwinding the task. Called by `follow`.

use std::fmt::Debug;
use std::panic::resume_unwind;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Where the client says it.
const TARGET: &str = "kurrentdb::commands";
/// What it says.
const WORDS: &str = "Received an unknown subscription message";

/// What the task unwinds with.
struct Ended;

/// Hears what is logged as usual, and ends the task that goes round in a circle.
pub(super) fn listening() -> Dispatch {
    Dispatch::new(Listening(dispatcher::get_default(Clone::clone)))
}

struct Listening(Dispatch);

fn is_theirs(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::WARN && metadata.target() == TARGET
}

struct Says(bool);

impl Visit for Says {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == WORDS;
    }
}

impl Subscriber for Listening {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_theirs(metadata) { Interest::always() } else { self.0.register_callsite(metadata) }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_theirs(metadata) || self.0.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::current().max(LevelFilter::WARN))
    }

    fn event(&self, event: &Event<'_>) {
        if is_theirs(event.metadata()) {
            let mut says = Says(false);
            event.record(&mut says);
            if says.0 {
                resume_unwind(Box::new(Ended));
            }
            if !self.0.enabled(event.metadata()) {
                return;
            }
        }
        self.0.event(event);
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.0.new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}
