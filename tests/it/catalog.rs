//! The catalogue at its boundary: text in, a sound catalogue or every fault out.

use std::collections::BTreeSet;

use intentd::domain::catalog::{Aggregation, Catalog, FeatureKind};

const SHIPPED: &str = include_str!("../../config/catalog.toml");
const BROKEN: &str = include_str!("../golden/broken.toml");

fn load(text: &str) -> Catalog {
    Catalog::load(text, "catalog.toml").unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{}", faults.join("\n"))
    })
}

#[test]
fn the_shipped_catalogue_is_sound_and_large_enough() {
    let catalog = load(SHIPPED);
    let models: Vec<_> = catalog.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(models, ["SELL", "BUY", "REFINANCE", "INVESTMENT"]);
    assert!(catalog.events.len() >= 25, "{} event types", catalog.events.len());
    assert!(catalog.features.len() >= 40, "{} features", catalog.features.len());
    assert!(catalog.signals.len() >= 12, "{} signals", catalog.signals.len());
    assert!(catalog.events.iter().any(|event| event.market.is_some()));
    let categories: BTreeSet<_> = catalog.features.iter().map(|feature| feature.category.as_str()).collect();
    let expected =
        ["engagement", "search", "listings", "valuation", "financing", "relationship", "ownership_market"];
    assert_eq!(categories, expected.into_iter().collect());
}

#[test]
fn the_shipped_catalogue_uses_every_way_to_make_a_feature() {
    use Aggregation::*;
    let catalog = load(SHIPPED);
    let ways: BTreeSet<String> = catalog
        .features
        .iter()
        .map(|feature| match &feature.kind {
            FeatureKind::Aggregate { aggregation, .. } => format!("{aggregation:?}"),
            FeatureKind::Decayed { .. } => "decayed".to_owned(),
            FeatureKind::Attribute { .. } => "attribute".to_owned(),
            FeatureKind::Market { .. } => "market".to_owned(),
            FeatureKind::Derived(_) => "derived".to_owned(),
        })
        .collect();
    let aggregations = [
        Count,
        Sum,
        Mean,
        Min,
        Max,
        Last,
        Distinct,
        DaysSinceLast,
        DaysSinceFirst,
        ActiveDays,
        Streak,
        Sessions,
    ];
    let expected = aggregations.into_iter().map(|aggregation| format!("{aggregation:?}"));
    let others = ["decayed", "attribute", "market", "derived"].map(str::to_owned);
    assert_eq!(ways, expected.chain(others).collect());
}

#[test]
fn derived_features_stand_behind_what_they_read() {
    let catalog = load(SHIPPED);
    for (nth, feature) in catalog.features.iter().enumerate() {
        if let FeatureKind::Derived(program) = &feature.kind {
            assert!(program.reads().iter().all(|slot| usize::from(*slot) < nth), "{}", feature.name);
        }
    }
    // Written before what it reads: it moves behind.
    let owner = catalog.feature("is_owner").unwrap();
    assert!(owner > catalog.feature("mortgage_balance").unwrap());
}

#[test]
fn what_an_event_changes_follows_through_derived_features() {
    let catalog = load(SHIPPED);
    let rate = catalog.event("MORTGAGE_RATE_PUBLISHED").unwrap();
    let names: Vec<_> = catalog
        .features_affected(rate)
        .iter()
        .map(|feature| catalog.features[usize::from(feature.0)].name.as_str())
        .collect();
    assert_eq!(names, ["market_rate30", "rate_gap", "rate_alert_gap"]);
    let signals: Vec<_> = catalog
        .signals_affected(rate)
        .iter()
        .map(|signal| catalog.signals[usize::from(signal.0)].name.as_str())
        .collect();
    assert_eq!(signals, ["rate_advantage", "rate_alert_reached"]);
    let models: Vec<_> = catalog
        .models_affected(rate)
        .iter()
        .map(|model| catalog.models[usize::from(model.0)].name.as_str())
        .collect();
    assert_eq!(models, ["BUY", "REFINANCE"]);
    assert_eq!(catalog.event("NO_SUCH_EVENT"), None);
}

#[test]
fn comments_and_white_space_do_not_change_the_version_and_everything_else_does() {
    let version = load(SHIPPED).version;
    assert_eq!(version.len(), 16);
    let bare: String = SHIPPED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{}  # aside\n\n", line.replacen(" = ", "=", 1)))
        .collect();
    assert_eq!(load(&bare.replace("[  # aside", "[")).version, version);
    for (old, new) in [
        ("value_checks_7d >= 3", "value_checks_7d >= 4"),
        ("threshold = 0.5", "threshold = 0.51"),
        ("window = \"7d\"", "window = \"8d\""),
        ("session_gap = \"30m\"", "session_gap = \"31m\""),
        ("max = 1e9", "max = 2e9"),
    ] {
        assert!(SHIPPED.contains(old), "{old}");
        assert_ne!(load(&SHIPPED.replacen(old, new, 1)).version, version, "{new}");
    }
}

/// Each faulty line of the broken catalogue says in a comment what has to be found: `#! key: words`, several by `;;`.
#[test]
fn a_broken_catalogue_is_answered_with_every_fault_by_line_and_key() {
    let faults = Catalog::load(BROKEN, "broken.toml").expect_err("it is broken");
    let mut expected = Vec::new();
    for (nth, line) in BROKEN.lines().enumerate() {
        if let Some((_, marks)) = line.split_once("#! ") {
            for mark in marks.split(";;") {
                let (key, words) = mark.split_once(": ").unwrap();
                expected.push((nth + 1, key.trim().to_owned(), words.trim().to_owned()));
            }
        }
    }
    let mut left: Vec<_> = faults.iter().collect();
    let mut missing = Vec::new();
    for (line, key, words) in expected {
        let found = left
            .iter()
            .position(|fault| fault.line == line && fault.key == key && fault.message.contains(&words));
        match found {
            Some(at) => {
                left.remove(at);
            }
            None => missing.push(format!("{line}: {key}: {words}")),
        }
    }
    let left: Vec<_> = left.iter().map(ToString::to_string).collect();
    assert!(
        missing.is_empty() && left.is_empty(),
        "not found:\n{}\n\nnot expected:\n{}",
        missing.join("\n"),
        left.join("\n")
    );
}

#[test]
fn what_is_not_toml_is_answered_with_its_line_and_nothing_made_up() {
    let faults = Catalog::load("name = \"x\"\ncategories = [\n[event.A\n", "c.toml").unwrap_err();
    assert!(faults.iter().all(|fault| fault.message.starts_with("not TOML")), "{faults:?}");
    assert!(faults[0].to_string().starts_with("c.toml:"), "{faults:?}");
    let twice = Catalog::load("name = \"x\"\n\n[signal.a]\n[signal.a]\n", "c.toml").unwrap_err();
    assert_eq!(twice[0].line, 4, "{twice:?}");
}

const DOTTED: &str = r#"
name = "shop"
categories = ["all"]

[event."item"]
category = "all"
doc = "An item."
fields."view.price" = { type = "number", min = 0, max = 9 }
fields.size = { type = "number", min = 0, max = 9 }

[event."item.view"]
category = "all"
doc = "A view of an item."
fields.price = { type = "number", min = 0, max = 9 }
fields.brand = { type = "text" }

[feature.views]
category = "all"
doc = "Views."
unit = "events"
count = "item.view"
window = "7d"

[feature.price]
category = "all"
doc = "Last price."
unit = "EUR"
last = "item.view.price"

[feature.size]
category = "all"
doc = "Last size."
unit = "cm"
last = "item.size"

[feature.brands]
category = "all"
doc = "Brands."
unit = "brands"
distinct = "item.view.brand"
window = "7d"

[signal.keen]
category = "all"
doc = "Views."
when = 'views >= 1'
strength = 0.5
cooldown = "1d"
expires = "1d"
models = ["BUY"]

[model.BUY]
doc = "Buys."
features = ["views", "price"]
threshold = 0.5
exit = 0.4
cooldown = "1d"
horizon = "1d"
rescore_after = "1h"
bands = [{ priority = "LOW", score = 0.5 }]
"#;

fn source_of(catalog: &Catalog, feature: &str) -> (String, Option<String>) {
    let spec = catalog.features.iter().find(|spec| spec.name == feature).unwrap();
    let (FeatureKind::Aggregate { sources, .. } | FeatureKind::Attribute { sources }) = &spec.kind else {
        panic!("{feature} is not folded");
    };
    let event = &catalog.events[usize::from(sources[0].kind.0)];
    (event.name.clone(), sources[0].field.map(|field| event.fields[usize::from(field.0)].name.clone()))
}

#[test]
fn event_types_may_have_dots_and_the_longest_one_counts() {
    let catalog = load(DOTTED);
    let source = |feature| source_of(&catalog, feature);
    let place = |kind: &str, field: Option<&str>| (kind.to_owned(), field.map(str::to_owned));
    assert_eq!(source("views"), place("item.view", None));
    // The field `view.price` of `item` is not meant: the longer type is.
    assert_eq!(source("price"), place("item.view", Some("price")));
    assert_eq!(source("brands"), place("item.view", Some("brand")));
    assert_eq!(source("size"), place("item", Some("size")));
}

#[test]
fn a_type_that_reads_as_a_field_of_another_is_a_fault() {
    let faults = |text: String| Catalog::load(&text, "c.toml").unwrap_err();
    let named = faults(DOTTED.replace("fields.size", "fields.view"));
    assert!(
        named.iter().any(|fault| fault.to_string().contains("also a field of the event type \"item\"")),
        "{named:?}"
    );
    let ends = faults(DOTTED.replace("[event.\"item.view\"]", "[event.\"item.view.\"]"));
    assert!(ends.iter().any(|fault| fault.to_string().contains("ends with a dot")), "{ends:?}");
    let unknown = faults(DOTTED.replace("item.view.brand", "item.view.brnd"));
    assert!(
        unknown.iter().any(|fault| fault.to_string().contains("item.view has no field \"brnd\"")),
        "{unknown:?}"
    );
}
