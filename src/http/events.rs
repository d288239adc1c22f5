//! `POST /events`: one event, an array, JSON Lines or CloudEvents; all or nothing.
//!
//! Law: one event that is wrong refuses the request and every fault is named by its index; what is answered 202 is durable.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use warp::http::StatusCode;
use warp::reply::Response;

use super::body::{Whole, media_type};
use super::cloudevents::{self, CloudEvent};
use super::dto::{Accepted, Events};
use super::problem::{FAULTS_LISTED_MAX, Fault, Problem};
use super::routes::{Call, json};
use super::{Check, Options};
use crate::commands::Ingest;

/// Most events in a request (CONTRACT).
pub(super) const EVENTS_MAX: usize = 10_000;
/// Bodies up to this are parsed where they are: about 100 events, half a millisecond.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line.
    Lines,
    /// One CloudEvent.
    Cloud,
    /// An array of CloudEvents.
    CloudBatch,
}

/// Append 1 to 10,000 events
///
/// All or nothing: one bad event refuses the request, and each fault is named by its index (`[3].data.price`). Answered
/// once the events are durable. The same `id` again is a duplicate and has no second effect. CloudEvents: `subject` is the
/// user, `time` is `occurredAt`; ids must be unique per user whatever their `source`.
#[utoipa::path(post, path = "/api/v1/events", tag = "events", operation_id = "appendEvents",
    request_body(content(
        (Events<'static> = "application/json"),
        (String = "application/x-ndjson"),
        (CloudEvent<'static> = "application/cloudevents+json"),
        (Vec<CloudEvent<'static>> = "application/cloudevents-batch+json"),
    )),
    responses(
        (status = 202, description = "They are durable.", body = Accepted),
        (status = 400, description = "An event is wrong; nothing was appended.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is of no kind that is read here.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The log takes no such event, or not so many bytes of one user at once; `detail` says what.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not now; `Retry-After` says when.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn append(mut call: Call) -> Result<Response, Problem> {
    call.no_query()?;
    let shape = match media_type(&call.headers)?.as_deref() {
        None | Some("application/json") => Shape::Json,
        Some("application/x-ndjson") => Shape::Lines,
        Some("application/cloudevents+json") => Shape::Cloud,
        Some("application/cloudevents-batch+json") => Shape::CloudBatch,
        Some(other) => {
            return Err(Problem::unsupported(format!(
                "{other}: send application/json, application/x-ndjson, application/cloudevents+json or \
                 application/cloudevents-batch+json"
            )));
        }
    };
    let body = call.body(call.app.options.events_body_max).await?;
    let app = Arc::clone(&call.app);
    let batch = if body.bytes.len() <= INLINE_BYTES_MAX {
        Batch::read(shape, &body.bytes, &app.ports.check, &app.options)?
    } else {
        let Whole { bytes, .. } = &body;
        let (bytes, check, options) = (bytes.clone(), Arc::clone(&app.ports.check), app.options.clone());
        app.parses.run(move || Batch::read(shape, &bytes, &check, &options)).await??
    };
    let Batch { events, duplicates } = batch;
    let done = app.ports.commands.ingest(events).await?;
    let answer = Accepted {
        accepted: done.accepted,
        duplicates: done.duplicates + duplicates,
        position: done.position.0,
    };
    json(StatusCode::ACCEPTED, &answer)
}

/// Checked events, each id once.
struct Batch {
    events: Vec<Ingest>,
    /// How many were left out because the request holds their id already.
    duplicates: u64,
}

impl Batch {
    fn read(shape: Shape, body: &Bytes, check: &Check, options: &Options) -> Result<Self, Problem> {
        let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let (texts, has_index) = match (shape, is_list) {
            (Shape::Lines, _) => (lines(body)?, true),
            (Shape::Json, true) | (Shape::CloudBatch, _) => (array(body)?, true),
            (Shape::Json, false) | (Shape::Cloud, _) => (vec![body.trim_ascii()], false),
        };
        if texts.iter().all(|text| text.is_empty()) {
            return Err(Problem::bad_at("", "there is no event in the body"));
        }
        let is_cloud = matches!(shape, Shape::Cloud | Shape::CloudBatch);
        let mut batch = Self { events: Vec::with_capacity(texts.len()), duplicates: 0 };
        let mut seen = HashSet::with_capacity(texts.len());
        let mut faults = Faults::default();
        for (index, text) in texts.into_iter().enumerate() {
            let checked = if text.len() > options.event_max {
                Err(vec![Fault::new("", format!("one event has at most {} bytes", options.event_max))])
            } else if is_cloud {
                cloudevents::check(text, check)
            } else {
                check(&body.slice_ref(text)).map_err(|faults| faults.into_iter().map(Fault::from).collect())
            };
            match checked {
                // The id is made from the user and the client's id: it names the event in whichever stream.
                Ok(ingest) if seen.insert(ingest.event.id) => batch.events.push(ingest),
                Ok(_) => batch.duplicates += 1,
                Err(found) => faults.add(found, has_index.then_some(index)),
            }
        }
        if faults.found > 0 { Err(Problem::bad_among(faults.listed, faults.found)) } else { Ok(batch) }
    }
}

/// The first faults, and how many there are.
#[derive(Default)]
struct Faults {
    listed: Vec<Fault>,
    found: usize,
}

impl Faults {
    fn add(&mut self, found: Vec<Fault>, index: Option<usize>) {
        self.found += found.len();
        let room = FAULTS_LISTED_MAX.saturating_sub(self.listed.len());
        self.listed.extend(found.into_iter().take(room).map(|Fault { path, message }| Fault {
            path: match index {
                None => path,
                Some(index) if path.is_empty() || path.starts_with('[') => format!("[{index}]{path}"),
                Some(index) => format!("[{index}].{path}"),
            },
            message,
        }));
    }
}

fn too_many() -> String {
    format!("a request holds at most {EVENTS_MAX} events")
}

/// The lines that are not blank.
fn lines(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut texts = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if texts.len() == EVENTS_MAX {
            return Err(Problem::bad_at("", too_many()));
        }
        texts.push(line);
    }
    Ok(texts)
}

/// The elements of a JSON array, unparsed; refuses the array as soon as it has too many.
fn array(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let elements = deserializer.deserialize_seq(Elements).and_then(|elements| {
        deserializer.end()?;
        Ok(elements)
    });
    elements.map_err(|error| Problem::bad_at("", error.to_string()))
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(element) = sequence.next_element::<&'de RawValue>()? {
            if texts.len() == EVENTS_MAX {
                return Err(A::Error::custom(too_many()));
            }
            texts.push(element.get().as_bytes());
        }
        Ok(texts)
    }
}
