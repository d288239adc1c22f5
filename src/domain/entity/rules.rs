//! What every user is judged by, compiled once and shared by all users.
//!
//! Law: immutable. A change of the catalogue makes new rules and new entities.

use crate::domain::catalog::{Catalog, FeatureIx, SignalIx};
use crate::domain::plan::Plan;

/// The catalogue and what follows from it.
#[derive(Debug)]
pub struct Rules {
    /// The catalogue.
    pub catalog: Catalog,
    /// How features are folded.
    pub plan: Plan,
    /// Per signal, the features that its rule needs.
    reads: Vec<Box<[FeatureIx]>>,
}

impl Rules {
    /// The rules of a catalogue.
    pub fn new(catalog: Catalog) -> Self {
        let plan = Plan::compile(&catalog);
        let reads = catalog
            .signals
            .iter()
            .map(|signal| {
                let read: Vec<FeatureIx> = signal.when.reads().iter().map(|slot| FeatureIx(*slot)).collect();
                plan.closed(&read)
            })
            .collect();
        Self { catalog, plan, reads }
    }

    /// The features that a rule needs, ascending, with what they derive from.
    pub(super) fn reads(&self, signal: SignalIx) -> &[FeatureIx] {
        self.reads.get(usize::from(signal.0)).map_or(&[], |features| features)
    }
}
