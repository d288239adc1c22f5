//! Every shape of a fact about models ever written stays readable, byte for byte.
//!
//! Law: a golden file is never changed. A new shape gets a new file: `UPDATE_GOLDEN=1` writes those that are missing.

use std::fs;
use std::path::PathBuf;

use intentd::domain::codec::{decode_model_event, encode_model_event};
use intentd::domain::model::{
    Asked, ChallengerStarted, ChallengerStopped, Made, ModelActivated, ModelEvent, ModelRefused,
    ModelRolledBack,
};
use intentd::domain::time::Timestamp;

fn asked() -> Asked {
    let at = Timestamp::from_millis(1_767_225_600_608);
    Asked { by: "ann".to_owned(), why: "precision \"fell\"".to_owned(), at }
}

fn made() -> Made {
    Made {
        version: "2026.2.1".to_owned(),
        model_sha256: "2e0ae32a".to_owned(),
        catalog_version: "0123456789abcdef".to_owned(),
    }
}

/// A fact of every shape.
pub fn samples() -> Vec<(&'static str, ModelEvent)> {
    let model_type = || "SELL".to_owned();
    let activated = |previous: Option<&str>| {
        let previous = previous.map(str::to_owned);
        let fact = ModelActivated { model_type: model_type(), made: made(), previous, asked: asked() };
        ModelEvent::ModelActivated(fact)
    };
    vec![
        ("activated", activated(Some("2026.1.1"))),
        ("activated_first", activated(None)),
        (
            "refused",
            ModelEvent::ModelRefused(ModelRefused {
                model_type: model_type(),
                version: "2026.2.1".to_owned(),
                reasons: vec![
                    "CARD.md cannot be read: gone".to_owned(),
                    "bias is inf, expected a number".to_owned(),
                ],
                catalog_version: "0123456789abcdef".to_owned(),
                asked: asked(),
            }),
        ),
        (
            "rolled_back",
            ModelEvent::ModelRolledBack(ModelRolledBack {
                model_type: model_type(),
                made: made(),
                from: "2026.3.1".to_owned(),
                asked: asked(),
            }),
        ),
        (
            "challenger_started",
            ModelEvent::ChallengerStarted(ChallengerStarted {
                model_type: model_type(),
                made: made(),
                asked: asked(),
            }),
        ),
        (
            "challenger_stopped",
            ModelEvent::ChallengerStopped(ChallengerStopped {
                model_type: model_type(),
                version: "2026.2.1".to_owned(),
                asked: asked(),
            }),
        ),
    ]
}

#[test]
fn every_shape_is_read_and_written_as_it_was() {
    let mut ids = Vec::new();
    for (name, sample) in samples() {
        let event = encode_model_event(&sample, 7);
        let path: PathBuf = ["tests", "golden", "model", &format!("{name}.json")].iter().collect();
        if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &event.data).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8_lossy(&event.data), String::from_utf8_lossy(&stored), "{name}");
        let read = decode_model_event(&event.event_type, &stored).unwrap().unwrap();
        assert_eq!(read, sample, "{name}");
        assert_eq!(encode_model_event(&read, 7).id, event.id, "a retry is the same event");
        assert_ne!(encode_model_event(&read, 8).id, event.id, "another place is another event");
        ids.push(event.id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), samples().len() - 1, "kind, version and place make the id");
    let files = fs::read_dir("tests/golden/model").unwrap().count();
    assert_eq!(files, samples().len(), "every golden file has its sample");
}

#[test]
fn a_type_that_is_not_ours_is_none_and_a_broken_fact_an_error() {
    assert_eq!(decode_model_event("ModelMelted", b"{}").unwrap(), None);
    assert!(decode_model_event("ModelActivated", b"{}").is_err());
}
