//! `GET /alerts/models/performance` at its boundary: what the view and the live counts say, on the wire.

use intentd::commands::{Watched, Watching};
use intentd::domain::quality::{Case, FeatureReading, Reading, STEPS, measure};
use intentd::projection::performance::*;
use serde_json::{Value, json};

use super::Api;
use super::samples::time;

/// Live counts of a version that serves, one in shadow, and one of a model that the catalogue no longer has.
pub fn watching() -> Watching {
    let feature =
        |psi, missing| FeatureReading { psi, missing: Some(missing), missing_trained: psi.map(|_| 0.25) };
    let reading = |rows: u64| Reading {
        rows,
        days: Some((20_454, 20_455)),
        late: 1,
        score_psi: (rows >= 200).then_some(0.125),
        scores: vec![rows / STEPS as u64; STEPS],
        features: vec![feature(None, 0.0), feature((rows >= 200).then_some(0.5), 0.5)],
    };
    let version = |model: &str, version: &str, rows: u64, is_shadow: bool| Watched {
        model_type: model.to_owned(),
        model_version: version.to_owned(),
        is_shadow,
        is_newest: !is_shadow,
        is_trained: true,
        features: vec!["listing_views_7d".to_owned(), "busy".to_owned()],
        reading: reading(rows),
    };
    let versions = vec![
        version("SELL", "2", 1_000, false),
        Watched { is_trained: false, ..version("SELL", "3", 0, true) },
        version("GONE", "1", 9, false),
    ];
    Watching { began: time("2026-01-01T00:00:00Z"), days: 28, versions }
}

/// What the view says: two versions of SELL, a pair in shadow.
pub fn measured(asked: &Measure) -> Performance {
    assert_eq!(asked.models.len(), 1);
    assert_eq!(asked.models[0].1.as_secs(), 90 * 86_400, "the catalogue's horizon");
    assert_eq!(asked.pace_window.as_secs(), 28 * 86_400);
    let quality = |cases: &[(f32, bool)]| {
        measure(&mut cases.iter().map(|&(probability, label)| Case::new(probability, label)).collect())
    };
    let version = |name: &str, alerts, missed, cases: &[(f32, bool)]| VersionPerformance {
        model_version: name.to_owned(),
        first_scored_at: time("2026-01-01T00:00:00Z"),
        last_scored_at: time("2026-01-02T00:00:00Z"),
        alerts,
        outcomes: Outcomes { true_positive: 2, false_positive: 1, unknown: 1, corrected: 1 },
        requested: Labels { rows: 5, mature: 2, positives: 0, early: 0 },
        missed,
        quality: quality(cases),
    };
    let pair = ChallengerPerformance {
        model_version: "3".to_owned(),
        champion_version: "2".to_owned(),
        agreement: Agreement { both: 1, challenger_only: 2, champion_only: 3, neither: 4 },
        users_would_alert: 2,
        users_champion_would_alert: 3,
        difference_mean: 0.25,
        difference_max: 0.5,
        labels: Labels { rows: 10, mature: 0, positives: 0, early: 0 },
        ..ChallengerPerformance::default()
    };
    let known = [(0.75, true), (0.75, true), (0.75, true), (0.75, false), (0.25, false)];
    let model = ModelPerformance {
        model_type: asked.models[0].0.clone(),
        conversions: 7,
        missed: 4,
        alerts_recent: 20,
        versions: vec![
            version("1", Labels { rows: 1, mature: 0, positives: 0, early: 0 }, 3, &[]),
            version("2", Labels { rows: 6, mature: 4, positives: 3, early: 0 }, 1, &known),
        ],
        challengers: vec![pair],
    };
    Performance { models: vec![model], users: 1_000, pace_days: 28.0, rows_left_out: 0 }
}

async fn answer() -> Value {
    Api::new().get("/api/v1/alerts/models/performance").await.ok(200)
}

#[tokio::test]
async fn each_version_has_its_figures() {
    let answer = answer().await;
    assert_eq!(answer["asOf"], "2026-01-03T00:00:00.000Z");
    assert!(answer["basis"].as_str().unwrap().contains("mature"));
    let model = &answer["models"][0];
    assert_eq!((&model["modelType"], &model["horizonDays"]), (&json!("SELL"), &json!(90.0)));
    assert_eq!((&model["precision"], &model["recall"]), (&json!(0.75), &json!(3.0 / 7.0)));
    let requested = json!({"rows": 10, "mature": 4, "positives": 0, "early": 0});
    assert_eq!(model["labels"]["requested"], requested);
    assert_eq!(model["labels"]["alerts"], json!({"rows": 7, "mature": 4, "positives": 3, "early": 0}));
    assert_eq!(model["conversions"], json!({"known": 7, "missed": 4}));
    let version = &model["versions"][1];
    assert_eq!((&version["modelVersion"], &version["alerts"]), (&json!("2"), &json!(6)));
    assert_eq!((&version["precision"], &version["recall"]), (&json!(0.75), &json!(0.75)));
    let outcomes = json!({"known": 3, "truePositive": 2, "falsePositive": 1, "unknown": 1, "corrected": 1});
    assert_eq!(version["outcomes"], outcomes);
    assert_eq!(version["labels"]["alerts"], json!({"rows": 6, "mature": 4, "positives": 3, "early": 0}));
    assert_eq!(version["labels"]["requested"], json!({"rows": 5, "mature": 2, "positives": 0, "early": 0}));
    assert_eq!((&version["rows"], &version["baseRate"]), (&json!(5), &json!(0.6)));
    assert_eq!(version["rocAuc"], 0.75, "a half for the tie, a whole for the other pairs");
    assert_eq!((&version["brier"], &version["averagePrecision"]), (&json!(0.1625), &json!(0.75)));
    assert!(version["liftTopDecile"].is_f64() && version["calibrationError"].is_f64());
    let table = version["reliability"].as_array().unwrap();
    assert_eq!(table.len(), 10);
    let seventies =
        json!({"from": 0.7, "to": 0.8, "rows": 4, "meanProbability": 0.75, "positiveShare": 0.75});
    assert_eq!(table[7], seventies);
    assert_eq!(table[9]["positiveShare"], Value::Null);
    let young = &model["versions"][0];
    for measure in ["precision", "rocAuc", "averagePrecision", "brier", "calibrationError", "liftTopDecile"] {
        assert_eq!(young[measure], Value::Null, "{measure} of nothing");
    }
    assert_eq!(young["recall"], 0.0, "three were missed and none was caught");
}

#[tokio::test]
async fn a_challenger_stands_beside_its_champion() {
    let answer = answer().await;
    let pair = &answer["models"][0]["challengers"][0];
    assert_eq!((&pair["modelVersion"], &pair["championVersion"]), (&json!("3"), &json!("2")));
    assert_eq!(
        pair["agreement"],
        json!({"rows": 10, "both": 1, "challengerOnly": 2, "championOnly": 3, "neither": 4, "share": 0.5})
    );
    assert_eq!(pair["wouldBeAlerts"], json!({"challenger": 2, "champion": 3}));
    assert_eq!((&pair["challenger"]["rows"], &pair["champion"]["rocAuc"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn drift_and_the_budget_say_what_they_know_and_why_not() {
    let answer = answer().await;
    let budget = &answer["models"][0]["budget"];
    let pace = budget["alertsPerUserPerYear"].as_f64().unwrap();
    assert!((pace - 20.0 / 1_000.0 / 28.0 * 365.2425).abs() < 1e-9, "{pace}");
    assert_eq!((&budget["budgetPerUserPerYear"], &budget["withinBudget"]), (&json!(0.1), &json!(false)));
    let live = &answer["live"];
    assert_eq!((&live["since"], &live["windowDays"]), (&json!("2026-01-01T00:00:00.000Z"), &json!(28)));
    let versions = live["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "of the catalogue's models alone");
    let serving = &versions[0];
    assert_eq!((&serving["scores"], &serving["scorePsi"]), (&json!(1_000), &json!(0.125)));
    assert_eq!((&serving["from"], &serving["to"]), (&json!("2026-01-01"), &json!("2026-01-02")));
    assert_eq!((&serving["reason"], &serving["late"]), (&Value::Null, &json!(1)));
    let drifted = json!({"name": "busy", "psi": 0.5, "missing": 0.5, "missingAtTraining": 0.25});
    assert_eq!(serving["features"][0], drifted, "the most drifted first");
    assert_eq!(serving["features"][1]["psi"], Value::Null);
    // 500 scores over 0.5 make the pace; 191 of them would make 0.1.
    assert_eq!((&serving["suggestedThreshold"], &serving["suggestionReason"]), (&json!(0.81), &Value::Null));
    assert!(serving["suggestedAlertsPerUserPerYear"].as_f64().unwrap() <= 0.1);
    let shadow = &versions[1];
    assert_eq!((&shadow["inShadow"], &shadow["scorePsi"]), (&json!(true), &Value::Null));
    assert!(shadow["reason"].as_str().unwrap().contains("[drift]"));
    assert_eq!(shadow["suggestedThreshold"], Value::Null);
    assert!(shadow["suggestionReason"].as_str().unwrap().contains("serves"));
}

#[tokio::test]
async fn it_takes_no_parameters() {
    let api = Api::new();
    assert_eq!(api.get("/api/v1/alerts/models/performance?modelType=SELL").await.faults(), ["modelType"]);
}
