//! Reads a behaviour or market event: one pass over the JSON, straight into the row of fields, nothing allocated.
//!
//! Law: the row has the catalogue's order and a value for every field; NaN where the event has none.
//! Called by [`super::decode`], for every event of the log.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::symbol;
use crate::domain::catalog::{Catalog, EventIx, FieldKind, FieldSpec};
use crate::domain::event::{Behaviour, Fields};
use crate::domain::time::Timestamp;

/// Reads the body of an event of this type.
pub(super) fn read(catalog: &Catalog, kind: EventIx, data: &[u8]) -> Result<Behaviour, serde_json::Error> {
    let specs = catalog.events.get(usize::from(kind.0)).map_or(&[][..], |event| &event.fields);
    if let Some((occurred_at, fields)) = super::quick::row(specs, data) {
        return Ok(Behaviour { kind, occurred_at, fields });
    }
    read_long(specs, kind, data)
}

/// The long way, which names what is wrong.
pub(super) fn read_long(
    specs: &[FieldSpec],
    kind: EventIx,
    data: &[u8],
) -> Result<Behaviour, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(data);
    let (occurred_at, fields) = json.deserialize_map(Body { specs })?;
    json.end()?;
    Ok(Behaviour { kind, occurred_at, fields })
}

struct Body<'a> {
    specs: &'a [FieldSpec],
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = (Timestamp, Fields);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut occurred_at = None;
        let mut fields = Fields::new();
        fields.resize(self.specs.len(), f64::NAN);
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Part::OccurredAt => occurred_at = Some(map.next_value_seed(Time)?),
                Part::Data => map.next_value_seed(Row { specs: self.specs, fields: &mut fields })?,
                Part::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let occurred_at = occurred_at.ok_or_else(|| A::Error::missing_field("occurredAt"))?;
        Ok((occurred_at, fields))
    }
}

enum Part {
    OccurredAt,
    Data,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Part;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Part, E> {
        Ok(match key {
            "occurredAt" => Part::OccurredAt,
            "data" => Part::Data,
            _ => Part::Other,
        })
    }
}

struct Time;

impl<'de> DeserializeSeed<'de> for Time {
    type Value = Timestamp;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Time {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(E::custom)
    }
}

struct Row<'a> {
    specs: &'a [FieldSpec],
    fields: &'a mut Fields,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event's fields, a JSON object")
    }

    /// `null` passes the door as no fields.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(found) = map.next_key_seed(FieldKey { specs: self.specs, next })? {
            let Some((at, spec)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Value { spec })?;
            if let Some(place) = self.fields.get_mut(at) {
                *place = value;
            }
            next = at + 1;
        }
        Ok(())
    }
}

/// Finds a field by its key, first where the catalogue's order says it stands.
pub(super) struct FieldKey<'a> {
    pub(super) specs: &'a [FieldSpec],
    pub(super) next: usize,
}

impl<'de, 'a> DeserializeSeed<'de> for FieldKey<'a> {
    type Value = Option<(usize, &'a FieldSpec)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'a> Visitor<'_> for FieldKey<'a> {
    type Value = Option<(usize, &'a FieldSpec)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        if let Some(spec) = self.specs.get(self.next)
            && spec.name == key
        {
            return Ok(Some((self.next, spec)));
        }
        Ok(self.specs.iter().enumerate().find(|(_, spec)| spec.name == key))
    }
}

struct Value<'a> {
    spec: &'a FieldSpec,
}

impl Value<'_> {
    fn number<E: Error>(&self, value: f64, unexpected: serde::de::Unexpected<'_>) -> Result<f64, E> {
        match self.spec.kind {
            FieldKind::Number { .. } => Ok(value),
            FieldKind::Text { .. } | FieldKind::Choice { .. } | FieldKind::Flag => {
                Err(E::invalid_type(unexpected, self))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Value<'_> {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.spec.kind {
            FieldKind::Number { .. } => "a number",
            FieldKind::Text { .. } | FieldKind::Choice { .. } => "a text",
            FieldKind::Flag => "true or false",
        };
        write!(f, "{what} in field {:?}", self.spec.name)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        self.number(value, serde::de::Unexpected::Float(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a field is a float: documented in the catalogue")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        self.number(value as f64, serde::de::Unexpected::Signed(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a field is a float: documented in the catalogue")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        self.number(value as f64, serde::de::Unexpected::Unsigned(value))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<f64, E> {
        match self.spec.kind {
            FieldKind::Flag => Ok(f64::from(u8::from(value))),
            FieldKind::Text { .. } | FieldKind::Choice { .. } | FieldKind::Number { .. } => {
                Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self))
            }
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
        match self.spec.kind {
            FieldKind::Text { .. } | FieldKind::Choice { .. } => Ok(symbol(value)),
            FieldKind::Number { .. } | FieldKind::Flag => {
                Err(E::invalid_type(serde::de::Unexpected::Str(value), &self))
            }
        }
    }

    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }
}
