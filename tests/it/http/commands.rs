//! Users, signals, scoring, conversions, health: status and body of each, and what is refused.

use intentd::commands::NotReady;
use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_user_has_features_signals_scores_and_open_alerts() {
    let api = Api::new();
    let user = api.get("/api/v1/users/u%2F1?asOf=2026-01-01T00:00:00Z").await.ok(200);
    assert_eq!((&user["userId"], &user["asOf"]), (&json!("u/1"), &json!("2026-01-01T00:00:00.000Z")));
    let feature = json!({"name": "listing_views_7d", "category": "engagement", "unit": "events", "value": 7.0,
        "asOf": "2026-01-01T00:00:00.000Z"});
    assert_eq!(user["features"][0], feature);
    assert_eq!(user["features"][1]["value"], Value::Null);
    assert_eq!(user["signals"][0]["signal"], "burst");
    assert_eq!(user["scores"][0]["modelType"], "SELL");
    assert_eq!(user["openAlerts"][0]["status"], "PENDING");
    assert_eq!(api.get("/api/v1/users/nobody").await.problem(404), "not-found");
    assert_eq!(api.get("/api/v1/users/u1?asOf=now").await.faults(), ["asOf"]);
    assert_eq!(api.get("/api/v1/users/").await.problem(404), "not-found");
}

#[tokio::test]
async fn signals_come_in_pages_with_their_causes() {
    let api = Api::new();
    let page = api.get("/api/v1/signals/u1?limit=1&cursor=next").await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let signal = &page["items"][0];
    assert_eq!((&signal["signal"], &signal["cause"]["revision"]), (&json!("burst"), &json!(3)));
    assert_eq!(signal["features"], json!([{"name": "busy", "value": null}]));
    assert_eq!(signal["rule"], Value::Null, "the rule of another catalogue is not told");
    assert_eq!(page["nextCursor"], "next");
    assert_eq!(api.get("/api/v1/signals/u1?cursor=other").await.faults(), ["cursor"]);
    assert_eq!(api.get("/api/v1/signals/u1?limit=x").await.faults(), ["limit"]);
}

#[tokio::test]
async fn a_score_has_its_top_features_and_a_failed_one_its_reason() {
    let api = Api::new();
    let scored =
        api.post("/api/v1/alerts/score-user", r#"{"userId": "u1", "modelTypes": ["SELL"]}"#).await.ok(200);
    let [sell, buy] = [&scored["scores"][0], &scored["scores"][1]];
    let names: Vec<_> =
        sell["topFeatures"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["f6", "f5", "f4", "f3", "f2"], "by absolute contribution");
    assert_eq!((&sell["degraded"], &sell["priority"]), (&json!(false), &json!("LOW")));
    assert_eq!((&buy["degraded"], &buy["confidence"]), (&json!(true), &Value::Null));
    assert_eq!(buy["reason"], "no model BUY is loaded");
    let many = r#"{"userIds": ["u1", "u2", "u1"]}"#;
    let scored = api.post("/api/v1/alerts/score-users", many).await.ok(200);
    assert_eq!(scored["items"].as_array().unwrap().len(), 2, "each user once");
    assert_eq!(*api.world.calls.lock().unwrap(), ["score 1 SELL", "score 2 "]);
}

#[tokio::test]
async fn bad_scoring_requests_name_what_is_wrong() {
    let api = Api::new();
    for (body, place) in [
        (r"{}", "userId"),
        (r#"{"userId": ""}"#, "userId"),
        (r#"{"userId": "*"}"#, "userId"),
        (r#"{"userId": 7}"#, "userId"),
        (r#"{"userId": "u1", "modelTypes": ["SELL", "sell"]}"#, "modelTypes[1]"),
        (r#"{"userId": "u1", "models": []}"#, "models"),
    ] {
        assert_eq!(api.post("/api/v1/alerts/score-user", body).await.faults(), [place], "{body}");
    }
    let ids = |count: usize| {
        let ids: Vec<_> = (0..count).map(|number| format!("\"{number:0>200}\"")).collect();
        format!("{{\"userIds\": [{}]}}", ids.join(","))
    };
    let path = "/api/v1/alerts/score-users";
    assert_eq!(api.post(path, &ids(1_000)).await.ok(200)["items"].as_array().unwrap().len(), 1_000);
    assert_eq!(api.post(path, &ids(1_001)).await.faults(), ["userIds"]);
    assert_eq!(api.post(path, &ids(0)).await.faults(), ["userIds"]);
    assert_eq!(api.post(path, r#"{"userIds": ["u1", "\u0007"]}"#).await.faults(), ["userIds[1]"]);
}

#[tokio::test]
async fn waiting_signals_are_processed_up_to_a_limit() {
    let api = Api::new();
    let path = "/api/v1/alerts/process-signals";
    let done =
        json!({"users": 2, "signals": 3, "scored": 4, "alertsCreated": 1, "failed": 0, "durationMs": 5});
    assert_eq!(api.post(path, r#"{"limit": 7}"#).await.ok(200), done);
    api.send("POST", path, &[], b"").await.ok(200);
    assert_eq!(*api.world.calls.lock().unwrap(), ["process 7", "process 1000"]);
    for body in [r#"{"limit": 0}"#, r#"{"limit": 1001}"#, r#"{"limit": -1}"#, r#"{"limit": "7"}"#] {
        assert_eq!(api.post(path, body).await.faults(), ["limit"], "{body}");
    }
}

#[tokio::test]
async fn a_call_that_panics_or_hangs_is_answered() {
    let api = Api::new();
    let path = "/api/v1/alerts/process-signals";
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let reply = api.post(path, r#"{"limit": 13}"#).await;
    std::panic::set_hook(hook);
    assert_eq!(reply.problem(500), "internal");
    assert!(!reply.json().to_string().contains("planted"));
    *api.world.hold.lock().unwrap() = Some(std::sync::Arc::default());
    tokio::time::pause();
    assert_eq!(api.post(path, "{}").await.problem(503), "timeout");
}

#[tokio::test]
async fn a_missed_conversion_is_an_event_of_the_user() {
    let api = Api::new();
    let body = r#"{"userId": "u1", "modelType": "SELL", "converted": true, "conversionValue": 5.5, "occurredAt": "2026-01-01T00:00:00Z"}"#;
    let path = "/api/v1/outcomes";
    assert_eq!(api.post(path, body).await.ok(202), json!({"accepted": 1, "duplicates": 0, "position": 1}));
    assert_eq!(api.post(path, body).await.ok(202)["duplicates"], 1, "the same body has no second effect");
    assert_eq!(api.post(path, &body.replace("5.5", "6")).await.ok(202)["accepted"], 1, "a correction");
    let named = body.replace("{\"userId\"", "{\"id\": \"again\", \"userId\"");
    assert_eq!(api.post(path, &named).await.ok(202)["accepted"], 1, "back to what was corrected");
    {
        let log = api.world.log.lock().unwrap();
        assert_eq!((log[0].stream.as_str(), &*log[0].event.event_type), ("user-u1", "ConversionRecorded"));
        let stored: Value = serde_json::from_slice(&log[0].event.data).unwrap();
        assert_eq!((&stored["modelType"], &stored["conversionValue"]), (&json!("SELL"), &json!(5.5)));
    }
    for (from, to, place) in [
        ("SELL", "RENT", "modelType"),
        ("true", "\"yes\"", "converted"),
        ("5.5", "-5.5", "conversionValue"),
        ("2026-01-01", "2027-01-01", "occurredAt"),
        ("2026-01-01", "2026-13-01", "occurredAt"),
        ("\"u1\"", "\"*\"", "userId"),
        ("userId", "user", "user"),
        ("{", "{\"id\": \"\", ", "id"),
    ] {
        assert_eq!(api.post(path, &body.replacen(from, to, 1)).await.faults(), [place], "{to}");
    }
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let api = Api::new();
    let alive = api.get("/healthz").await;
    assert_eq!((alive.status, &*alive.body), (200, &b"alive\n"[..]));
    assert_eq!(alive.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(api.get("/readyz").await.status, 200);
    let behind = NotReady { component: "feed".to_owned(), reason: "12 events behind; wait".to_owned() };
    api.world.not_ready.lock().unwrap().push(behind);
    let not = api.get("/readyz").await;
    assert_eq!(not.problem(503), "not-ready");
    assert_eq!(not.json()["reasons"], json!([{"component": "feed", "reason": "12 events behind; wait"}]));
    assert_eq!(api.get("/healthz").await.status, 200, "alive all the same");
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(&*metrics.body, b"intentd_up 1\n");
}
