//! CloudEvents 1.0 in structured JSON, turned into our own event shape.
//!
//! Law: nothing is guessed: an attribute that we need and that is missing is a fault at its CloudEvents name.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Check;
use super::problem::Fault;
use crate::commands::Ingest;

/// A CloudEvent. Extension attributes are taken and dropped.
#[derive(Deserialize, ToSchema)]
pub(super) struct CloudEvent<'a> {
    /// `1.0`.
    #[serde(borrow)]
    #[schema(example = "1.0")]
    specversion: Cow<'a, str>,
    /// Unique per user.
    #[serde(borrow)]
    id: Cow<'a, str>,
    /// Where it comes from; kept with the event.
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// One of the catalogue's event types.
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    /// Who; `*` for a market event.
    #[serde(borrow, default)]
    #[schema(required = true)]
    subject: Option<Cow<'a, str>>,
    /// When it happened.
    #[serde(borrow, default)]
    #[schema(required = true, format = DateTime)]
    time: Option<Cow<'a, str>>,
    /// `application/json`, when given.
    #[serde(borrow, default)]
    datacontenttype: Option<Cow<'a, str>>,
    /// What the catalogue says of the type.
    #[serde(borrow, default)]
    #[schema(value_type = Object)]
    data: Option<&'a RawValue>,
    /// Not read here: send `data`.
    #[serde(borrow, default)]
    #[schema(ignore)]
    data_base64: Option<&'a RawValue>,
}

/// Our own shape of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Native<'a> {
    id: &'a str,
    user_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    occurred_at: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// Checks one CloudEvent as the event that it carries.
pub(super) fn check(text: &[u8], check: &Check) -> Result<Ingest, Vec<Fault>> {
    let given: CloudEvent<'_> =
        serde_json::from_slice(text).map_err(|error| vec![Fault::new("", error.to_string())])?;
    let mut faults = Vec::new();
    if given.specversion != "1.0" {
        faults.push(Fault::new("specversion", "must be \"1.0\""));
    }
    if given.source.is_empty() {
        faults.push(Fault::new("source", "must not be empty"));
    }
    if given.data_base64.is_some() {
        faults.push(Fault::new("data_base64", "is not read here: send data as JSON"));
    }
    if given.datacontenttype.as_deref().is_some_and(|kind| !is_json(kind)) {
        faults.push(Fault::new("datacontenttype", "must be application/json"));
    }
    let mut needed = |value: &'_ Option<Cow<'_, str>>, name: &str, what: &str| {
        if value.is_none() {
            faults.push(Fault::new(name, format!("is needed here: it names {what}")));
        }
    };
    needed(&given.subject, "subject", "the user");
    needed(&given.time, "time", "when it happened");
    if !faults.is_empty() {
        return Err(faults);
    }
    let native = Native {
        id: &given.id,
        user_id: given.subject.as_deref().unwrap_or_default(),
        kind: &given.kind,
        occurred_at: given.time.as_deref().unwrap_or_default(),
        source: &given.source,
        data: given.data,
    };
    let json = serde_json::to_vec(&native).map_err(|error| vec![Fault::new("", error.to_string())])?;
    check(&Bytes::from(json))
        .map_err(|faults| faults.into_iter().map(|fault| renamed(fault.into())).collect())
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

/// A fault at the name that the sender knows.
fn renamed(fault: Fault) -> Fault {
    let path = match fault.path.as_str() {
        "userId" => "subject".to_owned(),
        "occurredAt" => "time".to_owned(),
        _ => fault.path,
    };
    Fault { path, ..fault }
}
