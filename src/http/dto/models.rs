//! Models on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::commands::models::{self, Part, Reloaded};
use crate::domain::model::{Asked, Made, ModelEvent};
use crate::domain::time::Timestamp;

/// Which model to look at; all when none is named.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct Reload {
    /// `SELL`.
    #[serde(default)]
    pub(in crate::http) model_type: Option<String>,
    /// Why; stands in the log.
    #[serde(default)]
    pub(in crate::http) why: Option<String>,
}

/// Why, for the log.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct Reasoned {
    /// Why; stands in the log.
    #[serde(default)]
    pub(in crate::http) why: Option<String>,
}

/// A version, and why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct VersionWanted {
    /// The version: a folder in the models folder.
    pub(in crate::http) version: String,
    /// Why; stands in the log.
    #[serde(default)]
    pub(in crate::http) why: Option<String>,
}

/// Where to go back to, and why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RollBack {
    /// A version that served; the one before when none is named.
    #[serde(default)]
    pub(in crate::http) version: Option<String>,
    /// Why; stands in the log.
    #[serde(default)]
    pub(in crate::http) why: Option<String>,
}

/// A version that was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Refused {
    /// Which.
    version: String,
    /// Every reason.
    reasons: Vec<String>,
}

/// What a reload did, per model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Reloads {
    /// In the catalogue's order.
    pub(in crate::http) items: Vec<ModelReload>,
}

/// What a reload did to a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ModelReload {
    /// `SELL`.
    model_type: String,
    /// `activated`: another version serves. `unchanged`: there is nothing new. `refused`: there is something new and it may
    /// not serve; what served goes on.
    result: &'static str,
    /// What serves now; null = degraded.
    version: Option<String>,
    /// What served before, when it changed.
    previous: Option<String>,
    /// Versions that were tried and refused, each with every reason.
    refused: Vec<Refused>,
}

impl From<models::ModelChange> for ModelReload {
    fn from(change: models::ModelChange) -> Self {
        let (result, previous) = match change.result {
            Reloaded::Activated { previous } => ("activated", previous),
            Reloaded::Unchanged => ("unchanged", None),
            Reloaded::Refused => ("refused", None),
        };
        let refused = change.refused.into_iter();
        let refused = refused.map(|models::Refused { version, reasons }| Refused { version, reasons });
        Self {
            model_type: change.model,
            result,
            version: change.version,
            previous,
            refused: refused.collect(),
        }
    }
}

/// Who made a change, when and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Since {
    /// Who.
    by: String,
    /// Why.
    why: String,
    /// When (wall clock).
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<Asked> for Since {
    fn from(Asked { by, why, at }: Asked) -> Self {
        Self { by, why, at }
    }
}

/// A version of a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Version {
    /// Its name.
    version: String,
    /// `SERVING`, `CHALLENGER`, `SERVED` before, `REFUSED`, or `NEW`.
    part: &'static str,
    /// Why it was refused.
    reasons: Vec<String>,
}

/// Every model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Models {
    /// In the catalogue's order.
    pub(in crate::http) items: Vec<Model>,
}

/// A model as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Model {
    /// `SELL`.
    model_type: String,
    /// What serves; null = degraded.
    version: Option<String>,
    /// SHA-256 of its graph.
    model_sha256: Option<String>,
    /// Whether it cannot score: its users' signals wait.
    degraded: bool,
    /// Why.
    reason: Option<String>,
    /// Whether it learned from features of another catalogue version: it fits, and may be out of date.
    catalog_differs: bool,
    /// Who made it serve, when and why.
    since: Option<Since>,
    /// The version in shadow.
    challenger: Option<String>,
    /// Why that one does not score, as of its newest call; it costs its own record only.
    challenger_fails: Option<String>,
    /// The version that the configuration pins.
    pinned: Option<String>,
    /// Every version in the models folder, newest first.
    versions: Vec<Version>,
}

impl From<models::ModelView> for Model {
    fn from(view: models::ModelView) -> Self {
        let version = |models::VersionView { version, part, reasons }: models::VersionView| {
            let part = match part {
                Part::Serving => "SERVING",
                Part::Challenger => "CHALLENGER",
                Part::Served => "SERVED",
                Part::Refused => "REFUSED",
                Part::New => "NEW",
            };
            Version { version, part, reasons }
        };
        Self {
            model_type: view.model,
            version: view.version,
            model_sha256: view.model_sha256,
            degraded: view.lacking.is_some(),
            reason: view.lacking,
            catalog_differs: view.catalog_differs,
            since: view.since.map(Since::from),
            challenger: view.challenger,
            challenger_fails: view.challenger_fails,
            pinned: view.pinned,
            versions: view.versions.into_iter().map(version).collect(),
        }
    }
}

/// Something that became of a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ModelFact {
    /// Its id.
    id: String,
    /// Its place in the model's history, from 0.
    revision: u64,
    /// `MODEL_ACTIVATED`, `MODEL_REFUSED`, `MODEL_ROLLED_BACK`, `CHALLENGER_STARTED`, `CHALLENGER_STOPPED`.
    event: &'static str,
    /// The version it is about.
    version: String,
    /// What served before.
    previous: Option<String>,
    /// Every reason of a refusal.
    reasons: Vec<String>,
    /// SHA-256 of the graph.
    model_sha256: Option<String>,
    /// The catalogue it was checked against.
    catalog_version: Option<String>,
    /// Who.
    by: String,
    /// Why.
    why: String,
    /// When (wall clock).
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<models::ModelFact> for ModelFact {
    fn from(models::ModelFact { id, revision, event }: models::ModelFact) -> Self {
        let of = |event, made: Made, previous, asked: Asked| Self {
            id: id.to_string(),
            revision,
            event,
            version: made.version,
            previous,
            reasons: Vec::new(),
            model_sha256: Some(made.model_sha256),
            catalog_version: Some(made.catalog_version),
            by: asked.by,
            why: asked.why,
            at: asked.at,
        };
        let unmade = |version| Made { version, model_sha256: String::new(), catalog_version: String::new() };
        match event {
            ModelEvent::ModelActivated(fact) => of("MODEL_ACTIVATED", fact.made, fact.previous, fact.asked),
            ModelEvent::ModelRolledBack(fact) => {
                of("MODEL_ROLLED_BACK", fact.made, Some(fact.from), fact.asked)
            }
            ModelEvent::ChallengerStarted(fact) => of("CHALLENGER_STARTED", fact.made, None, fact.asked),
            ModelEvent::ModelRefused(fact) => Self {
                reasons: fact.reasons,
                model_sha256: None,
                catalog_version: Some(fact.catalog_version),
                ..of("MODEL_REFUSED", unmade(fact.version), None, fact.asked)
            },
            ModelEvent::ChallengerStopped(fact) => Self {
                model_sha256: None,
                catalog_version: None,
                ..of("CHALLENGER_STOPPED", unmade(fact.version), None, fact.asked)
            },
        }
    }
}
