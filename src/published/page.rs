//! The page of events, in Markdown.
//!
//! Law: pure; everything it says of an event comes from its schema and its example. Called by the module above.

use std::fmt::Write as _;

use serde_json::Value;

use super::ordered::Ordered;
use super::{Page, Written};
use crate::domain::event::NewEvent;
use crate::domain::id::stream;

const HEAD: &str = "\
# Events

<!-- Made from the code by `intentd events --write .`; a test compares. Change the code, not this file. -->

What `intentd` writes into its log, for whoever reads it there: through a KurrentDB client, from a copy of the store, or in this
repository. The schemas of the data are in `config/schemas/<Type>.json` (JSON Schema, draft 2020-12); tests hold every event of
whole runs to them.

- **Events only ever gain fields**: read leniently, and pass over types and fields that you do not know. `schema` in the metadata
  moves only when a reader has to tell two meanings apart.
- **Ids** are UUIDs made from what caused the event (version 5), so a retry is the same event: a reader that keeps the ids it has
  seen does everything once, and one that resumes after the last position it has done with misses nothing.
- **Order** is that of the stream. Events that follow from one event of a user are appended together, and stand next to each other.
- **Times** are RFC 3339, UTC, with milliseconds. Event time is the time in the behaviour events; the wall clock is written only by
  what people ask for (status, outcome, models).
- **Numbers** of scores and features are float32, written so that they read back bit for bit; null is a number that is not known.

| stream | holds | written by |
|---|---|---|
| `user-<userId>` | behaviour events as their senders sent them (types and fields are in the catalogue), and requests | the API, importers, the sweep, other systems |
| `market-<name>` | market events (`userId` is `\"*\"`) | the same |
| `intent-<userId>` | decisions about that user | that user's actor alone, at an exact expected revision |
| `model-<MODEL>` | which version of a model serves, and why | the model registry, at an exact expected revision |
| `intentd-store` | one event, which names the log; in a cluster only | the first data directory that used the cluster |
";

const METADATA: &str = "\
## Metadata

Every event of `intent-` and `model-` streams has it; what we write into `user-` streams has none, as all that stands there may
come from anybody, and neither has `intentd-store`.
";

pub(super) fn text(pages: &[Page], metadata: &Value) -> String {
    let mut text = String::from(HEAD);
    text.push_str("\n| type | stream | schema | says |\n|---|---|---|---|\n");
    for Page { event_type, written, schema, .. } in pages {
        let version = written.version().map_or_else(|| "–".to_owned(), |version| version.to_string());
        let stream = written.stream();
        let says = described(schema);
        // Writing to a text cannot fail; so below.
        _ = writeln!(
            text,
            "| [`{event_type}`](#{}) | `{stream}` | {version} | {says} |",
            event_type.to_lowercase()
        );
    }
    _ = write!(text, "\n{METADATA}\n");
    let example = pages.iter().find_map(|page| page.example.as_ref()).and_then(|event| read(&event.metadata));
    table(&mut text, metadata, example.as_ref());
    for page in pages {
        section(&mut text, page);
    }
    text
}

fn section(text: &mut String, page: &Page) {
    let Page { event_type, written, schema, example } = page;
    _ = write!(text, "\n## {event_type}\n\n{}\n\n", described(schema));
    let data = example.as_ref().and_then(|event| read(&event.data));
    table(text, schema, data.as_ref());
    if let Some(event) = example
        && let Ok(shown) = serde_json::to_string_pretty(&whole(*written, event))
    {
        _ = write!(text, "\n```json\n{shown}\n```\n");
    }
}

fn described(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn read(json: &[u8]) -> Option<Ordered> {
    serde_json::from_slice(json).ok()
}

/// The event with what the store keeps beside its data.
fn whole(written: Written, event: &NewEvent) -> Ordered {
    let text = |text: String| Ordered::Leaf(Value::String(text));
    let data = read(&event.data).unwrap_or(Ordered::Leaf(Value::Null));
    let subject = |key| match data.get(key) {
        Some(Ordered::Leaf(Value::String(subject))) => subject.clone(),
        Some(_) | None => String::new(),
    };
    let stream = match written {
        Written::Decision => format!("{}{}", stream::INTENT, subject("userId")),
        Written::Request => format!("{}{}", stream::USER, subject("userId")),
        Written::Model => stream::model(&subject("modelType")),
        Written::Store => stream::STORE.to_owned(),
    };
    let mut members = vec![
        ("stream".to_owned(), text(stream)),
        ("type".to_owned(), text(event.event_type.to_string())),
        ("id".to_owned(), text(event.id.to_string())),
    ];
    members.extend(read(&event.metadata).map(|metadata| ("metadata".to_owned(), metadata)));
    members.push(("data".to_owned(), data));
    Ordered::Object(members)
}

fn table(text: &mut String, schema: &Value, example: Option<&Ordered>) {
    text.push_str("| field | type | unit | | meaning |\n|---|---|---|---|---|\n");
    rows(text, schema, schema, "", example);
}

/// One row for each field, in the order of the example; fields of objects below their object.
fn rows(text: &mut String, root: &Value, object: &Value, prefix: &str, example: Option<&Ordered>) {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
    let mut fields: Vec<_> = properties.iter().collect();
    let place = |name: &String| example.and_then(|example| example.place(name)).unwrap_or(usize::MAX);
    fields.sort_by_key(|(name, _)| place(name));
    let required = object.get("required").and_then(Value::as_array);
    for (name, property) in fields {
        let is_required = required.is_some_and(|required| required.iter().any(|known| known == name));
        let unit = property.get("x-unit").and_then(Value::as_str).unwrap_or_default();
        let presence = if is_required { "always" } else { "sometimes" };
        let (kind, inner) = kind(root, property);
        let meaning = described(property);
        _ = writeln!(text, "| `{prefix}{name}` | {kind} | {unit} | {presence} | {meaning} |");
        if let Some(inner) = inner {
            let list = if kind.starts_with("list") { "[]" } else { "" };
            let example = example.and_then(|example| example.get(name));
            rows(text, root, inner, &format!("{prefix}{name}{list}."), example);
        }
    }
}

/// What a field holds, in words; and the object, where it holds one or a list of them.
fn kind<'a>(root: &'a Value, property: &'a Value) -> (String, Option<&'a Value>) {
    let property = resolved(root, property);
    if let Some(choices) = property.get("oneOf").and_then(Value::as_array) {
        let names: Vec<_> = choices.iter().filter_map(|choice| choice.get("const")?.as_str()).collect();
        return (format!("one of {}", names.join(", ")), None);
    }
    let (name, or_null) = match property.get("type") {
        Some(Value::Array(types)) => {
            let name = types.iter().filter_map(Value::as_str).find(|name| *name != "null");
            (name.unwrap_or_default(), " or null")
        }
        Some(Value::String(name)) => (name.as_str(), ""),
        Some(_) | None => ("", ""),
    };
    let format = property.get("format").and_then(Value::as_str);
    let said = match (name, format) {
        ("string", Some("uuid")) => "UUID",
        ("string", Some("date-time")) => "time",
        ("string", _) => "text",
        ("integer", _) => "whole number",
        ("number", Some("float")) => "number (float32)",
        ("number", _) => "number",
        ("boolean", _) => "true or false",
        ("object", _) => return ("object".to_owned(), Some(property)),
        ("array", _) => {
            let (of, inner) = property.get("items").map_or_else(Default::default, |items| kind(root, items));
            return (format!("list of {of}"), inner);
        }
        (other, _) => other,
    };
    (format!("{said}{or_null}"), None)
}

/// What a reference names.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str);
    name.and_then(|name| root.pointer(name.trim_start_matches('#'))).unwrap_or(schema)
}
