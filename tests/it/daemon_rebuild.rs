//! What is derived from the log may be deleted: the next start makes it again, and every query has the same bytes.

use serde_json::json;

use super::daemon::{Daemon, Place, items, models_are_there, simulated};

const PERFORMANCE: &str = "alerts/models/performance";

/// A set of queries that looks at everything that is derived: lists in every order, single alerts, users, signals, figures.
fn queries(daemon: &Daemon) -> Vec<String> {
    let mut paths: Vec<String> = [
        "alerts?limit=500",
        "alerts?limit=500&sort=-priority",
        "alerts?limit=500&sort=-calibratedScore",
        "alerts?limit=7&status=PENDING,SNOOZED&modelType=SELL",
        "alerts?outcome=TRUE_POSITIVE",
        "alerts?q=user-1&minConfidence=0.6",
        "alerts/stats",
        PERFORMANCE,
        "alerts/stats?from=2026-03-01T00:00:00Z&to=2026-05-01T00:00:00Z",
    ]
    .map(str::to_owned)
    .into();
    let first = daemon.client.get("alerts?limit=7").expect(200);
    paths.push(format!("alerts?limit=7&cursor={}", first["nextCursor"].as_str().unwrap()));
    for alert in items(&daemon.client.get("alerts?limit=500").expect(200)) {
        let user = alert["userId"].as_str().unwrap();
        paths.push(format!("alerts/{}", alert["id"].as_str().unwrap()));
        paths.push(format!("alerts/user/{user}"));
        paths.push(format!("signals/{user}?limit=3"));
        paths.push(format!("users/{user}"));
        paths.push(format!("users/{user}?asOf=2026-04-01T00:00:00Z"));
    }
    paths
}

fn answers(daemon: &Daemon, paths: &[String]) -> Vec<String> {
    let answer = |path: &String| {
        let text = daemon.client.get(path).text();
        // What was counted since the start stands last, apart from what the log tells.
        if path == PERFORMANCE { text.split(",\"live\":").next().unwrap().to_owned() } else { text }
    };
    paths.iter().map(answer).collect()
}

#[test]
fn a_rebuilt_projection_answers_with_the_same_bytes() {
    if !models_are_there("a_rebuilt_projection_answers_with_the_same_bytes") {
        return;
    }
    let place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 8, 600, 240);
    place.done(&["import", log.to_str().unwrap()]);

    // What people do is in the log too: moves, a snooze, an outcome and its correction.
    let daemon = place.daemon();
    let listed = daemon.client.get("alerts?status=PENDING&limit=10").expect(200);
    for (at, alert) in items(&listed).iter().enumerate() {
        let path = format!("alerts/{}", alert["id"].as_str().unwrap());
        let body = match at % 3 {
            0 => json!({ "status": "ACKNOWLEDGED", "note": "seen" }),
            1 => json!({ "status": "SNOOZED", "snoozeUntil": "2027-01-01T00:00:00Z" }),
            _ => json!({ "status": "DISMISSED" }),
        };
        daemon.client.patch(&format!("{path}/status"), &body).expect(200);
        for (outcome, converted) in [("FALSE_POSITIVE", false), ("TRUE_POSITIVE", true)] {
            let value = converted.then_some(9000.5);
            let body = json!({ "outcome": outcome, "converted": converted, "conversionValue": value });
            daemon.client.post(&format!("{path}/outcome"), &body).expect(200);
        }
    }
    let paths = queries(&daemon);
    let before = answers(&daemon, &paths);
    let busy = place.run(&["rebuild"]);
    assert_eq!(busy.status.code(), Some(69), "rebuild beside a running daemon: {busy:?}");
    daemon.stop();

    let said = place.done(&["rebuild"]);
    for derived in ["projection.sqlite", "snapshots", "checkpoint.json"] {
        assert!(said.contains(derived), "{said}");
        assert!(!place.data_dir().join(derived).exists(), "{derived} is still there");
    }
    let daemon = place.daemon();
    for ((path, before), after) in paths.iter().zip(&before).zip(answers(&daemon, &paths)) {
        assert_eq!(*before, after, "GET {path} differs after the rebuild");
    }
    daemon.stop();
    assert!(paths.len() > 100, "{} queries", paths.len());
}
