//! `GET /openapi.json`: OpenAPI 3.1 of everything that is served, generated from the wire types and the annotations of the
//! calls.
//!
//! Law: what is served is described and what is described is served; a test compares it with the table of routes.

use std::sync::LazyLock;

use utoipa::OpenApi;
use warp::http::StatusCode;
use warp::reply::Response;

use super::problem::Problem;
use super::routes::{Call, with_type};
use super::{alerts, events, health, models, outcomes, parked, performance, signals, stats, stream, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "intentd",
        description = "Events of people's behaviour in; explained, replayable alerts out. Names are camelCase, enum values \
            SCREAMING_SNAKE, times RFC 3339 UTC with milliseconds, ids opaque texts. Every error is \
            application/problem+json (RFC 9457). Every GET also answers HEAD, every path OPTIONS. \
            Commands take the header x-intentd-actor: who does it, 1 to 64 bytes, api when not given; it is written \
            into the alert's history. The daemon does not check it: whatever stands before the API must.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        events::append,
        alerts::list,
        alerts::list_of_user,
        alerts::get,
        alerts::set_status,
        stats::get,
        performance::get,
        stream::alerts,
        outcomes::record,
        outcomes::conversion,
        users::process_signals,
        users::score_one,
        users::score_many,
        users::get,
        signals::list,
        models::list,
        models::history,
        models::reload,
        models::activate,
        models::rollback,
        models::challenge,
        models::unchallenge,
        models::promote,
        parked::list,
        parked::replay,
        get,
        health::alive,
        health::ready,
        health::metrics,
    ),
    tags(
        (name = "events", description = "What people do."),
        (name = "alerts", description = "Who is worth a call, and why."),
        (name = "outcomes", description = "What really happened."),
        (name = "scoring", description = "Scores on request."),
        (name = "models", description = "Which version of each model serves, which runs in shadow, and how good they are."),
        (name = "users", description = "What is known of a person."),
        (name = "operation", description = "For those who run the daemon."),
    )
)]
struct Described;

static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default());

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "operation", operation_id = "openapi", responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object, content_type = "application/json"),
))]
pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    Ok(with_type(StatusCode::OK, "application/json", DOCUMENT.clone()))
}
