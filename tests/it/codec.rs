//! Events at the door and in the log, against the shipped catalogue.

use std::time::Duration;

use bytes::Bytes;
use intentd::domain::catalog::{Catalog, FieldKind};
use intentd::domain::codec::{check_ingest, decode, symbol};
use intentd::domain::event::{Ingest, Position, Recorded, UserEvent};
use intentd::domain::id::EventId;
use intentd::domain::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn catalog() -> Catalog {
    Catalog::load(include_str!("../../config/catalog.toml"), "catalog.toml").unwrap()
}

fn check(catalog: &Catalog, text: &str) -> Result<Ingest, Vec<(String, String)>> {
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    check_ingest(catalog, &Bytes::copy_from_slice(text.as_bytes()), now, Duration::from_secs(60))
        .map_err(|faults| faults.into_iter().map(|fault| (fault.path, fault.message)).collect())
}

fn recorded(ingest: &Ingest) -> Recorded {
    Recorded {
        id: ingest.event.id,
        stream: ingest.stream.as_str().into(),
        revision: 0,
        position: Position(1),
        event_type: ingest.event.event_type.clone(),
        data: ingest.event.data.clone(),
        metadata: ingest.event.metadata.clone(),
        recorded_at: Timestamp::default(),
    }
}

const VIEWED: &str = r#"{"id": "9227e21e", "userId": "user-123", "type": "LISTING_VIEWED", "occurredAt": "2026-01-01T00:00:00.608Z", "data": {"listingId": "L6756", "price": 286000, "dwellSeconds": 80.3, "campaign": {"x": [1]}}}"#;

#[test]
fn the_example_of_the_contract_is_kept_as_it_is_and_decodes() {
    let catalog = catalog();
    let ingest = check(&catalog, VIEWED).unwrap();
    assert_eq!(ingest.stream, "user-user-123");
    assert_eq!(ingest.event.data, VIEWED.as_bytes());
    assert_eq!(ingest.event.id, EventId::of_behaviour("user-123", "9227e21e"));
    let UserEvent::Behaviour(event) = decode(&catalog, &recorded(&ingest)).unwrap() else {
        panic!("behaviour")
    };
    assert_eq!(event.occurred_at.to_string(), "2026-01-01T00:00:00.608Z");
    assert_eq!(Some(event.kind), catalog.event("LISTING_VIEWED"));
    assert_eq!(event.fields[..3], [symbol("L6756"), 286_000.0, 80.3]);
    assert!(event.fields[3].is_nan() && event.fields.len() == 5);
}

#[test]
fn no_fields_are_no_fields_however_that_is_said() {
    let catalog = catalog();
    for data in ["", r#","data":null"#, r#","data":{}"#] {
        let text = format!(
            r#"{{"id":"1","userId":"u","type":"SESSION_STARTED","occurredAt":"2026-01-01T00:00:00Z"{data}}}"#
        );
        let ingest = check(&catalog, &text).unwrap();
        let UserEvent::Behaviour(event) = decode(&catalog, &recorded(&ingest)).unwrap() else {
            panic!("behaviour")
        };
        assert!(event.fields.iter().all(|value| value.is_nan()), "{data}");
    }
}

#[test]
fn a_market_event_goes_to_its_market() {
    let text = r#"{"id":"r1","userId":"*","type":"MORTGAGE_RATE_PUBLISHED","occurredAt":"2026-01-01T00:00:00Z","data":{"rate30":6.5}}"#;
    assert_eq!(check(&catalog(), text).unwrap().stream, "market-rates");
}

/// The contract's event with one key changed, or taken away when the value is null.
fn with(pointer: &str, value: Value) -> String {
    let mut event: Value = serde_json::from_str(VIEWED).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    event.to_string()
}

#[test]
fn each_fault_is_named_by_its_path() {
    let catalog = catalog();
    for (pointer, value, path, needle) in [
        ("/id", json!(null), "/id", "is missing"),
        ("/id", json!(7), "/id", "must be a text"),
        ("/id", json!("x".repeat(201)), "/id", "at most 200 bytes"),
        ("/userId", json!("a\nb"), "/userId", "control"),
        ("/userId", json!("*"), "/userId", "market"),
        ("/type", json!("LISTING_VIEWD"), "/type", "no event type"),
        ("/type", json!("MORTGAGE_RATE_PUBLISHED"), "/userId", "write \"*\""),
        ("/occurredAt", json!("yesterday"), "/occurredAt", "RFC 3339"),
        ("/occurredAt", json!("2026-01-02T00:02:00Z"), "/occurredAt", "ahead of the clock"),
        ("/data", json!([1]), "/data", "must be an object"),
        ("/data", json!(null), "/data/price", "is missing"),
        ("/data/price", json!(null), "/data/price", "is missing"),
        ("/data/price", json!("286000"), "/data/price", "must be a number, not a text"),
        ("/data/price", json!(-1), "/data/price", "between 0 and 1000000000"),
        ("/data/price", json!({"a": 1}), "/data/price", "not an object"),
        ("/data/listingId", json!("x".repeat(201)), "/data/listingId", "at most 200"),
        ("/data/propertyType", json!("CASTLE"), "/data/propertyType", "must be one of HOUSE"),
        ("/data/bedrooms", json!(2.5), "/data/bedrooms", "whole number"),
    ] {
        let faults = check(&catalog, &with(pointer, value.clone())).expect_err(pointer);
        let named = faults.iter().any(|(at, message)| at == path && message.contains(needle));
        assert!(named, "{pointer} = {value}: {faults:?}");
    }
    for text in ["", "[]", "{", "\"x\"", "{\"id\":\"\u{1}\"}"] {
        assert!(check(&catalog, text).is_err(), "{text:?}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let text = r#"{"id":1,"userId":"","type":"LISTING_VIEWED","occurredAt":"x","data":{"price":-1,"dwellSeconds":"a"}}"#;
    let paths: Vec<_> = check(&catalog(), text).unwrap_err().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        ["/id", "/userId", "/occurredAt", "/data/price", "/data/dwellSeconds", "/data/listingId"]
    );
}

#[test]
fn built_in_types_are_taken_flat_or_in_data() {
    let catalog = catalog();
    let envelope = json!({"id": "q1", "userId": "u", "occurredAt": "2026-01-01T00:00:00Z"});
    let event = |kind: &str, keys: Value, nested: bool| {
        let mut event = envelope.as_object().unwrap().clone();
        event.insert("type".to_owned(), json!(kind));
        if nested {
            event.insert("data".to_owned(), keys);
        } else {
            event.extend(keys.as_object().unwrap().clone());
        }
        Value::from(event).to_string()
    };
    for nested in [false, true] {
        let text = event("ScoreRequested", json!({"modelTypes": ["SELL"], "reason": "SWEEP"}), nested);
        let UserEvent::ScoreRequested(request) =
            decode(&catalog, &recorded(&check(&catalog, &text).unwrap())).unwrap()
        else {
            panic!("a request")
        };
        assert_eq!((request.model_types, request.reason.as_str()), (vec!["SELL".to_owned()], "SWEEP"));
        let keys = json!({"modelType": "BUY", "converted": true, "conversionValue": 5.5});
        let text = event("ConversionRecorded", keys, nested);
        let UserEvent::ConversionRecorded(fact) =
            decode(&catalog, &recorded(&check(&catalog, &text).unwrap())).unwrap()
        else {
            panic!("a conversion")
        };
        assert_eq!(
            (fact.model_type.as_str(), fact.converted, fact.conversion_value),
            ("BUY", true, Some(5.5))
        );
        let faults =
            check(&catalog, &event("ConversionRecorded", json!({"modelType": "BYE"}), nested)).unwrap_err();
        let prefix = if nested { "/data" } else { "" };
        let paths: Vec<_> = faults.into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [format!("{prefix}/modelType"), format!("{prefix}/converted")]);
    }
    let faults =
        check(&catalog, &event("ScoreRequested", json!({}), true).replace("\"u\"", "\"*\"")).unwrap_err();
    assert_eq!(faults[0].0, "/userId");
}

#[test]
fn the_log_is_read_leniently_but_never_wrongly() {
    let catalog = catalog();
    let stored = |data: &str, kind: &str| {
        let mut event = recorded(&check(&catalog, VIEWED).unwrap());
        event.data = Bytes::copy_from_slice(data.as_bytes());
        event.event_type = kind.into();
        decode(&catalog, &event)
    };
    let outside = r#"{"data":{"price":-5,"propertyType":"CASTLE","listingId":null},"occurredAt":"2026-01-01T00:00:00Z"}"#;
    let UserEvent::Behaviour(event) = stored(outside, "LISTING_VIEWED").unwrap() else { panic!("behaviour") };
    assert!(event.fields[0].is_nan());
    assert_eq!((event.fields[1], event.fields[3]), (-5.0, symbol("CASTLE")));
    assert_eq!(stored("garbage", "SOMETHING_NEW").unwrap(), UserEvent::Unknown);
    for data in [
        "garbage",
        "[]",
        r#"{"data":{}}"#,
        r#"{"occurredAt":5}"#,
        r#"{"occurredAt":"x"}"#,
        r#"{"occurredAt":"2026-01-01T00:00:00Z","data":{"price":"1"}}"#,
        r#"{"occurredAt":"2026-01-01T00:00:00Z","data":{"listingId":1}}"#,
        r#"{"occurredAt":"2026-01-01T00:00:00Z","data":[]}"#,
        r#"{"occurredAt":"2026-01-01T00:00:00Z"} trailing"#,
    ] {
        assert!(stored(data, "LISTING_VIEWED").is_err(), "{data}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What passes the door decodes to what was sent, for every event type of the shipped catalogue.
    #[test]
    fn what_is_taken_decodes_to_the_same(kind in 0_usize..64, share in 0.0_f64..=1.0, skip in any::<u64>()) {
        let catalog = catalog();
        let spec = &catalog.events[kind % catalog.events.len()];
        let (mut data, mut expected) = (serde_json::Map::new(), Vec::new());
        for (nth, field) in spec.fields.iter().enumerate().rev() {
            if !field.required && skip >> nth & 1 == 1 {
                expected.push(f64::NAN);
                continue;
            }
            let (value, number) = match &field.kind {
                FieldKind::Number { min, max, integer } => {
                    let value = min + (max - min) * share;
                    let value = if *integer { value.floor() } else { value };
                    (json!(value), value)
                }
                FieldKind::Text { .. } => (json!(format!("é\"{share}")), symbol(&format!("é\"{share}"))),
                FieldKind::Choice { of } => (json!(of[nth % of.len()]), symbol(&of[nth % of.len()])),
                FieldKind::Flag => (json!(share > 0.5), f64::from(u8::from(share > 0.5))),
            };
            data.insert(field.name.clone(), value);
            expected.push(number);
        }
        expected.reverse();
        let user = if spec.market.is_some() { "*" } else { "u\\1" };
        let text = json!({"data": data, "id": "e", "type": spec.name, "userId": user, "occurredAt": "2025-05-05T05:05:05.005Z"});
        let ingest = check(&catalog, &text.to_string()).unwrap();
        let UserEvent::Behaviour(event) = decode(&catalog, &recorded(&ingest)).unwrap() else { panic!("behaviour") };
        let bits = |row: &[f64]| row.iter().map(|value| if value.is_nan() { 0 } else { value.to_bits() }).collect::<Vec<_>>();
        prop_assert_eq!(bits(&event.fields), bits(&expected));
    }
}
