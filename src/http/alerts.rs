//! Alerts: lists, one whole, and its way along its life.
//!
//! Law: the user's entity decides what is allowed; this only translates.

use std::sync::Arc;

use serde_json::value::RawValue;
use warp::http::StatusCode;
use warp::reply::Response;

use super::dto::{self, Alert, AlertDetail, Outcome, Page, Priority, Status, StatusChange};
use super::problem::Problem;
use super::query::{Query, text, whole};
use super::routes::{Call, json};
use super::{App, dto::known_model};
use crate::domain::catalog::Catalog;
use crate::domain::id::{AlertId, UserId};
use crate::domain::time::Timestamp;
use crate::projection::{self, AlertQuery, Sort};

/// Items on a page when nobody says (CONTRACT).
pub(super) const LIMIT_DEFAULT: usize = 50;
/// Most items on a page (CONTRACT).
const LIMIT_MAX: usize = 500;
/// Longest cursor: what the projection makes is far shorter.
const CURSOR_BYTES_MAX: usize = 1_024;
/// Longest text to search for: a user id.
const TEXT_BYTES_MAX: usize = 200;

/// Parses an RFC 3339 time.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: crate::domain::time::BadTimestamp| error.to_string())
}

/// The parameters `from` and `to`.
pub(super) fn span(query: &mut Query) -> (Option<Timestamp>, Option<Timestamp>) {
    let (from, to) = (query.one("from", time), query.one("to", time));
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        query.fault("to", "must be later than from");
    }
    (from, to)
}

/// The parameter `limit`.
pub(super) fn limit(query: &mut Query) -> Option<usize> {
    query.one("limit", |text| whole(text, 1, LIMIT_MAX))
}

/// The parameter `cursor`.
pub(super) fn cursor(query: &mut Query) -> Option<String> {
    query.one("cursor", |given| text(given, CURSOR_BYTES_MAX))
}

fn filters(call: &Call, user: Option<UserId>) -> Result<AlertQuery, Problem> {
    let catalog: &Catalog = &call.app.ports.catalog;
    let mut query = call.query();
    let (from, to) = span(&mut query);
    let wanted = AlertQuery {
        user,
        status: query.many("status", Status::parse),
        model_type: query.many("modelType", |name| known_model(catalog, name)),
        priority: query.many("priority", Priority::parse),
        min_confidence: query.one("minConfidence", share),
        from,
        to,
        outcome: query.one("outcome", Outcome::parse),
        text: query.one("q", |given| text(given, TEXT_BYTES_MAX)),
        sort: query.one("sort", sort).unwrap_or_default(),
        limit: limit(&mut query).unwrap_or(LIMIT_DEFAULT),
        cursor: cursor(&mut query),
    };
    query.finish()?;
    Ok(wanted)
}

fn share(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

fn sort(text: &str) -> Result<Sort, String> {
    match text {
        "-scoredAt" => Ok(Sort::ScoredAtDescending),
        "-priority" => Ok(Sort::PriorityDescending),
        "-calibratedScore" => Ok(Sort::CalibratedScoreDescending),
        _ => Err("must be one of -scoredAt, -priority, -calibratedScore".to_owned()),
    }
}

async fn answer_list(call: Call, user: Option<UserId>) -> Result<Response, Problem> {
    let wanted = filters(&call, user)?;
    let views = Arc::clone(&call.app.ports.views);
    let listed = call.app.queries.run(move || views.alerts(&wanted)).await??;
    json(StatusCode::OK, &Page::<Alert>::of(listed))
}

/// All alerts
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", operation_id = "alerts",
    params(dto::AlertFilters),
    responses(
        (status = 200, description = "A page.", body = Page<Alert>),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    answer_list(call, None).await
}

/// One user's alerts
#[utoipa::path(get, path = "/api/v1/alerts/user/{userId}", tag = "alerts", operation_id = "alertsOfUser",
    params(("userId" = String, Path, description = "The user's id, percent-encoded."), dto::AlertFilters),
    responses(
        (status = 200, description = "A page; empty when the user has none.", body = Page<Alert>),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list_of_user(call: Call) -> Result<Response, Problem> {
    let user = call.user()?;
    answer_list(call, Some(user)).await
}

/// One alert: its reasons, its history, and the events behind it
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", operation_id = "alert",
    params(("id" = String, Path, description = "The alert's id.")),
    responses(
        (status = 200, description = "The alert.", body = AlertDetail),
        (status = 404, description = "There is no such alert.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let detail = find(&call.app, alert_id(&call)?).await?;
    let mut revisions: Vec<u64> = detail.signals.iter().map(|signal| signal.cause.revision).collect();
    revisions.push(detail.cause.revision);
    revisions.sort_unstable();
    revisions.dedup();
    let raw = call.app.ports.commands.events(detail.alert.user_id.clone(), revisions).await?;
    let parsed: Result<Vec<Box<RawValue>>, _> =
        raw.iter().map(|event| serde_json::from_slice(event)).collect();
    let evidence = parsed.map_err(|error| Problem::internal(&error))?;
    json(StatusCode::OK, &AlertDetail::new(detail, evidence))
}

/// Move an alert along its life
///
/// A move that is not allowed is 409, and `allowed` says which are.
#[utoipa::path(patch, path = "/api/v1/alerts/{id}/status", tag = "alerts", operation_id = "setStatus",
    params(
        ("id" = String, Path, description = "The alert's id."),
        ("x-intentd-actor" = Option<String>, Header, description = "Who moves it, 1 to 64 bytes; `api` when not given."),
    ),
    request_body = StatusChange,
    responses(
        (status = 200, description = "The alert after the move.", body = Alert),
        (status = 400, description = "Bad body.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such alert.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The move is not allowed.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "Another instance has this user: `shard` says which.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It makes no sense here.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn set_status(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let alert = alert_id(&call)?;
    let by = call.actor()?;
    let change: StatusChange = call.json().await?;
    let faults = change.check();
    if !faults.is_empty() {
        return Err(Problem::bad(faults));
    }
    let user = owner(&call.app, alert).await?;
    let StatusChange { status, note, snooze_until } = change;
    call.app.ports.commands.set_status(user, alert, status.into(), note, snooze_until, by).await?;
    answer_with_alert(&call.app, alert).await
}

/// The alert that the path names: a text that is no id names no alert.
pub(super) fn alert_id(call: &Call) -> Result<AlertId, Problem> {
    let text = call.param(0, "id")?;
    text.parse().map_err(|_| Problem::not_found("there is no such alert: an alert's id is a UUID"))
}

/// Whose alert it is.
pub(super) async fn owner(app: &App, alert: AlertId) -> Result<UserId, Problem> {
    Ok(find(app, alert).await?.alert.user_id)
}

/// The alert as it is after a command.
pub(super) async fn answer_with_alert(app: &App, alert: AlertId) -> Result<Response, Problem> {
    json(StatusCode::OK, &Alert::from(find(app, alert).await?.alert))
}

async fn find(app: &App, alert: AlertId) -> Result<projection::AlertDetail, Problem> {
    let views = Arc::clone(&app.ports.views);
    let found = app.queries.run(move || views.alert(alert)).await??;
    found.ok_or_else(|| Problem::not_found(format!("there is no alert {alert}")))
}
