//! One line of the log: small while millions of them are sorted, whole when it is written.
//!
//! Law: what a line says follows from its own few bytes and the person; so its fields are drawn only when it is written.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::hidden::{Intent, Stage};
use super::kind::Kind;
use crate::domain::time::Timestamp;

/// What a session is about: an intent and how far it has come; none when idle.
pub(crate) type Focus = Option<(Intent, Stage)>;

/// One line; `time` first, then who, then which of theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) time: Timestamp,
    /// None for the market.
    pub(crate) user: Option<u32>,
    pub(crate) serial: u32,
    pub(crate) kind: Kind,
    pub(crate) focus: Focus,
}

/// Field values by name.
pub(crate) type Fields = smallvec::SmallVec<[(&'static str, Datum); 5]>;

/// A field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Datum {
    /// A number, rounded to so many decimals.
    Number(f64, u8),
    /// A text made of a prefix and a number, such as `L6756`.
    Tag(&'static str, u32),
    /// One of a fixed set of texts.
    Word(&'static str),
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Number(number, decimals) => {
                let scale = 10f64.powi(i32::from(decimals));
                serializer.serialize_f64((number * scale).round() / scale)
            }
            Self::Tag(prefix, number) => serializer.collect_str(&format_args!("{prefix}{number}")),
            Self::Word(word) => serializer.serialize_str(word),
        }
    }
}

/// Field values, written as an object.
struct Object<'a>(&'a Fields);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, datum)| (name, datum)))
    }
}

/// What stands in a line besides who, when and which.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A behaviour or market event's fields.
    Fields(Fields),
    /// A conversion of this model type with this value.
    Conversion(&'static str, f64),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    id: &'a str,
    user_id: &'a str,
    r#type: &'static str,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Object<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    converted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion_value: Option<f64>,
}

impl Line {
    /// Writes the line as JSON.
    pub(crate) fn write(&self, body: &Body, out: &mut impl Write) -> io::Result<()> {
        let (user_id, id) = match self.user {
            Some(user) => (user_id(user), format!("e{user}-{}", self.serial)),
            None => ("*".to_owned(), format!("m-{}-{}", self.kind.name(), self.serial)),
        };
        let (data, model_type, conversion_value) = match body {
            Body::Fields(fields) => (Some(Object(fields)), None, None),
            Body::Conversion(model_type, value) => (None, Some(*model_type), Some(value.round())),
        };
        let written = Written {
            id: &id,
            user_id: &user_id,
            r#type: self.kind.name(),
            occurred_at: self.time,
            data,
            model_type,
            converted: model_type.map(|_| true),
            conversion_value,
        };
        serde_json::to_writer(&mut *out, &written)?;
        out.write_all(b"\n")
    }
}

/// The id of a person.
pub(crate) fn user_id(user: u32) -> String {
    format!("user-{user}")
}
