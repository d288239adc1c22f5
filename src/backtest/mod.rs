//! What would have been decided: the log replayed with other models or another catalogue, against what really was decided
//! and what then happened. Called by `intentd backtest`.
//!
//! Law: nothing is written to the log; decisions come out of the same entity that serves, from the beginning of the log on, as
//! if the given models had always served. With the models and the catalogue of the live run they are the live decisions, and
//! the report says whether they are, fact by fact.

use std::sync::Arc;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Rules;
use crate::domain::time::Timestamp;
use crate::replay::{self, Settings};
use crate::scoring::Scorer;
use crate::store::EventStore;

mod alerts;
mod equal;
pub mod page;
mod plot;
pub mod report;
mod serving;
mod text;
mod witness;

pub use serving::serving;

use report::{ModelRun, Report};
use witness::Witness;

/// What to replay, with what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Decisions at or after this time are reported; earlier ones are decided all the same.
    pub from: Option<Timestamp>,
    /// Decisions before this time are reported, and nothing later is decided.
    pub to: Option<Timestamp>,
    /// The models of the catalogue, in its order: what runs.
    pub models: Vec<Running>,
    /// Threads that share the users; the report does not depend on it.
    pub threads: usize,
}

/// A model of a back-test.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// The version that runs; none when no version serves.
    pub version: Option<String>,
    /// Whether it was chosen for the back-test. One that was not fails where the log says that it failed.
    pub is_chosen: bool,
}

/// Replays a store's log and compares.
///
/// # Errors
/// The log cannot be read or replayed.
pub async fn run(
    store: &dyn EventStore,
    catalog: Catalog,
    options: &Options,
    mut scorer: impl FnMut() -> Box<dyn Scorer>,
) -> Result<Report, replay::Error> {
    let rules = Arc::new(Rules::new(catalog));
    let settings = Settings {
        to: options.to,
        fail_as_live: options.models.iter().map(|model| !model.is_chosen).collect(),
        threads: options.threads,
        ..Settings::default()
    };
    let range = Range { from: options.from, to: options.to };
    let listen = || (Witness::new(Arc::clone(&rules), range), Some(scorer()));
    let told = replay::run(store, &rules, &settings, listen).await?;
    let models = rules.catalog.models.iter().zip(&options.models);
    let runs = models.map(|(spec, running)| ModelRun {
        model: spec.name.clone(),
        version: running.version.clone(),
        is_chosen: running.is_chosen,
    });
    Ok(report::make(store.id(), &rules.catalog, runs.collect(), range, told))
}

/// Which decisions count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Range {
    fn holds(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }

    fn is_whole(self) -> bool {
        self == Self::default()
    }
}
