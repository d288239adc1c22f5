//! Alerts over HTTP: lists with every filter, one alert, its status, its outcome, stats.

use intentd::domain::alert::{Outcome, Status};
use intentd::domain::policy::Priority;
use intentd::projection::{AlertQuery, Error, Sort};
use serde_json::{Value, json};

use super::samples::{alert_id, time};
use super::{Api, Reply};

fn path(number: u128, rest: &str) -> String {
    format!("/api/v1/alerts/{}{rest}", alert_id(number))
}

async fn patch(api: &Api, number: u128, body: &str) -> Reply {
    api.send("PATCH", &path(number, "/status"), &[("x-intentd-actor", "ann")], body.as_bytes()).await
}

#[tokio::test]
async fn lists_show_alerts_in_pages() {
    let api = Api::new();
    let page = api.get("/api/v1/alerts?limit=1").await.ok(200);
    let wanted = json!({
        "id": alert_id(1).to_string(), "userId": "u1", "modelType": "SELL", "modelVersion": "1",
        "status": "PENDING", "priority": "HIGH", "confidence": 0.9, "calibratedScore": 0.75,
        "topFeatures": [{"name": "busy", "value": null, "contribution": 1.5}],
        "scoredAt": "2026-01-02T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
        "expiresAt": "2026-04-01T00:00:00.000Z", "snoozedUntil": null, "escalations": 0,
        "outcome": null, "converted": null, "conversionValue": null,
    });
    let shown = |value: &Value| serde_json::to_string(value).unwrap().replace("0.8999999761581421", "0.9");
    assert_eq!(shown(&page["items"]), shown(&json!([wanted])));
    let cursor = page["nextCursor"].as_str().unwrap();
    let last = api.get(&format!("/api/v1/alerts?cursor={cursor}")).await.ok(200);
    assert_eq!((last["items"].as_array().unwrap().len(), &last["nextCursor"]), (1, &Value::Null));
    let of_user = api.get("/api/v1/alerts/user/u%2F2%20%C3%BC").await.ok(200);
    assert_eq!(of_user["items"][0]["userId"], "u/2 ü", "ids are percent-decoded");
    assert_eq!(
        api.get("/api/v1/alerts/user/stranger").await.ok(200),
        json!({"items": [], "nextCursor": null})
    );
}

#[tokio::test]
async fn every_filter_reaches_the_query() {
    let api = Api::new();
    let query = "status=PENDING,IN_PROGRESS&status=SNOOZED&modelType=SELL&priority=CRITICAL&priority=HIGH,LOW\
        &minConfidence=0.5&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00%2B01:00&outcome=TRUE_POSITIVE\
        &q=bus+y&sort=-priority&limit=500&cursor=0";
    api.get(&format!("/api/v1/alerts/user/u1?{query}")).await.ok(200);
    let wanted = AlertQuery {
        user: Some("u1".parse().unwrap()),
        status: vec![Status::Pending, Status::InProgress, Status::Snoozed],
        model_type: vec!["SELL".to_owned()],
        priority: vec![Priority::Critical, Priority::High, Priority::Low],
        min_confidence: Some(0.5),
        from: Some(time("2026-01-01T00:00:00Z")),
        to: Some(time("2026-01-31T23:00:00Z")),
        outcome: Some(Outcome::TruePositive),
        text: Some("bus y".to_owned()),
        sort: Sort::PriorityDescending,
        limit: 500,
        cursor: Some("0".to_owned()),
    };
    assert_eq!(*api.world.asked.lock().unwrap(), [wanted]);
    api.get("/api/v1/alerts").await.ok(200);
    let default = AlertQuery { limit: 50, ..AlertQuery::default() };
    assert_eq!(api.world.asked.lock().unwrap()[1], default);
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let api = Api::new();
    for (query, name) in [
        ("status=pending", "status"),
        ("status=PENDING,", "status"),
        ("priority=URGENT", "priority"),
        ("priority=", "priority"),
        ("modelType=sell", "modelType"),
        ("minConfidence=1.01", "minConfidence"),
        ("minConfidence=NaN", "minConfidence"),
        ("from=yesterday", "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "to"),
        ("outcome=GOOD", "outcome"),
        ("q=", "q"),
        ("q=a%00b", "q"),
        ("sort=scoredAt", "sort"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=5&limit=6", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%", "cursor"),
        ("Status=PENDING", "Status"),
        ("user=u1", "user"),
    ] {
        let reply = api.get(&format!("/api/v1/alerts?{query}")).await;
        assert_eq!(reply.faults(), [name], "{query}");
    }
    for path in ["/api/v1/alerts/user/%ff", "/api/v1/alerts/user/%00", "/api/v1/alerts/user/*"] {
        assert_eq!(api.get(path).await.faults(), ["userId"], "{path}");
    }
}

#[tokio::test]
async fn one_alert_has_its_reasons_its_history_and_the_events_behind_it() {
    let api = Api::new();
    let detail = api.get(&path(1, "")).await.ok(200);
    assert_eq!(detail["features"][0], json!({"name": "listing_views_7d", "value": 7.0, "contribution": 0.5}));
    assert_eq!(detail["features"][1]["value"], Value::Null);
    assert_eq!(
        (&detail["threshold"], &detail["bias"], &detail["marketRevision"]),
        (&json!(0.5), &json!(-1.0), &json!(2))
    );
    assert_eq!(detail["signals"][0]["cause"]["revision"], 3);
    assert_eq!(detail["cause"]["revision"], 5);
    assert_eq!(detail["evidence"], json!([{"id": "e3"}, {"id": "e5"}]));
    let history = &detail["history"][0];
    assert_eq!((&history["eventType"], &history["by"]), (&json!("AlertScored"), &json!("policy")));
    assert_eq!(*api.world.calls.lock().unwrap(), ["events u1 [3, 5]"]);
    for missing in [path(9, ""), "/api/v1/alerts/nonsense".to_owned(), "/api/v1/alerts/user".to_owned()] {
        assert_eq!(api.get(&missing).await.problem(404), "not-found", "{missing}");
    }
}

#[tokio::test]
async fn an_alert_moves_along_its_life() {
    let api = Api::new();
    let moved = patch(&api, 1, r#"{"status": "ACKNOWLEDGED", "note": "mine"}"#).await.ok(200);
    assert_eq!(moved["status"], "ACKNOWLEDGED");
    assert_eq!(api.get(&path(1, "")).await.ok(200)["status"], "ACKNOWLEDGED");
    let refused = patch(&api, 1, r#"{"status": "CONVERTED"}"#).await;
    assert_eq!(refused.problem(409), "move-not-allowed");
    assert_eq!(refused.json()["allowed"], json!(["IN_PROGRESS", "SNOOZED", "DISMISSED"]));
    let until = "2026-02-01T00:00:00.000Z";
    let snoozed =
        patch(&api, 1, &format!(r#"{{"status": "SNOOZED", "snoozeUntil": "{until}"}}"#)).await.ok(200);
    assert_eq!(snoozed["snoozedUntil"], until);
    assert_eq!(patch(&api, 9, r#"{"status": "ACKNOWLEDGED"}"#).await.problem(404), "not-found");
    assert!(api.world.calls.lock().unwrap().contains(&"status u1 ann Some(\"mine\")".to_owned()));
}

#[tokio::test]
async fn bad_moves_name_what_is_wrong() {
    let api = Api::new();
    let long = format!(r#"{{"status": "DISMISSED", "note": "{}"}}"#, "x".repeat(4_001));
    for (body, place) in [
        ("{}", "status"),
        ("", "status"),
        (r#"{"status": "acknowledged"}"#, "status"),
        (r#"{"status": "SNOOZED"}"#, "snoozeUntil"),
        (r#"{"status": "DISMISSED", "snoozeUntil": "2026-02-01T00:00:00Z"}"#, "snoozeUntil"),
        (r#"{"status": "SNOOZED", "snoozeUntil": "soon"}"#, "snoozeUntil"),
        (r#"{"status": "DISMISSED", "reason": "x"}"#, "reason"),
        (r#"{"status": "DISMISSED", "note": 7}"#, "note"),
        (&long, "note"),
        (r#"{"status": "DISMISSED"} x"#, ""),
        (r#"["DISMISSED"]"#, ""),
    ] {
        assert_eq!(patch(&api, 1, body).await.faults(), [place], "{body}");
    }
    for name in ["", "sweep", "policy", "start", "signal", &"x".repeat(65)] {
        let headers = [("x-intentd-actor", name)];
        let reply = api.send("PATCH", &path(1, "/status"), &headers, br#"{"status": "DISMISSED"}"#).await;
        assert_eq!(reply.faults(), ["x-intentd-actor"], "{name:?}");
    }
}

#[tokio::test]
async fn an_outcome_is_recorded_and_can_be_corrected() {
    let api = Api::new();
    let right = r#"{"outcome": "TRUE_POSITIVE", "converted": true, "conversionValue": 12.5}"#;
    let alert = api.post(&path(1, "/outcome"), right).await.ok(200);
    assert_eq!((&alert["outcome"], &alert["converted"]), (&json!("TRUE_POSITIVE"), &json!(true)));
    let wrong = r#"{"outcome": "FALSE_POSITIVE", "converted": false, "note": "no"}"#;
    assert_eq!(api.post(&path(1, "/outcome"), wrong).await.ok(200)["outcome"], "FALSE_POSITIVE");
    assert_eq!(*api.world.calls.lock().unwrap(), ["outcome u1 api", "outcome u1 api"]);
    for (body, place) in [
        (r#"{"converted": true}"#, "outcome"),
        (r#"{"outcome": "MAYBE"}"#, "outcome"),
        (r#"{"outcome": "UNKNOWN", "conversionValue": -1}"#, "conversionValue"),
        (r#"{"outcome": "UNKNOWN", "value": 1}"#, "value"),
    ] {
        assert_eq!(api.post(&path(1, "/outcome"), body).await.faults(), [place], "{body}");
    }
    let early = r#"{"outcome": "UNKNOWN", "occurredAt": "2020-01-01T00:00:00Z"}"#;
    assert_eq!(api.post(&path(1, "/outcome"), early).await.problem(422), "refused");
    assert_eq!(api.post(&path(9, "/outcome"), right).await.problem(404), "not-found");
}

#[tokio::test]
async fn stats_have_rates_against_budgets() {
    let api = Api::new();
    let stats = api.get("/api/v1/alerts/stats").await.ok(200);
    assert_eq!(stats["byStatus"]["PENDING"], 30);
    assert_eq!(stats["byStatus"]["EXPIRED"], 0, "every status has a count");
    assert_eq!(stats["byPriority"], json!({"CRITICAL": 0, "HIGH": 30, "MEDIUM": 0, "LOW": 0}));
    assert_eq!(stats["byModel"], json!({"SELL": 30}));
    assert_eq!(stats["byDay"], json!([{"day": "2026-01-01", "alerts": 30}]));
    let backlog =
        json!({"open": 30, "oldestOpenedAt": "2026-01-01T00:00:00.000Z", "oldestAgeSeconds": 172_800.0});
    assert_eq!(stats["backlog"], backlog);
    assert_eq!(stats["response"], json!({"p50Seconds": 60.0, "p90Seconds": null}));
    let conversions =
        json!({"known": 4, "converted": 1, "rate": 0.25, "value": 12.5, "recordedWithoutAlert": 2});
    assert_eq!(stats["conversions"], conversions);
    let rate = &stats["alertRate"]["byModel"][0];
    assert_eq!(rate["modelType"], "SELL");
    let per_year = rate["perThousandUsersPerYear"].as_f64().unwrap();
    assert!((per_year - 60.0).abs() < 1e-9, "30 alerts, 1,000 users, half a year: {per_year}");
    assert_eq!(rate["withinBudget"], per_year <= rate["budgetPerThousandUsersPerYear"].as_f64().unwrap());
    let nothing = api.get("/api/v1/alerts/stats?from=2030-01-01T00:00:00Z").await.ok(200);
    assert_eq!(nothing["conversions"]["rate"], Value::Null, "no base, no rate");
    assert_eq!(nothing["alertRate"]["overall"]["perThousandUsersPerYear"], Value::Null);
    assert_eq!(nothing["from"], "2030-01-01T00:00:00.000Z");
    assert_eq!(api.get("/api/v1/alerts/stats?from=x").await.faults(), ["from"]);
}

#[tokio::test]
async fn a_projection_that_is_away_or_damaged_says_no_more_than_it_should() {
    let api = Api::new();
    *api.world.views_fail.lock().unwrap() =
        Some(|| Error::Unavailable { reason: "/secret is busy".to_owned() });
    let reply = api.get("/api/v1/alerts").await;
    assert_eq!(reply.problem(503), "unavailable");
    assert!(!reply.json().to_string().contains("secret"));
    let damaged = || Error::Unusable { path: "/secret".to_owned(), reason: "torn".to_owned() };
    *api.world.views_fail.lock().unwrap() = Some(damaged);
    let reply = api.get("/api/v1/alerts").await;
    assert_eq!(reply.problem(500), "internal");
    assert!(!reply.json().to_string().contains("secret"));
}
