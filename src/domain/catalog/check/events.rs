//! Checks event types and their fields.
//!
//! Law: every declared event type keeps its place, faulty or not. Called by `check::load`.

use std::collections::BTreeSet;

use super::super::parse::{At, Section};
use super::super::{EventSpec, FieldKind, FieldSpec};
use super::{ENTRIES_MAX, category, check_count, doc};
use crate::domain::event::{CONVERSION_RECORDED, SCORE_REQUESTED};

/// Most fields of an event type: a decoded event keeps them all in a row.
const FIELDS_MAX: usize = 64;
/// Longest name of an event type or a field, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Longest text a field may allow, in bytes: it is hashed on every read of the event.
const TEXT_BYTES_MAX: f64 = 65_536.0;
/// Longest text where a field does not say.
const TEXT_BYTES: usize = 200;

pub(super) fn read(top: &mut Section<'_>, categories: &[&str]) -> Vec<EventSpec> {
    let tables = top.tables("event");
    check_count(top, "event", tables.len(), ENTRIES_MAX);
    if tables.is_empty() {
        top.missing("event", "a catalogue has at least one event type, such as [event.LISTING_VIEWED]");
    }
    let at: Vec<usize> = tables.iter().map(|(name, _)| name.at).collect();
    let events: Vec<EventSpec> = tables
        .into_iter()
        .take(ENTRIES_MAX)
        .map(|(name, section)| event(name, section, categories))
        .collect();
    for (at, event) in at.into_iter().zip(&events) {
        if let Some(other) = events.iter().find(|other| is_field(&event.name, other)) {
            let name = &event.name;
            top.fault(
                at,
                "event",
                format!("\"{name}\" is also a field of the event type \"{}\"", other.name),
            );
        }
    }
    events
}

/// Whether a type's name reads as a field of another type.
fn is_field(name: &str, other: &EventSpec) -> bool {
    let field = name.strip_prefix(other.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
    field.is_some_and(|field| other.fields.iter().any(|known| known.name == field))
}

fn event(name: At<&str>, mut section: Section<'_>, categories: &[&str]) -> EventSpec {
    check_name(&section, name, None);
    if name.value.starts_with('.') || name.value.ends_with('.') {
        section.fault(name.at, "", "begins or ends with a dot: features write TYPE.field");
    }
    if [SCORE_REQUESTED, CONVERSION_RECORDED].contains(&name.value) {
        section.fault(name.at, "", "is a type that is built in: it needs no entry");
    }
    let category = category(&mut section, categories);
    let doc = doc(&mut section);
    let market = section.text("market");
    if let Some(market) = market
        && !is_market(market.value)
    {
        section.fault(market.at, "market", "names a stream: small letters, digits and -, at most 100 bytes");
    }
    let tables = section.tables("fields");
    check_count(&section, "fields", tables.len(), FIELDS_MAX);
    let fields = tables
        .into_iter()
        .take(FIELDS_MAX)
        .map(|(name, mut section)| {
            check_name(&section, name, Some('/'));
            let spec = FieldSpec {
                name: name.value.to_owned(),
                kind: kind(&mut section),
                required: section.flag("required").is_some_and(|required| required.value),
            };
            section.finish();
            spec
        })
        .collect();
    section.finish();
    EventSpec {
        name: name.value.to_owned(),
        category,
        doc,
        market: market.map(|market| market.value.to_owned()),
        fields,
    }
}

fn check_name(section: &Section<'_>, name: At<&str>, refused: Option<char>) {
    let text = name.value;
    if text.is_empty()
        || text == "*"
        || text.len() > NAME_BYTES_MAX
        || text.chars().any(|letter| letter.is_control() || Some(letter) == refused)
    {
        section.fault(
            name.at,
            "",
            format!("a name has 1 to {NAME_BYTES_MAX} bytes, no control characters, no `/` in a field, and is not `*`"),
        );
    }
}

fn is_market(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn kind(section: &mut Section<'_>) -> FieldKind {
    const KINDS: &str = "number, integer, text, choice or flag";
    /// Without a type, none of these can be called unknown.
    const KEYS: &[&str] = &["min", "max", "bytes_max", "of"];
    let Some(found) = section.text_needed("type", KINDS) else {
        section.ask(KEYS);
        return FieldKind::Flag;
    };
    match found.value {
        "number" => bounds(section, false),
        "integer" => bounds(section, true),
        "text" => text(section),
        "choice" => choice(section),
        "flag" => FieldKind::Flag,
        wrong => {
            section.fault(found.at, "type", format!("\"{wrong}\" is no type of field: write {KINDS}"));
            section.ask(KEYS);
            FieldKind::Flag
        }
    }
}

fn bounds(section: &mut Section<'_>, integer: bool) -> FieldKind {
    let (min, max) = (section.number("min"), section.number("max"));
    match (min, max) {
        (Some(min), Some(max)) if min.value > max.value => {
            section.fault(min.at, "min", format!("{} is over max, {}", min.value, max.value));
        }
        (Some(_), Some(_)) => {}
        (None, _) => {
            section.missing("min", "every number has bounds, so that nonsense is refused at the door")
        }
        (_, None) => {
            section.missing("max", "every number has bounds, so that nonsense is refused at the door")
        }
    }
    let of = |bound: Option<At<f64>>| bound.map_or(0.0, |bound| bound.value);
    FieldKind::Number { min: of(min), max: of(max), integer }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and TEXT_BYTES_MAX")]
fn text(section: &mut Section<'_>) -> FieldKind {
    let longest = section.number_within("bytes_max", 1.0, TEXT_BYTES_MAX);
    FieldKind::Text { bytes_max: longest.map_or(TEXT_BYTES, |longest| longest.value as usize) }
}

fn choice(section: &mut Section<'_>) -> FieldKind {
    let texts = section.texts("of").unwrap_or_default();
    if texts.is_empty() {
        section.missing("of", "the texts to choose from, such as [\"HOUSE\", \"CONDO\"]");
    }
    let mut seen = BTreeSet::new();
    for text in &texts {
        if !seen.insert(text.value) {
            section.fault(text.at, "of", format!("\"{}\" stands there twice", text.value));
        }
    }
    FieldKind::Choice { of: texts.into_iter().map(|text| text.value.to_owned()).collect() }
}
