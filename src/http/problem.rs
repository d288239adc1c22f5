//! The one place that turns errors into `application/problem+json` (RFC 9457).
//!
//! Law: `status`, `type` and the names of members are part of the contract; `title` and `detail` are for people. What went
//! wrong inside is logged, never told.

use std::error::Error as StdError;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::dto::Status;
use crate::commands::{self, NotReady, models};
use crate::domain::codec;
use crate::domain::entity::Refusal;
use crate::domain::shard::Shard;
use crate::error::Chain;
use crate::projection;

/// The media type of every error.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Faults listed in one answer; a person mends these first, and an answer stays small.
pub(super) const FAULTS_LISTED_MAX: usize = 100;
/// What a client that is sent away waits: the store's and the feed's own retries are shorter.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Something wrong with what was sent: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where: a JSON path (`[3].data.price`), the name of a query or path parameter, or a header; empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl From<codec::Fault> for Fault {
    /// From a JSON pointer (`/data/prices/0`) to the paths of this API (`data.prices[0]`).
    fn from(fault: codec::Fault) -> Self {
        let mut path = String::new();
        for part in fault.path.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
                path.push_str(&format!("[{part}]"));
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&part);
            }
        }
        Self { path, message: fault.message }
    }
}

/// A reason for not being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Reason {
    /// `store`, `feed`, `models`, `projection`, `shard`, `stopping`.
    component: String,
    /// What is wrong, and the way out.
    reason: String,
}

/// An error as RFC 9457 writes it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    /// Names the kind of problem for machines: `urn:intentd:problem:<kind>`.
    #[serde(rename = "type", serialize_with = "kind_urn")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "status_code")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What is wrong this time.
    detail: String,
    /// What is wrong with the input, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    #[serde(flatten)]
    rare: Box<Rare>,
}

/// The users of one instance.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct ShardOf {
    /// Which part, from 0.
    index: u32,
    /// How many parts there are.
    count: u32,
}

/// What few problems have.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Rare {
    /// How many more faults there are than `errors` lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_errors: Option<usize>,
    /// For a move that is not allowed: where the alert may go from where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<Status>>,
    /// For a user of another instance: its shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<ShardOf>,
    /// For a daemon that is not ready: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Reason>>,
    #[serde(skip)]
    headers: HeaderMap,
}

fn kind_urn<S: serde::Serializer>(kind: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:intentd:problem:{kind}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn status_code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, title, status, detail: detail.into(), errors: Vec::new(), rare: Box::default() }
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        self.rare.headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        self
    }

    /// 400: the request itself is wrong. Lists the first [`FAULTS_LISTED_MAX`] faults and counts the rest.
    pub(super) fn bad(faults: Vec<Fault>) -> Self {
        let found = faults.len();
        Self::bad_among(faults, found)
    }

    /// 400, of whose `found` faults these are the first.
    pub(super) fn bad_among(mut faults: Vec<Fault>, found: usize) -> Self {
        faults.truncate(FAULTS_LISTED_MAX);
        let detail = match faults.as_slice() {
            [only] if found == 1 && only.path.is_empty() => only.message.clone(),
            [only] if found == 1 => format!("{}: {}", only.path, only.message),
            _ => format!("{found} faults; errors lists {}", faults.len()),
        };
        let mut problem =
            Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid", detail);
        problem.rare.more_errors = found.checked_sub(faults.len()).filter(|more| *more > 0);
        problem.errors = faults;
        problem
    }

    /// 400 with one fault.
    pub(super) fn bad_at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::bad(vec![Fault::new(path, message)])
    }

    /// 404: there is no such thing.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// 405: the path is right and the method is not.
    pub(super) fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this path answers {allow}");
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The path does not know this method",
            detail,
        );
        if let Ok(value) = HeaderValue::from_str(allow) {
            problem.rare.headers.insert(ALLOW, value);
        }
        problem
    }

    /// 408: the body did not come in time.
    pub(super) fn body_timeout(within: Duration) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "The request body came too slowly",
            format!("the body has {} seconds to arrive", within.as_secs_f64()),
        )
    }

    /// 410: the event id to resume after is of another store.
    pub(super) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", "The stream cannot be resumed there", detail)
    }

    /// 413: the body is larger than this call takes.
    pub(super) fn too_large(bytes_max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The request body is too large",
            format!("at most {bytes_max} bytes; send more requests with less in each"),
        )
    }

    /// 415: the body is of a kind that this call does not read.
    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body is of a kind that is not read here",
            detail,
        )
    }

    /// 421: another instance has the user.
    fn elsewhere(owner: Shard) -> Self {
        let mut problem = Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "other-shard",
            "Another instance has this user",
            format!("the user is one of shard {owner}: send this to its instance"),
        );
        problem.rare.shard = Some(ShardOf { index: owner.index, count: owner.count });
        problem
    }

    /// 503: not now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
            .retry_after(RETRY_AFTER_DEFAULT)
    }

    /// 503: the server stops.
    pub(super) fn stopping() -> Self {
        Self::unavailable("the daemon is stopping")
    }

    /// 503: no answer in time; the work may still be done.
    pub(super) fn timeout(what: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "No answer in time",
            format!("{what}: it may still be done; asking again is safe"),
        )
        .retry_after(RETRY_AFTER_DEFAULT)
    }

    /// 503: not ready, with the reasons.
    pub(super) fn not_ready(reasons: Vec<NotReady>) -> Self {
        let names: Vec<_> = reasons.iter().map(|reason| reason.component.as_str()).collect();
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "The daemon is not ready",
            names.join(", "),
        )
        .retry_after(RETRY_AFTER_DEFAULT);
        problem.rare.reasons = Some(
            reasons.into_iter().map(|NotReady { component, reason }| Reason { component, reason }).collect(),
        );
        problem
    }

    /// 500: a defect of ours; logged, not told.
    pub(super) fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error = %Chain(error), "a call failed inside");
        Self::defect()
    }

    /// 500 for a defect that is logged already.
    pub(super) fn defect() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The daemon failed",
            "the daemon's log says why",
        )
    }

    /// The response.
    pub(super) fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.rare.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NoAlert { .. } => Self::not_found(detail),
            Refusal::NotAllowed { allowed, from, to } => {
                let allowed: Vec<Status> = allowed.into_iter().map(Status::from).collect();
                let names: Vec<_> = allowed.iter().map(|status| status.name()).collect();
                let ways = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                let (from, to) = (Status::from(from).name(), Status::from(to).name());
                let mut problem = Self::new(
                    StatusCode::CONFLICT,
                    "move-not-allowed",
                    "The alert cannot move there",
                    format!("an alert that is {from} cannot become {to}; it can become {ways}"),
                );
                problem.rare.allowed = Some(allowed);
                problem
            }
            Refusal::Invalid { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "refused",
                "The command makes no sense here",
                detail,
            ),
        }
    }
}

impl From<commands::Error> for Problem {
    fn from(error: commands::Error) -> Self {
        match error {
            commands::Error::Unavailable { reason } => {
                tracing::warn!(reason, "a command was sent away");
                Self::unavailable(reason)
            }
            commands::Error::Timeout { what } => {
                tracing::warn!(what, "a command had no answer in time");
                Self::timeout(&what)
            }
            commands::Error::NotTaken { .. } => {
                tracing::warn!("the log does not take what was sent");
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "not-taken",
                    "The log does not take this",
                    error.to_string(),
                )
            }
            commands::Error::NotFound { what } => Self::not_found(format!("there is no {what}")),
            commands::Error::Elsewhere { owner } => Self::elsewhere(owner),
            commands::Error::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<models::Error> for Problem {
    fn from(error: models::Error) -> Self {
        let detail = error.to_string();
        match error {
            models::Error::Unavailable { reason } => {
                tracing::warn!(reason, "a change of a model was sent away");
                Self::unavailable(reason)
            }
            models::Error::NotFound { .. } => Self::not_found(detail),
            models::Error::Refused { reasons, .. } => {
                let mut problem = Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "model-refused",
                    "The version does not pass its checks",
                    detail,
                );
                problem.errors = reasons.into_iter().map(|reason| Fault::new("version", reason)).collect();
                problem
            }
            models::Error::NotAllowed { .. } => Self::new(
                StatusCode::CONFLICT,
                "model-change-not-allowed",
                "The model cannot change so",
                detail,
            ),
        }
    }
}

impl From<projection::Error> for Problem {
    fn from(error: projection::Error) -> Self {
        match error {
            projection::Error::Unavailable { .. } => {
                tracing::warn!(error = %Chain(&error), "a query was sent away");
                Self::unavailable("queries cannot be answered for the moment")
            }
            projection::Error::Unusable { .. } => Self::internal(&error),
            projection::Error::BadCursor => Self::bad_at("cursor", error.to_string()),
        }
    }
}
