//! The model registry: which version of each model serves and which runs in shadow, as facts in `model-<MODEL>` and as live
//! sessions.
//!
//! Law: the log says what serves. A change is checked, prepared, written to the log at an exact revision and only then put in
//! force; what is refused leaves everything as it was. One change at a time, each on a blocking thread that nobody can cancel
//! halfway.
//!
//! ```text
//!  start, reload, activate, rollback, challenge, promote
//!     └→ folder (checks, trial) ─→ live.prepare (sessions) ─→ log (ModelActivated …) ─→ live.install ─→ scoring threads
//! ```
//! Which version serves after a restart: the one that is pinned in the configuration; else the one of the last activation or
//! rollback in the log; where that one no longer passes, the one that served before it, as a rollback; where the log has
//! none, the newest by name that passes. Made by `app`; asked by `http` and the command line.

mod follow;
mod record;
mod shadow;
mod steps;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::commands::NotReady;
use crate::commands::models::{
    Change, Error, ModelChange, ModelFact, ModelView, Models, Part, VersionView, Who,
};
use crate::domain::catalog::{Catalog, ModelIx, ModelSpec};
use crate::domain::event::Position;
use crate::domain::model::ModelRecord;
use crate::domain::quality::Trained;
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::metrics;
use crate::scoring::Options;
use crate::scoring::folder::versions;
use crate::scoring::live::Live;
use crate::scoring::runtime::give_back_freed_memory;
use crate::store::{BoxFuture, EventStore};

/// What the registry stands on.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// What the models have to fit.
    pub catalog: Arc<Catalog>,
    /// `[models]`.
    pub options: Options,
    /// The wall clock, written into facts.
    pub wall: fn() -> Timestamp,
}

/// The models of the daemon. Clones are the same ones.
#[derive(Clone)]
pub struct ModelRegistry(Arc<Inner>);

struct Inner {
    parts: Parts,
    champions: Live,
    challengers: Live,
    /// The log was read up to here when the registry was made.
    read_through: Option<Position>,
    /// The fold of each model's stream, in the catalogue's order. Held for the whole of a change.
    records: Mutex<Vec<ModelRecord>>,
    /// Why a model has no version that serves.
    lacking: Mutex<Vec<Option<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelRegistry {
    /// The registry of a store; lets every model serve that can. Never fails for the sake of a model: one that cannot serve
    /// is degraded. Call it where blocking is allowed to be waited for.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let (champions, challengers) = (Live::new(&parts.catalog), Live::new(&parts.catalog));
        let count = parts.catalog.models.len();
        let records = Mutex::new(vec![ModelRecord::default(); count]);
        let lacking = Mutex::new(vec![None; count]);
        // Before the streams are read: what comes between is then read twice, and not never.
        let read_through = parts.store.head().await.map_err(|error| unavailable(&error))?;
        let inner = Inner { parts, read_through, champions, challengers, records, lacking };
        let registry = Self(Arc::new(inner));
        registry.apart(Inner::start).await?;
        Ok(registry)
    }

    /// The versions that serve.
    pub fn champions(&self) -> &Live {
        &self.0.champions
    }

    /// The versions in shadow.
    pub fn challengers(&self) -> &Live {
        &self.0.challengers
    }

    /// What a version that serves or runs in shadow learned from, if its manifest says so.
    pub fn trained_on(&self, model: ModelIx, version: &str) -> Option<Arc<Trained>> {
        let both = [self.0.champions.current(model), self.0.challengers.current(model)];
        let loaded = both.into_iter().flatten().find(|loaded| *loaded.version == *version)?;
        // What makes no sense was refused before it scored.
        loaded.manifest.drift.as_ref()?.trained(&loaded.manifest.features).ok()
    }

    /// Tells the metrics which models cannot score.
    pub fn gauges(&self) {
        for (at, model) in (0..).zip(&self.0.parts.catalog.models) {
            let lacks = self.0.lacks(ModelIx(at)).is_some();
            metrics::degraded(&model.name, f64::from(u8::from(lacks)));
        }
    }

    /// Works on a blocking thread: a change goes on when nobody waits for it any more, since half of one must not be.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(Error::Unavailable { reason: error.to_string() }))
    }
}

impl Inner {
    fn find(&self, name: &str) -> Result<(ModelIx, &ModelSpec), Error> {
        let catalog = &self.parts.catalog;
        let found = catalog.model(name).and_then(|ix| Some((ix, catalog.models.get(usize::from(ix.0))?)));
        found.ok_or_else(|| Error::NotFound { what: format!("model {name}") })
    }

    /// Why a model cannot score: it has no version, or its version fails.
    fn lacks(&self, model: ModelIx) -> Option<String> {
        let none = lock(&self.lacking).get(usize::from(model.0)).cloned().flatten();
        none.or_else(|| {
            let failing = self.champions.failing(model)?;
            Some(format!("its version fails: {failing}; roll back, or mend it and activate it"))
        })
    }

    fn view(&self, model: ModelIx, spec: &ModelSpec, record: &ModelRecord) -> ModelView {
        let serving = self.champions.current(model);
        let version = serving.as_ref().map(|loaded| loaded.version.to_string());
        let challenger = self.challengers.current(model).map(|loaded| loaded.version.to_string());
        let part = |name: &String| {
            if Some(name) == version.as_ref() {
                Part::Serving
            } else if Some(name) == challenger.as_ref() {
                Part::Challenger
            } else if record.refusal(name).is_some() {
                Part::Refused
            } else if record.served(name).is_some() {
                Part::Served
            } else {
                Part::New
            }
        };
        let view = |name: String| VersionView {
            part: part(&name),
            reasons: record.refusal(&name).map(<[String]>::to_vec).unwrap_or_default(),
            version: name,
        };
        ModelView {
            model: spec.name.clone(),
            version: version.clone(),
            model_sha256: serving.as_ref().map(|loaded| loaded.manifest.model_sha256.clone()),
            catalog_differs: serving.as_ref().is_some_and(|loaded| loaded.catalog_differs),
            since: record.since().cloned(),
            challenger_fails: challenger.as_ref().and_then(|_| self.challengers.failing(model)),
            challenger: challenger.clone(),
            pinned: self.parts.options.pin.get(&spec.name).cloned(),
            lacking: self.lacks(model),
            versions: versions(&self.parts.options, &spec.name).into_iter().map(view).collect(),
        }
    }

    fn list(&self) -> Vec<ModelView> {
        let records = lock(&self.records);
        let models = (0..).zip(&self.parts.catalog.models).zip(&*records);
        models.map(|((at, spec), record)| self.view(ModelIx(at), spec, record)).collect()
    }
}

impl Models for ModelRegistry {
    fn list(&self) -> BoxFuture<'_, Result<Vec<ModelView>, Error>> {
        Box::pin(self.apart(|inner| Ok(inner.list())))
    }

    fn history(&self, model: String, limit: usize) -> BoxFuture<'_, Result<Vec<ModelFact>, Error>> {
        Box::pin(async move {
            let (_, spec) = self.0.find(&model)?;
            record::history(&*self.0.parts.store, &spec.name, limit).await
        })
    }

    fn reload(&self, model: Option<String>, who: Who) -> BoxFuture<'_, Result<Vec<ModelChange>, Error>> {
        Box::pin(self.apart(move |inner| {
            let changes = inner.reload(model.as_deref(), &who);
            give_back_freed_memory();
            changes
        }))
    }

    fn change(&self, model: String, change: Change, who: Who) -> BoxFuture<'_, Result<ModelView, Error>> {
        Box::pin(self.apart(move |inner| {
            let view = inner.change(&model, change, &who);
            give_back_freed_memory();
            view
        }))
    }

    fn lacking(&self) -> Vec<NotReady> {
        let reason = |(at, spec): (u16, &ModelSpec)| {
            let reason = self.0.lacks(ModelIx(at))?;
            Some(NotReady { component: "models".to_owned(), reason: format!("{}: {reason}", spec.name) })
        };
        (0..).zip(&self.0.parts.catalog.models).filter_map(reason).collect()
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Unavailable { reason: Chain(error).to_string() }
}
