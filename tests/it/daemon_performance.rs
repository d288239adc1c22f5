//! `GET /alerts/models/performance` and its metrics through real HTTP, against the real program with the shipped models.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::daemon::{Client, Place, items, models_are_there, simulated, until};

const PATH: &str = "alerts/models/performance";

fn model<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let models = answer["models"].as_array().unwrap();
    models.iter().find(|model| model["modelType"] == name).unwrap()
}

/// Sums a count of every version of a model.
fn sum(model: &Value, pointer: &str) -> u64 {
    let of = |version: &Value| version.pointer(pointer).and_then(Value::as_u64).unwrap();
    model["versions"].as_array().unwrap().iter().map(of).sum()
}

#[test]
fn models_are_measured_by_what_really_happened() {
    if !models_are_there("models_are_measured_by_what_really_happened") {
        return;
    }
    let place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 11, 600, 240);
    place.done(&["import", log.to_str().unwrap()]);
    let daemon = place.daemon();
    let client = &daemon.client;
    alerts_and_labels(client);
    missed(client);
    corrected(client);
    live(client);
    daemon.stop();
}

/// What the answer says of alerts is what the list of alerts says.
fn alerts_and_labels(client: &Client) {
    let answer = client.get(PATH).expect(200);
    let mut listed: BTreeMap<String, u64> = BTreeMap::new();
    for alert in client.all("alerts?limit=500") {
        *listed.entry(alert["modelType"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(answer["models"].as_array().unwrap().len(), 4);
    assert!(listed.values().sum::<u64>() > 40, "{listed:?}");
    let mut recent = 0;
    for (name, count) in listed {
        let model = model(&answer, &name);
        assert_eq!(sum(model, "/alerts"), count, "{name}");
        let (rows, mature) = (sum(model, "/labels/alerts/rows"), sum(model, "/labels/alerts/mature"));
        assert!(rows == count && mature > 0 && mature < rows, "{name}: {mature} of {rows} are mature");
        assert_eq!(sum(model, "/rows"), mature + sum(model, "/labels/requested/mature"));
        assert!(model["conversions"]["known"].as_u64() > Some(0), "{name}: events that are conversions");
        assert!(model["precision"].is_f64() && model["recall"].is_f64(), "{model}");
        assert!(model["budget"]["alertsPerUserPerYear"].is_f64(), "{}", model["budget"]);
        recent += model["budget"]["alerts"].as_u64().unwrap();
    }
    assert!(recent > 0, "alerts in the last weeks of the log");
    assert_eq!(answer["live"]["versions"], json!([]), "nothing was scored since the start");
}

/// A conversion of somebody whom no alert named lowers the recall.
fn missed(client: &Client) {
    let before = client.get(PATH).expect(200);
    let who = json!({ "userId": "stranger", "modelType": "SELL", "converted": true,
        "occurredAt": "2026-05-01T00:00:00Z" });
    client.post("outcomes", &who).expect(202);
    let after = until("the conversion to be missed", || {
        let answer = client.get(PATH).expect(200);
        (model(&answer, "SELL")["conversions"] != model(&before, "SELL")["conversions"]).then_some(answer)
    });
    let (before, after) = (model(&before, "SELL"), model(&after, "SELL"));
    for count in ["known", "missed"] {
        let of = |model: &Value| model["conversions"][count].as_u64().unwrap();
        assert_eq!(of(after), of(before) + 1, "{count}");
    }
    assert_eq!(sum(after, "/missedConversions"), sum(before, "/missedConversions") + 1);
    assert!(after["recall"].as_f64() < before["recall"].as_f64());
    assert_eq!(after["precision"], before["precision"]);
}

/// A correction counts instead of what it corrects.
fn corrected(client: &Client) {
    let listed = client.get("alerts?modelType=BUY&limit=1").expect(200);
    let path = format!("alerts/{}/outcome", items(&listed)[0]["id"].as_str().unwrap());
    let counts = || {
        let answer = client.get(PATH).expect(200);
        let model = model(&answer, "BUY");
        ["truePositive", "falsePositive", "corrected"].map(|name| sum(model, &format!("/outcomes/{name}")))
    };
    assert_eq!(counts(), [0, 0, 0]);
    client.post(&path, &json!({ "outcome": "TRUE_POSITIVE", "converted": true })).expect(200);
    assert_eq!(counts(), [1, 0, 0]);
    client.post(&path, &json!({ "outcome": "FALSE_POSITIVE", "converted": false })).expect(200);
    assert_eq!(counts(), [0, 1, 1]);
}

/// Every score counts for drift, whether it is recorded or not; the metrics say the same.
fn live(client: &Client) {
    let mut users: Vec<Value> =
        client.all("alerts?limit=500").into_iter().map(|alert| alert["userId"].clone()).collect();
    users.sort_by_key(ToString::to_string);
    users.dedup();
    users.truncate(25);
    let scored = client.post("alerts/score-users", &json!({ "userIds": users })).expect(200);
    assert_eq!(items(&scored).len(), users.len());
    let answer = client.get(PATH).expect(200);
    let versions = answer["live"]["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 4);
    for version in versions {
        assert_eq!(version["scores"], users.len(), "{version}");
        assert_eq!(version["scorePsi"], Value::Null, "25 scores say nothing of drift");
        assert!(version["reason"].is_string() && version["suggestionReason"].is_string());
        assert!(version["features"].as_array().unwrap().iter().all(|feature| feature["missing"].is_f64()));
        let requested = sum(model(&answer, version["modelType"].as_str().unwrap()), "/labels/requested/rows");
        assert!(requested > 0 && requested <= users.len() as u64, "{requested}");
    }
    until("the gauges", || {
        let metrics = client.get("/metrics").text();
        let has = |name: &str| metrics.lines().any(|line| line.starts_with(name));
        (has(&format!("intentd_model_scores_watched{{model=\"SELL\"}} {}", users.len()))
            && has("intentd_model_calibration_error{model=\"SELL\"} 0.")
            && has("intentd_model_alert_rate_projected{model=\"SELL\"} ")
            && has("intentd_model_alert_budget{model=\"SELL\"} 0.1")
            && has("intentd_model_feature_missing_ratio{model=\"SELL\",feature="))
        .then_some(())
    });
}
