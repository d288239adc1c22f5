//! `GET /users/:userId` and the calls that score users.
//!
//! Law: a score that was asked for stands in the log, and in the next `GET`, before the answer is sent.

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::time;
use super::dto::{self, ProcessSignals, ScoreUser, ScoreUsers, Scores, ScoresOfMany, User};
use super::problem::Problem;
use super::routes::{Call, json};
use crate::domain::catalog::Catalog;
use crate::domain::entity::Description;

/// A user: live features, active signals, last scores, open alerts
#[utoipa::path(get, path = "/api/v1/users/{userId}", tag = "users", operation_id = "user",
    params(
        ("userId" = String, Path, description = "The user's id, percent-encoded."),
        ("asOf" = Option<String>, Query, description = "As the user stood then (RFC 3339)."),
    ),
    responses(
        (status = 200, description = "The user.", body = User),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The log holds nothing of this user.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    let user = call.user()?;
    let mut query = call.query();
    let as_of = query.one("asOf", time);
    query.finish()?;
    let ports = &call.app.ports;
    let described = ports.commands.describe(user.clone(), as_of).await?;
    let described =
        described.ok_or_else(|| Problem::not_found(format!("the log holds nothing of the user {user}")))?;
    json(StatusCode::OK, &User::new(described, &ports.catalog))
}

/// A described user as `GET /users/:userId` answers it; for the command line.
///
/// # Errors
/// None that a description can reach: the answer has string keys only.
pub fn user_json(described: Description, catalog: &Catalog) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(User::new(described, catalog))
}

/// Score one user now
#[utoipa::path(post, path = "/api/v1/alerts/score-user", tag = "scoring", operation_id = "scoreUser",
    request_body = ScoreUser,
    responses(
        (status = 200, description = "The scores, per model.", body = Scores),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such user.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn score_one(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let ScoreUser { user_id, model_types } = call.json().await?;
    let faults = dto::check_models(&call.app.ports.catalog, &model_types);
    if !faults.is_empty() {
        return Err(Problem::bad(faults));
    }
    let scores = call.app.ports.commands.score(vec![user_id.clone()], model_types).await?;
    let scores = scores.into_iter().next();
    let scores = scores.ok_or_else(|| Problem::not_found(format!("there is no user {user_id}")))?;
    json(StatusCode::OK, &Scores::from(scores))
}

/// Score many users now
#[utoipa::path(post, path = "/api/v1/alerts/score-users", tag = "scoring", operation_id = "scoreUsers",
    request_body = ScoreUsers,
    responses(
        (status = 200, description = "The scores, per user and model.", body = ScoresOfMany),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn score_many(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let users = call.json::<ScoreUsers>().await?.users().map_err(Problem::bad)?;
    let scores = call.app.ports.commands.score(users, Vec::new()).await?;
    json(StatusCode::OK, &ScoresOfMany { items: scores.into_iter().map(Into::into).collect() })
}

/// Score every user whose signals wait for a score
///
/// Signals wait when a model was missing or a score failed. An empty body is `{}`.
#[utoipa::path(post, path = "/api/v1/alerts/process-signals", tag = "scoring", operation_id = "processSignals",
    request_body = ProcessSignals,
    responses(
        (status = 200, description = "What was done.", body = dto::Processed),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn process_signals(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let limit = call.json::<ProcessSignals>().await?.limit().map_err(Problem::bad)?;
    let done = call.app.ports.commands.process_signals(limit).await?;
    json(StatusCode::OK, &dto::Processed::from(done))
}
