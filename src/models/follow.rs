//! What other instances on the same log change, taken up here.
//!
//! Law: following writes nothing: a version that cannot serve here is told of, and the log is as it was. What is pinned stays.
//! Kept running by `app` where there are other instances; asked by [`super::steps`] at a reload.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::steps::{By, Turn, wait};
use super::{Inner, ModelRegistry, lock, record, unavailable};
use crate::commands::models::{Error, Who};
use crate::domain::catalog::ModelIx;
use crate::domain::event::Position;
use crate::domain::id::stream;
use crate::domain::model::{Made, ModelRecord};
use crate::scoring::folder::Shelf;
use crate::scoring::live::Live;
use crate::store::{Filter, Message};

/// Wait before the log is asked again after it could not be read: an activation is in no hurry.
const RETRY: Duration = Duration::from_secs(1);

impl ModelRegistry {
    /// Takes up what other instances change, for as long as the answer is kept.
    #[must_use]
    pub fn follow(&self) -> JoinSet<()> {
        let (registry, mut tasks) = (self.clone(), JoinSet::new());
        tasks.spawn(async move {
            let mut after = registry.0.read_through;
            loop {
                let Err(error) = registry.follow_from(&mut after).await;
                tracing::warn!(%error, retry_in = ?RETRY, "changes of models by other instances are not seen");
                sleep(RETRY).await;
            }
        });
        tasks
    }

    async fn follow_from(&self, after: &mut Option<Position>) -> Result<Infallible, Error> {
        let store = &self.0.parts.store;
        let mut facts = store.subscribe_all(*after, Filter::streams(&[stream::MODEL]));
        loop {
            match facts.next().await.map_err(|error| unavailable(&error))? {
                Message::Events(events) => {
                    self.apart(Inner::follow).await?;
                    *after = events.last().map(|fact| fact.position).max(*after);
                }
                Message::Checkpoint(through) => *after = Some(through).max(*after),
                Message::CaughtUp(through) => *after = through.max(*after),
            }
        }
    }
}

impl Inner {
    /// Brings every model to what the log says.
    fn follow(&self) -> Result<(), Error> {
        let mut records = lock(&self.records);
        let who = Who { by: "log".to_owned(), why: "another instance changed it".to_owned() };
        for ((at, spec), model) in (0..).zip(&self.parts.catalog.models).zip(&mut *records) {
            wait(record::refresh(&*self.parts.store, &spec.name, model))?;
            let ix = ModelIx(at);
            if self.follows(ix, &spec.name, model) {
                continue;
            }
            let shelf = Shelf::open(&self.parts.options).map_err(|error| unavailable(&error))?;
            Turn::new(self, &shelf, ix, spec, model, &who).follow();
        }
        drop(records);
        Ok(())
    }

    /// Whether what serves and what runs in shadow is what the log says.
    fn follows(&self, model: ModelIx, name: &str, record: &ModelRecord) -> bool {
        let pinned = self.parts.options.pin.contains_key(name);
        let is = |live: &Live, logged: Option<&str>| {
            live.current(model).as_ref().map(|loaded| &*loaded.version) == logged
        };
        let version = |made: Option<&Made>| made.map(|made| made.version.clone());
        let (serving, challenger) = (version(record.serving()), version(record.challenger()));
        (pinned || serving.is_none() || is(&self.champions, serving.as_deref()))
            && is(&self.challengers, challenger.as_deref())
    }
}

impl Turn<'_> {
    /// Lets serve and run in shadow what the log says; what cannot is told of, and nothing is written.
    pub(super) fn follow(&mut self) {
        let model = self.spec.name.clone();
        let serving = self.record.serving().map(|made| made.version.clone());
        if let Some(version) = serving.filter(|version| self.follows_not(version)) {
            let taken = match self.check(&version) {
                Ok(loaded) => self.take_over(loaded, By::Activation).map_err(|error| error.to_string()),
                Err(reasons) => Err(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            };
            if let Err(reason) = taken {
                let here = self.live(&self.inner.champions).unwrap_or_else(|| "none".to_owned());
                let reason = format!(
                    "version {version} serves by the log and cannot serve here ({here} does): {reason}; \
                     mend the models folder and reload"
                );
                tracing::error!(model, reason, "another instance's change of a model is not taken up");
                self.inner.set_lacking(self.ix, Some(reason));
            }
        }
        let challenger = self.record.challenger().map(|made| made.version.clone());
        let running = self.live(&self.inner.challengers);
        if running.is_some() && running != challenger {
            self.inner.challengers.remove(self.ix);
        }
        let Some(version) = challenger.filter(|version| running.as_ref() != Some(version)) else { return };
        match self.check(&version) {
            Ok(loaded) => match self.inner.challengers.prepare(self.shelf.runtime(), loaded) {
                Ok(prepared) => self.inner.challengers.install(self.ix, prepared),
                Err(error) => tracing::warn!(model, version, %error, "a version does not run in shadow here"),
            },
            Err(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                let reasons = reasons.join("; ");
                tracing::warn!(model, version, reasons, "a version does not run in shadow here");
            }
        }
    }

    fn follows_not(&self, version: &str) -> bool {
        self.pin().is_none() && self.live(&self.inner.champions).as_deref() != Some(version)
    }
}
