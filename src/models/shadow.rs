//! The changes of what runs in shadow.
//!
//! Law: a challenger passes the same checks as a version that serves, and ends when it serves. Asked by [`super::steps`].

use super::steps::{By, Turn, not_allowed};
use crate::commands::models::Error;
use crate::domain::model::{Asked, ChallengerStarted, ChallengerStopped, ModelEvent};

impl Turn<'_> {
    pub(super) fn challenge(&mut self, version: &str) -> Result<(), Error> {
        if self.live(&self.inner.champions).as_deref() == Some(version) {
            return Err(not_allowed(format!("version {version} of {} serves", self.spec.name)));
        }
        let loaded = self.wanted(version)?;
        let running = self.live(&self.inner.challengers);
        if running.as_deref() == Some(version) {
            return Ok(());
        }
        let prepared = self.inner.challengers.prepare(self.shelf.runtime(), loaded.clone());
        let prepared = prepared.map_err(|fault| self.refusal(version, fault.to_string()))?;
        if self.record.challenger().is_some() {
            self.write_stopped(format!("version {version} challenges instead"))?;
        }
        let (model_type, made, asked) = (self.spec.name.clone(), self.made(&loaded), self.asked());
        let event = ModelEvent::ChallengerStarted(ChallengerStarted { model_type, made, asked });
        self.write("challenger_started", &event)?;
        self.inner.challengers.install(self.ix, prepared);
        tracing::info!(model = self.spec.name, version, by = self.who.by, "a version runs in shadow");
        Ok(())
    }

    fn write_stopped(&mut self, why: String) -> Result<(), Error> {
        let Some(made) = self.record.challenger() else { return Ok(()) };
        let version = made.version.clone();
        let (model_type, asked) = (self.spec.name.clone(), Asked { why, ..self.asked() });
        let event = ModelEvent::ChallengerStopped(ChallengerStopped { model_type, version, asked });
        self.write("challenger_stopped", &event)?;
        self.inner.challengers.remove(self.ix);
        Ok(())
    }

    pub(super) fn unchallenge(&mut self) -> Result<(), Error> {
        if self.record.challenger().is_none() {
            return Err(self.no_challenger());
        }
        self.write_stopped(self.who.why.clone())
    }

    pub(super) fn promote(&mut self) -> Result<(), Error> {
        let loaded = self.inner.challengers.current(self.ix).ok_or_else(|| self.no_challenger())?;
        self.not_pinned(&loaded.version)?;
        self.take_over(loaded, By::Activation)
    }

    fn no_challenger(&self) -> Error {
        not_allowed(format!("no version of {} runs in shadow", self.spec.name))
    }

    /// Lets the challenger of the log run, after a start or once there is a runtime.
    pub(super) fn resume_challenger(&mut self) -> Result<(), Error> {
        if self.inner.challengers.current(self.ix).is_some() {
            return Ok(());
        }
        let Some(version) = self.record.challenger().map(|made| made.version.clone()) else { return Ok(()) };
        let checked = self.shelf.check(&self.inner.parts.catalog, self.spec, &version);
        let prepared = match checked {
            Ok(loaded) => self.inner.challengers.prepare(self.shelf.runtime(), loaded),
            Err(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    model = self.spec.name,
                    version,
                    reasons = reasons.join("; "),
                    "the version in shadow is refused"
                );
                return self.write_stopped(format!("it is refused: {}", reasons.join("; ")));
            }
        };
        let prepared = prepared.map_err(|fault| self.refusal(&version, fault.to_string()))?;
        self.inner.challengers.install(self.ix, prepared);
        Ok(())
    }
}
