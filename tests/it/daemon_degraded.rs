//! Without ONNX Runtime the daemon runs and says so; signals wait, and are scored once there are models.

use super::daemon::{Place, items, models_are_there, simulated};

#[test]
fn signals_wait_for_models_and_are_scored_once_there_are() {
    if !models_are_there("signals_wait_for_models_and_are_scored_once_there_are") {
        return;
    }
    let mut place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 5, 600, 240);
    // The sweeper would ask by itself; here the command shall.
    place.set("INTENTD_PIPELINE__RESCORE_FIRST", "1h");
    place.set("INTENTD_PIPELINE__SWEEP_EVERY", "1h");

    place.set("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    let daemon = place.daemon_when(|answer| answer.status == 503 && answer.text().contains("libonnxruntime"));
    let lines = std::fs::read(&log).unwrap();
    for chunk in lines.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>().chunks(10_000) {
        let done = daemon.client.send("POST", "events", "application/x-ndjson", &chunk.concat()).expect(202);
        assert_eq!(done["accepted"], chunk.len());
    }
    let (user, score) = (first_user(&lines), "alerts/score-user");
    let scored = daemon.client.post(score, &serde_json::json!({ "userId": user })).expect(200);
    for score in scored["scores"].as_array().unwrap() {
        assert_eq!(score["degraded"], true, "{score}");
        assert!(score["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{score}");
        assert!(score["calibratedScore"].is_null() && score["confidence"].is_null(), "{score}");
    }
    let problem = daemon.client.get("/readyz").expect(503);
    let components: Vec<&str> = problem["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["component"].as_str().unwrap())
        .collect();
    assert_eq!(components, ["models"; 4], "only models are missing: {problem}");
    assert_eq!(daemon.client.get("/healthz").status, 200);
    let done = daemon.client.post("alerts/process-signals", &serde_json::json!({ "limit": 3 })).expect(200);
    assert_eq!(
        (&done["users"], &done["scored"], &done["failed"]),
        (&3.into(), &0.into(), &3.into()),
        "{done}"
    );
    assert!(items(&daemon.client.get("alerts").expect(200)).is_empty());
    daemon.stop();

    place.set("ORT_DYLIB_PATH", "");
    let daemon = place.daemon();
    let (mut alerts, mut users) = (0, 0);
    for _ in 0..100 {
        let done =
            daemon.client.post("alerts/process-signals", &serde_json::json!({ "limit": 200 })).expect(200);
        assert_eq!(done["failed"], 0, "{done}");
        alerts += done["alertsCreated"].as_u64().unwrap();
        users += done["users"].as_u64().unwrap();
        if done["users"] == 0 {
            break;
        }
        assert!(done["users"].as_u64().unwrap() <= 200 && done["scored"].as_u64() > Some(0), "{done}");
    }
    let listed = daemon.client.all("alerts?limit=500");
    assert!(users > 50 && alerts > 0, "{users} users, {alerts} alerts");
    assert_eq!(listed.len() as u64, alerts);
    daemon.stop();
}

fn first_user(lines: &[u8]) -> String {
    let mut events = lines.split(|byte| *byte == b'\n').map(|line| {
        let event: serde_json::Value = serde_json::from_slice(line).unwrap();
        event["userId"].as_str().unwrap().to_owned()
    });
    events.find(|user| user != "*").unwrap()
}
