//! Every shape of a fact ever written stays readable, byte for byte; numbers survive bit for bit.
//!
//! Law: a golden file is never changed. A new shape gets a new file: `UPDATE_GOLDEN=1` writes those that are missing.

use std::fs;
use std::path::PathBuf;

use intentd::domain::alert::{Outcome, Status};
use intentd::domain::codec::{decode_fact, decode_metadata, encode_fact, encode_metadata};
use intentd::domain::event::*;
use intentd::domain::id::{AlertId, EventId, UserId};
use intentd::domain::policy::Priority;
use intentd::domain::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

fn user() -> UserId {
    "user-123".parse().unwrap()
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_608 + day * 86_400_000)
}

fn id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

fn alert() -> AlertId {
    AlertId(Uuid::from_u128(7))
}

fn cause() -> Cause {
    Cause { event_id: id(11), revision: 42 }
}

fn scoring() -> Scoring {
    Scoring {
        model_version: "2026-01-01".to_owned(),
        catalog_version: "0123456789abcdef".to_owned(),
        market_revision: 3,
        as_of: at(0),
        raw: 0.71,
        probability: 0.643_217_9,
        bias: -2.5,
        features: vec![
            Reason { name: "value_checks_7d".to_owned(), value: 3.0, contribution: 1.25 },
            Reason { name: "equity_share".to_owned(), value: f32::NAN, contribution: -0.0 },
        ],
    }
}

fn signals() -> Vec<SignalRef> {
    vec![SignalRef {
        event_id: id(12),
        signal: "valuation_burst".to_owned(),
        strength: 0.6,
        detected_at: at(0),
        cause: cause(),
    }]
}

fn status(note: Option<&str>, snooze_until: Option<Timestamp>) -> IntentEvent {
    IntentEvent::AlertStatusChanged(AlertStatusChanged {
        alert_id: alert(),
        user_id: user(),
        model_type: "SELL".to_owned(),
        from: Status::Pending,
        status: Status::Snoozed,
        at: at(1),
        as_of: at(2),
        by: "api".to_owned(),
        note: note.map(str::to_owned),
        snooze_until,
    })
}

fn outcome(converted: Option<bool>, conversion_value: Option<f64>, note: Option<&str>) -> IntentEvent {
    IntentEvent::AlertOutcomeRecorded(AlertOutcomeRecorded {
        alert_id: alert(),
        user_id: user(),
        model_type: "SELL".to_owned(),
        outcome: Outcome::TruePositive,
        converted,
        conversion_value,
        occurred_at: at(30),
        at: at(31),
        by: "crm".to_owned(),
        note: note.map(str::to_owned),
    })
}

fn scored(priority: Option<Priority>, alert_id: Option<AlertId>) -> IntentEvent {
    let (user_id, model_type) = (user(), "SELL".to_owned());
    IntentEvent::UserScored(UserScored {
        user_id,
        model_type,
        scoring: scoring(),
        priority,
        alert_id,
        cause: cause(),
    })
}

/// A fact of every shape: each variant, and each with and without what may be left out.
pub fn samples() -> Vec<(&'static str, IntentEvent)> {
    let (user_id, model_type) = (user(), "SELL".to_owned());
    vec![
        ("signal_detected", signal(0.6, vec![("value_checks_7d", 3.0), ("equity_share", f32::NAN)])),
        (
            "alert_scored",
            IntentEvent::AlertScored(Box::new(AlertScored {
                alert_id: alert(),
                user_id: user(),
                model_type: model_type.clone(),
                priority: Priority::High,
                threshold: 0.5,
                scored_at: at(0),
                expires_at: at(90),
                scoring: scoring(),
                signals: signals(),
                cause: cause(),
            })),
        ),
        (
            "alert_escalated",
            IntentEvent::AlertEscalated(Box::new(AlertEscalated {
                alert_id: alert(),
                user_id: user(),
                model_type: model_type.clone(),
                from_priority: Priority::High,
                priority: Priority::Critical,
                scored_at: at(2),
                scoring: scoring(),
                signals: Vec::new(),
                cause: cause(),
            })),
        ),
        ("alert_status_changed", status(Some("call \"later\""), Some(at(9)))),
        ("alert_status_changed_least", status(None, None)),
        ("alert_outcome_recorded", outcome(Some(true), Some(412_000.5), Some("sold"))),
        ("alert_outcome_recorded_least", outcome(None, None, None)),
        (
            "alert_rearmed",
            IntentEvent::AlertRearmed(AlertRearmed {
                alert_id: alert(),
                user_id: user(),
                model_type: model_type.clone(),
                probability: 0.31,
                exit: 0.4,
                as_of: at(40),
                cause: cause(),
            }),
        ),
        ("user_scored", scored(Some(Priority::Low), Some(alert()))),
        ("user_scored_least", scored(None, None)),
        (
            "scoring_failed",
            IntentEvent::ScoringFailed(ScoringFailed {
                user_id: user(),
                model_types: vec![model_type],
                reason: "no score in time".to_owned(),
                as_of: at(0),
                cause: cause(),
            }),
        ),
        (
            "challenger_scored",
            IntentEvent::ChallengerScored(ChallengerScored {
                user_id: user(),
                model_type: "SELL".to_owned(),
                model_version: "2026-02-01".to_owned(),
                raw: 0.48,
                probability: 0.512_345_6,
                would_alert: true,
                champion_version: "2026-01-01".to_owned(),
                champion_probability: 0.443_217_9,
                champion_would_alert: false,
                as_of: at(0),
                cause: cause(),
            }),
        ),
        (
            "event_parked",
            IntentEvent::EventParked(EventParked {
                user_id: user(),
                cause: cause(),
                attempts: 5,
                reason: "bad data".to_owned(),
                at: at(0),
            }),
        ),
        (
            "event_unparked",
            IntentEvent::EventUnparked(EventUnparked {
                user_id,
                cause: cause(),
                at: at(1),
                by: "ops".to_owned(),
            }),
        ),
    ]
}

fn signal(strength: f32, features: Vec<(&str, f32)>) -> IntentEvent {
    let named = |(name, value): (&str, f32)| NamedValue { name: name.to_owned(), value };
    IntentEvent::SignalDetected(SignalDetected {
        user_id: user(),
        signal: "valuation_burst".to_owned(),
        category: "valuation".to_owned(),
        strength,
        detected_at: at(0),
        expires_at: at(30),
        models: vec!["SELL".to_owned()],
        cause: cause(),
        features: features.into_iter().map(named).collect(),
        catalog_version: "0123456789abcdef".to_owned(),
    })
}

pub fn encoded(event: IntentEvent) -> NewEvent {
    let metadata = Metadata {
        causation_id: Some(id(11)),
        correlation_id: Some(id(9)),
        source_revision: Some(42),
        schema: 0,
    };
    encode_fact(&Fact { id: id(1), event, metadata })
}

/// What stands in a golden file; written when it is missing and may be.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path: PathBuf = ["tests", "golden", &format!("{name}.json")].iter().collect();
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, now).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_shape_is_read_and_written_as_it_was() {
    for (name, sample) in samples() {
        let event = encoded(sample.clone());
        let stored = golden(name, &event.data);
        assert_eq!(String::from_utf8_lossy(&event.data), String::from_utf8_lossy(&stored), "{name}");
        let read = decode_fact(&event.event_type, &stored).unwrap().unwrap();
        assert_eq!(encoded(read.clone()), event, "{name}");
        // Debug shows NaN as equal to itself.
        assert_eq!(format!("{read:?}"), format!("{sample:?}"), "{name}");
    }
}

#[test]
fn every_golden_file_has_its_sample() {
    let mut files: Vec<_> = fs::read_dir("tests/golden")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<_> = samples().into_iter().map(|(name, _)| name.to_owned()).collect();
    names.push("metadata".to_owned());
    files.sort();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn metadata_is_stamped_and_read_back() {
    let event = encoded(status(None, None));
    let stored = golden("metadata", &event.metadata);
    assert_eq!(String::from_utf8_lossy(&event.metadata), String::from_utf8_lossy(&stored));
    let read = decode_metadata(&stored).unwrap();
    assert_eq!((read.source_revision, read.schema), (Some(42), 1));
    assert_eq!(encode_metadata(&read), event.metadata);
    assert_eq!(decode_metadata(b"").unwrap(), Metadata::default());
    assert!(decode_metadata(b"{").is_err());
}

#[test]
fn a_type_that_is_not_ours_is_none_and_a_broken_fact_an_error() {
    assert_eq!(decode_fact("LISTING_VIEWED", b"{}").unwrap(), None);
    assert!(decode_fact("AlertScored", b"{}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn numbers_survive_bit_for_bit(bits in prop::collection::vec(any::<u32>(), 1..40), value in any::<f64>()) {
        let values: Vec<f32> =
            bits.into_iter().map(f32::from_bits).filter(|value| !value.is_infinite()).collect();
        let event = encoded(signal(0.5, values.iter().map(|value| ("x", *value)).collect()));
        let Some(IntentEvent::SignalDetected(read)) = decode_fact(&event.event_type, &event.data).unwrap() else {
            panic!("another type")
        };
        for (before, after) in values.iter().zip(&read.features) {
            let same = before.to_bits() == after.value.to_bits() || (before.is_nan() && after.value.is_nan());
            prop_assert!(same, "{before} became {}", after.value);
        }
        prop_assume!(value.is_finite());
        let event = encoded(outcome(None, Some(value), None));
        let Some(IntentEvent::AlertOutcomeRecorded(read)) =
            decode_fact(&event.event_type, &event.data).unwrap()
        else {
            panic!("another type")
        };
        prop_assert_eq!(read.conversion_value.unwrap().to_bits(), value.to_bits());
    }
}
