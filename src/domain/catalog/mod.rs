//! The catalogue: everything about the business that is data and not code. Parsed, checked (all faults at once, each with
//! file, line and key), compiled once; immutable after.
//!
//! Law: two catalogues with the same meaning-bearing text have the same [`Catalog::version`], and any change changes it.

mod check;
mod compile;
pub mod expr;
mod fault;
mod parse;

use std::time::Duration;

use bytestring::ByteString;

use self::compile::Plan;
use super::policy::Priority;

pub use self::fault::Fault;

/// An event type's place in [`Catalog::events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIx(pub u16);
/// A field's place in [`EventSpec::fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldIx(pub u16);
/// A feature's place in [`Catalog::features`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureIx(pub u16);
/// A signal's place in [`Catalog::signals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalIx(pub u16);
/// A model's place in [`Catalog::models`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelIx(pub u16);

/// A compiled catalogue.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Its name, for people.
    pub name: String,
    /// 16 hex digits of a SHA-256 over its normalized content.
    pub version: String,
    /// Event types.
    pub events: Vec<EventSpec>,
    /// Features; one that derives stands behind all that it reads.
    pub features: Vec<FeatureSpec>,
    /// Signals.
    pub signals: Vec<SignalSpec>,
    /// Models.
    pub models: Vec<ModelSpec>,
    /// Events closer together than this are one session (30 minutes unless the catalogue says otherwise).
    pub session_gap: Duration,
    /// What each event changes, worked out once.
    plan: Plan,
}

/// A type of event.
#[derive(Clone, Debug)]
pub struct EventSpec {
    /// `LISTING_VIEWED`.
    pub name: String,
    /// One of the catalogue's categories.
    pub category: String,
    /// What it means.
    pub doc: String,
    /// The market whose stream it goes to, for a market event (`userId: "*"`); else none.
    pub market: Option<String>,
    /// Its fields.
    pub fields: Vec<FieldSpec>,
}

/// A field of an event.
#[derive(Clone, Debug)]
pub struct FieldSpec {
    /// Its key in `data`.
    pub name: String,
    /// What it may hold.
    pub kind: FieldKind,
    /// Whether an event without it is refused.
    pub required: bool,
}

/// What a field may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldKind {
    /// A number between two bounds (both included).
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Whether it has no fraction.
        integer: bool,
    },
    /// A text of at most this many bytes.
    Text {
        /// Longest, in bytes.
        bytes_max: usize,
    },
    /// One of these texts.
    Choice {
        /// The texts.
        of: Vec<String>,
    },
    /// True or false.
    Flag,
}

/// A live feature of a user.
#[derive(Clone, Debug)]
pub struct FeatureSpec {
    /// `listing_views_7d`.
    pub name: String,
    /// Its category.
    pub category: String,
    /// What it means.
    pub doc: String,
    /// Its unit, such as `events`, `days`, `EUR`.
    pub unit: String,
    /// How it is made.
    pub kind: FeatureKind,
}

/// How a feature is made.
#[derive(Clone, Debug)]
pub enum FeatureKind {
    /// One aggregation over the events of some types.
    Aggregate {
        /// Which.
        aggregation: Aggregation,
        /// Over which types.
        sources: Vec<Source>,
        /// Over how long.
        window: Span,
    },
    /// A count in which an event's weight halves every `half_life`.
    Decayed {
        /// Over which types.
        sources: Vec<Source>,
        /// After how long an event counts half.
        half_life: Duration,
    },
    /// The last value (by event time) of a field: an attribute that an event sets.
    Attribute {
        /// The types that set it, each with the field that holds it.
        sources: Vec<Source>,
    },
    /// A market value as of now.
    Market {
        /// The market event type.
        kind: EventIx,
        /// Its field.
        field: FieldIx,
    },
    /// An expression over other features.
    Derived(expr::Program),
}

/// One event type that a feature reads.
#[derive(Clone, Debug)]
pub struct Source {
    /// The type.
    pub kind: EventIx,
    /// The field that is aggregated, where the aggregation needs one.
    pub field: Option<FieldIx>,
    /// Only events for which this holds (an expression over the event's fields).
    pub filter: Option<expr::Program>,
}

/// How events become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// How many.
    Count,
    /// The sum of a field.
    Sum,
    /// The mean of a field.
    Mean,
    /// The smallest value of a field.
    Min,
    /// The largest value of a field.
    Max,
    /// The value of a field in the last event (by event time).
    Last,
    /// How many different values of a field.
    Distinct,
    /// Days since the last event.
    DaysSinceLast,
    /// Days since the first event.
    DaysSinceFirst,
    /// On how many days.
    ActiveDays,
    /// On how many days in a row, ending with the last active day, when that is today or yesterday; else 0.
    Streak,
    /// How many runs of events with gaps under the catalogue's session gap.
    Sessions,
}

/// How far back a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// The current hour bucket and the `n - 1` before it (windows up to two days).
    Hours(u32),
    /// The current day bucket and the `n - 1` before it.
    Days(u32),
    /// Everything.
    All,
}

/// A rule that names something worth knowing about a user.
#[derive(Clone, Debug)]
pub struct SignalSpec {
    /// `valuation_burst`.
    pub name: String,
    /// Its category.
    pub category: String,
    /// What it means.
    pub doc: String,
    /// 0 to 1.
    pub strength: f32,
    /// The rule, over features.
    pub when: expr::Program,
    /// The rule's text.
    pub when_text: String,
    /// Event time between two detections, at least.
    pub cooldown: Duration,
    /// How long it lives after a detection (event time).
    pub expires: Duration,
    /// The models it matters to.
    pub models: Vec<ModelIx>,
}

/// A model and the policy that turns its scores into alerts.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// `SELL`.
    pub name: String,
    /// What it means.
    pub doc: String,
    /// Its input, in order.
    pub features: Vec<FeatureIx>,
    /// An alert needs at least this calibrated probability.
    pub threshold: f32,
    /// The alert's reason is gone below this (hysteresis): a new alert needs the score to have been below it, or the
    /// cooldown to be over.
    pub exit: f32,
    /// Bands, from the highest: the first whose conditions hold names the priority; the last always holds.
    pub bands: Vec<Band>,
    /// Event time between the end of an alert and the next one of the same model, at least.
    pub cooldown: Duration,
    /// Event time between two scores of a user, at least, unless a new signal or a request asks.
    pub rescore_after: Duration,
    /// How long an alert, and the label behind it, looks ahead.
    pub horizon: Duration,
    /// Alerts per user and year that the business can work on (0.10 = 10 % of users).
    pub budget_per_user_year: f64,
    /// Behaviour event types that mean the user converted (besides `ConversionRecorded`).
    pub conversion_events: Vec<EventIx>,
}

/// A priority and what it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The priority.
    pub priority: Priority,
    /// At least this calibrated probability.
    pub probability_min: f32,
    /// At least this summed strength of live signals.
    pub strength_min: f32,
}

impl Catalog {
    /// Reads, checks and compiles a catalogue; `file` is only named in faults.
    ///
    /// # Errors
    /// Every fault of the text, by line.
    pub fn load(text: &str, file: &str) -> Result<Self, Vec<Fault>> {
        check::load(text, file)
    }

    /// The event type of that name.
    pub fn event(&self, name: &str) -> Option<EventIx> {
        self.plan.event(name)
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<ModelIx> {
        position(&self.models, |model| model.name == name).map(ModelIx)
    }

    /// The feature of that name.
    pub fn feature(&self, name: &str) -> Option<FeatureIx> {
        position(&self.features, |feature| feature.name == name).map(FeatureIx)
    }

    /// The signal of that name.
    pub fn signal(&self, name: &str) -> Option<SignalIx> {
        position(&self.signals, |signal| signal.name == name).map(SignalIx)
    }

    /// The features that an event of the type changes, derived ones included, in computing order.
    pub fn features_affected(&self, kind: EventIx) -> &[FeatureIx] {
        self.plan.features(kind)
    }

    /// The signals whose rule reads a feature that an event of the type changes.
    pub fn signals_affected(&self, kind: EventIx) -> &[SignalIx] {
        self.plan.signals(kind)
    }

    /// The models with an input that an event of the type changes.
    pub fn models_affected(&self, kind: EventIx) -> &[ModelIx] {
        self.plan.models(kind)
    }

    /// The event type's name in a shared buffer, as events carry it.
    pub fn event_type(&self, kind: EventIx) -> Option<&ByteString> {
        self.plan.event_type(kind)
    }
}

fn position<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> Option<u16> {
    items.iter().position(wanted).and_then(|at| u16::try_from(at).ok())
}
