//! Which version of each model serves where no log says so: the newest by name that passes every check, or the pinned one.
//!
//! Law: nothing here is fatal. A missing library, folder or model leaves users unscored and visible in [`Registry::status`];
//! a version that is refused lets the next older one serve. Called by commands and benches that run models by themselves; the
//! daemon's models follow the log (`crate::models`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use super::folder::Loaded;
use super::folder::{Shelf, versions};
use super::onnx::{OnnxScorer, Slot};
use super::refusal::Refusal;
use super::{Options, runtime};
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::error::Chain;

/// The models of a catalogue, checked.
#[derive(Clone, Debug)]
pub struct Registry {
    shelf: Result<Shelf, Arc<runtime::Error>>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    folder: PathBuf,
    serving: Option<Loaded>,
    refused: Vec<Refused>,
}

/// A version that may not serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its version.
    pub version: String,
    /// Every reason.
    pub reasons: Vec<Refusal>,
}

/// One model, as an operator wants to see it.
#[derive(Clone, Copy, Debug)]
pub struct ModelStatus<'a> {
    /// `SELL`.
    pub name: &'a str,
    /// What serves; none = degraded.
    pub serving: Option<&'a Loaded>,
    /// Newer versions (or the pinned one) that do not.
    pub refused: &'a [Refused],
}

impl Registry {
    /// Loads the runtime and checks the model folders. Slow (some 100 ms a model); never on an async thread.
    pub fn load(options: &Options, catalog: &Catalog) -> Self {
        let shelf = Shelf::open(options).map_err(Arc::new);
        let entry = |model: &ModelSpec| {
            let folder = options.folder.join(&model.name);
            let mut entry = Entry { name: model.name.clone(), folder, serving: None, refused: Vec::new() };
            if let Ok(shelf) = &shelf {
                choose(&mut entry, shelf, options, catalog, model);
            }
            entry
        };
        let entries = catalog.models.iter().map(entry).collect();
        Self { shelf, entries }
    }

    /// One version of one model, and no other model: for a back-test of that version.
    pub fn load_version(options: &Options, catalog: &Catalog, model: &str, version: &str) -> Self {
        let mut options = options.clone();
        // A pinned version serves or none does; no other model has a version of no name.
        options.pin = catalog.models.iter().map(|spec| (spec.name.clone(), String::new())).collect();
        options.pin.insert(model.to_owned(), version.to_owned());
        Self::load(&options, catalog)
    }

    /// Every model, in the catalogue's order.
    pub fn status(&self) -> impl Iterator<Item = ModelStatus<'_>> {
        self.entries.iter().map(|entry| ModelStatus {
            name: &entry.name,
            serving: entry.serving.as_ref(),
            refused: &entry.refused,
        })
    }

    /// The library that was loaded, or why there is none: then no model serves.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn runtime(&self) -> Result<&Path, &runtime::Error> {
        self.shelf.as_ref().map(|shelf| shelf.runtime().path.as_path()).map_err(AsRef::as_ref)
    }

    /// Whether a model does not serve.
    pub fn is_degraded(&self) -> bool {
        self.entries.iter().any(|entry| entry.serving.is_none())
    }

    /// Everything that keeps a model or a newer version of it from serving, a line each: for `intentd check`.
    pub fn faults(&self) -> Vec<String> {
        if let Err(error) = &self.shelf {
            return vec![Chain(error.as_ref()).to_string()];
        }
        let mut lines = Vec::new();
        for entry in &self.entries {
            if entry.serving.is_none() && entry.refused.is_empty() {
                lines.push(format!("{}: no version of {}", entry.folder.display(), entry.name));
            }
            for refused in &entry.refused {
                let place = entry.folder.join(&refused.version);
                lines.extend(refused.reasons.iter().map(|reason| format!("{}: {reason}", place.display())));
            }
        }
        lines
    }

    /// Sessions for one scoring thread.
    pub fn scorer(&self) -> OnnxScorer {
        let slot = |entry: &Entry| {
            let both = entry.serving.as_ref().zip(self.shelf.as_ref().ok());
            let serving = both.map(|(loaded, shelf)| loaded.serve(loaded.open(shelf.runtime())));
            Slot { name: entry.name.clone(), serving }
        };
        OnnxScorer::new(self.entries.iter().map(slot).collect())
    }
}

fn choose(entry: &mut Entry, shelf: &Shelf, options: &Options, catalog: &Catalog, model: &ModelSpec) {
    let versions = match options.pin.get(&model.name) {
        Some(pin) => vec![pin.clone()],
        None => versions(options, &model.name),
    };
    for version in versions {
        match shelf.check(catalog, model, &version) {
            Ok(loaded) => {
                entry.serving = Some(loaded);
                return;
            }
            Err(reasons) => entry.refused.push(Refused { version, reasons }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_may_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        fn moved<T: Send>() {}
        shared::<Registry>();
        moved::<OnnxScorer>();
    }
}
