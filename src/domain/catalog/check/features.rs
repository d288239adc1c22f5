//! Checks features: what each aggregates, and the order in which derived ones can be computed.
//!
//! Law: a derived feature stands behind all that it reads. Called by `check::load`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::expr::{Parsed, Program, Scope, Type};
use super::super::fault::nearest;
use super::super::parse::{At, Section};
use super::super::{
    Aggregation, EventIx, EventSpec, FeatureKind, FeatureSpec, FieldIx, FieldKind, Source, Span,
};
use super::{ENTRIES_MAX, category, check_count, check_name, doc, event_named};

/// The keys that say how a feature is made, with the aggregation where there is one.
const MAKERS: &[(&str, Option<Aggregation>)] = &[
    ("count", Some(Aggregation::Count)),
    ("sum", Some(Aggregation::Sum)),
    ("mean", Some(Aggregation::Mean)),
    ("min", Some(Aggregation::Min)),
    ("max", Some(Aggregation::Max)),
    ("last", Some(Aggregation::Last)),
    ("distinct", Some(Aggregation::Distinct)),
    ("days_since_last", Some(Aggregation::DaysSinceLast)),
    ("days_since_first", Some(Aggregation::DaysSinceFirst)),
    ("active_days", Some(Aggregation::ActiveDays)),
    ("streak", Some(Aggregation::Streak)),
    ("sessions", Some(Aggregation::Sessions)),
    ("decayed", None),
    ("market", None),
    ("derive", None),
];
/// Shortest and longest half-life.
const HALF_LIFE: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(24 * 3_650));

/// A feature as read; a derived one waits for the numbers of the others.
struct Draft<'t> {
    spec: FeatureSpec,
    gives: Type,
    derive: Option<(At<&'t str>, Parsed)>,
    section: Section<'t>,
}

/// A key that says how a feature is made, the aggregation it stands for, and what it names.
type Made<'t> = (&'static str, Option<Aggregation>, Vec<At<&'t str>>);

/// The features in computing order, and the scope of expressions over them.
pub(super) fn read(
    top: &mut Section<'_>,
    categories: &[&str],
    events: &[EventSpec],
) -> (Vec<FeatureSpec>, Scope) {
    let tables = top.tables("feature");
    check_count(top, "feature", tables.len(), ENTRIES_MAX);
    let drafts: Vec<Draft<'_>> = tables
        .into_iter()
        .take(ENTRIES_MAX)
        .map(|(name, section)| draft(name, section, categories, events))
        .collect();
    let order = order(&drafts);
    let mut names = BTreeMap::new();
    for (slot, draft) in order.iter().filter_map(|&nth| drafts.get(nth)).enumerate() {
        names.insert(draft.spec.name.clone(), (u16::try_from(slot).unwrap_or(u16::MAX), draft.gives));
    }
    let scope = Scope { what: "feature".to_owned(), names };
    let mut drafts: Vec<Option<Draft<'_>>> = drafts.into_iter().map(Some).collect();
    let mut features = Vec::with_capacity(drafts.len());
    for nth in order {
        let Some(mut draft) = drafts.get_mut(nth).and_then(Option::take) else { continue };
        if let Some((text, parsed)) = draft.derive {
            match parsed.compile(&scope, &[Type::Number, Type::Truth]) {
                Ok(program) => draft.spec.kind = FeatureKind::Derived(program),
                Err(faults) => {
                    faults.into_iter().for_each(|fault| draft.section.fault(text.at, "derive", fault));
                }
            }
        }
        draft.section.finish();
        features.push(draft.spec);
    }
    (features, scope)
}

fn draft<'t>(
    name: At<&'t str>,
    mut section: Section<'t>,
    categories: &[&str],
    events: &[EventSpec],
) -> Draft<'t> {
    check_name(&section, name);
    let (mut kind, mut gives, mut derive) = (FeatureKind::Derived(Program::default()), Type::Number, None);
    let category = category(&mut section, categories);
    let doc = doc(&mut section);
    let unit = section.text_needed("unit", "what its number counts, such as \"events\" or \"days\"");
    let unit = unit.map(|unit| unit.value.to_owned()).unwrap_or_default();
    let mut made: Vec<Made<'t>> = Vec::new();
    for &(key, aggregation) in MAKERS {
        if let Some(texts) = section.texts(key) {
            made.push((key, aggregation, texts));
        }
    }
    match made.as_slice() {
        [("derive", _, texts)] => derive = expression(&mut section, texts),
        [("market", _, texts)] => {
            if let Some((market, found)) = market(&section, texts, events) {
                (kind, gives) = (market, found);
            }
        }
        [(key, aggregation, texts)] => {
            (kind, gives) = folded(&mut section, key, *aggregation, texts, events);
        }
        [] if MAKERS.iter().any(|(key, _)| section.has(key)) => {}
        [] => {
            let keys: Vec<_> = MAKERS.iter().map(|(key, _)| *key).collect();
            section.fault(section.at, "", format!("does not say how it is made: one of {}", keys.join(", ")));
        }
        several => {
            let keys: Vec<_> = several.iter().map(|(key, ..)| *key).collect();
            section.fault(section.at, "", format!("is made in several ways ({}): keep one", keys.join(", ")));
        }
    }
    if made.len() != 1 {
        // Without knowing how it is made, no other key can be called unknown.
        section.ask(&["window", "where", "half_life"]);
    }
    Draft {
        spec: FeatureSpec { name: name.value.to_owned(), category, doc, unit, kind },
        gives,
        derive,
        section,
    }
}

fn expression<'t>(section: &mut Section<'t>, texts: &[At<&'t str>]) -> Option<(At<&'t str>, Parsed)> {
    let [text] = texts else {
        section.fault(section.at, "derive", "takes one expression");
        return None;
    };
    match Parsed::new(text.value) {
        Ok(parsed) => Some((*text, parsed)),
        Err(faults) => {
            faults.into_iter().for_each(|fault| section.fault(text.at, "derive", fault));
            None
        }
    }
}

fn market(section: &Section<'_>, texts: &[At<&str>], events: &[EventSpec]) -> Option<(FeatureKind, Type)> {
    let [text] = texts else {
        section.fault(section.at, "market", "takes one field of one market event type");
        return None;
    };
    let (kind, field) = place(section, "market", *text, events)?;
    let Some((field, gives)) = field else {
        section.fault(text.at, "market", format!("name the field: \"{}.field\"", text.value));
        return None;
    };
    if spec(events, kind).is_none_or(|event| event.market.is_none()) {
        section.fault(text.at, "market", "is an event of users, not of a market");
    }
    Some((FeatureKind::Market { kind, field }, gives))
}

/// A feature that is folded from users' events.
fn folded(
    section: &mut Section<'_>,
    key: &'static str,
    aggregation: Option<Aggregation>,
    texts: &[At<&str>],
    events: &[EventSpec],
) -> (FeatureKind, Type) {
    let filter = section.text("where");
    let filter = filter.and_then(|text| match Parsed::new(text.value) {
        Ok(parsed) => Some((text.at, parsed)),
        Err(faults) => {
            faults.into_iter().for_each(|fault| section.fault(text.at, "where", fault));
            None
        }
    });
    let mut sources = Vec::new();
    let mut gives = None;
    for text in texts {
        for (kind, field) in places(section, key, *text, events) {
            let found = check_field(section, key, *text, field.map(|(_, found)| found));
            if *gives.get_or_insert(found) != found {
                section.fault(text.at, key, "all sources must hold the same type of value");
            }
            let filter =
                filter.as_ref().and_then(|(at, parsed)| filter_of(section, *at, parsed, events, kind));
            sources.push(Source { kind, field: field.map(|(field, _)| field), filter });
        }
    }
    let gives = gives.unwrap_or(Type::Number);
    let Some(aggregation) = aggregation else {
        let half_life =
            section.duration_needed("half_life", "after how long an event counts half, such as \"7d\"");
        let half_life = half_life.unwrap_or(HALF_LIFE.0);
        if half_life < HALF_LIFE.0 || half_life > HALF_LIFE.1 {
            section.fault(section.at_key("half_life"), "half_life", "must be between 1h and 3650d");
        }
        return (FeatureKind::Decayed { sources, half_life }, gives);
    };
    let window = window(section, aggregation);
    if aggregation == Aggregation::Last && window.is_none() {
        return (FeatureKind::Attribute { sources }, gives);
    }
    (FeatureKind::Aggregate { aggregation, sources, window: window.unwrap_or(Span::All) }, gives)
}

/// The window; none for a `last` without one, which is an attribute.
fn window(section: &mut Section<'_>, aggregation: Aggregation) -> Option<Span> {
    use Aggregation::{ActiveDays, DaysSinceFirst, DaysSinceLast, Last, Streak};
    let present = section.text("window").is_some();
    let window = section.window();
    if let Some(At { at, value: Span::Hours(_) }) = window
        && matches!(aggregation, ActiveDays | Streak)
    {
        section.fault(at, "window", "counts days: write the window in days");
    }
    if !present && !matches!(aggregation, Last | DaysSinceLast | DaysSinceFirst) {
        section.missing("window", "how far back it looks, such as \"7d\", \"12h\" or \"all\"");
    }
    match window {
        Some(window) => Some(window.value),
        None if !present && aggregation == Last => None,
        None => Some(Span::All),
    }
}

/// Whether the way a feature is made needs a field and has one of the right type; the type of the feature's value.
fn check_field(section: &Section<'_>, key: &str, text: At<&str>, field: Option<Type>) -> Type {
    let needs = matches!(key, "sum" | "mean" | "min" | "max" | "last" | "distinct");
    match (needs, field) {
        (true, None) => section.fault(text.at, key, format!("name the field: \"{}.field\"", text.value)),
        (false, Some(_)) => section.fault(text.at, key, "takes event types, not their fields"),
        (true, Some(Type::Text)) if !matches!(key, "last" | "distinct") => {
            section.fault(text.at, key, format!("\"{}\" is a text: there is no {key} of texts", text.value));
        }
        _ => {}
    }
    match (key, field) {
        ("last", Some(Type::Text)) => Type::Text,
        _ => Type::Number,
    }
}

type Place = (EventIx, Option<(FieldIx, Type)>);

/// What a source names: one event type or all of users' (`*`).
fn places(section: &Section<'_>, key: &str, text: At<&str>, events: &[EventSpec]) -> Vec<Place> {
    if text.value == "*" {
        return (0_u16..)
            .zip(events)
            .filter(|(_, event)| event.market.is_none())
            .map(|(nth, _)| (EventIx(nth), None))
            .collect();
    }
    let found = place(section, key, text, events);
    if let Some((kind, _)) = found
        && spec(events, kind).is_some_and(|event| event.market.is_some())
    {
        section.fault(
            text.at,
            key,
            "is a market event: users' features read it with market = \"TYPE.field\"",
        );
    }
    found.into_iter().collect()
}

/// An event type and a field, from `TYPE.field`. A type's name may have dots too: the longest one that there is counts.
fn parts<'t>(text: &'t str, events: &[EventSpec]) -> (&'t str, Option<&'t str>) {
    let is_type = |name: &str| events.iter().any(|event| event.name == name);
    if is_type(text) {
        return (text, None);
    }
    let split = |(dot, _): (usize, &str)| Some((text.get(..dot)?, text.get(dot + 1..)));
    let longest = text.rmatch_indices('.').filter_map(split).find(|(name, _)| is_type(name));
    longest.unwrap_or_else(|| text.split_once('.').map_or((text, None), |(name, field)| (name, Some(field))))
}

/// The event type and the field that `TYPE.field` names.
fn place(section: &Section<'_>, key: &str, text: At<&str>, events: &[EventSpec]) -> Option<Place> {
    let (name, field) = parts(text.value, events);
    let kind = event_named(section, key, text.at, name, events)?;
    let Some(field) = field else { return Some((kind, None)) };
    let fields = &spec(events, kind)?.fields;
    let Some(at) = fields.iter().position(|known| known.name == field) else {
        let hint = nearest(field, fields.iter().map(|known| known.name.as_str()));
        section.fault(text.at, key, format!("{name} has no field \"{field}\"{hint}"));
        return None;
    };
    let gives = fields.get(at).map_or(Type::Number, |field| match field.kind {
        FieldKind::Number { .. } | FieldKind::Flag => Type::Number,
        FieldKind::Text { .. } | FieldKind::Choice { .. } => Type::Text,
    });
    Some((kind, Some((FieldIx(u16::try_from(at).ok()?), gives))))
}

fn spec(events: &[EventSpec], kind: EventIx) -> Option<&EventSpec> {
    events.get(usize::from(kind.0))
}

fn filter_of(
    section: &Section<'_>,
    at: usize,
    parsed: &Parsed,
    events: &[EventSpec],
    kind: EventIx,
) -> Option<Program> {
    let event = spec(events, kind)?;
    let names = (0_u16..)
        .zip(&event.fields)
        .map(|(slot, field)| {
            let gives = match field.kind {
                FieldKind::Number { .. } => Type::Number,
                FieldKind::Flag => Type::Truth,
                FieldKind::Text { .. } | FieldKind::Choice { .. } => Type::Text,
            };
            (field.name.clone(), (slot, gives))
        })
        .collect();
    let scope = Scope { what: format!("field of {}", event.name), names };
    match parsed.compile(&scope, &[Type::Truth]) {
        Ok(program) => Some(program),
        Err(faults) => {
            faults.into_iter().for_each(|fault| section.fault(at, "where", fault));
            None
        }
    }
}

/// The drafts' numbers in computing order: as written, but what is derived behind what it reads.
fn order(drafts: &[Draft<'_>]) -> Vec<usize> {
    let places: BTreeMap<&str, usize> =
        drafts.iter().enumerate().map(|(nth, draft)| (draft.spec.name.as_str(), nth)).collect();
    let mut order = Vec::with_capacity(drafts.len());
    let mut path = Vec::new();
    for nth in 0..drafts.len() {
        visit(nth, drafts, &places, &mut path, &mut order);
    }
    order
}

fn visit(
    nth: usize,
    drafts: &[Draft<'_>],
    places: &BTreeMap<&str, usize>,
    path: &mut Vec<usize>,
    order: &mut Vec<usize>,
) {
    let Some(draft) = drafts.get(nth) else { return };
    if order.contains(&nth) {
        return;
    }
    if let Some(from) = path.iter().position(|&on| on == nth) {
        let names: Vec<_> = path
            .iter()
            .skip(from)
            .chain([&nth])
            .filter_map(|&on| drafts.get(on))
            .map(|on| on.spec.name.as_str())
            .collect();
        let at = draft.derive.as_ref().map_or(draft.section.at, |(text, _)| text.at);
        draft.section.fault(at, "derive", format!("reads itself: {}", names.join(" -> ")));
        return;
    }
    path.push(nth);
    if let Some((_, parsed)) = &draft.derive {
        for name in parsed.names() {
            if let Some(&read) = places.get(name.as_str()) {
                visit(read, drafts, places, path, order);
            }
        }
    }
    path.pop();
    order.push(nth);
}
