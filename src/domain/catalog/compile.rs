//! What each event changes, worked out once: features, and through them signals and models.
//!
//! Law: a feature, signal or model that is not listed for an event type cannot be changed by such an event (time passing
//! aside). Called by the check, read on every event.

use std::time::Duration;

use bytestring::ByteString;
use hashbrown::HashMap;

use super::{
    Catalog, EventIx, EventSpec, FeatureIx, FeatureKind, FeatureSpec, ModelIx, ModelSpec, SignalIx,
    SignalSpec,
};

/// Lookups of the hot path.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    by_name: HashMap<ByteString, EventIx>,
    events: Vec<Affected>,
}

#[derive(Clone, Debug)]
struct Affected {
    name: ByteString,
    features: Vec<FeatureIx>,
    signals: Vec<SignalIx>,
    models: Vec<ModelIx>,
}

impl Plan {
    fn new(
        events: &[EventSpec],
        features: &[FeatureSpec],
        signals: &[SignalSpec],
        models: &[ModelSpec],
    ) -> Self {
        let events: Vec<Affected> = (0_u16..)
            .zip(events)
            .map(|(nth, event)| affected(EventIx(nth), event, features, signals, models))
            .collect();
        let by_name = (0_u16..).zip(&events).map(|(nth, event)| (event.name.clone(), EventIx(nth))).collect();
        Self { by_name, events }
    }

    pub(super) fn event(&self, name: &str) -> Option<EventIx> {
        self.by_name.get(name).copied()
    }

    fn of(&self, kind: EventIx) -> Option<&Affected> {
        self.events.get(usize::from(kind.0))
    }

    pub(super) fn event_type(&self, kind: EventIx) -> Option<&ByteString> {
        self.of(kind).map(|event| &event.name)
    }

    pub(super) fn features(&self, kind: EventIx) -> &[FeatureIx] {
        self.of(kind).map_or(&[], |event| &event.features)
    }

    pub(super) fn signals(&self, kind: EventIx) -> &[SignalIx] {
        self.of(kind).map_or(&[], |event| &event.signals)
    }

    pub(super) fn models(&self, kind: EventIx) -> &[ModelIx] {
        self.of(kind).map_or(&[], |event| &event.models)
    }
}

fn affected(
    kind: EventIx,
    event: &EventSpec,
    features: &[FeatureSpec],
    signals: &[SignalSpec],
    models: &[ModelSpec],
) -> Affected {
    // Derived features stand behind what they read, so one pass in order is transitive.
    let mut changed = vec![false; features.len()];
    for (nth, feature) in features.iter().enumerate() {
        let reads = |slot: &u16| changed.get(usize::from(*slot)).copied().unwrap_or_default();
        let hit = match &feature.kind {
            FeatureKind::Aggregate { sources, .. }
            | FeatureKind::Decayed { sources, .. }
            | FeatureKind::Attribute { sources } => sources.iter().any(|source| source.kind == kind),
            FeatureKind::Market { kind: market, .. } => *market == kind,
            FeatureKind::Derived(program) => program.reads().iter().any(reads),
        };
        if let Some(place) = changed.get_mut(nth) {
            *place = hit;
        }
    }
    let hit = |slot: u16| changed.get(usize::from(slot)).copied().unwrap_or_default();
    Affected {
        name: ByteString::from(event.name.as_str()),
        features: (0_u16..)
            .zip(features)
            .filter(|(slot, _)| hit(*slot))
            .map(|(slot, _)| FeatureIx(slot))
            .collect(),
        signals: (0_u16..)
            .zip(signals)
            .filter(|(_, signal)| signal.when.reads().iter().any(|slot| hit(*slot)))
            .map(|(nth, _)| SignalIx(nth))
            .collect(),
        models: (0_u16..)
            .zip(models)
            .filter(|(_, model)| model.features.iter().any(|feature| hit(feature.0)))
            .map(|(nth, _)| ModelIx(nth))
            .collect(),
    }
}

impl Catalog {
    /// A catalogue of specs that are sound; [`Catalog::load`] makes sure of that.
    pub fn new(
        name: String,
        version: String,
        session_gap: Duration,
        events: Vec<EventSpec>,
        features: Vec<FeatureSpec>,
        signals: Vec<SignalSpec>,
        models: Vec<ModelSpec>,
    ) -> Self {
        let plan = Plan::new(&events, &features, &signals, &models);
        Self { name, version, events, features, signals, models, session_gap, plan }
    }
}
