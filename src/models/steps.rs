//! The changes of what serves and of what runs in shadow, one model at a time.
//!
//! Law: check, prepare, write, install, in this order. A refusal of the same version for the same reasons is written once, and a
//! restart that changes nothing writes nothing.

use tokio::runtime::Handle;

use super::{Inner, lock, record, unavailable};
use crate::commands::models::{Change, Error, ModelChange, ModelView, Refused, Reloaded, Who};
use crate::domain::catalog::{ModelIx, ModelSpec};
use crate::domain::model::{
    Asked, Made, ModelActivated, ModelEvent, ModelRecord, ModelRefused, ModelRolledBack,
};
use crate::metrics;
use crate::scoring::folder::{Loaded, Shelf, model_hash, versions};
use crate::scoring::live::Live;
use crate::scoring::refusal::Refusal;

/// One model's turn: what a change of it needs.
pub(super) struct Turn<'a> {
    pub(super) inner: &'a Inner,
    pub(super) shelf: &'a Shelf,
    pub(super) ix: ModelIx,
    pub(super) spec: &'a ModelSpec,
    pub(super) record: &'a mut ModelRecord,
    pub(super) who: &'a Who,
    refused: Vec<Refused>,
    /// Whether a log that cannot be written holds a change up: at the start it does not.
    strict: bool,
}

/// How a version comes to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Activation,
    Rollback,
}

pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    // The registry works on blocking threads only.
    Handle::current().block_on(work)
}

impl Inner {
    pub(super) fn start(&self) -> Result<(), Error> {
        let who = Who { by: "start".to_owned(), why: "the daemon starts".to_owned() };
        let shelf = Shelf::open(&self.parts.options);
        let mut records = lock(&self.records);
        for ((at, spec), record) in (0..).zip(&self.parts.catalog.models).zip(&mut *records) {
            wait(record::refresh(&*self.parts.store, &spec.name, record))?;
            let ix = ModelIx(at);
            match &shelf {
                Ok(shelf) => {
                    let turn = Turn::new(self, shelf, ix, spec, record, &who);
                    let mut turn = Turn { strict: false, ..turn };
                    let candidates = turn.at_start();
                    turn.settle(candidates)?;
                    turn.resume_challenger()?;
                }
                Err(error) => self.set_lacking(ix, Some(crate::error::Chain(error).to_string())),
            }
        }
        drop(records);
        Ok(())
    }

    pub(super) fn reload(&self, only: Option<&str>, who: &Who) -> Result<Vec<ModelChange>, Error> {
        if let Some(name) = only {
            self.find(name)?;
        }
        let shelf = Shelf::open(&self.parts.options).map_err(|error| unavailable(&error))?;
        let mut records = lock(&self.records);
        let mut changes = Vec::new();
        for ((at, spec), record) in (0..).zip(&self.parts.catalog.models).zip(&mut *records) {
            if only.is_some_and(|only| only != spec.name) {
                continue;
            }
            wait(record::refresh(&*self.parts.store, &spec.name, record))?;
            let ix = ModelIx(at);
            let mut turn = Turn::new(self, &shelf, ix, spec, record, who);
            let previous = turn.live(&self.champions);
            turn.follow();
            let has_followed = turn.live(&self.champions) != previous;
            let candidates = turn.at_reload();
            let mut result = turn.settle(candidates)?;
            if has_followed && result == Reloaded::Unchanged {
                result = Reloaded::Activated { previous };
            }
            turn.resume_challenger()?;
            let (refused, version) = (turn.refused, self.champions.current(ix));
            let version = version.map(|loaded| loaded.version.to_string());
            changes.push(ModelChange { model: spec.name.clone(), result, version, refused });
        }
        Ok(changes)
    }

    pub(super) fn change(&self, model: &str, change: Change, who: &Who) -> Result<ModelView, Error> {
        let (ix, spec) = self.find(model)?;
        let shelf = Shelf::open(&self.parts.options).map_err(|error| unavailable(&error))?;
        let mut records = lock(&self.records);
        let Some(record) = records.get_mut(usize::from(ix.0)) else {
            return Err(Error::NotFound { what: format!("model {model}") });
        };
        wait(record::refresh(&*self.parts.store, model, record))?;
        let mut turn = Turn::new(self, &shelf, ix, spec, record, who);
        match change {
            Change::Activate { version } => turn.activate(&version)?,
            Change::RollBack { version } => turn.roll_back(version.as_deref())?,
            Change::Challenge { version } => turn.challenge(&version)?,
            Change::Unchallenge => turn.unchallenge()?,
            Change::Promote => turn.promote()?,
        }
        Ok(self.view(ix, spec, turn.record))
    }

    pub(super) fn set_lacking(&self, model: ModelIx, reason: Option<String>) {
        if let Some(reason) = &reason {
            tracing::warn!(reason, "no model serves; its signals wait for one");
        }
        if let Some(lacks) = lock(&self.lacking).get_mut(usize::from(model.0)) {
            *lacks = reason;
        }
        self.gauge(model);
    }

    fn gauge(&self, model: ModelIx) {
        if let Some(spec) = self.parts.catalog.models.get(usize::from(model.0)) {
            metrics::degraded(&spec.name, f64::from(u8::from(self.lacks(model).is_some())));
        }
    }
}

impl<'a> Turn<'a> {
    /// A change that a log that cannot be written holds up.
    pub(super) fn new(
        inner: &'a Inner,
        shelf: &'a Shelf,
        ix: ModelIx,
        spec: &'a ModelSpec,
        record: &'a mut ModelRecord,
        who: &'a Who,
    ) -> Self {
        Self { inner, shelf, ix, spec, record, who, refused: Vec::new(), strict: true }
    }
}

impl Turn<'_> {
    pub(super) fn live(&self, live: &Live) -> Option<String> {
        live.current(self.ix).map(|loaded| loaded.version.to_string())
    }

    pub(super) fn pin(&self) -> Option<&String> {
        self.inner.parts.options.pin.get(&self.spec.name)
    }

    /// What may serve after a start, the first that passes.
    fn at_start(&self) -> Vec<String> {
        if let Some(pin) = self.pin() {
            return vec![pin.clone()];
        }
        if self.record.serving().is_none() {
            return versions(&self.inner.parts.options, &self.spec.name);
        }
        let logged = self.record.serving().into_iter().chain(self.record.earlier());
        logged.map(|made| made.version.clone()).collect()
    }

    /// What may take over at a reload, the first that passes: what is new; and what should serve, when nothing does.
    fn at_reload(&self) -> Vec<String> {
        let serving = self.live(&self.inner.champions);
        if let Some(pin) = self.pin() {
            return if serving.as_ref() == Some(pin) { Vec::new() } else { vec![pin.clone()] };
        }
        let mut candidates = versions(&self.inner.parts.options, &self.spec.name);
        candidates.retain(|version| self.record.is_new(version));
        if serving.is_none() && self.record.serving().is_some() {
            candidates.extend(self.at_start());
        }
        candidates
    }

    /// Lets the first of the candidates serve that passes its checks.
    fn settle(&mut self, candidates: Vec<String>) -> Result<Reloaded, Error> {
        let previous = self.live(&self.inner.champions);
        self.look_for_replaced(previous.as_deref())?;
        for version in candidates {
            match self.check(&version) {
                Ok(loaded) => {
                    let logged = self.record.serving().is_some_and(|made| made.version != version);
                    let falls_back = logged && self.pin().is_none() && !self.record.is_new(&version);
                    self.take_over(loaded, if falls_back { By::Rollback } else { By::Activation })?;
                    return Ok(Reloaded::Activated { previous });
                }
                Err(reasons) => self.refuse(version, &reasons)?,
            }
        }
        if previous.is_none() {
            let refused = |refused: &Refused| format!("{}: {}", refused.version, refused.reasons.join("; "));
            let reasons: Vec<String> = self.refused.iter().map(refused).collect();
            let none = "there is no version in the models folder".to_owned();
            let reason = if reasons.is_empty() { none } else { reasons.join("; ") };
            self.inner.set_lacking(self.ix, Some(reason));
        }
        Ok(if self.refused.is_empty() { Reloaded::Unchanged } else { Reloaded::Refused })
    }

    /// What serves goes on as it was loaded; but its folder must not hold something else under the same name.
    fn look_for_replaced(&mut self, serving: Option<&str>) -> Result<(), Error> {
        let Some(loaded) = self.inner.champions.current(self.ix) else { return Ok(()) };
        let Some(version) = serving else { return Ok(()) };
        let expected = &loaded.manifest.model_sha256;
        match model_hash(&self.inner.parts.options, &self.spec.name, version) {
            Some(found) if found != *expected => {
                let replaced = Refusal::Replaced { found, expected: expected.clone() };
                self.refuse(version.to_owned(), &[replaced])
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn check(&self, version: &str) -> Result<Loaded, Vec<Refusal>> {
        let loaded = self.shelf.check(&self.inner.parts.catalog, self.spec, version)?;
        let found = &loaded.manifest.model_sha256;
        match self.record.served(version) {
            Some(made) if made.model_sha256 != *found => {
                let expected = made.model_sha256.clone();
                Err(vec![Refusal::Replaced { found: found.clone(), expected }])
            }
            Some(_) | None => Ok(loaded),
        }
    }

    pub(super) fn asked(&self) -> Asked {
        let Who { by, why } = self.who;
        Asked { by: by.clone(), why: why.clone(), at: (self.inner.parts.wall)() }
    }

    pub(super) fn made(&self, loaded: &Loaded) -> Made {
        Made {
            version: loaded.version.to_string(),
            model_sha256: loaded.manifest.model_sha256.clone(),
            catalog_version: self.inner.parts.catalog.version.clone(),
        }
    }

    pub(super) fn write(&mut self, change: &str, event: &ModelEvent) -> Result<(), Error> {
        let model = &self.spec.name;
        match wait(record::write(&*self.inner.parts.store, model, self.record, event)) {
            Ok(()) => metrics::model_changes(model, change, 1),
            Err(error) if self.strict => return Err(error),
            // What serves is right; the next start finds the same and writes it.
            Err(error) => {
                tracing::warn!(model, change, %error, "what became of a model is not in the log yet");
            }
        }
        Ok(())
    }

    /// Remembers a refusal, and writes it unless the log says the same already.
    fn refuse(&mut self, version: String, reasons: &[Refusal]) -> Result<(), Error> {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let model = &self.spec.name;
        tracing::warn!(model, version, reasons = reasons.join("; "), "a version of a model is refused");
        self.refused.push(Refused { version: version.clone(), reasons: reasons.clone() });
        if self.record.refusal(&version) == Some(&reasons) {
            return Ok(());
        }
        let event = ModelEvent::ModelRefused(ModelRefused {
            model_type: model.clone(),
            version,
            reasons,
            catalog_version: self.inner.parts.catalog.version.clone(),
            asked: self.asked(),
        });
        self.write("refused", &event)
    }

    pub(super) fn take_over(&mut self, loaded: Loaded, by: By) -> Result<(), Error> {
        let made = self.made(&loaded);
        let Inner { champions, challengers, .. } = self.inner;
        let prepared = champions.prepare(self.shelf.runtime(), loaded);
        let prepared = prepared.map_err(|fault| self.refusal(&made.version, fault.to_string()))?;
        let version = made.version.clone();
        let logged = self.record.serving();
        let is_logged = logged.is_some_and(|logged| {
            *logged == Made { catalog_version: logged.catalog_version.clone(), ..made.clone() }
        });
        let previous = logged.map(|logged| logged.version.clone()).filter(|previous| *previous != version);
        if !is_logged || self.record.refusal(&version).is_some() {
            let (model_type, asked) = (self.spec.name.clone(), self.asked());
            match (by, previous) {
                (By::Rollback, Some(from)) => {
                    let event = ModelRolledBack { model_type, made, from, asked };
                    self.write("rolled_back", &ModelEvent::ModelRolledBack(event))?;
                }
                (By::Activation | By::Rollback, previous) => {
                    let event = ModelActivated { model_type, made, previous, asked };
                    self.write("activated", &ModelEvent::ModelActivated(event))?;
                }
            }
        }
        champions.install(self.ix, prepared);
        if self.live(challengers).as_ref() == Some(&version) {
            challengers.remove(self.ix);
        }
        tracing::info!(model = self.spec.name, version, by = self.who.by, "model serves");
        self.inner.set_lacking(self.ix, None);
        Ok(())
    }

    pub(super) fn refusal(&self, version: &str, reason: String) -> Error {
        let (model, version) = (self.spec.name.clone(), version.to_owned());
        Error::Refused { model, version, reasons: vec![reason] }
    }

    /// Checks a version that somebody names; a refusal is written, a version that does not exist is not worth a fact.
    pub(super) fn wanted(&mut self, version: &str) -> Result<Loaded, Error> {
        match self.check(version) {
            Ok(loaded) => Ok(loaded),
            Err(reasons) if matches!(reasons.as_slice(), [Refusal::Absent { .. }]) => {
                Err(Error::NotFound { what: format!("version {version} of {}", self.spec.name) })
            }
            Err(reasons) => {
                self.refuse(version.to_owned(), &reasons)?;
                let reasons = reasons.iter().map(ToString::to_string).collect();
                let (model, version) = (self.spec.name.clone(), version.to_owned());
                Err(Error::Refused { model, version, reasons })
            }
        }
    }

    pub(super) fn not_pinned(&self, wanted: &str) -> Result<(), Error> {
        match self.pin() {
            Some(pin) if pin != wanted => Err(not_allowed(format!(
                "{} is pinned to {pin} in the configuration (models.pin); take the pin out first",
                self.spec.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn activate(&mut self, version: &str) -> Result<(), Error> {
        self.not_pinned(version)?;
        let loaded = self.wanted(version)?;
        self.take_over(loaded, By::Activation)
    }

    fn roll_back(&mut self, version: Option<&str>) -> Result<(), Error> {
        let model = &self.spec.name;
        let mut earlier = self.record.earlier().map(|made| made.version.clone());
        let target = match version {
            None => {
                earlier.next().ok_or_else(|| not_allowed(format!("no version of {model} served before")))?
            }
            Some(version) => earlier.find(|made| *made == version).ok_or_else(|| {
                not_allowed(format!("version {version} of {model} did not serve before; activate it instead"))
            })?,
        };
        drop(earlier);
        self.not_pinned(&target)?;
        let loaded = self.wanted(&target)?;
        self.take_over(loaded, By::Rollback)
    }
}

pub(super) fn not_allowed(reason: String) -> Error {
    Error::NotAllowed { reason }
}
