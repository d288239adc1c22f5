//! The one table of what is served, and the way from a request to its call.
//!
//! Law: a path that no route has is 404, a method that a path does not know is 405 with `Allow`, a call that panics or
//! lasts too long is still answered. A table of our own and not warp's `or` chain: the chain tries every route in turn, and
//! cannot say which methods a path knows. Called by [`super::server`] and by tests, through [`routes`].

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use hyper::body::Body as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use super::problem::Problem;
use super::query::{Query, decode};
use super::{
    App, alerts, body, events, health, models, openapi, outcomes, parked, performance, signals, stats,
    stream, users,
};
use crate::domain::id::UserId;
use crate::metrics;
use crate::store::BoxFuture;

/// Names who did a command; `api` when it is not there.
pub(super) const ACTOR: &str = "x-intentd-actor";
/// The access log's own target, so that it can be turned on alone: `log.filter = "info,intentd::access=debug"`.
const ACCESS: &str = "intentd::access";
/// Longest name of who did a command, in bytes: it is written into every fact.
const ACTOR_BYTES_MAX: usize = 64;
/// Names that the daemon itself writes, so nobody else may.
const ACTORS_RESERVED: &[&str] = &["sweep", "policy", "start", "signal"];

/// What is asked of a route.
pub(super) struct Call {
    /// What it may use.
    pub(super) app: Arc<App>,
    /// The head's fields.
    pub(super) headers: HeaderMap,
    /// The values of the template's parameters, decoded.
    params: Vec<String>,
    query: String,
    body: Option<body::Incoming>,
}

type Answer = Result<Response, Problem>;

/// A route: a method, a path template, and what answers.
pub struct Route {
    /// `GET`, `POST`, `PATCH`; `HEAD` and `OPTIONS` follow from them.
    pub method: Method,
    /// Segments, of which those in braces are parameters.
    pub template: &'static str,
    answer: fn(Call) -> BoxFuture<'static, Answer>,
}

macro_rules! routes {
    ($($method:ident $template:literal => $answer:path,)*) => {
        /// Everything that is served. The first template that fits a path has it: plain segments stand before parameters.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            template: $template,
            answer: |call| Box::pin($answer(call)),
        }),*];
    };
}

routes! {
    POST "/api/v1/events" => events::append,
    GET "/api/v1/alerts" => alerts::list,
    GET "/api/v1/alerts/stats" => stats::get,
    GET "/api/v1/alerts/models/performance" => performance::get,
    POST "/api/v1/alerts/process-signals" => users::process_signals,
    POST "/api/v1/alerts/score-user" => users::score_one,
    POST "/api/v1/alerts/score-users" => users::score_many,
    GET "/api/v1/alerts/models" => models::list,
    POST "/api/v1/alerts/models/reload" => models::reload,
    GET "/api/v1/alerts/models/{modelType}/history" => models::history,
    POST "/api/v1/alerts/models/{modelType}/activate" => models::activate,
    POST "/api/v1/alerts/models/{modelType}/rollback" => models::rollback,
    POST "/api/v1/alerts/models/{modelType}/challenge" => models::challenge,
    POST "/api/v1/alerts/models/{modelType}/unchallenge" => models::unchallenge,
    POST "/api/v1/alerts/models/{modelType}/promote" => models::promote,
    GET "/api/v1/alerts/user/{userId}" => alerts::list_of_user,
    GET "/api/v1/alerts/{id}" => alerts::get,
    PATCH "/api/v1/alerts/{id}/status" => alerts::set_status,
    POST "/api/v1/alerts/{id}/outcome" => outcomes::record,
    POST "/api/v1/outcomes" => outcomes::conversion,
    GET "/api/v1/users/{userId}" => users::get,
    GET "/api/v1/signals/{userId}" => signals::list,
    GET "/api/v1/stream/alerts" => stream::alerts,
    GET "/api/v1/parked" => parked::list,
    POST "/api/v1/parked/{userId}/{revision}/replay" => parked::replay,
    GET "/api/v1/openapi.json" => openapi::get,
    GET "/healthz" => health::alive,
    GET "/readyz" => health::ready,
    GET "/metrics" => health::metrics,
}

/// The API as a warp filter that answers everything.
pub fn routes(
    app: Arc<App>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, path: warp::path::FullPath, query, headers, stream| {
            let body = Some(body::incoming(stream));
            let call = Call { app: Arc::clone(&app), headers, params: Vec::new(), query, body };
            async move { answer(&method, path.as_str(), call).await }
        })
        .recover(|rejection: warp::Rejection| async move {
            tracing::error!(?rejection, "a request was turned away before its route");
            Ok::<_, Infallible>(Problem::defect().into_response())
        })
        .unify()
}

async fn answer(method: &Method, path: &str, call: Call) -> Response {
    let began = Instant::now();
    let (template, answered) = match find(path) {
        Some((template, params)) => (template, on_path(method, template, Call { params, ..call }).await),
        None => {
            ("unmatched", Err(Problem::not_found("no call has this path; /api/v1/openapi.json lists all")))
        }
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if *method == Method::HEAD {
        response = without_body(response);
    }
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::OPTIONS];
    let label = if known.contains(method) { method.as_str() } else { "other" };
    let (status, took) = (response.status(), began.elapsed());
    metrics::http_requests(template, label, status.as_str(), 1);
    metrics::http_duration(template, took);
    // The template and not the path, and no query: who was asked about is nobody's business here.
    tracing::debug!(target: ACCESS, method = label, route = template, status = status.as_u16(), ?took, "answered");
    response
}

/// Answers for a path that there is.
async fn on_path(method: &Method, template: &'static str, call: Call) -> Answer {
    let of_path = || ROUTES.iter().filter(|route| route.template == template);
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let Some(route) = of_path().find(|route| route.method == *wanted) else {
        let mut allow: Vec<&str> = of_path().map(|route| route.method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        let allow = allow.join(", ");
        if *method != Method::OPTIONS {
            return Err(Problem::method_not_allowed(&allow));
        }
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_str(&allow).map_err(|e| Problem::internal(&e))?);
        return Ok(response);
    };
    let limit = call.app.options.request_timeout;
    let fenced = AssertUnwindSafe((route.answer)(call)).catch_unwind();
    match tokio::time::timeout(limit, fenced).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!(template, "a call panicked");
            Err(Problem::defect())
        }
        Err(_) => Err(Problem::timeout("the request")),
    }
}

/// The template of a path, and the values of its parameters as they stand in the path.
fn find(path: &str) -> Option<(&'static str, Vec<String>)> {
    let mut last = "";
    ROUTES.iter().find_map(|route| {
        let is_same = std::mem::replace(&mut last, route.template) == route.template;
        if is_same { None } else { fit(route.template, path).map(|params| (route.template, params)) }
    })
}

fn fit(template: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut segments = path.split('/');
    for wanted in template.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            params.push(segment.to_owned());
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(params)
}

/// The answer to `HEAD`: what `GET` would say of its body, and no body.
fn without_body(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(bytes) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    Response::from_parts(head, Default::default())
}

impl Call {
    /// The query's parameters.
    pub(super) fn query(&self) -> Query {
        Query::parse(&self.query)
    }

    /// Refuses any query parameter.
    pub(super) fn no_query(&self) -> Result<(), Problem> {
        self.query().finish()
    }

    /// A path parameter, decoded.
    pub(super) fn param(&self, at: usize, name: &str) -> Result<String, Problem> {
        let raw = self.params.get(at).map(String::as_str).unwrap_or_default();
        decode(raw, false).map_err(|error| Problem::bad_at(name, error.to_string()))
    }

    /// The user that the path names.
    pub(super) fn user(&self) -> Result<UserId, Problem> {
        let text = self.param(0, "userId")?;
        text.parse().map_err(|error: crate::domain::id::BadId| Problem::bad_at("userId", error.to_string()))
    }

    /// The body, of at most `bytes_max`.
    pub(super) async fn body(&mut self, bytes_max: usize) -> Result<body::Whole, Problem> {
        let stream = self.body.take().ok_or_else(Problem::defect)?;
        body::read(stream, &self.headers, bytes_max, &self.app.options, &self.app.body_kib).await
    }

    /// The body of a command, parsed.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let body = self.body(self.app.options.body_max).await?;
        body::json(&self.headers, &body.bytes)
    }

    /// Who does a command: the header `x-intentd-actor`, or `api`.
    pub(super) fn actor(&self) -> Result<String, Problem> {
        let Some(given) = self.headers.get(ACTOR) else { return Ok("api".to_owned()) };
        let name = std::str::from_utf8(given.as_bytes()).unwrap_or_default().trim();
        let name = super::query::text(name, ACTOR_BYTES_MAX).map_err(|why| Problem::bad_at(ACTOR, why))?;
        if ACTORS_RESERVED.contains(&name.as_str()) {
            return Err(Problem::bad_at(ACTOR, format!("{name} is a name that the daemon itself writes")));
        }
        Ok(name)
    }
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|error| Problem::internal(&error))?;
    Ok(with_type(status, "application/json", bytes))
}

/// An answer with a body of a type.
pub(super) fn with_type(status: StatusCode, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
