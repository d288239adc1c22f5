//! The door: checks one event of a sender against the catalogue and makes it ready to append.
//!
//! Law: what passes here decodes; what does not is answered with every fault, each with its path. A sender's bytes are kept
//! as they are. Called by `POST /events` and by import.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::behaviour::FieldKey;
use super::envelope::{Envelope, Part};
use super::quick::{self, Sound};
use crate::domain::catalog::{Catalog, EventIx, EventSpec, FieldKind, FieldSpec};
use crate::domain::event::{CONVERSION_RECORDED, Ingest, NewEvent, SCORE_REQUESTED};
use crate::domain::id::{EventId, check_id, stream};
use crate::domain::time::Timestamp;

/// Something wrong in an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// A JSON pointer into the event, such as `/data/price`; empty for the event as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Checks one event, a JSON object, and makes it ready to append. `now` is the wall clock: an event may be ahead of it by
/// `future_max`. Keys that the catalogue does not know are kept and not checked.
///
/// # Errors
/// Every fault of the event.
pub fn check_ingest(
    catalog: &Catalog,
    raw: &Bytes,
    now: Timestamp,
    future_max: Duration,
) -> Result<Ingest, Vec<Fault>> {
    let sound =
        quick::check(catalog, raw).and_then(|sound| admit(catalog, raw, &sound, now.plus(future_max)));
    sound.map_or_else(|| check_long(catalog, raw, now, future_max), Ok)
}

/// What the short way read, if it passes the rest of the door too.
fn admit(catalog: &Catalog, raw: &Bytes, sound: &Sound<'_>, latest: Timestamp) -> Option<Ingest> {
    let Sound { id, subject, kind, occurred_at } = *sound;
    let mut faults = Vec::new();
    let market = check_subject(catalog, kind, Some(subject), &mut faults);
    let is_sound = faults.is_empty() && occurred_at <= latest;
    (is_sound && check_id(id).is_ok() && check_id(subject).is_ok())
        .then(|| ready(catalog, raw, (id, subject, kind), market))
}

/// An event that passed, made ready to append.
fn ready(
    catalog: &Catalog,
    raw: &Bytes,
    (id, subject, kind): (&str, &str, EventIx),
    market: Option<&str>,
) -> Ingest {
    Ingest {
        stream: market.map_or_else(|| [stream::USER, subject].concat(), stream::market),
        event: NewEvent {
            id: EventId::of_behaviour(subject, id),
            event_type: catalog.event_type(kind).cloned().unwrap_or_default(),
            data: raw.clone(),
            metadata: Bytes::new(),
        },
    }
}

/// The long way, which names every fault.
pub(super) fn check_long(
    catalog: &Catalog,
    raw: &Bytes,
    now: Timestamp,
    future_max: Duration,
) -> Result<Ingest, Vec<Fault>> {
    let envelope = match serde_json::from_slice::<Envelope<'_>>(raw) {
        Ok(envelope) => envelope,
        Err(error) => {
            return Err(vec![Fault::new("", format!("is no JSON object of an event: {error}"))]);
        }
    };
    let mut faults = Vec::new();
    let id = check_part("/id", &envelope.id, &mut faults);
    let subject = check_part("/userId", &envelope.user_id, &mut faults);
    let occurred_at = check_time(&envelope.occurred_at, now, future_max, &mut faults);
    let Some(name) = envelope.kind.text("/type", "the event's type, such as LISTING_VIEWED", &mut faults)
    else {
        return Err(faults);
    };
    if let SCORE_REQUESTED | CONVERSION_RECORDED = name {
        return super::built_in::check(catalog, raw, name, (id, subject, occurred_at), faults);
    }
    let Some(kind) = catalog.event(name) else {
        faults.push(Fault::new("/type", format!("there is no event type {name:?} in the catalogue")));
        return Err(faults);
    };
    let market = check_subject(catalog, kind, subject, &mut faults);
    if let Some(spec) = catalog.events.get(usize::from(kind.0)) {
        check_data(spec, envelope.data, &mut faults);
    }
    let (Some(id), Some(subject), true) = (id, subject, faults.is_empty()) else {
        return Err(faults);
    };
    Ok(ready(catalog, raw, (id, subject, kind), market))
}

fn check_part<'a>(path: &str, part: &'a Part<'_>, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let text = part.text(path, "a text of at most 200 bytes", faults)?;
    match check_id(text) {
        Ok(()) => Some(text),
        Err(error) => {
            faults.push(Fault::new(path, error.to_string()));
            None
        }
    }
}

fn check_time(
    part: &Part<'_>,
    now: Timestamp,
    future_max: Duration,
    faults: &mut Vec<Fault>,
) -> Option<Timestamp> {
    let text = part.text("/occurredAt", "when it happened, such as 2026-01-01T00:00:00.608Z", faults)?;
    match text.parse::<Timestamp>() {
        Ok(time) if time <= now.plus(future_max) => Some(time),
        Ok(time) => {
            faults.push(Fault::new(
                "/occurredAt",
                format!("{time} is more than {} s ahead of the clock, {now}", future_max.as_secs()),
            ));
            None
        }
        Err(error) => {
            faults.push(Fault::new("/occurredAt", error.to_string()));
            None
        }
    }
}

/// Whether the type and the subject belong together; the market of a market event.
fn check_subject<'a>(
    catalog: &'a Catalog,
    kind: EventIx,
    subject: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Option<&'a str> {
    let market = catalog.events.get(usize::from(kind.0)).and_then(|event| event.market.as_deref());
    match (market, subject) {
        (None, Some("*")) => {
            faults.push(Fault::new("/userId", "\"*\" is for market events; this type belongs to a user"));
        }
        (Some(_), Some(user)) if user != "*" => {
            faults.push(Fault::new("/userId", "a market event belongs to no user: write \"*\""));
        }
        _ => {}
    }
    market
}

fn check_data(spec: &EventSpec, data: Option<&RawValue>, faults: &mut Vec<Fault>) {
    let mut seen = 0_u64;
    if let Some(data) = data {
        let mut json = serde_json::Deserializer::from_str(data.get());
        let row = Row { specs: &spec.fields, faults, seen: &mut seen };
        if let Err(error) = json.deserialize_map(row) {
            faults.push(Fault::new("/data", format!("must be an object of fields: {error}")));
            return;
        }
    }
    for (nth, field) in spec.fields.iter().enumerate() {
        if field.required && seen & (1 << nth) == 0 {
            faults.push(Fault::new(format!("/data/{}", field.name), "is missing"));
        }
    }
}

struct Row<'a> {
    specs: &'a [FieldSpec],
    faults: &'a mut Vec<Fault>,
    /// One bit for each field that has a value; the catalogue allows 64 fields.
    seen: &'a mut u64,
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(found) = map.next_key_seed(FieldKey { specs: self.specs, next })? {
            let Some((at, spec)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match map.next_value_seed(Value { kind: &spec.kind })? {
                Verdict::Sound => *self.seen |= 1 << at,
                Verdict::Null => {}
                Verdict::Wrong(message) => {
                    *self.seen |= 1 << at;
                    self.faults.push(Fault::new(format!("/data/{}", spec.name), message));
                }
            }
            next = at + 1;
        }
        Ok(())
    }
}

enum Verdict {
    Sound,
    Null,
    Wrong(String),
}

struct Value<'a> {
    kind: &'a FieldKind,
}

impl Value<'_> {
    fn wrong(&self, found: &str) -> Verdict {
        let wanted = match self.kind {
            FieldKind::Number { integer: false, .. } => "a number",
            FieldKind::Number { integer: true, .. } => "a whole number",
            FieldKind::Text { .. } | FieldKind::Choice { .. } => "a text",
            FieldKind::Flag => "true or false",
        };
        Verdict::Wrong(format!("must be {wanted}, not {found}"))
    }

    fn number(&self, value: f64) -> Verdict {
        match self.kind {
            FieldKind::Number { min, max, .. } if !(*min..=*max).contains(&value) => {
                Verdict::Wrong(format!("must be between {min} and {max}, is {value}"))
            }
            FieldKind::Number { integer: true, .. } if value.fract() != 0.0 => {
                Verdict::Wrong(format!("must be a whole number, is {value}"))
            }
            FieldKind::Number { .. } => Verdict::Sound,
            FieldKind::Text { .. } | FieldKind::Choice { .. } | FieldKind::Flag => self.wrong("a number"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Verdict;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Verdict, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Verdict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Verdict, E> {
        Ok(self.number(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a field is a float: documented in the catalogue")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Verdict, E> {
        Ok(self.number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "a field is a float: documented in the catalogue")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Verdict, E> {
        Ok(self.number(value as f64))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Verdict, E> {
        Ok(if *self.kind == FieldKind::Flag { Verdict::Sound } else { self.wrong("true or false") })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Verdict, E> {
        Ok(match self.kind {
            FieldKind::Text { bytes_max } if value.len() > *bytes_max => {
                Verdict::Wrong(format!("has {} bytes, at most {bytes_max} are taken", value.len()))
            }
            FieldKind::Choice { of } if !of.iter().any(|known| known == value) => {
                Verdict::Wrong(format!("must be one of {}", of.join(", ")))
            }
            FieldKind::Text { .. } | FieldKind::Choice { .. } => Verdict::Sound,
            FieldKind::Number { .. } | FieldKind::Flag => self.wrong("a text"),
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Verdict, E> {
        Ok(Verdict::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Verdict, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.wrong("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verdict, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.wrong("an object"))
    }
}
