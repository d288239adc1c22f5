//! Request bodies: read with a running limit, a time limit and a share of the memory for all bodies, then parsed strictly.
//!
//! Law: no more of a body is held than its call takes, whatever its length claims to be; chunked bodies are as good as
//! others. Called by the files of the resources, through [`super::routes::Call`].

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use super::options::Options;
use super::problem::{Fault, Problem};

/// The bytes of a request as they arrive.
pub(super) type Incoming = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// Makes warp's body stream one type.
pub(super) fn incoming<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> Incoming {
    Box::pin(stream.map(|chunk| chunk.map(|mut buffer| buffer.copy_to_bytes(buffer.remaining()))))
}

/// A body in memory; its share of the memory for bodies comes back when this is dropped.
pub(super) struct Whole {
    /// All of it.
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `bytes_max`.
pub(super) async fn read(
    mut stream: Incoming,
    headers: &HeaderMap,
    bytes_max: usize,
    options: &Options,
    kib_left: &Arc<Semaphore>,
) -> Result<Whole, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Problem::unsupported("the body must come as it is, with no Content-Encoding"));
    }
    let claimed = headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let reading = async {
        let mut share: Option<OwnedSemaphorePermit> = None;
        let mut body = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Problem::bad_at("", "the body ended before its end"))?;
            if body.len() + chunk.len() > bytes_max {
                return Err(Problem::too_large(bytes_max));
            }
            grow(&mut share, kib_left, body.len() + chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Whole { bytes: body.freeze(), _share: share })
    };
    tokio::time::timeout(options.body_timeout, reading)
        .await
        .map_err(|_| Problem::body_timeout(options.body_timeout))?
}

/// Takes as much of the memory for bodies as `bytes` need. Never waits: two half-read bodies could wait for each other.
fn grow(
    share: &mut Option<OwnedSemaphorePermit>,
    left: &Arc<Semaphore>,
    bytes: usize,
) -> Result<(), Problem> {
    let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = bytes.div_ceil(1024).saturating_sub(held);
    if missing == 0 {
        return Ok(());
    }
    let full = || Problem::unavailable("too many bytes of requests are under way");
    let more = u32::try_from(missing).map_err(|_| full())?;
    let more = Arc::clone(left).try_acquire_many_owned(more).map_err(|_| full())?;
    match share {
        Some(share) => share.merge(more),
        None => *share = Some(more),
    }
    Ok(())
}

/// The media type of a body, lower case, without parameters; none when the request does not say.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let given = given.to_str().map_err(|_| Problem::unsupported("the Content-Type is not readable"))?;
    let mut parts = given.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.eq_ignore_ascii_case("charset") && !is_utf8 {
            return Err(Problem::unsupported("the body must be UTF-8"));
        }
    }
    Ok(Some(essence))
}

/// Parses a JSON body; an unknown member, a wrong type and a missing member are named by their path. An empty body is `{}`.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    match media_type(headers)?.as_deref() {
        None | Some("application/json") => {}
        Some(other) => {
            return Err(Problem::unsupported(format!("{other}: send application/json")));
        }
    }
    let body = body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    if !body.starts_with(b"{") {
        // serde would read an array as the members of the object in their order.
        return Err(Problem::bad_at("", "the body must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // "." is the whole, "?" a place in JSON that breaks off.
        fault_of(if path == "." || path == "?" { "" } else { &path }, error.inner())
    })?;
    deserializer.end().map_err(|error| fault_of("", &error))?;
    Ok(value)
}

fn fault_of(path: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // serde names an unknown or missing member in its message alone: the path ends at the object around it.
    let member = (message.starts_with("unknown field `") || message.starts_with("missing field `"))
        .then(|| message.split('`').nth(1))
        .flatten()
        .filter(|member| path != *member && !path.ends_with(&format!(".{member}")));
    let path = match member {
        Some(member) if path.is_empty() => member.to_owned(),
        Some(member) => format!("{path}.{member}"),
        None => path.to_owned(),
    };
    Problem::bad(vec![Fault { path, message }])
}
