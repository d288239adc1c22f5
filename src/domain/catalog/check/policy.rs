//! Checks signals and models: rules, thresholds, bands.
//!
//! Law: whatever a score is, exactly one band names its priority. Called by `check::load`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::expr::{Parsed, Scope, Type};
use super::super::fault::nearest;
use super::super::parse::{At, Section};
use super::super::{Band, EventIx, EventSpec, FeatureIx, ModelIx, ModelSpec, SignalSpec};
use super::{ENTRIES_MAX, category, check_count, check_name, doc, event_named};
use crate::domain::policy::Priority;

/// Most features of a model: far above what an explanation can show, and within the graph's input.
const INPUTS_MAX: usize = 512;

/// The names of the models, in order: signals refer to them before they are read.
pub(super) fn model_names<'t>(top: &mut Section<'t>) -> Vec<&'t str> {
    top.tables("model").into_iter().map(|(name, _)| name.value).collect()
}

pub(super) fn signals(
    top: &mut Section<'_>,
    categories: &[&str],
    scope: &Scope,
    models: &[&str],
) -> Vec<SignalSpec> {
    let tables = top.tables("signal");
    check_count(top, "signal", tables.len(), ENTRIES_MAX);
    tables
        .into_iter()
        .take(ENTRIES_MAX)
        .map(|(name, section)| signal(name, section, categories, scope, models))
        .collect()
}

fn signal(
    name: At<&str>,
    mut section: Section<'_>,
    categories: &[&str],
    scope: &Scope,
    models: &[&str],
) -> SignalSpec {
    check_name(&section, name);
    let category = category(&mut section, categories);
    let doc = doc(&mut section);
    let when = section.text_needed("when", "the rule, such as 'listing_views_7d >= 5'");
    let program = when.and_then(|text| {
        match Parsed::new(text.value).and_then(|parsed| parsed.compile(scope, &[Type::Truth])) {
            Ok(program) => Some(program),
            Err(faults) => {
                faults.into_iter().for_each(|fault| section.fault(text.at, "when", fault));
                None
            }
        }
    });
    let strength = share(&mut section, "strength", None);
    let cooldown = section.duration_needed("cooldown", "event time between two detections, such as \"7d\"");
    let expires = section.duration_needed("expires", "how long a detection stays live, such as \"30d\"");
    if expires == Some(Duration::ZERO) {
        section.fault(section.at_key("expires"), "expires", "is zero: the signal would never be live");
    }
    let named = section.texts("models").unwrap_or_default();
    if named.is_empty() {
        section.missing("models", "the models it matters to");
    }
    let mut models_found = Vec::new();
    for name in named {
        match models.iter().position(|known| *known == name.value).and_then(|nth| u16::try_from(nth).ok()) {
            Some(nth) if models_found.contains(&ModelIx(nth)) => {
                section.fault(name.at, "models", format!("\"{}\" stands there twice", name.value));
            }
            Some(nth) => models_found.push(ModelIx(nth)),
            None => {
                let hint = nearest(name.value, models.iter().copied());
                section.fault(name.at, "models", format!("there is no model \"{}\"{hint}", name.value));
            }
        }
    }
    section.finish();
    SignalSpec {
        name: name.value.to_owned(),
        category,
        doc,
        strength,
        when: program.unwrap_or_default(),
        when_text: when.map(|text| text.value.trim().to_owned()).unwrap_or_default(),
        cooldown: cooldown.unwrap_or_default(),
        expires: expires.unwrap_or_default(),
        models: models_found,
    }
}

/// A number between 0 and 1; missing is a fault where there is no default.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
fn share(section: &mut Section<'_>, key: &'static str, default: Option<f32>) -> f32 {
    match (section.number_within(key, 0.0, 1.0), default) {
        (Some(found), _) => found.value as f32,
        (None, Some(default)) => default,
        (None, None) => {
            if !section.has(key) {
                section.missing(key, "a number from 0 to 1");
            }
            0.0
        }
    }
}

pub(super) fn models(top: &mut Section<'_>, scope: &Scope, events: &[EventSpec]) -> Vec<ModelSpec> {
    let tables = top.tables("model");
    check_count(top, "model", tables.len(), ENTRIES_MAX);
    if tables.is_empty() {
        top.missing("model", "a catalogue has at least one model, such as [model.SELL]");
    }
    tables.into_iter().take(ENTRIES_MAX).map(|(name, section)| model(name, section, scope, events)).collect()
}

fn model(name: At<&str>, mut section: Section<'_>, scope: &Scope, events: &[EventSpec]) -> ModelSpec {
    if !name.value.starts_with(|first: char| first.is_ascii_uppercase())
        || !name.value.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        || name.value.len() > 100
    {
        section.fault(
            name.at,
            "",
            "a model's name has capitals, digits and _ only: it names a folder and a stream",
        );
    }
    let doc = doc(&mut section);
    let features = inputs(&mut section, scope);
    let threshold = share(&mut section, "threshold", Some(0.5));
    let exit = share(&mut section, "exit", Some(threshold));
    if exit > threshold {
        section.fault(
            section.at_key("exit"),
            "exit",
            format!("{exit} is over the threshold, {threshold}: an alert would end as it begins"),
        );
    }
    let bands = bands(&mut section, threshold);
    let cooldown = section.duration_needed("cooldown", "event time between two alerts, such as \"30d\"");
    let rescore_after = section.duration("rescore_after").map_or(Duration::from_hours(24), |span| span.value);
    let horizon = section.duration_needed("horizon", "how far a score looks ahead, such as \"90d\"");
    if horizon == Some(Duration::ZERO) {
        section.fault(section.at_key("horizon"), "horizon", "is zero: an alert would expire as it begins");
    }
    let budget = section.number_within("budget", 0.0, 366.0).map_or(0.10, |budget| budget.value);
    let conversion_events = conversions(&mut section, events);
    section.finish();
    ModelSpec {
        name: name.value.to_owned(),
        doc,
        features,
        threshold,
        exit,
        bands,
        cooldown: cooldown.unwrap_or_default(),
        rescore_after,
        horizon: horizon.unwrap_or_default(),
        budget_per_user_year: budget,
        conversion_events,
    }
}

fn inputs(section: &mut Section<'_>, scope: &Scope) -> Vec<FeatureIx> {
    let named = section.texts("features").unwrap_or_default();
    if named.is_empty() {
        section.missing("features", "the model's inputs, in order");
    }
    check_count(section, "features", named.len(), INPUTS_MAX);
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(named.len());
    for name in named {
        match scope.names.get(name.value) {
            Some((_, Type::Text)) => section.fault(
                name.at,
                "features",
                format!("\"{}\" is a text: derive a number from it for a model to read", name.value),
            ),
            Some((slot, _)) if seen.insert(*slot) => found.push(FeatureIx(*slot)),
            Some(_) => section.fault(name.at, "features", format!("\"{}\" stands there twice", name.value)),
            None => {
                let hint = nearest(name.value, scope.names.keys().map(String::as_str));
                section.fault(name.at, "features", format!("there is no feature \"{}\"{hint}", name.value));
            }
        }
    }
    found
}

fn bands(section: &mut Section<'_>, threshold: f32) -> Vec<Band> {
    let Some(rows) = section.rows("bands") else {
        if !section.has("bands") {
            section.missing(
                "bands",
                "such as [{ priority = \"HIGH\", score = 0.8 }, { priority = \"LOW\", score = 0.5 }]",
            );
        }
        return Vec::new();
    };
    let mut bands: Vec<Band> = Vec::new();
    let mut last_at = section.at_key("bands");
    for mut row in rows {
        let priority = priority(&mut row);
        let probability_min = share(&mut row, "score", None);
        #[expect(clippy::cast_possible_truncation, reason = "a bound of small sums")]
        let strength_min =
            row.number_within("strength", 0.0, 1_000.0).map_or(0.0, |found| found.value as f32);
        if let Some(above) = bands.last() {
            if priority.is_some_and(|priority| priority >= above.priority) {
                row.fault(row.at, "priority", "bands stand from the most urgent to the least, each once");
            }
            if probability_min > above.probability_min {
                row.fault(
                    row.at,
                    "score",
                    format!("{probability_min} is over the band above it, {}", above.probability_min),
                );
            }
        }
        last_at = row.at;
        row.finish();
        bands.push(Band { priority: priority.unwrap_or(Priority::Low), probability_min, strength_min });
    }
    let covered =
        bands.last().is_some_and(|last| last.probability_min <= threshold && last.strength_min <= 0.0);
    if !covered {
        section.fault(
            last_at,
            "bands",
            format!("the last band must take whatever passes the threshold: score at most {threshold}, no strength"),
        );
    }
    bands
}

fn priority(row: &mut Section<'_>) -> Option<Priority> {
    let found = row.text_needed("priority", "CRITICAL, HIGH, MEDIUM or LOW")?;
    let priority = match found.value {
        "CRITICAL" => Priority::Critical,
        "HIGH" => Priority::High,
        "MEDIUM" => Priority::Medium,
        "LOW" => Priority::Low,
        wrong => {
            row.fault(found.at, "priority", format!("\"{wrong}\" is none of CRITICAL, HIGH, MEDIUM, LOW"));
            return None;
        }
    };
    Some(priority)
}

fn conversions(section: &mut Section<'_>, events: &[EventSpec]) -> Vec<EventIx> {
    let named = section.texts("conversion_events").unwrap_or_default();
    let mut found = Vec::new();
    for name in named {
        let Some(kind) = event_named(section, "conversion_events", name.at, name.value, events) else {
            continue;
        };
        if events.get(usize::from(kind.0)).is_some_and(|event| event.market.is_some()) {
            section.fault(name.at, "conversion_events", "is a market event: no user converts by it");
        }
        found.push(kind);
    }
    found
}
