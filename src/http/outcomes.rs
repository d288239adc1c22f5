//! `POST /alerts/:id/outcome` and `POST /outcomes`: what really happened.
//!
//! Law: an outcome is a fact of its own; a later one corrects an earlier one and hides nothing.

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::{alert_id, answer_with_alert, owner};
use super::dto::{Accepted, Alert, NewConversion, NewOutcome};
use super::problem::{Fault, Problem};
use super::routes::{Call, json};
use crate::commands::OutcomeGiven;

/// Record what really happened, for an alert
///
/// May be corrected later; the history keeps all.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/outcome", tag = "outcomes", operation_id = "recordOutcome",
    params(
        ("id" = String, Path, description = "The alert's id."),
        ("x-intentd-actor" = Option<String>, Header, description = "Who records it, 1 to 64 bytes; `api` when not given."),
    ),
    request_body = NewOutcome,
    responses(
        (status = 200, description = "The alert with it.", body = Alert),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such alert.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "Another instance has this user: `shard` says which.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It makes no sense here.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn record(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let alert = alert_id(&call)?;
    let by = call.actor()?;
    let given: NewOutcome = call.json().await?;
    let faults = given.check();
    if !faults.is_empty() {
        return Err(Problem::bad(faults));
    }
    let user = owner(&call.app, alert).await?;
    let given = OutcomeGiven {
        outcome: given.outcome.into(),
        converted: given.converted,
        conversion_value: given.conversion_value,
        occurred_at: given.occurred_at,
        note: given.note,
        by,
    };
    call.app.ports.commands.record_outcome(user, alert, given).await?;
    answer_with_alert(&call.app, alert).await
}

/// Record a conversion that had no alert (a missed one)
///
/// Needed for recall and for training.
#[utoipa::path(post, path = "/api/v1/outcomes", tag = "outcomes", operation_id = "recordConversion",
    request_body = NewConversion,
    responses(
        (status = 202, description = "It is durable.", body = Accepted),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn conversion(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let given: NewConversion = call.json().await?;
    let event = given.event().map_err(|error| Problem::internal(&error))?;
    let checked = (call.app.ports.check)(&event);
    let ingest = checked.map_err(|faults| Problem::bad(faults.into_iter().map(Fault::from).collect()))?;
    let done = call.app.ports.commands.ingest(vec![ingest]).await?;
    let answer = Accepted { accepted: done.accepted, duplicates: done.duplicates, position: done.position.0 };
    json(StatusCode::ACCEPTED, &answer)
}
