//! Outside the API's base: is the daemon alive, is it ready, and its metrics.
//!
//! Law: liveness asks nothing of anybody; readiness says every reason why not.

use warp::http::StatusCode;
use warp::reply::Response;

use super::problem::Problem;
use super::routes::{Call, with_type};

/// The media type of plain text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// The media type of Prometheus' text exposition.
pub(super) const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the daemon is alive.
#[utoipa::path(get, path = "/healthz", tag = "operation", operation_id = "alive", responses(
    (status = 200, description = "It is.", body = String, content_type = "text/plain", example = "alive\n"),
))]
pub(super) async fn alive(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    Ok(with_type(StatusCode::OK, TEXT, b"alive\n".to_vec()))
}

/// Whether the daemon is ready: caught up, models loaded, store reachable.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "ready", responses(
    (status = 200, description = "It is.", body = String, content_type = "text/plain", example = "ready\n"),
    (status = 503, description = "It is not: `reasons` says why.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn ready(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let reasons = call.app.ports.commands.not_ready();
    if reasons.is_empty() {
        Ok(with_type(StatusCode::OK, TEXT, b"ready\n".to_vec()))
    } else {
        Err(Problem::not_ready(reasons))
    }
}

/// Metrics in Prometheus' text exposition.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics", responses(
    (status = 200, description = "All metrics.", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let render = std::sync::Arc::clone(&call.app.ports.metrics);
    let text = call.app.queries.run(move || render()).await?;
    Ok(with_type(StatusCode::OK, EXPOSITION, text.into_bytes()))
}
