//! `GET /signals/:userId`.
//!
//! Law: newest first, each with its rule and the event behind it.

use std::sync::Arc;

use warp::http::StatusCode;
use warp::reply::Response;

use super::alerts::{LIMIT_DEFAULT, cursor, limit};
use super::dto::{Page, Signal};
use super::problem::Problem;
use super::routes::{Call, json};

/// A user's signals, newest first
#[utoipa::path(get, path = "/api/v1/signals/{userId}", tag = "users", operation_id = "signals",
    params(
        ("userId" = String, Path, description = "The user's id, percent-encoded."),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "At most so many; 50 when not given."),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before."),
    ),
    responses(
        (status = 200, description = "A page; empty when the user has none.", body = Page<Signal>),
        (status = 400, description = "Bad parameters.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let user = call.user()?;
    let mut query = call.query();
    let limit = limit(&mut query).unwrap_or(LIMIT_DEFAULT);
    let cursor = cursor(&mut query);
    query.finish()?;
    let views = Arc::clone(&call.app.ports.views);
    let listed = call.app.queries.run(move || views.signals(&user, limit, cursor.as_deref())).await??;
    let catalog = &call.app.ports.catalog;
    let items = listed.items.into_iter().map(|signal| Signal::new(signal, catalog)).collect();
    json(StatusCode::OK, &Page { items, next_cursor: listed.next_cursor })
}
