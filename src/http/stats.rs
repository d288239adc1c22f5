//! `GET /alerts/stats`.
//!
//! Law: figures come from the projection; rates and ages are made in [`super::dto`].

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::span;
use super::dto;
use super::problem::Problem;
use super::routes::{Call, json};

/// Figures over alerts opened in a span
///
/// Counts by status, priority, model and day; what waits and how long; how fast people respond; what became of the alerts;
/// and how many alerts there are for how many users, against each model's yearly budget.
#[utoipa::path(get, path = "/api/v1/alerts/stats", tag = "alerts", operation_id = "alertStats",
    params(
        ("from" = Option<String>, Query, description = "Opened at or after (RFC 3339)."),
        ("to" = Option<String>, Query, description = "Opened before (RFC 3339)."),
    ),
    responses(
        (status = 200, description = "The figures.", body = dto::Stats),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let (from, to) = span(&mut query);
    query.finish()?;
    let views = std::sync::Arc::clone(&call.app.ports.views);
    let figures = call.app.queries.run(move || views.stats(from, to)).await??;
    let now = (call.app.ports.now)();
    let budgets = dto::Budgets::of(&call.app.ports.catalog);
    json(StatusCode::OK, &dto::Stats::new(figures, (from, to), now, &budgets))
}
