//! Two instances as two processes on one log in a third: one is killed and comes again while the log grows, and together they
//! decide what one import decides alone.

use intentd::domain::shard::{Shard, owner};
use serde_json::{Value, json};

use super::daemon::{Answer, Client, Place, items, models_are_there, simulated, until};
use super::daemon_cluster::Behind;
use super::daemon_kill::{logged, same};

fn set(place: &mut Place, shard: Shard) {
    place.set("INTENTD_SHARD__INDEX", &shard.index.to_string());
    place.set("INTENTD_SHARD__COUNT", &shard.count.to_string());
}

#[test]
fn two_instances_on_one_log_decide_what_one_decides() {
    if !models_are_there("two_instances_on_one_log_decide_what_one_decides") {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("people.jsonl");
    let lines = simulated(&log, 5, 120, 240);
    let import = ["import", log.to_str().unwrap()];
    let calm = Place::new();
    calm.done(&import);
    let whole = calm.log_bytes();
    let (facts_alone, events_alone) = logged(&calm);
    let count = |kind: &str| facts_alone.iter().filter(|fact| fact.3 == kind).count();
    let alerts = count("AlertScored");
    assert!(alerts > 5 && count("SignalDetected") > 50, "{alerts} alerts");

    let mut behind = Behind::new();
    set(&mut behind.place, Shard { index: 0, count: 2 });
    let mut other = behind.beside();
    set(&mut other, Shard { index: 1, count: 2 });
    let server = behind.serve();
    let second = other.daemon();
    let mut first = behind.place.spawn(&import);
    until("half of the log", || (behind.place.log_bytes() >= whole / 2).then_some(()));
    second.kill();
    let second = other.daemon();
    until("the import to end", || first.has_ended().then_some(()));
    second.stop();
    for place in [&other, &behind.place] {
        let said = place.done(&import);
        assert!(said.contains(&format!("0 new, {lines} duplicates, 0 bad")), "{said}");
    }
    server.kill();
    let (facts, behaviour) = logged(&behind.place);
    same("event", &behaviour, &events_alone);
    same("fact", &facts, &facts_alone);
    let server = behind.serve();
    let (here, there) = (behind.place.daemon(), other.daemon());
    commands(&here.client, &there.client);
    for daemon in [here, there] {
        let shown = daemon.client.all("alerts?limit=500");
        assert_eq!(shown.len(), alerts, "each instance shows all");
        daemon.stop();
    }
    server.kill();
}

/// Both have all users: a configuration that should not be. (How it is told: `shards::an_overlap_is_fenced_and_told…`.)
#[test]
fn two_instances_that_overlap_decide_what_one_decides() {
    if !models_are_there("two_instances_that_overlap_decide_what_one_decides") {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("people.jsonl");
    let lines = simulated(&log, 5, 60, 240);
    let import = ["import", log.to_str().unwrap()];
    let calm = Place::new();
    calm.done(&import);
    let (facts_alone, events_alone) = logged(&calm);

    let behind = Behind::new();
    let other = behind.beside();
    let server = behind.serve();
    let second = other.daemon();
    let mut first = behind.place.spawn(&import);
    until("the import to end", || first.has_ended().then_some(()));
    second.stop();
    for place in [&other, &behind.place] {
        let said = place.done(&import);
        assert!(said.contains(&format!("0 new, {lines} duplicates, 0 bad")), "{said}");
    }
    server.kill();
    let (facts, behaviour) = logged(&behind.place);
    same("event", &behaviour, &events_alone);
    same("fact", &facts, &facts_alone);
}

/// A command for a user of the second instance, sent to the first and then where that says.
fn commands(here: &Client, there: &Client) {
    let metrics = there.get("/metrics").text();
    let told = metrics.lines().find(|line| line.starts_with("intentd_shard_info{")).unwrap_or_default();
    assert!([r#"index="1""#, r#"count="2""#].iter().all(|label| told.contains(label)), "{told}");
    let listed = here.get("alerts?status=PENDING&limit=500").expect(200);
    let is_there = |alert: &&Value| owner(alert["userId"].as_str().unwrap(), 2) == 1;
    let alert = items(&listed).iter().find(is_there).expect("a pending alert of the second instance");
    let (id, user) = (alert["id"].as_str().unwrap(), alert["userId"].as_str().unwrap());
    let (path, body) = (format!("alerts/{id}/status"), json!({ "status": "ACKNOWLEDGED" }));
    let refused = here.patch(&path, &body).expect(421);
    assert_eq!(refused["type"], "urn:intentd:problem:other-shard");
    assert_eq!(refused["shard"], json!({ "index": 1, "count": 2 }));
    assert_eq!(there.patch(&path, &body).expect(200)["status"], "ACKNOWLEDGED");
    until("the first instance to show it", || {
        let shown = here.get(&format!("alerts/{id}")).expect(200);
        (shown["status"] == "ACKNOWLEDGED").then_some(())
    });
    let scored =
        here.post("alerts/score-user", &json!({ "userId": user, "modelTypes": ["SELL"] })).expect(200);
    assert_eq!(scored["userId"], user, "{scored}");
    let (one, same) = (here.get(&format!("users/{user}")), there.get(&format!("users/{user}")));
    let features = |answer: Answer| answer.expect(200)["features"].clone();
    assert_eq!(features(one), features(same), "from the log as from memory");
}
