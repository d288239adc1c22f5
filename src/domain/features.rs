//! A user's live features: the fold of their behaviour, and the values it has as of a time.
//!
//! Law: the same set of events gives the same values bit for bit, in whatever order and split it was applied.
//!
//! What is missing: counts, sums, distinct values, active days, streaks, sessions and decayed counts of nothing are a true 0,
//! also for a user without any event. Means, extremes, last values, attributes, days since, market values before the first
//! market event are NaN. A field that an event does not have (NaN) is no value: it adds to no sum, mean, extreme, last or
//! distinct; counts count the event all the same.
//!
//! Called by [`super::entity`] for every event of a user; it must stay well under a microsecond.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::catalog::{Aggregation, FeatureIx, ModelIx};
use super::event::Behaviour;
use super::market::Market;
use super::plan::{Operand, Plan, Question, Reader};
use super::time::Timestamp;
use super::window::{Grain, Place, Reach, Series, Stroke};

/// The fold of a user's behaviour. Belongs to one [`Plan`]: after a change of the catalogue it is folded anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureState {
    clock: Option<Timestamp>,
    /// Which series of the plan the user has, one bit each.
    present: SmallVec<[u64; 2]>,
    /// These series, ascending: most users feed few of them.
    series: Vec<Series>,
}

/// As of when, and with which market, features are read.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Windows end here; at the user's clock when that is later. To read an earlier time, fold only the events until then.
    pub as_of: Timestamp,
    /// The market.
    pub market: &'a Market,
    /// How many market events are known.
    pub market_revision: u64,
}

impl FeatureState {
    /// A user without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest time of any event applied.
    pub const fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// Folds one event. An event must not be applied twice: the caller drops duplicates.
    pub fn apply(&mut self, plan: &Plan, event: &Behaviour) {
        let clock = self.clock.map_or(event.occurred_at, |clock| clock.max(event.occurred_at));
        self.clock = Some(clock);
        let now = Place::of(clock);
        let then = Place::of(event.occurred_at);
        for group in plan.groups(event.kind) {
            if group.filter.as_ref().is_some_and(|filter| !filter.holds(&event.fields)) {
                continue;
            }
            for feed in &group.feeds {
                let Some(value) = operand(feed.operand, event) else { continue };
                let Some(series) = plan.series.get(usize::from(feed.series)) else { continue };
                let stroke = Stroke {
                    at: event.occurred_at,
                    bucket: then.bucket(series.reach.grain),
                    cut: series.reach.cut(&now),
                    value,
                    session_gap_ms: plan.session_gap_ms,
                    start_millis: series.reach.start_millis(&now),
                };
                match self.find(feed.series) {
                    Ok(at) => {
                        if let Some(known) = self.series.get_mut(at) {
                            known.add(&stroke);
                        }
                    }
                    Err(at) => {
                        self.insert(feed.series, at, Series::starting_with(series.class, &stroke));
                    }
                }
            }
        }
    }

    /// Writes the values of the wanted features into `out`, which has a slot for every feature of the catalogue. `wanted`
    /// ascends and holds what its features derive from ([`Plan::closed`]); other slots are left as they are.
    pub fn values(&self, plan: &Plan, wanted: &[FeatureIx], moment: &Moment<'_>, out: &mut [f64]) {
        let now = Place::of(self.clock.map_or(moment.as_of, |clock| clock.max(moment.as_of)));
        for feature in wanted {
            let at = usize::from(feature.0);
            let Some(reader) = plan.readers.get(at) else { continue };
            let value = match reader {
                Reader::Series { series, question, reach } => self.ask(*series, question, *reach, &now),
                Reader::Market { kind, field } => {
                    moment.market.value(*kind, *field, now.at, moment.market_revision)
                }
                Reader::Derived(program) => program.number(out),
            };
            if let Some(slot) = out.get_mut(at) {
                // One bit pattern of NaN for all that is unknown.
                *slot = if value.is_nan() { f64::NAN } else { value };
            }
        }
    }

    /// The features of a model in its order; NaN where unknown. Empty for a model that the plan does not know.
    #[expect(clippy::cast_possible_truncation, reason = "models read float32")]
    pub fn row(&self, plan: &Plan, model: ModelIx, moment: &Moment<'_>) -> Box<[f32]> {
        let Some(input) = plan.model(model) else { return Box::default() };
        let mut values: SmallVec<[f64; 96]> = SmallVec::from_elem(f64::NAN, plan.features());
        self.values(plan, &input.closed, moment, &mut values);
        let value = |feature: &FeatureIx| values.get(usize::from(feature.0)).map_or(f32::NAN, |v| *v as f32);
        input.features.iter().map(value).collect()
    }

    /// Bytes on the heap, as asked of the allocator.
    pub fn heap_bytes(&self) -> usize {
        let present = if self.present.spilled() { self.present.capacity() * size_of::<u64>() } else { 0 };
        let own = self.series.capacity() * size_of::<Series>();
        present + own + self.series.iter().map(Series::heap_bytes).sum::<usize>()
    }

    fn ask(&self, series: u16, question: &Question, reach: Reach, now: &Place) -> f64 {
        let series = self.find(series).ok().and_then(|at| self.series.get(at));
        match (question, series) {
            (Question::Decayed(weights), Some(Series::Counts(counts))) => {
                counts.decayed(reach.grain, weights, now)
            }
            (Question::Of(aggregation), Some(series)) => answer(*aggregation, series, reach, now),
            (Question::Decayed(_), _) => 0.0,
            (Question::Of(aggregation), None) => of_nothing(*aggregation),
        }
    }

    /// The place of a series in [`Self::series`], or where it would go.
    fn find(&self, series: u16) -> Result<usize, usize> {
        let (word_at, bit) = (usize::from(series / 64), 1_u64 << (series % 64));
        let Some(word) = self.present.get(word_at) else { return Err(self.series.len()) };
        let before: u32 = self.present.iter().take(word_at).map(|word| word.count_ones()).sum();
        let at = (before + (word & (bit - 1)).count_ones()) as usize;
        if word & bit == 0 { Err(at) } else { Ok(at) }
    }

    fn insert(&mut self, series: u16, at: usize, new: Series) {
        let word_at = usize::from(series / 64);
        if self.present.len() <= word_at {
            self.present.resize(word_at + 1, 0);
        }
        if let Some(word) = self.present.get_mut(word_at) {
            *word |= 1_u64 << (series % 64);
        }
        if self.series.len() == self.series.capacity() {
            self.series.reserve_exact(4);
        }
        // `at` is beyond the end only in a state that was not written by us.
        self.series.insert(at.min(self.series.len()), new);
    }
}

/// The value that an event gives to a series; none when it has none.
#[expect(clippy::cast_precision_loss, reason = "event times are far below 2^52 ms")]
fn operand(operand: Operand, event: &Behaviour) -> Option<f64> {
    match operand {
        Operand::Event => Some(0.0),
        Operand::Time => Some(event.occurred_at.millis() as f64),
        Operand::Field(field) => {
            let value = *event.fields.get(usize::from(field.0))?;
            // Adding 0 turns a negative zero into a zero: they are one value and must have one bit pattern.
            (!value.is_nan()).then_some(value + 0.0)
        }
    }
}

fn answer(aggregation: Aggregation, series: &Series, reach: Reach, now: &Place) -> f64 {
    match (aggregation, series) {
        (Aggregation::Count, Series::Counts(counts)) => counts.count(reach, now),
        (Aggregation::ActiveDays, Series::Counts(counts)) => counts.active_days(reach, now),
        (Aggregation::Streak, Series::Counts(counts)) => counts.streak(reach, now),
        (Aggregation::Sum, Series::Sums(sums)) => sums.sum(reach, now),
        (Aggregation::Mean, Series::Sums(sums)) => sums.mean(reach, now),
        (Aggregation::Max, Series::Max(frontier)) => frontier.largest(reach, now),
        (Aggregation::Min, Series::Min(frontier)) => -frontier.largest(reach, now),
        (Aggregation::Distinct, Series::Symbols(symbols)) => symbols.count(reach, now),
        (Aggregation::Sessions, Series::Sessions(sessions)) => sessions.count(reach, now),
        (Aggregation::DaysSinceFirst, Series::Min(frontier)) => {
            days_since(-frontier.largest(reach, now), now)
        }
        (Aggregation::Last, Series::Latest(latest)) if in_window(latest.at, reach, now) => latest.value,
        (Aggregation::DaysSinceLast, Series::Latest(latest)) if in_window(latest.at, reach, now) => {
            now.at.days_since(latest.at)
        }
        // A newest event before the window; or, in a state that was not written for this plan, another class.
        _ => of_nothing(aggregation),
    }
}

fn in_window(at: Timestamp, reach: Reach, now: &Place) -> bool {
    reach.grain == Grain::Whole || Place::of(at).bucket(reach.grain) > reach.cut(now)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "event times in whole milliseconds, or NaN, which is kept"
)]
fn days_since(millis: f64, now: &Place) -> f64 {
    if millis.is_nan() { f64::NAN } else { now.at.days_since(Timestamp::from_millis(millis as i64)) }
}

/// The value over no event: see the head of this file.
const fn of_nothing(aggregation: Aggregation) -> f64 {
    match aggregation {
        Aggregation::Count
        | Aggregation::Sum
        | Aggregation::Distinct
        | Aggregation::ActiveDays
        | Aggregation::Streak
        | Aggregation::Sessions => 0.0,
        Aggregation::Mean
        | Aggregation::Min
        | Aggregation::Max
        | Aggregation::Last
        | Aggregation::DaysSinceLast
        | Aggregation::DaysSinceFirst => f64::NAN,
    }
}
