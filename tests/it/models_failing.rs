//! The real program with models that fail as they run, or come late: nobody is scored wrongly, everybody sees that and why,
//! and all are scored when a model is back, without a restart.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::daemon::{Daemon, Place, items, models_are_there, until};
use crate::scoring::graphs::{Recipe, Spin, write};

/// One event type, which every feature counts.
const CATALOG: &str = r#"
name = "t"
categories = ["c"]
[event.E]
category = "c"
doc = "d"
"#;

/// A small catalogue, its one model STEPS in a folder of its own, and times that suit a test.
fn prepared(place: &mut Place) -> PathBuf {
    let mut text = CATALOG.to_owned();
    for name in ["f0", "f1", "f2", "f3", "f4"] {
        text += &format!(
            "[feature.{name}]\ncategory = \"c\"\ndoc = \"d\"\nunit = \"events\"\ncount = \"E\"\nwindow = \"7d\"\n"
        );
    }
    text += "[signal.busy]\ncategory = \"c\"\ndoc = \"d\"\nwhen = \"f0 >= 1\"\nstrength = 0.5\ncooldown = \"1d\"\n\
             expires = \"30d\"\nmodels = [\"STEPS\"]\n\
             [model.STEPS]\ndoc = \"d\"\nfeatures = [\"f0\", \"f1\", \"f2\", \"f3\", \"f4\"]\nthreshold = 0.5\nexit = 0.4\n\
             cooldown = \"30d\"\nhorizon = \"90d\"\nbands = [{ priority = \"LOW\", score = 0.5 }]\n";
    let (catalog, folder) = (place.path("catalog.toml"), place.path("models"));
    std::fs::write(&catalog, text).unwrap();
    place.set("INTENTD_CATALOG", catalog.to_str().unwrap());
    place.set("INTENTD_MODELS__FOLDER", folder.to_str().unwrap());
    place.set("INTENTD_MODELS__LATENCY_ONE_MAX", "5s");
    place.set("INTENTD_MODELS__LATENCY_BATCH_MAX", "5s");
    place.set("INTENTD_PIPELINE__RESCORE_FIRST", "1h");
    place.set("INTENTD_PIPELINE__SWEEP_EVERY", "1h");
    place.set("INTENTD_PIPELINE__SCORE_TIMEOUT", "400ms");
    folder
}

fn tell(daemon: &Daemon, user: &str, events: usize) {
    // Just now: a score is as of the clock of the log, or of the wall as long as the log is young.
    let at = intentd::clock::wall();
    let event = |id: usize| json!({ "id": id.to_string(), "userId": user, "type": "E", "occurredAt": at, "data": {} });
    let events: Vec<Value> = (0..events).map(event).collect();
    daemon.client.post("events", &json!(events)).expect(202);
}

/// The user's score by STEPS, asked for now.
fn score(daemon: &Daemon, user: &str) -> Value {
    daemon.client.post("alerts/score-user", &json!({ "userId": user })).expect(200)["scores"][0].clone()
}

/// Why /readyz says that models are missing; none when it says that all is well.
fn lacking(daemon: &Daemon) -> Option<String> {
    let answer = daemon.client.get("/readyz");
    if answer.status == 200 {
        return None;
    }
    let problem = answer.json();
    let reasons = problem["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(|reason| reason["component"] == "models"), "{problem}");
    Some(reasons[0]["reason"].as_str().unwrap().to_owned())
}

fn degraded(daemon: &Daemon) -> bool {
    let view = items(&daemon.client.get("alerts/models").expect(200))[0].clone();
    assert_eq!(view["reason"].is_string(), view["degraded"] == true, "{view}");
    view["degraded"] == true
}

/// A model that cannot score users with three events; then one that can, without a restart.
fn fails_and_is_mended(recipe: &Recipe, says: &str) {
    let mut place = Place::new();
    let folder = prepared(&mut place);
    write(&folder, "STEPS", "1", recipe);
    let daemon = place.daemon();
    tell(&daemon, "one", 1);
    assert_eq!(score(&daemon, "one")["degraded"], false);
    tell(&daemon, "three", 3);
    let failed = score(&daemon, "three");
    assert_eq!((&failed["degraded"], &failed["calibratedScore"]), (&json!(true), &json!(null)), "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains(says), "{failed}");
    let reason = until("/readyz to say so", || lacking(&daemon));
    assert!(reason.starts_with("STEPS: its version fails: "), "{reason}");
    assert!(degraded(&daemon));
    until("the metric to say so", || {
        let text = daemon.client.get("/metrics").text();
        text.contains("intentd_degraded{model=\"STEPS\"} 1").then_some(())
    });
    assert_eq!(daemon.client.get("/healthz").status, 200);
    // Others are scored; that the model answers is seen at once.
    until("another user to be scored", || (score(&daemon, "one")["degraded"] == false).then_some(()));
    assert_eq!(lacking(&daemon), None);
    // A better version comes; the sweep's command scores the one who waits.
    write(&folder, "STEPS", "2", &Recipe { bias: 3.0, ..Recipe::default() });
    let done = daemon.client.post("alerts/models/reload", &json!({})).expect(200);
    assert_eq!(items(&done)[0]["result"], "activated", "{done}");
    let done = daemon.client.post("alerts/process-signals", &json!({})).expect(200);
    assert_eq!(
        (&done["users"], &done["failed"], &done["alertsCreated"]),
        (&json!(1), &json!(0), &json!(1)),
        "{done}"
    );
    let again = daemon.client.post("alerts/process-signals", &json!({})).expect(200);
    assert_eq!(again["users"], 0);
    let scored = score(&daemon, "three");
    assert_eq!((&scored["degraded"], &scored["modelVersion"]), (&json!(false), &json!("2")), "{scored}");
    daemon.stop();
}

#[test]
fn a_model_that_answers_nonsense() {
    if models_are_there("a_model_that_answers_nonsense") {
        fails_and_is_mended(&Recipe { breaks: true, ..Recipe::default() }, "probability is NaN");
    }
}

#[test]
fn a_model_that_hangs() {
    if models_are_there("a_model_that_hangs") {
        fails_and_is_mended(&Recipe { spin: Spin::ByRow, ..Recipe::default() }, "no score in time");
    }
}

/// Starts without what models need, tells of a user, brings it, reloads: the user is scored.
fn comes_late(place: &mut Place, says: &str, bring: impl FnOnce()) {
    let daemon = place.daemon_without_models();
    assert!(lacking(&daemon).unwrap().contains(says), "{:?}", lacking(&daemon));
    tell(&daemon, "one", 1);
    let unscored = score(&daemon, "one");
    assert_eq!(unscored["degraded"], true, "{unscored}");
    let early = daemon.client.post("alerts/models/reload", &json!({}));
    assert!(early.status == 503 || items(&early.json())[0]["version"].is_null(), "{}", early.text());
    bring();
    let done = daemon.client.post("alerts/models/reload", &json!({})).expect(200);
    assert_eq!(items(&done)[0]["result"], "activated", "{done}");
    assert_eq!(lacking(&daemon), None);
    let done = daemon.client.post("alerts/process-signals", &json!({})).expect(200);
    assert_eq!((&done["users"], &done["failed"]), (&json!(1), &json!(0)), "{done}");
    daemon.stop();
}

#[test]
fn a_model_that_comes_late_scores_who_has_waited() {
    if !models_are_there("a_model_that_comes_late_scores_who_has_waited") {
        return;
    }
    let mut place = Place::new();
    let folder = prepared(&mut place);
    // Of the wrong shape, to begin with.
    write(&folder, "STEPS", "1", &Recipe { column: true, ..Recipe::default() });
    comes_late(&mut place, "output probability is", || write(&folder, "STEPS", "2", &Recipe::default()));
}

#[test]
fn a_library_that_comes_late_is_taken_up_by_a_reload() {
    if !models_are_there("a_library_that_comes_late_is_taken_up_by_a_reload") {
        return;
    }
    let mut place = Place::new();
    let folder = prepared(&mut place);
    write(&folder, "STEPS", "1", &Recipe::default());
    let (named, library) =
        (std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()), place.path("late.so"));
    let real = std::fs::canonicalize(named.map_or(".ort/libonnxruntime.so".into(), PathBuf::from)).unwrap();
    place.set("ORT_DYLIB_PATH", library.to_str().unwrap());
    comes_late(&mut place, "late.so", || link(&real, &library));
}

fn link(real: &Path, at: &Path) {
    std::os::unix::fs::symlink(real, at).unwrap();
}
