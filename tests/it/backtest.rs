//! The back-test against a real run: a simulated log through the real program, with people's commands, sweeps, a kill, a time
//! without models; then `intentd backtest` has to come to the same decisions, and to tell when they are not the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use intentd::domain::codec::{decode_fact, decode_metadata};
use intentd::domain::event::IntentEvent;
use intentd::domain::time::Timestamp;
use serde_json::{Value, json};

use super::daemon::{Daemon, Place, items, models_are_there, simulated, until};

fn send(daemon: &Daemon, lines: &[&str]) {
    for chunk in lines.chunks(5_000) {
        let body = chunk.join("\n");
        daemon.client.send("POST", "events", "application/x-ndjson", body.as_bytes()).expect(202);
    }
}

/// What people do with alerts: every move, outcomes and corrections, a refusal, a snooze that ends within the log.
fn work(daemon: &Daemon, snooze_until: &str) {
    let listed = daemon.client.get("alerts?status=PENDING&limit=100").expect(200);
    assert!(items(&listed).len() >= 12, "{} alerts", items(&listed).len());
    for (at, alert) in items(&listed).iter().enumerate() {
        let path = format!("alerts/{}", alert["id"].as_str().unwrap());
        let moved = |body: Value| daemon.client.patch(&format!("{path}/status"), &body);
        match at % 6 {
            0 => drop(moved(json!({ "status": "ACKNOWLEDGED", "note": "<b>seen</b>" })).expect(200)),
            1 => drop(moved(json!({ "status": "SNOOZED", "snoozeUntil": snooze_until })).expect(200)),
            2 => drop(moved(json!({ "status": "DISMISSED" })).expect(200)),
            3 => {
                for status in ["ACKNOWLEDGED", "IN_PROGRESS", "CONVERTED"] {
                    moved(json!({ "status": status })).expect(200);
                }
            }
            4 => drop(moved(json!({ "status": "CONVERTED" })).expect(409)),
            _ => {}
        }
        if at % 2 == 0 {
            for (outcome, converted) in [("FALSE_POSITIVE", false), ("TRUE_POSITIVE", true)] {
                let body = json!({ "outcome": outcome, "converted": converted });
                daemon.client.post(&format!("{path}/outcome"), &body).expect(200);
            }
        }
        if at % 5 == 0 {
            let body = json!({ "userId": alert["userId"] });
            daemon.client.post("alerts/score-user", &body).expect(200);
        }
    }
}

fn wait_for(daemon: &Daemon) {
    until("everything is decided", || (daemon.client.get("/readyz").status == 200).then_some(()));
}

/// Facts of the log by kind; moves by who made them.
fn kinds(place: &Place) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for recorded in place.events("intent-") {
        let fact = decode_fact(&recorded.event_type, &recorded.data).unwrap().unwrap();
        let mut kind = recorded.event_type.to_string();
        if let IntentEvent::AlertStatusChanged(fact) = fact {
            let caused = decode_metadata(&recorded.metadata).unwrap().causation_id.is_some();
            kind = format!("{:?} by {} {}", fact.status, fact.by, if caused { "on an event" } else { "" });
        }
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// A run with everything in it; answers its place.
fn lived() -> Place {
    let mut place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 9, 500, 360);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (first, rest) = lines.split_at(lines.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    place.set("INTENTD_PIPELINE__RESCORE_FIRST", "100ms");
    place.set("INTENTD_PIPELINE__SWEEP_EVERY", "200ms");

    place.set("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    std::fs::write(place.path("first.jsonl"), first.join("\n")).unwrap();
    place.done(&["import", place.path("first.jsonl").to_str().unwrap()]);
    place.set("ORT_DYLIB_PATH", "");
    let daemon = place.daemon();
    send(&daemon, second);
    wait_for(&daemon);
    daemon.client.post("alerts/process-signals", &json!({})).expect(200);
    swept(&daemon, second);
    work(&daemon, &time_of(second).plus(Duration::from_secs(20 * 86_400)).to_string());
    let (before, after) = third.split_at(third.len() / 2);
    send(&daemon, before);
    daemon.kill();
    let daemon = place.daemon();
    send(&daemon, after);
    wait_for(&daemon);
    swept(&daemon, after);
    daemon.stop();
    place
}

/// When the last of these lines happened.
fn time_of(lines: &[&str]) -> Timestamp {
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    last["occurredAt"].as_str().unwrap().parse().unwrap()
}

/// Waits until the sweep has ended what ends up to the last of these lines.
fn swept(daemon: &Daemon, lines: &[&str]) {
    let now = json!(time_of(lines));
    until("the sweep has nothing left to end", || {
        let all = daemon.client.all("alerts?status=PENDING&limit=500");
        (!all.iter().any(|alert| alert["expiresAt"].as_str() <= now.as_str())).then_some(())
    });
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_models_and_the_catalogue_of_the_live_run_decide_as_it_did() {
    if !models_are_there("the_models_and_the_catalogue_of_the_live_run_decide_as_it_did") {
        return;
    }
    let mut place = lived();
    let kinds = kinds(&place);
    for kind in [
        "SignalDetected",
        "ScoringFailed",
        "AlertScored",
        "UserScored",
        "AlertOutcomeRecorded",
        "Expired by sweep ",
        "Dismissed by api ",
        "Converted by api ",
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 0), "no {kind}: {kinds:?}");
    }

    // Who comes first depends on the wall clock.
    assert!(kinds.keys().any(|kind| kind.starts_with("Pending by ")), "no snooze ended: {kinds:?}");

    let (json_path, html_path) = (place.path("equal.json"), place.path("equal.html"));
    let outputs = ["--json", json_path.to_str().unwrap(), "--html", html_path.to_str().unwrap()];
    let equal = |more: &[&str]| place.run(&[&["backtest", "--expect-equal"], &outputs[..], more].concat());
    let done = equal(&[]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("reproduces the live decisions exactly"), "{said}");
    assert!(said.contains("skew: 0 differing features over"), "{said}");
    let whole = report(&json_path);
    let facts: u64 = kinds.values().sum();
    assert_eq!(whole["decisions"]["facts"], facts, "every fact is compared");
    assert_eq!(whole["features"]["alerts"], kinds["AlertScored"]);
    assert_eq!((&whole["commandsWithoutAlert"], &whole["differences"]), (&json!(0), &json!([])));
    let sides = whole["models"].as_array().unwrap();
    assert!(sides.iter().all(|model| model["live"] == model["new"]), "{sides:?}");
    let html = std::fs::read_to_string(&html_path).unwrap();
    assert!(html.contains("<svg") && html.contains("reproduces the live decisions exactly"));
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));

    // The same whatever the threads, and within a range.
    let bytes = std::fs::read(&json_path).unwrap();
    assert!(equal(&["--threads", "1"]).status.success());
    assert_eq!(bytes, std::fs::read(&json_path).unwrap(), "the report depends on the threads");
    let range = equal(&["--from", "2026-01-01T00:00:00Z", "--to", "2026-05-01T00:00:00Z"]);
    assert!(range.status.success(), "{}", String::from_utf8_lossy(&range.stdout));
    let part = report(&json_path);
    let compared = part["decisions"]["facts"].as_u64().unwrap();
    assert!(compared > 20 && compared < facts, "{compared} of {facts}");

    differs_with_another_catalogue(&mut place);
    differs_with_another_version(&place);
}

/// A lower threshold makes more alerts, and nobody may call that equal.
fn differs_with_another_catalogue(place: &mut Place) {
    let text = std::fs::read_to_string("config/catalog.toml").unwrap();
    let lower = place.path("lower.toml");
    let text = text.replace("threshold = 0.5\nexit = 0.4", "threshold = 0.2\nexit = 0.1");
    std::fs::write(&lower, text.replace("score = 0.5 }", "score = 0.2 }")).unwrap();
    let json_path = place.path("lower.json");
    let arguments = ["--catalog", lower.to_str().unwrap(), "--json", json_path.to_str().unwrap()];
    let done = place.run(&[&["backtest", "--expect-equal"], &arguments[..]].concat());
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stdout));
    let lower = report(&json_path);
    assert_eq!(lower["decisions"]["isEqual"], false);
    let sum = |side: &str| -> u64 {
        lower["models"].as_array().unwrap().iter().map(|model| model[side]["alerts"].as_u64().unwrap()).sum()
    };
    assert!(sum("new") > sum("live") && sum("live") > 0, "{} {}", sum("new"), sum("live"));
    let kinds: Vec<&str> =
        lower["differences"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"ONLY_NEW"), "{kinds:?}");
}

/// The same graph under another name: the same alerts with the same scores, and each of them a changed fact.
fn differs_with_another_version(place: &Place) {
    let serving = std::fs::read_dir("models/SELL").unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let folder = place.path("others/SELL/next");
    std::fs::create_dir_all(&folder).unwrap();
    let version = serving.file_name().unwrap().to_str().unwrap();
    for entry in std::fs::read_dir(&serving).unwrap() {
        let path = entry.unwrap().path();
        let to = folder.join(path.file_name().unwrap());
        if path.ends_with("manifest.toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace(&format!("version = \"{version}\""), "version = \"next\"");
            std::fs::write(to, text).unwrap();
        } else {
            std::fs::copy(&path, to).unwrap();
        }
    }
    let json_path = place.path("next.json");
    let folder = folder.to_str().unwrap();
    place.done(&["backtest", "--model", folder, "--json", json_path.to_str().unwrap()]);
    let next = report(&json_path);
    let sell = next["models"].as_array().unwrap().iter().find(|model| model["model"] == "SELL").unwrap();
    assert_eq!((&sell["version"], &sell["isChosen"]), (&json!("next"), &json!(true)));
    assert_eq!(next["decisions"]["isEqual"], false);
    // Where the live model had failed, the chosen one answers.
    assert!(next["decisions"]["differing"]["AlertScored"]["changed"].as_u64() > Some(0), "{next}");
    let missing = place.run(&["backtest", "--model", "SELL=no-such-version"]);
    assert_eq!(missing.status.code(), Some(69));
    let mut nothing = Place::new();
    nothing.set("INTENTD_LOG__FILTER", "error");
    assert_eq!(nothing.run(&["backtest", "--expect-equal"]).status.code(), Some(66), "nothing is not equal");
    let unknown = place.run(&["backtest", "--model", "NOBODY=1"]);
    assert_eq!(unknown.status.code(), Some(64));
}
