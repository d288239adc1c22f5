//! `GET /alerts/models/performance`.
//!
//! Law: what the log tells and what is counted since the start stand apart in the answer; a suggestion changes nothing.

use std::sync::Arc;
use std::time::Duration;

use warp::http::StatusCode;
use warp::reply::Response;

use super::dto;
use super::problem::Problem;
use super::routes::{Call, json};
use crate::projection::performance::Measure;

/// How good each model is, per version
///
/// From the log: precision, recall with missed conversions, and how good the probabilities are against what happened, over
/// mature recorded scores. Counted since the daemon started (`live`): drift against training, missing values, and which
/// threshold would keep to the alert budget. A suggested threshold is words; only the catalogue sets thresholds, and
/// `intentd backtest` tells what another one would have done.
#[utoipa::path(get, path = "/api/v1/alerts/models/performance", tag = "models", operation_id = "modelPerformance",
    responses(
        (status = 200, description = "The figures.", body = dto::Performance),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let ports = &call.app.ports;
    let watching = ports.commands.watching();
    let asked = Measure {
        models: ports.catalog.models.iter().map(|model| (model.name.clone(), model.horizon)).collect(),
        now: (ports.now)(),
        pace_window: Duration::from_secs(u64::from(watching.days) * 86_400),
    };
    let (views, now) = (Arc::clone(&ports.views), asked.now);
    let measured = call.app.queries.run(move || views.performance(&asked)).await??;
    json(StatusCode::OK, &dto::Performance::new(&ports.catalog, &measured, &watching, now))
}
