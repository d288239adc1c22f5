//! Every row of CONTRACT.md but `models/*`, through real HTTP, against the real program with the shipped models.
//!
//! One daemon and one simulated log for all: `contract` walks through the calls in an order that makes sense.
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::daemon::{Client, Place, imported, items, models_are_there, simulated, until};
use super::support::schemas::STRICT;

#[test]
fn contract() {
    if !models_are_there("contract") {
        return;
    }
    let place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 5, 600, 240);
    let text = std::fs::read_to_string(&log).unwrap();
    let daemon = place.daemon();
    let client = &daemon.client;
    let stream = client.stream(None);
    events(client);
    bad_events(client);
    for chunk in text.lines().collect::<Vec<_>>().chunks(10_000) {
        let done = client.send("POST", "events", "application/x-ndjson", chunk.join("\n").as_bytes());
        assert_eq!(done.expect(202)["accepted"], chunk.len());
    }
    let ids =
        |alerts: Vec<Value>| alerts.iter().map(|alert| alert["id"].to_string()).collect::<BTreeSet<_>>();
    let wanted = ids(imported(&log));
    until("the alerts that an import of the same log has", || {
        wanted.is_subset(&ids(client.all("alerts?limit=500"))).then_some(())
    });
    assert_eq!(client.get("/readyz").status, 200);
    lists(client);
    let alert = &items(&client.get("alerts?status=PENDING&limit=1").expect(200))[0].clone();
    detail(client, alert);
    life(client, alert);
    outcomes(client, alert);
    scores(client, alert);
    users(client, alert);
    let told = stream.next();
    resumed(client, &told.id, alert);
    stats(client);
    around(client);
    daemon.stop();
    STRICT.check_whole(&place.events(""));
}

fn viewed(id: &str) -> Value {
    json!({ "id": id, "userId": "http-1", "type": "LISTING_VIEWED", "occurredAt": "2026-06-01T10:00:00Z",
            "data": { "listingId": "L1", "price": 286_000, "dwellSeconds": 80.3 } })
}

/// `POST /events` in each of its shapes.
fn events(client: &Client) {
    let first = client.post("events", &viewed("a")).expect(202);
    assert_eq!((&first["accepted"], &first["duplicates"]), (&json!(1), &json!(0)));
    let again = client.post("events", &viewed("a")).expect(202);
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(first["position"], again["position"]);
    let array = client.post("events", &json!([viewed("a"), viewed("b"), viewed("c")])).expect(202);
    assert_eq!((&array["accepted"], &array["duplicates"]), (&json!(2), &json!(1)));
    assert!(array["position"].as_u64() > first["position"].as_u64());
    let text = format!("{}\n\n{}\n", viewed("d"), viewed("e"));
    let lines = client.send("POST", "events", "application/x-ndjson", text.as_bytes()).expect(202);
    assert_eq!(lines["accepted"], 2);
    let cloud = |id: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/web", "type": "LISTING_VIEWED", "subject": "http-1",
                "time": "2026-06-01T10:00:00Z", "data": viewed("x")["data"] })
    };
    let one = cloud("f").to_string();
    let done = client.send("POST", "events", "application/cloudevents+json", one.as_bytes()).expect(202);
    assert_eq!(done["accepted"], 1);
    let batch = json!([cloud("f"), cloud("g")]).to_string();
    let done =
        client.send("POST", "events", "application/cloudevents-batch+json", batch.as_bytes()).expect(202);
    assert_eq!((&done["accepted"], &done["duplicates"]), (&json!(1), &json!(1)));
    let user = until("the events to be folded", || {
        let answer = client.get("users/http-1");
        (answer.status == 200).then(|| answer.json()).filter(|user| user["revision"] == 6)
    });
    assert_eq!(user["userId"], "http-1");
    let market = json!({ "id": "m1", "userId": "*", "type": "MORTGAGE_RATE_PUBLISHED",
                         "occurredAt": "2026-07-02T00:00:00Z", "data": { "rate30": 6.5 } });
    assert_eq!(client.post("events", &market).expect(202)["accepted"], 1);
}

/// One bad event refuses the request, and each fault is named by its index.
fn bad_events(client: &Client) {
    let mut price = viewed("h");
    price["data"]["price"] = json!("cheap");
    let mut kind = viewed("i");
    kind["type"] = json!("LISTING_EATEN");
    let faults = client.post("events", &json!([viewed("j"), price, kind])).faults();
    assert!(faults.iter().any(|path| path == "[1].data.price"), "{faults:?}");
    assert!(faults.iter().any(|path| path.starts_with("[2]")), "{faults:?}");
    assert!(!faults.iter().any(|path| path.starts_with("[0]")), "{faults:?}");
    let good = client.post("events", &viewed("j")).expect(202);
    assert_eq!(good["accepted"], 1, "all or nothing: the good one of the refused request is not in the log");
    let mut future = viewed("k");
    future["occurredAt"] = json!("2999-01-01T00:00:00Z");
    assert_eq!(client.post("events", &future).faults(), ["occurredAt"]);
    for broken in ["", "[]", "{", "7", "[1]", r#"{"id":1}"#] {
        assert!(!client.send("POST", "events", "application/json", broken.as_bytes()).faults().is_empty());
    }
    let many: Vec<Value> = (0..10_001).map(|id| viewed(&id.to_string())).collect();
    assert!(!client.post("events", &json!(many)).faults().is_empty());
    client.send("POST", "events", "text/csv", b"a,b").expect(415);
    assert_eq!(client.announced("events", 17 << 20), 413, "refused by its length, before it is sent");
    client.get("events").expect(405);
    client.get("nothing").expect(404);
}

/// Lists: filters, sorts, pages.
fn lists(client: &Client) {
    let all = client.all("alerts?limit=500");
    let times: Vec<&str> = all.iter().map(|alert| alert["scoredAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    assert_eq!(client.all("alerts?limit=7"), all, "small pages hold the same alerts in the same order");
    assert_eq!(items(&client.get("alerts").expect(200)).len(), all.len().min(50));
    let agree = |query: &str, holds: &dyn Fn(&Value) -> bool| {
        let found = client.all(&format!("alerts?limit=500&{query}"));
        let wanted: Vec<&Value> = all.iter().filter(|alert| holds(alert)).collect();
        assert!(found.iter().eq(wanted.iter().copied()), "{query}: {} and {}", found.len(), wanted.len());
        assert!(!found.is_empty() && found.len() < all.len(), "{query} parts nothing: {}", found.len());
    };
    agree("modelType=SELL", &|alert| alert["modelType"] == "SELL");
    agree("modelType=BUY,SELL", &|alert| alert["modelType"] == "SELL" || alert["modelType"] == "BUY");
    agree("priority=HIGH&priority=LOW", &|alert| alert["priority"] == "HIGH" || alert["priority"] == "LOW");
    agree("status=EXPIRED", &|alert| alert["status"] == "EXPIRED");
    agree("minConfidence=0.7", &|alert| alert["confidence"].as_f64() >= Some(0.7));
    let within = |alert: &Value| ("2026-03-01".."2026-05-01").contains(&alert["scoredAt"].as_str().unwrap());
    agree("from=2026-03-01T00:00:00Z&to=2026-05-01T00:00:00Z", &within);
    let user = all[0]["userId"].as_str().unwrap();
    let of_user = |alert: &Value| alert["userId"].as_str().unwrap().contains(user);
    agree(&format!("q={user}"), &of_user);
    let feature = all[0]["topFeatures"][0]["name"].as_str().unwrap();
    let names = |alert: &Value| {
        alert["topFeatures"]
            .as_array()
            .unwrap()
            .iter()
            .any(|top| top["name"].as_str().unwrap().contains(feature))
    };
    agree(&format!("q={feature}"), &names);
    let found = client.get(&format!("alerts/user/{user}")).expect(200);
    assert!(items(&found).iter().all(|alert| alert["userId"] == user) && !items(&found).is_empty());
    assert!(items(&client.get("alerts/user/nobody").expect(200)).is_empty());
    assert!(client.all("alerts?limit=500&outcome=TRUE_POSITIVE").is_empty());
    let scores = client.all("alerts?limit=9&sort=-calibratedScore");
    assert!(scores.is_sorted_by(|a, b| a["calibratedScore"].as_f64() >= b["calibratedScore"].as_f64()));
    let rank = |alert: &Value| {
        ["CRITICAL", "HIGH", "MEDIUM", "LOW"].iter().position(|name| alert["priority"] == *name)
    };
    assert!(client.all("alerts?limit=9&sort=-priority").is_sorted_by_key(rank));
    let bad = "alerts?limit=0&sort=size&status=OPEN&modelType=RENT&minConfidence=2&from=monday&cursor=zz&colour=red";
    let faults = client.get(bad).faults();
    for name in ["limit", "sort", "status", "modelType", "minConfidence", "from", "colour"] {
        assert!(faults.iter().any(|path| path == name), "{name} is not among {faults:?}");
    }
    assert_eq!(client.get("alerts?cursor=zz").faults(), ["cursor"]);
}

/// One alert with its reasons.
fn detail(client: &Client, listed: &Value) {
    let id = listed["id"].as_str().unwrap();
    let alert = client.get(&format!("alerts/{id}")).expect(200);
    for (member, value) in listed.as_object().unwrap() {
        assert_eq!(alert[member], *value, "{member} as in the list");
    }
    assert_eq!(alert["history"][0]["eventType"], "AlertScored");
    assert_eq!(alert["history"][0]["eventId"], id, "an alert's id is its first event's");
    let logit: f64 = alert["bias"].as_f64().unwrap()
        + alert["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| each["contribution"].as_f64().unwrap())
            .sum::<f64>();
    let confidence = 1.0 / (1.0 + (-logit).exp());
    assert!((confidence - alert["confidence"].as_f64().unwrap()).abs() < 1e-4, "{confidence} {alert}");
    assert!(alert["calibratedScore"].as_f64() >= alert["threshold"].as_f64());
    let (signals, evidence) = (alert["signals"].as_array().unwrap(), alert["evidence"].as_array().unwrap());
    assert!(!signals.is_empty() && !evidence.is_empty(), "{alert}");
    assert!(evidence.iter().all(|event| event["userId"] == alert["userId"] && event["type"].is_string()));
    client.get("alerts/no-such-alert").expect(404);
    client.get("alerts/00000000-0000-4000-8000-000000000000").expect(404);
}

/// An alert's life: each command shows in the next `GET`.
fn life(client: &Client, alert: &Value) {
    let path = format!("alerts/{}", alert["id"].as_str().unwrap());
    let status = format!("{path}/status");
    let shows = |wanted: &str| assert_eq!(client.get(&path).expect(200)["status"], wanted);
    let refused = client.patch(&status, &json!({ "status": "CONVERTED" })).expect(409);
    assert_eq!(refused["allowed"], json!(["ACKNOWLEDGED", "SNOOZED", "DISMISSED"]));
    assert_eq!(client.patch(&status, &json!({ "status": "SNOOZED" })).faults(), ["snoozeUntil"]);
    assert!(!client.patch(&status, &json!({ "status": "GONE" })).faults().is_empty());
    assert!(!client.patch(&status, &json!({ "status": "DISMISSED", "why": "" })).faults().is_empty());
    shows("PENDING");
    let moved = client.patch(&status, &json!({ "status": "ACKNOWLEDGED", "note": "mine" })).expect(200);
    assert_eq!(moved["status"], "ACKNOWLEDGED");
    shows("ACKNOWLEDGED");
    client.patch(&status, &json!({ "status": "IN_PROGRESS" })).expect(200);
    shows("IN_PROGRESS");
    let history = client.get(&path).expect(200)["history"].clone();
    let history = history.as_array().unwrap();
    let noted =
        history.iter().find(|entry| entry["data"]["note"] == "mine").expect("the note in the history");
    assert_eq!((&noted["eventType"], &noted["by"]), (&json!("AlertStatusChanged"), &json!("api")));
    let snoozed = items(&client.get("alerts?status=PENDING&limit=2").expect(200))[0]["id"].clone();
    let until = json!({ "status": "SNOOZED", "snoozeUntil": "2027-01-01T00:00:00Z" });
    let moved = client.patch(&format!("alerts/{}/status", snoozed.as_str().unwrap()), &until).expect(200);
    assert_eq!(
        (&moved["status"], &moved["snoozedUntil"]),
        (&json!("SNOOZED"), &json!("2027-01-01T00:00:00.000Z"))
    );
    assert_eq!(items(&client.get("alerts?status=SNOOZED").expect(200)).len(), 1);
}

/// What really happened: for an alert, corrected, and for a user without one.
fn outcomes(client: &Client, alert: &Value) {
    let path = format!("alerts/{}", alert["id"].as_str().unwrap());
    let outcome = format!("{path}/outcome");
    let wrong = json!({ "outcome": "FALSE_POSITIVE", "converted": false });
    assert_eq!(client.post(&outcome, &wrong).expect(200)["outcome"], "FALSE_POSITIVE");
    assert_eq!(client.get(&path).expect(200)["outcome"], "FALSE_POSITIVE");
    let right = json!({ "outcome": "TRUE_POSITIVE", "converted": true, "conversionValue": 12_500.5, "note": "sold",
                        "occurredAt": "2026-06-30T00:00:00Z" });
    client.post(&outcome, &right).expect(200);
    let after = client.get(&path).expect(200);
    assert_eq!((&after["outcome"], &after["conversionValue"]), (&json!("TRUE_POSITIVE"), &json!(12_500.5)));
    let recorded = after["history"].as_array().unwrap().iter();
    assert_eq!(
        recorded.filter(|entry| entry["eventType"] == "AlertOutcomeRecorded").count(),
        2,
        "both are kept"
    );
    assert_eq!(items(&client.get("alerts?outcome=TRUE_POSITIVE").expect(200)).len(), 1);
    client.post(&outcome, &json!({ "outcome": "FALSE_POSITIVE", "converted": true })).expect(422);
    assert!(!client.post(&outcome, &json!({ "outcome": "MAYBE" })).faults().is_empty());
    let missed = json!({ "userId": "http-1", "modelType": "BUY", "converted": true, "conversionValue": 1,
                         "occurredAt": "2026-06-20T00:00:00Z" });
    assert_eq!(client.post("outcomes", &missed).expect(202)["accepted"], 1);
    assert_eq!(client.post("outcomes", &missed).expect(202)["duplicates"], 1);
    let unknown = json!({ "userId": "http-1", "modelType": "RENT", "converted": true, "occurredAt": "2026-06-20T00:00:00Z" });
    assert!(!client.post("outcomes", &unknown).faults().is_empty());
}

/// Scores on demand.
fn scores(client: &Client, alert: &Value) {
    let user = alert["userId"].clone();
    let all = client.post("alerts/score-user", &json!({ "userId": user })).expect(200);
    let scores = all["scores"].as_array().unwrap();
    let models: Vec<&str> = scores.iter().map(|score| score["modelType"].as_str().unwrap()).collect();
    assert_eq!(models, ["SELL", "BUY", "REFINANCE", "INVESTMENT"], "the catalogue's order");
    for score in scores {
        assert_eq!((&score["degraded"], &score["modelVersion"]), (&json!(false), &json!("2026.11.2")));
        assert!(score["confidence"].is_number() && score["calibratedScore"].is_number(), "{score}");
        assert_eq!(score["topFeatures"].as_array().unwrap().len(), 5);
    }
    let own = scores.iter().find(|score| score["modelType"] == alert["modelType"]).unwrap();
    assert_eq!(own["alertId"], alert["id"], "the open alert of the model");
    let shown = client.get(&format!("users/{}", user.as_str().unwrap())).expect(200);
    let shown =
        shown["scores"].as_array().unwrap().iter().find(|score| score["modelType"] == own["modelType"]);
    assert_eq!(shown.unwrap()["calibratedScore"], own["calibratedScore"], "visible to the next GET");
    let one = client.post("alerts/score-user", &json!({ "userId": user, "modelTypes": ["BUY"] })).expect(200);
    assert_eq!(one["scores"].as_array().unwrap().len(), 1);
    let bad = json!({ "userId": user, "modelTypes": ["BUY", "RENT"] });
    assert_eq!(client.post("alerts/score-user", &bad).faults(), ["modelTypes[1]"]);
    client.post("alerts/score-user", &json!({ "userId": "nobody" })).expect(404);
    let many =
        client.post("alerts/score-users", &json!({ "userIds": ["http-1", user, "http-1"] })).expect(200);
    let users: Vec<&Value> = items(&many).iter().map(|scores| &scores["userId"]).collect();
    assert_eq!(users, [&json!("http-1"), &user]);
    assert_eq!(client.post("alerts/score-users", &json!({ "userIds": [] })).faults(), ["userIds"]);
    let done = client.post("alerts/process-signals", &json!({})).expect(200);
    for member in ["users", "signals", "scored", "alertsCreated", "failed"] {
        assert_eq!(done[member], 0, "no score failed, so nothing waits: {done}");
    }
    assert!(done["durationMs"].is_u64());
    assert_eq!(client.post("alerts/process-signals", &json!({ "limit": 1001 })).faults(), ["limit"]);
}

/// A user now and then, and its signals.
fn users(client: &Client, alert: &Value) {
    let name = alert["userId"].as_str().unwrap();
    let user = client.get(&format!("users/{name}")).expect(200);
    let features = user["features"].as_array().unwrap();
    assert!(features.len() >= 40 && features.iter().all(|feature| feature["category"].is_string()));
    let open = user["openAlerts"].as_array().unwrap();
    assert!(open.iter().any(|open| open["id"] == alert["id"] && open["status"] == "IN_PROGRESS"), "{user}");
    let detail = client.get(&format!("alerts/{}", alert["id"].as_str().unwrap())).expect(200);
    // A score asked for since may have raised it: its features are those of its newest score.
    let as_of =
        |time: &Value| client.get(&format!("users/{name}?asOf={}", time.as_str().unwrap())).expect(200);
    let then = as_of(&detail["scoredAt"]);
    assert!(as_of(&alert["createdAt"])["revision"].as_u64() < user["revision"].as_u64());
    for feature in
        detail["features"].as_array().unwrap().iter().filter(|feature| feature["value"].is_number())
    {
        let stood = then["features"]
            .as_array()
            .unwrap()
            .iter()
            .find(|stood| stood["name"] == feature["name"])
            .unwrap();
        let (stood, seen) =
            (stood["value"].as_f64().unwrap() as f32, feature["value"].as_f64().unwrap() as f32);
        assert!((stood - seen).abs() <= seen.abs() * 1e-6, "{feature}: as it stood then {stood}");
    }
    let signals = client.all(&format!("signals/{name}?limit=1"));
    let times: Vec<&str> = signals.iter().map(|signal| signal["detectedAt"].as_str().unwrap()).collect();
    assert!(!signals.is_empty() && times.is_sorted_by(|a, b| a >= b));
    assert!(
        signals.iter().all(|signal| signal["rule"].is_string() && signal["cause"]["eventId"].is_string())
    );
    client.get("users/nobody").expect(404);
    assert_eq!(client.get(&format!("users/{name}?asOf=then")).faults(), ["asOf"]);
    assert!(items(&client.get("signals/nobody").expect(200)).is_empty());
}

/// The stream of changes, resumed after an id: every later change once, in order, up to what happens now.
fn resumed(client: &Client, after: &str, alert: &Value) {
    let history = client.all("alerts?limit=500");
    let stream = client.stream(Some(after));
    let status = format!("alerts/{}/status", alert["id"].as_str().unwrap());
    let (mut positions, mut opened) = (vec![position(after)], 1);
    let mut is_dismissed = false;
    loop {
        let told = stream.next();
        positions.push(position(&told.id));
        opened += usize::from(told.kind == "AlertScored");
        // A change shows the alert as it stands when it is told: only after all scores were told is the move the last.
        if !is_dismissed && opened == history.len() {
            client.patch(&status, &json!({ "status": "DISMISSED" })).expect(200);
            is_dismissed = true;
        }
        if told.alert["id"] == alert["id"] && told.alert["status"] == "DISMISSED" {
            assert_eq!(told.kind, "AlertStatusChanged");
            break;
        }
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "in order, nothing twice");
    assert_eq!(opened, history.len(), "each alert was told once");
}

fn position(id: &str) -> u64 {
    id.rsplit(':').next().unwrap().parse().unwrap()
}

/// Figures.
fn stats(client: &Client) {
    let stats = client.get("alerts/stats").expect(200);
    let all = client.all("alerts?limit=500");
    assert_eq!(stats["total"], all.len());
    for (table, member) in [("byStatus", "status"), ("byPriority", "priority"), ("byModel", "modelType")] {
        for (name, count) in stats[table].as_object().unwrap() {
            assert_eq!(*count, all.iter().filter(|alert| alert[member] == **name).count(), "{table} {name}");
        }
    }
    let days = stats["byDay"].as_array().unwrap().iter().map(|day| day["alerts"].as_u64().unwrap());
    assert_eq!(days.sum::<u64>(), all.len() as u64);
    assert_eq!(
        (&stats["conversions"]["converted"], &stats["conversions"]["value"]),
        (&json!(1), &json!(12_500.5))
    );
    assert!(stats["response"]["p50Seconds"].is_number() && stats["backlog"]["open"].as_u64() > Some(0));
    assert!(stats["alertRate"]["users"].as_u64() >= Some(590));
    let part = client.get("alerts/stats?from=2026-03-01T00:00:00Z&to=2026-05-01T00:00:00Z").expect(200);
    assert!(part["total"].as_u64() > Some(0) && part["total"].as_u64() < stats["total"].as_u64());
    let faults = client.get("alerts/stats?from=2026-05-01T00:00:00Z&to=2026-03-01T00:00:00Z").faults();
    assert_eq!(faults, ["to"]);
}

/// OpenAPI, health, readiness, metrics.
fn around(client: &Client) {
    let openapi = client.get("openapi.json").expect(200);
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/api/v1/events", "/api/v1/alerts/{id}/status", "/api/v1/stream/alerts", "/readyz"] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    assert_eq!((client.get("/healthz").status, client.get("/readyz").status), (200, 200));
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("intentd_build_info{"), "{metrics}");
    let checked = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
    let Ok(mut promtool) = checked else {
        println!("skipped promtool check metrics: no promtool on the path");
        return;
    };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    assert!(promtool.wait().unwrap().success(), "promtool check metrics");
}
