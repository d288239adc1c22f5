//! The fold side of a user: features, signals, and when to ask for scores.
//!
//! Law: depends on the user's events in revision order, the catalogue and the market; never on a score or a fact. So it is
//! rebuilt by replay, and how it was batched does not matter. Called by the machine for each event, once.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Rules;
use crate::domain::catalog::{EventIx, ModelIx};
use crate::domain::event::{Cause, Position, UserEvent};
use crate::domain::features::{FeatureState, Moment};
use crate::domain::market::Market;
use crate::domain::score::{Row, single};
use crate::domain::signal::{Detection, Signals};
use crate::domain::time::Timestamp;

/// Values of all features, on the stack for catalogues of ordinary size.
type Slots = SmallVec<[f64; 96]>;

/// Models to ask; there are few.
type Models = SmallVec<[ModelIx; 8]>;

/// What an event of the user changed that is worth deciding about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// New signals, in the order of the rules.
    pub(super) detected: Vec<Detected>,
    /// Whether somebody asked for the scores: they are recorded whatever they are.
    pub(super) requested: bool,
    /// How many market events had been seen.
    pub(super) market_revision: u64,
    /// All live signals.
    pub(super) live: Vec<Detection>,
    /// What to ask the models, in the order of the models.
    pub(super) rows: Vec<Row>,
}

/// A new signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Detected {
    pub(super) detection: Detection,
    /// The features that the rule names, in the order of [`crate::domain::catalog::expr::Program::reads`].
    pub(super) values: Vec<f32>,
}

/// An event and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurrence<'a> {
    pub(super) event: &'a UserEvent,
    pub(super) cause: Cause,
    pub(super) position: Position,
    pub(super) market: &'a Market,
}

/// The fold of a user's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    features: FeatureState,
    /// The latest time of any event: the user's own clock.
    clock: Timestamp,
    signals: Signals,
    /// When each model was last asked, in no order.
    asked: SmallVec<[(u16, Timestamp); 1]>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            features: FeatureState::new(),
            clock: Timestamp::MIN,
            signals: Signals::default(),
            asked: SmallVec::new(),
        }
    }

    /// The latest time of any event; the earliest time there is when there was none.
    pub(super) fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Live signals.
    pub(super) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Every feature as of a time (the user's clock when it is later), in catalogue order.
    pub(super) fn features(&self, rules: &Rules, as_of: Timestamp, market: &Market) -> Vec<f64> {
        let mut values = vec![f64::NAN; rules.plan.features()];
        let moment = Moment { as_of: as_of.max(self.clock), market, market_revision: u64::MAX };
        self.features.values(&rules.plan, &rules.plan.all(), &moment, &mut values);
        values
    }

    /// Bytes on the heap that the features take: the larger part of an idle user.
    pub(super) fn heap_bytes(&self) -> usize {
        self.features.heap_bytes()
    }

    /// Folds one event. With `capture` it also brings what to decide about, if there is anything; without, the event was
    /// decided before and only leaves its traces.
    pub(super) fn observe(
        &mut self,
        rules: &Rules,
        occurrence: &Occurrence<'_>,
        capture: bool,
    ) -> Option<Box<Found>> {
        match occurrence.event {
            UserEvent::Behaviour(event) => {
                self.clock = self.clock.max(event.occurred_at);
                self.features.apply(&rules.plan, event);
                let detected = self.detect(rules, event.kind, occurrence, capture);
                let models = self.models_to_ask(rules, event.kind, &detected);
                if detected.is_empty() && models.is_empty() {
                    return None;
                }
                self.ask(rules, occurrence, models, false, detected, capture)
            }
            UserEvent::ScoreRequested(request) => {
                self.clock = self.clock.max(request.occurred_at);
                let models = (0..)
                    .zip(&rules.catalog.models)
                    .filter(|(_, model)| {
                        request.model_types.is_empty() || request.model_types.contains(&model.name)
                    })
                    .map(|(model, _)| ModelIx(model))
                    .collect();
                self.ask(rules, occurrence, models, true, Vec::new(), capture)
            }
            UserEvent::ConversionRecorded(conversion) => {
                self.clock = self.clock.max(conversion.occurred_at);
                None
            }
            UserEvent::Unknown => None,
        }
    }

    fn moment<'a>(&self, occurrence: &Occurrence<'a>) -> Moment<'a> {
        let market = occurrence.market;
        Moment { as_of: self.clock, market, market_revision: market.revision_at(occurrence.position) }
    }

    /// The rules that fire on an event of this type.
    fn detect(
        &mut self,
        rules: &Rules,
        kind: EventIx,
        occurrence: &Occurrence<'_>,
        capture: bool,
    ) -> Vec<Detected> {
        let mut detected = Vec::new();
        let mut slots = Slots::new();
        for &signal in rules.catalog.signals_affected(kind) {
            let Some(spec) = rules.catalog.signals.get(usize::from(signal.0)) else { continue };
            if !self.signals.may_fire(signal, spec, self.clock) {
                continue;
            }
            if slots.is_empty() {
                slots.resize(rules.plan.features(), f64::NAN);
            }
            self.features.values(&rules.plan, rules.reads(signal), &self.moment(occurrence), &mut slots);
            if !spec.when.holds(&slots) {
                continue;
            }
            let detection = Detection::new(signal, self.clock, occurrence.cause);
            self.signals.detected(&rules.catalog.signals, detection);
            let values =
                if capture { values_of(spec.when.reads().iter().copied(), &slots) } else { Vec::new() };
            detected.push(Detected { detection, values });
        }
        detected
    }

    /// The models that an event of this type asks: those that a new signal matters to; and those with an input that such
    /// an event changes, for which a signal is live, and which were not asked within their `rescore_after`.
    fn models_to_ask(&self, rules: &Rules, kind: EventIx, detected: &[Detected]) -> Models {
        let signals = &rules.catalog.signals;
        let mut models: Models = detected
            .iter()
            .filter_map(|detected| detected.detection.spec(signals))
            .flat_map(|spec| spec.models.iter().copied())
            .collect();
        for &model in rules.catalog.models_affected(kind) {
            if self.rests(rules, model) || !self.signals.any_live_for(signals, model, self.clock) {
                continue;
            }
            models.push(model);
        }
        models.sort_unstable();
        models.dedup();
        models
    }

    /// Whether the model was asked so recently that an event alone does not ask it again.
    fn rests(&self, rules: &Rules, model: ModelIx) -> bool {
        let Some(spec) = rules.catalog.models.get(usize::from(model.0)) else { return true };
        let asked = self.asked.iter().find(|(asked, _)| *asked == model.0);
        asked.is_some_and(|(_, at)| self.clock < at.plus(spec.rescore_after))
    }

    fn ask(
        &mut self,
        rules: &Rules,
        occurrence: &Occurrence<'_>,
        models: Models,
        requested: bool,
        detected: Vec<Detected>,
        capture: bool,
    ) -> Option<Box<Found>> {
        for model in &models {
            match self.asked.iter_mut().find(|(asked, _)| *asked == model.0) {
                Some((_, at)) => *at = self.clock,
                None => self.asked.push((model.0, self.clock)),
            }
        }
        if !capture || (models.is_empty() && detected.is_empty()) {
            return None;
        }
        let moment = self.moment(occurrence);
        let row = |model: ModelIx| Row {
            model,
            as_of: self.clock,
            features: self.features.row(&rules.plan, model, &moment),
        };
        Some(Box::new(Found {
            detected,
            requested,
            market_revision: moment.market_revision,
            live: self
                .signals
                .live(&rules.catalog.signals, self.clock)
                .map(|(detection, _)| *detection)
                .collect(),
            rows: models.into_iter().map(row).collect(),
        }))
    }
}

fn values_of(slots: impl Iterator<Item = u16>, values: &[f64]) -> Vec<f32> {
    slots.map(|slot| values.get(usize::from(slot)).map_or(f32::NAN, |value| single(*value))).collect()
}
