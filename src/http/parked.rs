//! `GET /parked` and `POST /parked/:userId/:revision/replay`: events that could not be folded (beyond CONTRACT.md; the command
//! line asks these of a running daemon).
//!
//! Law: a replay answers when the event stands as unparked in the log.

use std::sync::Arc;

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::{LIMIT_DEFAULT, cursor, limit};
use super::dto::{Page, Parked};
use super::problem::Problem;
use super::routes::{Call, json};

/// Events that were put aside, newest first
#[utoipa::path(get, path = "/api/v1/parked", tag = "operation", operation_id = "parked",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "At most so many; 50 when not given."),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before."),
    ),
    responses(
        (status = 200, description = "A page.", body = Page<Parked>),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let limit = limit(&mut query).unwrap_or(LIMIT_DEFAULT);
    let cursor = cursor(&mut query);
    query.finish()?;
    let views = Arc::clone(&call.app.ports.views);
    let listed = call.app.queries.run(move || views.parked(limit, cursor.as_deref())).await??;
    let items = listed.items.into_iter().map(Parked::from).collect();
    json(StatusCode::OK, &Page { items, next_cursor: listed.next_cursor })
}

/// Fold a parked event again
#[utoipa::path(post, path = "/api/v1/parked/{userId}/{revision}/replay", tag = "operation", operation_id = "replayParked",
    params(
        ("userId" = String, Path, description = "The user's id, percent-encoded."),
        ("revision" = u64, Path, description = "The event's revision in the user's stream."),
    ),
    responses(
        (status = 204, description = "It is folded again from now on."),
        (status = 404, description = "The revision is no number, or no such event.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The event is not parked.", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "Another instance has this user: `shard` says which.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn replay(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let user = call.user()?;
    let text = call.param(1, "revision")?;
    let revision =
        text.parse().map_err(|_| Problem::not_found(format!("{text:?} is not the number of an event")))?;
    call.app.ports.commands.unpark(user, revision, call.actor()?).await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
