//! The door for the event types that are ours and not the catalogue's: `ScoreRequested` and `ConversionRecorded`.
//!
//! Law: their own keys stand beside `id` in the log; a sender may also write them in `data`, as in any other event.
//! Called by `ingest`.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value};

use super::facts::json;
use super::ingest::Fault;
use crate::domain::catalog::Catalog;
use crate::domain::event::{
    CONVERSION_RECORDED, ConversionRecorded, Ingest, NewEvent, SCORE_REQUESTED, ScoreRequested,
};
use crate::domain::id::{EventId, UserId, stream};
use crate::domain::time::Timestamp;

/// What the envelope held: id, subject, time; none where it was faulty.
type Parts<'a> = (Option<&'a str>, Option<&'a str>, Option<Timestamp>);

pub(super) fn check(
    catalog: &Catalog,
    raw: &[u8],
    name: &str,
    (id, subject, occurred_at): Parts<'_>,
    mut faults: Vec<Fault>,
) -> Result<Ingest, Vec<Fault>> {
    let user = subject.and_then(|subject| match subject.parse::<UserId>() {
        Ok(user) => Some(user),
        Err(error) => {
            faults.push(Fault::new("/userId", error.to_string()));
            None
        }
    });
    let whole: Map<String, Value> = match serde_json::from_slice(raw) {
        Ok(whole) => whole,
        Err(error) => {
            faults.push(Fault::new("", error.to_string()));
            return Err(faults);
        }
    };
    let (path, keys) = match whole.get("data") {
        Some(Value::Object(inner)) => ("/data", inner),
        _ => ("", &whole),
    };
    let mut reader = Reader { catalog, path, keys, faults };
    let (event_type, data) = if name == SCORE_REQUESTED {
        let (model_types, reason) = (reader.models(), reader.reason());
        let complete = parts(id, user.as_ref(), occurred_at).zip(reason);
        let event = complete.map(|((id, user_id, occurred_at), reason)| ScoreRequested {
            id,
            user_id,
            occurred_at,
            model_types,
            reason,
        });
        (SCORE_REQUESTED, event.map(|event| json(&event)))
    } else {
        let (model, converted, value) = (reader.model(), reader.converted(), reader.value());
        let complete = parts(id, user.as_ref(), occurred_at).zip(model.zip(converted));
        let event = complete.map(|((id, user_id, occurred_at), (model_type, converted))| {
            ConversionRecorded { id, user_id, model_type, converted, conversion_value: value, occurred_at }
        });
        (CONVERSION_RECORDED, event.map(|event| json(&event)))
    };
    finish(event_type, id, user.as_ref(), data, reader.faults)
}

fn parts(
    id: Option<&str>,
    user: Option<&UserId>,
    occurred_at: Option<Timestamp>,
) -> Option<(String, UserId, Timestamp)> {
    Some((id?.to_owned(), user?.detached(), occurred_at?))
}

fn finish(
    event_type: &'static str,
    id: Option<&str>,
    user: Option<&UserId>,
    data: Option<Bytes>,
    faults: Vec<Fault>,
) -> Result<Ingest, Vec<Fault>> {
    let (Some(id), Some(user), Some(data), true) = (id, user, data, faults.is_empty()) else {
        return Err(faults);
    };
    Ok(Ingest {
        stream: stream::user(user),
        event: NewEvent {
            id: EventId::of_behaviour(user.as_str(), id),
            event_type: ByteString::from_static(event_type),
            data,
            metadata: Bytes::new(),
        },
    })
}

struct Reader<'a> {
    catalog: &'a Catalog,
    path: &'static str,
    keys: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn fault<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::new(format!("{}/{key}", self.path), message));
        None
    }

    fn known(&mut self, key: &str, value: &Value) -> Option<String> {
        let Some(name) = value.as_str() else { return self.fault(key, "must be a text") };
        if self.catalog.model(name).is_none() {
            let models: Vec<_> = self.catalog.models.iter().map(|model| model.name.as_str()).collect();
            return self.fault(key, format!("there is no model {name:?}; there are {}", models.join(", ")));
        }
        Some(name.to_owned())
    }

    fn models(&mut self) -> Vec<String> {
        let Some(value) = self.get("modelTypes") else { return Vec::new() };
        let Some(names) = value.as_array() else {
            self.fault::<()>("modelTypes", "must be a list of models");
            return Vec::new();
        };
        let read = |(nth, name): (usize, &Value)| self.known(&format!("modelTypes/{nth}"), name);
        names.iter().enumerate().filter_map(read).collect()
    }

    fn reason(&mut self) -> Option<String> {
        match self.get("reason") {
            None => Some("REQUEST".to_owned()),
            Some(Value::String(reason)) if reason == "REQUEST" || reason == "SWEEP" => Some(reason.clone()),
            Some(_) => self.fault("reason", "must be REQUEST or SWEEP"),
        }
    }

    fn model(&mut self) -> Option<String> {
        match self.get("modelType") {
            Some(value) => self.known("modelType", value),
            None => self.fault("modelType", "is missing: which model should have seen it"),
        }
    }

    fn converted(&mut self) -> Option<bool> {
        match self.get("converted") {
            Some(Value::Bool(converted)) => Some(*converted),
            Some(_) => self.fault("converted", "must be true or false"),
            None => self.fault("converted", "is missing: whether it happened"),
        }
    }

    fn value(&mut self) -> Option<f64> {
        let value = self.get("conversionValue")?;
        match value.as_f64().filter(|value| *value >= 0.0) {
            Some(value) => Some(value),
            None => self.fault("conversionValue", "must be a number of at least 0"),
        }
    }
}
