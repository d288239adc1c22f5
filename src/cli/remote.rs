//! Asks a running daemon over its API: for commands that look at what it holds.
//!
//! Law: nothing listening is an answer (none), not an error: the command then opens the data directory itself.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::{Failure, code};
use crate::config::Config;

/// A person waits.
const TIMEOUT: Duration = Duration::from_secs(30);

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// `GET` under the API's base; none when no daemon listens where the configuration says.
pub(super) fn get(config: &Config, path: &str) -> Result<Option<Value>, Failure> {
    answer(agent().get(url(config, path)).call())
}

/// `POST` without a body under the API's base; none when no daemon listens.
pub(super) fn post(config: &Config, path: &str) -> Result<Option<Value>, Failure> {
    answer(agent().post(url(config, path)).send_empty())
}

/// `POST` of a JSON body under the API's base, done in the name of the command line; none when no daemon listens.
pub(super) fn send(config: &Config, path: &str, body: &Value) -> Result<Option<Value>, Failure> {
    answer(agent().post(url(config, path)).header("x-intentd-actor", "cli").send_json(body))
}

fn url(config: &Config, path: &str) -> String {
    format!("http://{}/api/v1{path}", config.http.listen)
}

fn answer(asked: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Option<Value>, Failure> {
    let failed = |error: &ureq::Error| Failure::of(code::UNAVAILABLE, "asking the daemon", error);
    let mut response = match asked {
        Ok(response) => response,
        Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let status = response.status();
    if status == 204 {
        return Ok(Some(Value::Null));
    }
    let body: Value = response.body_mut().read_json().map_err(|error| failed(&error))?;
    if status.is_success() {
        return Ok(Some(body));
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = match status.as_u16() {
        404 => code::NO_INPUT,
        409 | 422 => code::DATA,
        _ => code::UNAVAILABLE,
    };
    Err(Failure::new(code, format!("the daemon answers {status}: {} {}", text("title"), text("detail"))))
}

/// A path segment, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
