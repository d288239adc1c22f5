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

use super::catalog::{FeatureIx, ModelIx};
use super::event::Behaviour;
use super::market::Market;
use super::plan::{Operand, Plan, Question, Reader};
use super::score::single;
use super::time::Timestamp;
use super::window::{self, Arena, Class, Place, Stroke};

/// The fold of a user's behaviour. Belongs to one [`Plan`]: after a change of the catalogue it is folded anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureState {
    clock: Option<Timestamp>,
    /// Which series of the plan the user has, one bit each.
    present: SmallVec<[u64; 2]>,
    /// These series, ascending: most users feed few of them.
    series: Arena,
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
                let slot = self.find(feed.series).unwrap_or_else(|slot| {
                    self.begin(feed.series, slot, series.class);
                    slot
                });
                window::add(&mut self.series, slot, series.class, &stroke);
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
                Reader::Series { series, question, reach } => {
                    let slot = self.find(*series).ok();
                    match question {
                        Question::Of(wanted) => window::answer(&self.series, slot, *wanted, *reach, &now),
                        Question::Decayed(weights) => {
                            window::decayed(&self.series, slot, reach.grain, weights, &now)
                        }
                    }
                }
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
    pub fn row(&self, plan: &Plan, model: ModelIx, moment: &Moment<'_>) -> Box<[f32]> {
        let Some(input) = plan.model(model) else { return Box::default() };
        let mut values: SmallVec<[f64; 96]> = SmallVec::from_elem(f64::NAN, plan.features());
        self.values(plan, &input.closed, moment, &mut values);
        let value = |feature: &FeatureIx| values.get(usize::from(feature.0)).map_or(f32::NAN, |v| single(*v));
        input.features.iter().map(value).collect()
    }

    /// Bytes on the heap, as asked of the allocator.
    pub fn heap_bytes(&self) -> usize {
        let present = if self.present.spilled() { self.present.capacity() * size_of::<u64>() } else { 0 };
        present + self.series.heap_bytes()
    }

    /// The place of a series in [`Self::series`], or where it would go.
    fn find(&self, series: u16) -> Result<usize, usize> {
        let (word_at, bit) = (usize::from(series / 64), 1_u64 << (series % 64));
        let Some(word) = self.present.get(word_at) else { return Err(self.series.len()) };
        let before: u32 = self.present.iter().take(word_at).map(|word| word.count_ones()).sum();
        let at = (before + (word & (bit - 1)).count_ones()) as usize;
        if word & bit == 0 { Err(at) } else { Ok(at) }
    }

    fn begin(&mut self, series: u16, slot: usize, class: Class) {
        let word_at = usize::from(series / 64);
        if self.present.len() <= word_at {
            self.present.resize(word_at + 1, 0);
        }
        if let Some(word) = self.present.get_mut(word_at) {
            *word |= 1_u64 << (series % 64);
        }
        self.series.begin(slot, class);
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
