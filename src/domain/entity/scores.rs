//! The newest recorded answer of each model for a user, kept small: numbers, and names only where the catalogue of today
//! does not hold them.
//!
//! Law: follows from the facts alone. Scores that were asked by an event and led to nothing are not recorded and not here.

use serde::{Deserialize, Serialize};

use super::command::LastScore;
use crate::domain::alert::Alerts;
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::domain::event::{IntentEvent, Reason, Revision, Scoring};
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;

/// The newest answers, in the order in which models first answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Scores(Vec<Kept>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    model: Box<str>,
    revision: Revision,
    priority: Option<Priority>,
    answer: Result<Box<Numbers>, Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbers {
    model_version: Box<str>,
    /// None for the catalogue of today.
    catalog_version: Option<Box<str>>,
    /// None when they are the model's features of today.
    names: Option<Box<[Box<str>]>>,
    /// Value and contribution of each feature.
    reasons: Box<[(f32, f32)]>,
    market_revision: u64,
    as_of: Timestamp,
    raw: f32,
    probability: f32,
    bias: f32,
}

impl Scores {
    /// Folds one fact; those that hold no score change nothing.
    pub(super) fn apply(&mut self, catalog: &Catalog, fact: &IntentEvent) {
        let numbers = |model: &str, scoring: &Scoring| Ok(Box::new(Numbers::of(catalog, model, scoring)));
        match fact {
            IntentEvent::AlertScored(fact) => {
                let answer = numbers(&fact.model_type, &fact.scoring);
                self.keep(&fact.model_type, fact.cause.revision, Some(fact.priority), answer);
            }
            IntentEvent::AlertEscalated(fact) => {
                let answer = numbers(&fact.model_type, &fact.scoring);
                self.keep(&fact.model_type, fact.cause.revision, Some(fact.priority), answer);
            }
            IntentEvent::UserScored(fact) => {
                let answer = numbers(&fact.model_type, &fact.scoring);
                self.keep(&fact.model_type, fact.cause.revision, fact.priority, answer);
            }
            IntentEvent::ScoringFailed(fact) => {
                for model in &fact.model_types {
                    self.keep(model, fact.cause.revision, None, Err(fact.reason.as_str().into()));
                }
            }
            IntentEvent::SignalDetected(_)
            | IntentEvent::AlertStatusChanged(_)
            | IntentEvent::AlertRearmed(_)
            | IntentEvent::AlertOutcomeRecorded(_)
            | IntentEvent::ChallengerScored(_)
            | IntentEvent::EventParked(_)
            | IntentEvent::EventUnparked(_) => {}
        }
    }

    fn keep(
        &mut self,
        model: &str,
        revision: Revision,
        priority: Option<Priority>,
        answer: Result<Box<Numbers>, Box<str>>,
    ) {
        match self.0.iter_mut().find(|kept| &*kept.model == model) {
            Some(kept) => (kept.revision, kept.priority, kept.answer) = (revision, priority, answer),
            None => self.0.push(Kept { model: model.into(), revision, priority, answer }),
        }
    }

    /// The answers as they were recorded, in the catalogue's order of models; models that it no longer has come last.
    pub(super) fn tell(&self, catalog: &Catalog, alerts: &Alerts) -> Vec<LastScore> {
        let told = |kept: &Kept| LastScore {
            model_type: kept.model.to_string(),
            scoring: match &kept.answer {
                Ok(numbers) => Ok(numbers.tell(catalog, &kept.model)),
                Err(reason) => Err(reason.to_string()),
            },
            priority: kept.priority,
            alert_id: alerts.open(&kept.model).map(|alert| alert.id),
            revision: kept.revision,
        };
        let place = |kept: &&Kept| catalog.models.iter().position(|spec| spec.name == *kept.model);
        let mut kept: Vec<&Kept> = self.0.iter().collect();
        kept.sort_by_key(|kept| place(kept).unwrap_or(usize::MAX));
        kept.into_iter().map(told).collect()
    }
}

impl Numbers {
    fn of(catalog: &Catalog, model: &str, scoring: &Scoring) -> Self {
        let recorded = || scoring.features.iter().map(|reason| reason.name.as_str());
        let today = spec(catalog, model).is_some_and(|spec| recorded().eq(names(catalog, spec)));
        Self {
            model_version: scoring.model_version.as_str().into(),
            catalog_version: (scoring.catalog_version != catalog.version)
                .then(|| scoring.catalog_version.as_str().into()),
            names: (!today).then(|| recorded().map(Into::into).collect()),
            reasons: scoring.features.iter().map(|reason| (reason.value, reason.contribution)).collect(),
            market_revision: scoring.market_revision,
            as_of: scoring.as_of,
            raw: scoring.raw,
            probability: scoring.probability,
            bias: scoring.bias,
        }
    }

    fn tell(&self, catalog: &Catalog, model: &str) -> Scoring {
        let reason = |(name, (value, contribution)): (&str, &(f32, f32))| Reason {
            name: name.to_owned(),
            value: *value,
            contribution: *contribution,
        };
        let features = match (&self.names, spec(catalog, model)) {
            (Some(names), _) => names.iter().map(|name| &**name).zip(&self.reasons).map(reason).collect(),
            (None, Some(spec)) => names(catalog, spec).zip(&self.reasons).map(reason).collect(),
            (None, None) => Vec::new(),
        };
        Scoring {
            model_version: self.model_version.to_string(),
            catalog_version: self.catalog_version.as_deref().unwrap_or(&catalog.version).to_owned(),
            market_revision: self.market_revision,
            as_of: self.as_of,
            raw: self.raw,
            probability: self.probability,
            bias: self.bias,
            features,
        }
    }
}

fn spec<'a>(catalog: &'a Catalog, model: &str) -> Option<&'a ModelSpec> {
    catalog.models.iter().find(|spec| spec.name == model)
}

/// The names of a model's features, in its order.
pub(super) fn names<'a>(catalog: &'a Catalog, model: &'a ModelSpec) -> impl Iterator<Item = &'a str> {
    let name = |feature: &crate::domain::catalog::FeatureIx| {
        catalog.features.get(usize::from(feature.0)).map_or("", |spec| spec.name.as_str())
    };
    model.features.iter().map(name)
}
