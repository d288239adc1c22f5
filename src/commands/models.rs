//! What the outside may ask about models, as a port: `http` and the command line ask, `crate::models` answers.
//!
//! Law: a change that was answered is in the log and in force; one that was refused has changed nothing.

use serde::{Deserialize, Serialize};

use super::NotReady;
use crate::domain::event::Revision;
use crate::domain::id::EventId;
use crate::domain::model::{Asked, ModelEvent};
use crate::store::BoxFuture;

/// Why a model was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not now: no runtime, or a store that cannot be written. Ask again.
    #[error("not available: {reason}")]
    Unavailable {
        /// What, and the way out.
        reason: String,
    },
    /// There is no such model or version.
    #[error("there is no {what}")]
    NotFound {
        /// What.
        what: String,
    },
    /// The version does not pass its checks.
    #[error("version {version} of {model} is refused: {}", .reasons.join("; "))]
    Refused {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// Every reason.
        reasons: Vec<String>,
    },
    /// The model is not in a state in which that can be done.
    #[error("{reason}")]
    NotAllowed {
        /// Why, and the way out.
        reason: String,
    },
}

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This version is to serve.
    Activate {
        /// Which.
        version: String,
    },
    /// What served before is to serve again.
    RollBack {
        /// Which; the one before when none is named.
        version: Option<String>,
    },
    /// This version is to run in shadow.
    Challenge {
        /// Which.
        version: String,
    },
    /// No version is to run in shadow.
    Unchallenge,
    /// What runs in shadow is to serve.
    Promote,
}

/// A version that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub version: String,
    /// Every reason.
    pub reasons: Vec<String>,
}

/// What a reload did to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Another version serves.
    Activated {
        /// What served before.
        previous: Option<String>,
    },
    /// There is nothing new.
    Unchanged,
    /// There is something new, and it may not serve.
    Refused,
}

/// A model after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChange {
    /// `SELL`.
    pub model: String,
    /// What was done.
    pub result: Reloaded,
    /// What serves now; none = degraded.
    pub version: Option<String>,
    /// Versions that were tried and refused.
    pub refused: Vec<Refused>,
}

/// A version's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It serves.
    Serving,
    /// It runs in shadow.
    Challenger,
    /// It served before.
    Served,
    /// It was refused.
    Refused,
    /// Nothing was done with it yet.
    New,
}

/// A version in the models folder or in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    /// Its name.
    pub version: String,
    /// Its part.
    pub part: Part,
    /// Why it was refused.
    pub reasons: Vec<String>,
}

/// A model as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelView {
    /// `SELL`.
    pub model: String,
    /// What serves; none = degraded.
    pub version: Option<String>,
    /// The hash of its graph.
    pub model_sha256: Option<String>,
    /// Whether it learned from features of another catalogue version.
    pub catalog_differs: bool,
    /// Who made it serve, when and why.
    pub since: Option<Asked>,
    /// What runs in shadow.
    pub challenger: Option<String>,
    /// Why that cannot score, as of its newest call.
    pub challenger_fails: Option<String>,
    /// What the configuration pins.
    pub pinned: Option<String>,
    /// Why the model cannot score; none when it can.
    pub lacking: Option<String>,
    /// Every version, newest first.
    pub versions: Vec<VersionView>,
}

/// A fact about a model as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFact {
    /// Its id.
    pub id: EventId,
    /// Its place in `model-<MODEL>`.
    pub revision: Revision,
    /// The fact.
    pub event: ModelEvent,
}

/// Who asks, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// `api`, `cli`, `signal`, `start`, or a name.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

/// The models of the running daemon.
pub trait Models: Send + Sync + 'static {
    /// Every model, in the catalogue's order.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ModelView>, Error>>;

    /// What became of a model, newest first, at most `limit` facts.
    fn history(&self, model: String, limit: usize) -> BoxFuture<'_, Result<Vec<ModelFact>, Error>>;

    /// Looks into the models folder and activates what is new and passes its checks: of one model, or of all.
    fn reload(&self, model: Option<String>, who: Who) -> BoxFuture<'_, Result<Vec<ModelChange>, Error>>;

    /// Changes one model.
    fn change(&self, model: String, change: Change, who: Who) -> BoxFuture<'_, Result<ModelView, Error>>;

    /// Why models cannot score; empty when all can.
    fn lacking(&self) -> Vec<NotReady>;
}
