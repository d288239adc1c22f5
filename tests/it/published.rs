//! `docs/events.md` and `config/schemas/` say what the code writes: made from it, compared with it, and with its golden files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use intentd::domain::codec::{FACT_SCHEMA, decode_metadata};
use intentd::published::{self, Written};
use serde_json::{Value, json};

use crate::support::schemas::{STRICT, Strict};

const WAY_OUT: &str = "write them again: cargo run -- events --write .";

#[test]
fn the_files_are_what_the_code_says() {
    let files = published::files();
    for (path, text) in &files {
        let there = fs::read_to_string(path).unwrap_or_default();
        assert!(there == *text, "{} is not what the code says; {WAY_OUT}", path.display());
    }
    let known: BTreeSet<_> = files.iter().map(|(path, _)| path.as_path()).collect();
    for entry in fs::read_dir("config/schemas").unwrap() {
        let path = entry.unwrap().path();
        assert!(known.contains(path.as_path()), "{} describes nothing that is written", path.display());
    }
}

/// Every property of a schema, with those of the objects that it refers to.
fn properties<'a>(schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match schema {
        Value::Object(members) => {
            for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                found.push((name.clone(), property));
            }
            members.values().for_each(|inner| properties(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| properties(inner, found)),
        _ => {}
    }
}

/// Whether a property holds a number.
fn is_number(property: &Value) -> bool {
    let is = |kind: &Value| kind == "number" || kind == "integer";
    match &property["type"] {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

#[test]
fn each_field_says_what_it_means_and_each_number_in_what() {
    let pages = published::pages();
    let schemas = pages.iter().map(|page| (page.event_type, &page.schema));
    let metadata = published::metadata();
    for (name, schema) in schemas.chain([("metadata", &metadata)]) {
        assert!(
            schema["description"].as_str().is_some_and(|text| text.len() > 20),
            "{name} is not explained"
        );
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let mut found = Vec::new();
        properties(schema, &mut found);
        assert!(!found.is_empty(), "{name}");
        for (field, property) in found {
            assert!(property["description"].is_string(), "{name}.{field} is not explained");
            let has_unit = property["x-unit"].is_string();
            assert_eq!(has_unit, is_number(property), "{name}.{field}: numbers have a unit, others none");
        }
    }
}

/// Whether an object has every field of its schema, and its objects theirs.
fn is_whole(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = schema["$ref"].as_str().map_or(schema, |name| root.pointer(&name[1..]).unwrap());
    if let Some(items) = value.as_array() {
        let first = items.first().ok_or("an empty list")?;
        return is_whole(root, &schema["items"], first);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let inner = value.get(name).ok_or_else(|| format!("no {name}"))?;
        is_whole(root, property, inner).map_err(|lack| format!("{name}: {lack}"))?;
    }
    Ok(())
}

#[test]
fn each_type_has_an_example_with_every_field() {
    let mut ids = BTreeSet::new();
    for page in published::pages() {
        let name = page.event_type;
        let event = page.example.unwrap_or_else(|| panic!("{name} has no example: src/published/example.rs"));
        let data = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(is_whole(&page.schema, &page.schema, &data), Ok(()), "the example of {name}");
        let stream = page.written.stream();
        assert_eq!(STRICT.fault_of(stream, name, &event.data, &event.metadata), None, "{name}");
        let version = decode_metadata(&event.metadata).unwrap().schema;
        let has_none = [Written::Request, Written::Store].contains(&page.written);
        let wanted = if has_none { 0 } else { FACT_SCHEMA };
        assert_eq!(version, wanted, "{name}");
        assert!(ids.insert(event.id), "{name} has the id of another example");
    }
}

#[test]
fn every_shape_ever_written_fits_its_schema() {
    let facts =
        crate::codec_golden::samples().into_iter().map(|(_, event)| crate::codec_golden::encoded(event));
    let models = crate::codec_golden_models::samples();
    let models = models.iter().map(|(_, event)| intentd::domain::codec::encode_model_event(event, 7));
    for (stream, event) in
        facts.map(|event| ("intent-u", event)).chain(models.map(|event| ("model-M", event)))
    {
        let fault = STRICT.fault_of(stream, &event.event_type, &event.data, &event.metadata);
        assert_eq!(fault, None, "{}", event.event_type);
    }
}

#[test]
fn a_field_that_is_not_described_and_a_type_without_a_page_are_found() {
    let schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/b" } }, "required": ["a"],
                         "$defs": { "b": { "type": "object", "properties": { "c": { "type": "number" } } } } });
    let metadata = json!({ "type": "object", "properties": { "schema": { "type": "integer" } } });
    let strict = Strict::of([("Known".to_owned(), schema), ("metadata".to_owned(), metadata)]);
    let fault = |stream, event_type, data: &str, metadata: &str| {
        strict.fault_of(stream, event_type, data.as_bytes(), metadata.as_bytes()).is_some()
    };
    assert!(!fault("intent-u", "Known", r#"{"a":{"c":1}}"#, "{}"));
    assert!(!fault("user-u", "LISTING_VIEWED", "{}", ""));
    for (stream, event_type, data, metadata) in [
        ("intent-u", "Known", r#"{"a":{"c":1,"more":1}}"#, "{}"),
        ("intent-u", "Known", r#"{"a":{"c":null}}"#, "{}"),
        ("intent-u", "Known", r#"{"a":{}}"#, r#"{"more":1}"#),
        ("intent-u", "Known", r#"{"a":{}}"#, ""),
        ("user-u", "Known", "{}", ""),
        ("intent-u", "Unknown", "{}", "{}"),
        ("model-m", "LISTING_VIEWED", "{}", "{}"),
    ] {
        assert!(fault(stream, event_type, data, metadata), "{stream} {event_type} {data} {metadata}");
    }
}

/// Where an event may be made. Another place would write what no page describes: let it go through one of these, or describe
/// what it writes in `published` and add it here.
const MAKERS: [&str; 7] = [
    "src/actors/requests.rs",
    "src/domain/codec/built_in.rs",
    "src/domain/codec/facts.rs",
    "src/domain/codec/ingest.rs",
    "src/domain/codec/model.rs",
    "src/published/example.rs",
    "src/store/kurrent/identity.rs",
];
/// Stores that pass on what others made.
const STORES: [&str; 2] = ["src/store/copy.rs", "src/store/kurrent/convert.rs"];

#[test]
fn events_are_made_where_they_are_described() {
    let made = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        // What stands behind a file's own tests writes no log.
        let mut lines = text.split("#[cfg(test)]").next().unwrap().lines();
        let makes = ["NewEvent {", "EventData::json(", "EventData::binary("];
        lines.any(|line| {
            makes.iter().any(|makes| line.contains(makes))
                && !["fn ", "struct "].iter().any(|word| line.contains(word))
        })
    };
    // The protocol's server passes on what others made, and writes for itself into `$…` alone.
    let is_told = |path: &PathBuf| !path.starts_with("src/wire") && !path.ends_with("embedded/faults.rs");
    let mut told = MAKERS.to_vec();
    told.extend(STORES);
    let makers =
        crate::tidy::sources(Path::new("src")).into_iter().filter(|path| is_told(path) && made(path));
    let mut makers: Vec<_> = makers.map(|path| path.display().to_string()).collect();
    told.sort_unstable();
    makers.sort();
    assert_eq!(makers, told);
}
