//! Turns the text of a catalogue into its specs, or into all its faults at once.
//!
//! Law: a spec that leaves here is sound: later code asks nothing again. A faulty entry keeps its name, so that what refers to
//! it is not called faulty too. Called by [`super::Catalog::load`].

mod events;
mod features;
mod policy;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Faults, nearest};
use super::parse::{At, Section};
use super::{Catalog, EventSpec};
use crate::domain::catalog::EventIx;

/// Most entries of one kind: keeps every number of an entry within 16 bits, far above what people can tend.
const ENTRIES_MAX: usize = 4_096;

/// Reads, checks and compiles a catalogue.
pub(super) fn load(text: &str, file: &str) -> Result<Catalog, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let faults = RefCell::new(Faults::new(file, text));
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        faults.borrow_mut().add(at, "", format!("not TOML: {}", error.message()));
    }
    if !faults.borrow().is_empty() {
        // What the parser made of broken text would only give faults that are none.
        return Err(faults.borrow().sorted());
    }
    let mut top = Section::new(String::new(), 0, document.get_ref(), &faults);
    let name = top.text_needed("name", "a name for people, such as \"real estate\"");
    let gap = top.duration("session_gap").map_or(Duration::from_mins(30), |gap| gap.value);
    let categories = categories(&mut top);
    let events = events::read(&mut top, &categories);
    let (features, scope) = features::read(&mut top, &categories, &events);
    let model_names = policy::model_names(&mut top);
    let signals = policy::signals(&mut top, &categories, &scope, &model_names);
    let models = policy::models(&mut top, &scope, &events);
    top.finish();
    if !faults.borrow().is_empty() {
        return Err(faults.borrow().sorted());
    }
    let name = name.map(|name| name.value.to_owned()).unwrap_or_default();
    let mut catalog = Catalog::new(name, String::new(), gap, events, features, signals, models);
    catalog.version = version(document.get_ref(), &catalog);
    Ok(catalog)
}

fn categories<'t>(top: &mut Section<'t>) -> Vec<&'t str> {
    let Some(found) = top.texts("categories") else {
        top.missing("categories", "the list of categories that events, features and signals name");
        return Vec::new();
    };
    found.into_iter().map(|category| category.value).collect()
}

/// The category of an entry, which has to be one of the catalogue's.
fn category(section: &mut Section<'_>, categories: &[&str]) -> String {
    let Some(found) = section.text_needed("category", "one of the catalogue's categories") else {
        return String::new();
    };
    if !categories.contains(&found.value) {
        let hint = nearest(found.value, categories.iter().copied());
        section.fault(found.at, "category", format!("there is no category \"{}\"{hint}", found.value));
    }
    found.value.to_owned()
}

fn doc(section: &mut Section<'_>) -> String {
    let found = section.text_needed("doc", "a sentence that says what it means");
    found.map(|doc| doc.value.to_owned()).unwrap_or_default()
}

/// Whether an expression may use the text as a name.
fn is_name(text: &str) -> bool {
    const RESERVED: &[&str] = &[
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.len() <= 100
        && !RESERVED.contains(&text)
}

/// The name of a feature or signal.
fn check_name(section: &Section<'_>, name: At<&str>) {
    if !is_name(name.value) || name.value.bytes().any(|byte| byte.is_ascii_uppercase()) {
        section.fault(
            name.at,
            "",
            "a name has small letters, digits and _, begins with a letter, has at most 100 bytes, and is no word of CEL",
        );
    }
}

fn check_count(section: &Section<'_>, what: &str, count: usize, most: usize) {
    if count > most {
        section.fault(section.at, what, format!("there are {count}, at most {most} are taken"));
    }
}

/// The place of an event type by name; a fault when there is none.
fn event_named(
    section: &Section<'_>,
    key: &str,
    at: usize,
    name: &str,
    events: &[EventSpec],
) -> Option<EventIx> {
    let found = events.iter().position(|event| event.name == name);
    if found.is_none() {
        let hint = nearest(name, events.iter().map(|event| event.name.as_str()));
        section.fault(at, key, format!("there is no event type \"{name}\"{hint}"));
    }
    found.and_then(|nth| u16::try_from(nth).ok()).map(EventIx)
}

/// The first 16 hex digits of a SHA-256 over all keys and values, and over the order in which entries are written: that
/// order numbers them.
fn version(document: &DeTable<'_>, catalog: &Catalog) -> String {
    let mut text = String::new();
    table(document, &mut text);
    for event in &catalog.events {
        line(&mut text, "event", &event.name);
        event.fields.iter().for_each(|field| line(&mut text, "field", &field.name));
    }
    catalog.features.iter().for_each(|feature| line(&mut text, "feature", &feature.name));
    catalog.signals.iter().for_each(|signal| line(&mut text, "signal", &signal.name));
    catalog.models.iter().for_each(|model| line(&mut text, "model", &model.name));
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn line(text: &mut String, what: &str, value: &str) {
    // The length keeps "ab" + "c" and "a" + "bc" apart.
    text.push_str(&format!("{what} {} {value}\n", value.len()));
}

fn table(entries: &DeTable<'_>, text: &mut String) {
    let sorted: BTreeMap<&str, &DeValue<'_>> =
        entries.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())).collect();
    line(text, "table", &sorted.len().to_string());
    for (key, value) in sorted {
        line(text, "key", key);
        canonical(value, text);
    }
}

fn canonical(value: &DeValue<'_>, text: &mut String) {
    match value {
        DeValue::String(value) => line(text, "text", value),
        DeValue::Integer(value) => line(text, "whole", &format!("{} {}", value.radix(), value.as_str())),
        DeValue::Float(value) => line(text, "float", value.as_str()),
        DeValue::Boolean(value) => line(text, "flag", &value.to_string()),
        DeValue::Datetime(value) => line(text, "time", &value.to_string()),
        DeValue::Array(values) => {
            line(text, "list", &values.len().to_string());
            values.iter().for_each(|value| canonical(value.get_ref(), text));
        }
        DeValue::Table(values) => table(values, text),
    }
}
