//! The parts that every event of a sender has, read without giving up at the first one that is wrong.
//!
//! Law: any JSON object is an envelope; what its parts are worth is asked one by one. Called by `ingest`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::ingest::Fault;

/// An event as far as every type has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) id: Part<'a>,
    #[serde(borrow, default)]
    pub(super) user_id: Part<'a>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Part<'a>,
    #[serde(borrow, default)]
    pub(super) occurred_at: Part<'a>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

/// A part that should be a text.
#[derive(Default)]
pub(super) enum Part<'a> {
    #[default]
    Missing,
    Text(Cow<'a, str>),
    NoText,
}

impl Part<'_> {
    /// The text; a fault when there is none.
    pub(super) fn text(&self, path: &str, what: &str, faults: &mut Vec<Fault>) -> Option<&str> {
        match self {
            Self::Text(text) => return Some(text),
            Self::Missing => faults.push(Fault::new(path, format!("is missing: {what}"))),
            Self::NoText => faults.push(Fault::new(path, format!("must be a text: {what}"))),
        }
        None
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyPart)
    }
}

struct AnyPart;

impl<'de> Visitor<'de> for AnyPart {
    type Value = Part<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Part<'de>, E> {
        Ok(Part::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Part<'de>, E> {
        Ok(Part::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Part<'de>, E> {
        Ok(Part::Missing)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Part<'de>, E> {
        Ok(Part::NoText)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Part<'de>, E> {
        Ok(Part::NoText)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Part<'de>, E> {
        Ok(Part::NoText)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Part<'de>, E> {
        Ok(Part::NoText)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Part<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Part::NoText)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Part::NoText)
    }
}
