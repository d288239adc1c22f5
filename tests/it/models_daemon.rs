//! Models of the real program: reload, SIGHUP, the command line, and a model that fails as it runs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::daemon::{Daemon, Place, items, models_are_there, simulated, until};
use super::support::schemas::STRICT;

/// The shipped models in a folder that a test may change.
fn copied(place: &mut Place) -> std::path::PathBuf {
    let folder = place.path("models");
    for model in ["BUY", "INVESTMENT", "REFINANCE", "SELL"] {
        for version in fs::read_dir(Path::new("models").join(model)).unwrap() {
            let version = version.unwrap();
            copy(&version.path(), &folder.join(model).join(version.file_name()));
        }
    }
    place.set("INTENTD_MODELS__FOLDER", folder.to_str().unwrap());
    // A busy machine is no slow model.
    place.set("INTENTD_MODELS__LATENCY_ONE_MAX", "5s");
    place.set("INTENTD_MODELS__LATENCY_BATCH_MAX", "5s");
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The newest version of a model in a folder.
fn newest(folder: &Path, model: &str) -> String {
    let versions = fs::read_dir(folder.join(model)).unwrap();
    versions.map(|version| version.unwrap().file_name().into_string().unwrap()).max().unwrap()
}

/// The same model under another name: it passes every check.
fn renamed(folder: &Path, model: &str, from: &str, to: &str) {
    let target = folder.join(model).join(to);
    copy(&folder.join(model).join(from), &target);
    let manifest = fs::read_to_string(target.join("manifest.toml")).unwrap();
    let (old, new) = (format!("version = \"{from}\""), format!("version = \"{to}\""));
    assert!(manifest.contains(&old));
    fs::write(target.join("manifest.toml"), manifest.replacen(&old, &new, 1)).unwrap();
}

fn serving(daemon: &Daemon, model: &str) -> Value {
    let listed = daemon.client.get("alerts/models").expect(200);
    items(&listed).iter().find(|item| item["modelType"] == model).unwrap().clone()
}

#[test]
fn reload_signal_and_commands_change_what_serves_and_the_log_keeps_it() {
    if !models_are_there("reload_signal_and_commands_change_what_serves_and_the_log_keeps_it") {
        return;
    }
    let mut place = Place::new();
    let folder = copied(&mut place);
    let old = newest(&folder, "SELL");
    let daemon = place.daemon();
    let nothing = daemon.client.post("alerts/models/reload", &json!({})).expect(200);
    assert!(items(&nothing).iter().all(|item| item["result"] == "unchanged"), "{nothing}");

    renamed(&folder, "SELL", &old, "9998.1");
    daemon.hang_up();
    until("SIGHUP to activate the new version", || {
        (serving(&daemon, "SELL")["version"] == "9998.1").then_some(())
    });
    assert_eq!(serving(&daemon, "SELL")["since"]["by"], "signal");
    // A broken one is refused with its reason, and the old one serves on.
    renamed(&folder, "SELL", &old, "9998.2");
    let graph = folder.join("SELL/9998.2/model.onnx");
    let content = fs::read(&graph).unwrap();
    fs::write(&graph, &content[..content.len() / 2]).unwrap();
    let refused = daemon.client.post("alerts/models/reload", &json!({ "modelType": "SELL" })).expect(200);
    let item = &items(&refused)[0];
    assert_eq!((&item["result"], &item["version"]), (&json!("refused"), &json!("9998.1")));
    assert!(
        item["refused"][0]["reasons"][0].as_str().unwrap().starts_with("model.onnx has the hash"),
        "{item}"
    );
    assert_eq!(daemon.client.get("/readyz").status, 200, "a refused version degrades nothing");

    // The command line speaks to the daemon.
    place.set("INTENTD_HTTP__LISTEN", &daemon.address());
    let said = place.done(&["models", "rollback", "SELL", "--why", "a test"]);
    assert!(said.contains(&old), "{said}");
    let view = serving(&daemon, "SELL");
    assert_eq!(
        (&view["version"], &view["since"]["by"], &view["since"]["why"]),
        (&json!(old), &json!("cli"), &json!("a test"))
    );
    let ended = place.run(&["models", "activate", "SELL", "9998.2"]);
    assert_eq!(ended.status.code(), Some(65), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(place.run(&["models", "activate", "SELL", "1"]).status.code(), Some(66));
    let listed = place.done(&["models", "list"]);
    assert!(listed.contains("refused     9998.2") && listed.contains("serving"), "{listed}");
    daemon.stop();
    STRICT.check(&place.events(""));

    // The restart follows the log, not the names; and without a daemon the commands open the data directory.
    let said = place.done(&["models", "activate", "SELL", "9998.1"]);
    assert!(said.contains("serves      9998.1"), "{said}");
    let daemon = place.daemon();
    assert_eq!(serving(&daemon, "SELL")["version"], "9998.1");
    let history = daemon.client.get("alerts/models/SELL/history").expect(200);
    let told: Vec<String> = items(&history)
        .iter()
        .map(|fact| {
            format!(
                "{} {} {}",
                fact["event"].as_str().unwrap(),
                fact["version"].as_str().unwrap(),
                fact["by"].as_str().unwrap()
            )
        })
        .collect();
    let first = format!("MODEL_ACTIVATED {old} start");
    let back = format!("MODEL_ROLLED_BACK {old} cli");
    let wanted = [
        "MODEL_ACTIVATED 9998.1 cli",
        &back,
        "MODEL_REFUSED 9998.2 api",
        "MODEL_ACTIVATED 9998.1 signal",
        &first,
    ];
    assert_eq!(told, wanted);
    daemon.stop();
    STRICT.check(&place.events(""));
}

#[test]
fn verify_needs_neither_daemon_nor_data() {
    if !models_are_there("verify_needs_neither_daemon_nor_data") {
        return;
    }
    let mut place = Place::new();
    let folder = copied(&mut place);
    let said = place.done(&["models", "verify"]);
    assert_eq!(said.lines().filter(|line| line.contains("in order")).count(), 4, "{said}");
    assert!(!place.data_dir().exists());
    let old = newest(&folder, "SELL");
    fs::remove_file(folder.join("SELL").join(&old).join("CARD.md")).unwrap();
    let ended = place.run(&["models", "verify", "SELL", &old]);
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(65));
    assert!(said.contains("refused: CARD.md cannot be read"), "{said}");
    let place_of = folder.join("BUY").join(newest(&folder, "BUY"));
    assert!(place.done(&["models", "verify", place_of.to_str().unwrap()]).contains("BUY"));
    assert_eq!(place.run(&["models", "verify", "SELL", "nothing"]).status.code(), Some(66));
}

#[test]
fn a_challenger_runs_on_live_traffic_and_is_promoted_with_one_command() {
    if !models_are_there("a_challenger_runs_on_live_traffic_and_is_promoted_with_one_command") {
        return;
    }
    let mut place = Place::new();
    let folder = copied(&mut place);
    let old = newest(&folder, "SELL");
    renamed(&folder, "SELL", &old, "9998.1");
    let log = place.path("people.jsonl");
    simulated(&log, 5, 300, 240);
    // The newest would serve where the log says nothing.
    place.set("INTENTD_MODELS__PIN", &format!("{{SELL=\"{old}\"}}"));
    let daemon = place.daemon();
    daemon.stop();
    place.set("INTENTD_MODELS__PIN", "{}");
    let daemon = place.daemon();
    place.set("INTENTD_HTTP__LISTEN", &daemon.address());
    place.done(&["models", "challenge", "SELL", "9998.1"]);
    let text = fs::read_to_string(&log).unwrap();
    for chunk in text.lines().collect::<Vec<_>>().chunks(10_000) {
        let body = chunk.join("\n");
        daemon.client.send("POST", "events", "application/x-ndjson", body.as_bytes()).expect(202);
    }
    let user = serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()["userId"].clone();
    until("the log to be decided", || (daemon.client.get("/readyz").status == 200).then_some(()));
    if user != "*" {
        daemon.client.post("alerts/score-user", &json!({ "userId": user })).expect(200);
    }
    let said = place.done(&["models", "promote", "SELL"]);
    assert!(said.contains("serves      9998.1") && !said.contains("in shadow"), "{said}");
    daemon.stop();
    STRICT.check(&place.events(""));
    let facts = place.events("intent-");
    let shadows: Vec<Value> = facts
        .iter()
        .filter(|fact| &*fact.event_type == "ChallengerScored")
        .map(|fact| serde_json::from_slice(&fact.data).unwrap())
        .collect();
    assert!(shadows.len() > 20, "{} shadows", shadows.len());
    for shadow in shadows {
        // The same graph under another name: the same bits, and no alert of its own.
        assert_eq!((&shadow["championVersion"], &shadow["modelVersion"]), (&json!(old), &json!("9998.1")));
        assert_eq!(shadow["probability"], shadow["championProbability"]);
    }
    for alert in facts.iter().filter(|fact| &*fact.event_type == "AlertScored") {
        let alert: Value = serde_json::from_slice(&alert.data).unwrap();
        assert_ne!(alert["scoring"]["modelVersion"], "9998.1");
    }
}
