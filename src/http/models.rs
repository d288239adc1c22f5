//! `/alerts/models`: which version of each model serves and which runs in shadow, and the calls that change it.
//!
//! Law: a change is answered when it is in the log and in force; a version that does not pass its checks is refused with every
//! reason, and what served goes on serving.

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::{LIMIT_DEFAULT, limit};
use super::dto::{
    Model, ModelFact, ModelReload, Models, Page, Reasoned, Reload, Reloads, RollBack, VersionWanted,
    known_model,
};
use super::problem::{Fault, Problem};
use super::query::text;
use super::routes::{Call, json};
use crate::commands::models::{Change, ModelChange, ModelView, Who};

/// Longest reason that somebody gives, in bytes: it stands in the log.
const WHY_BYTES_MAX: usize = 500;

/// Every model: what serves, what runs in shadow, what lies in the models folder
#[utoipa::path(get, path = "/api/v1/alerts/models", tag = "models", operation_id = "models", responses(
    (status = 200, description = "Every model.", body = Models),
    (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let models = call.app.ports.models.list().await?;
    json(StatusCode::OK, &Models { items: models.into_iter().map(Model::from).collect() })
}

/// What became of a model, newest first: activations, refusals, rollbacks, challengers
#[utoipa::path(get, path = "/api/v1/alerts/models/{modelType}/history", tag = "models", operation_id = "modelHistory",
    params(
        ("modelType" = String, Path, description = "The model."),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "At most so many; 50 when not given."),
    ),
    responses(
        (status = 200, description = "The newest facts.", body = Page<ModelFact>),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn history(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let limit = limit(&mut query).unwrap_or(LIMIT_DEFAULT);
    query.finish()?;
    let facts = call.app.ports.models.history(call.param(0, "modelType")?, limit).await?;
    let items = facts.into_iter().map(ModelFact::from).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Check the models folder and activate what is new and valid
///
/// New is a version higher than any that ever served. An empty body is `{}`: all models.
#[utoipa::path(post, path = "/api/v1/alerts/models/reload", tag = "models", operation_id = "reloadModels",
    request_body = Reload,
    responses(
        (status = 200, description = "What was done, per model.", body = Reloads),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now, or no ONNX Runtime.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn reload(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let Reload { model_type, why } = call.json().await?;
    if let Some(model) = &model_type {
        known_model(&call.app.ports.catalog, model).map_err(|fault| Problem::bad_at("modelType", fault))?;
    }
    let who = who(&call, why, "reload")?;
    let changes = call.app.ports.models.reload(model_type, who).await?;
    json(StatusCode::OK, &Reloads { items: changes.into_iter().map(Into::into).collect() })
}

/// Let a version serve
#[utoipa::path(post, path = "/api/v1/alerts/models/{modelType}/activate", tag = "models", operation_id = "activateModel",
    params(("modelType" = String, Path, description = "The model.")),
    request_body = VersionWanted,
    responses(
        (status = 200, description = "It serves.", body = Model),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model or version.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another version is pinned.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version does not pass its checks: `errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now, or no ONNX Runtime.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn activate(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let VersionWanted { version, why } = call.json().await?;
    change(call, Change::Activate { version }, why, "activate").await
}

/// Let an earlier version serve again
#[utoipa::path(post, path = "/api/v1/alerts/models/{modelType}/rollback", tag = "models", operation_id = "rollBackModel",
    params(("modelType" = String, Path, description = "The model.")),
    request_body = RollBack,
    responses(
        (status = 200, description = "It serves again.", body = Model),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model or version.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "None served before, or another version is pinned.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version does not pass its checks any more.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now, or no ONNX Runtime.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn rollback(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let RollBack { version, why } = call.json().await?;
    change(call, Change::RollBack { version }, why, "rollback").await
}

/// Run a version in shadow: it scores what the serving version scores, recorded and not acted on
#[utoipa::path(post, path = "/api/v1/alerts/models/{modelType}/challenge", tag = "models", operation_id = "challengeModel",
    params(("modelType" = String, Path, description = "The model.")),
    request_body = VersionWanted,
    responses(
        (status = 200, description = "It runs in shadow.", body = Model),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model or version.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version serves.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version does not pass its checks.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now, or no ONNX Runtime.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn challenge(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let VersionWanted { version, why } = call.json().await?;
    change(call, Change::Challenge { version }, why, "challenge").await
}

/// Run no version in shadow any more
#[utoipa::path(post, path = "/api/v1/alerts/models/{modelType}/unchallenge", tag = "models", operation_id = "unchallengeModel",
    params(("modelType" = String, Path, description = "The model.")),
    request_body = Reasoned,
    responses(
        (status = 200, description = "None runs in shadow.", body = Model),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "None ran in shadow.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn unchallenge(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let Reasoned { why } = call.json().await?;
    change(call, Change::Unchallenge, why, "unchallenge").await
}

/// Let the version in shadow serve
#[utoipa::path(post, path = "/api/v1/alerts/models/{modelType}/promote", tag = "models", operation_id = "promoteModel",
    params(("modelType" = String, Path, description = "The model.")),
    request_body = Reasoned,
    responses(
        (status = 200, description = "It serves.", body = Model),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such model.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "None runs in shadow, or another version is pinned.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn promote(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let Reasoned { why } = call.json().await?;
    change(call, Change::Promote, why, "promote").await
}

async fn change(call: Call, change: Change, why: Option<String>, default: &str) -> Result<Response, Problem> {
    let model = call.param(0, "modelType")?;
    let who = who(&call, why, default)?;
    let changed = call.app.ports.models.change(model, change, who).await?;
    json(StatusCode::OK, &Model::from(changed))
}

fn who(call: &Call, why: Option<String>, default: &str) -> Result<Who, Problem> {
    let why = match why {
        Some(why) => {
            text(why.trim(), WHY_BYTES_MAX).map_err(|reason| Problem::bad(vec![Fault::new("why", reason)]))?
        }
        None => default.to_owned(),
    };
    Ok(Who { by: call.actor()?, why })
}

/// A model as `GET /alerts/models` answers it; for the command line.
///
/// # Errors
/// None that a model can reach: the answer has string keys only.
pub fn model_json(model: ModelView) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(Model::from(model))
}

/// What a reload did to a model, as `POST /alerts/models/reload` answers it; for the command line.
///
/// # Errors
/// None that a change can reach: the answer has string keys only.
pub fn change_json(change: ModelChange) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(ModelReload::from(change))
}
