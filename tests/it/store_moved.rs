//! A log that moves: from an embedded store to a cluster and on to another embedded store, by the command, broken off on the
//! way; the daemon on the new one decides nothing anew and trusts nothing that was derived from the old one.

use std::fs;
use std::path::Path;

use super::daemon::{Place, models_are_there, simulated, until};
use super::daemon_cluster::Behind;
use super::daemon_kill::{End, logged, same};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Everything but the store, as somebody would take it along who does not know better.
fn take_along(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_file() && name != "store" {
            fs::copy(&path, to.join(name)).unwrap();
        } else if name == "snapshots" {
            let copied = std::process::Command::new("cp").arg("-r").args([&path, to]).status().unwrap();
            assert!(copied.success());
        }
    }
}

#[test]
fn a_log_moves_to_a_cluster_and_back_and_what_was_derived_stays_behind() {
    let name = "a_log_moves_to_a_cluster_and_back_and_what_was_derived_stays_behind";
    if !models_are_there(name) {
        return;
    }
    let (old, behind, new) = (Place::new(), Behind::new(), Place::new());
    let log = old.path("people.jsonl");
    let lines = simulated(&log, 7, 120, 200);
    old.done(&["import", text(&log)]);
    let wanted = End::of(&old, true);

    let server = behind.serve();
    let cluster = format!("kurrentdb://{}?tls=false", behind.at);
    let (from, state) = (old.data_dir().join("store"), old.path("copy.place"));
    let copy = ["store", "copy", "--from", text(&from), "--to", &cluster, "--state", text(&state)];
    let child = old.spawn(&copy);
    until("a part of the copy", || state.exists().then_some(()));
    child.kill();
    let said = old.done(&copy);
    assert!(said.contains("were there already"), "{said}");
    let again = old.done(&copy);
    assert!(again.contains("0 events written"), "{again}");

    let to = new.data_dir().join("store");
    fs::create_dir_all(&to).unwrap();
    new.done(&["store", "copy", "--from", &cluster, "--to", text(&to)]);
    server.kill();
    take_along(&old.data_dir(), &new.data_dir());
    let (facts, behaviour) = logged(&new);
    same("event", &behaviour, &wanted.behaviour);
    same("fact", &facts, &wanted.facts);
    let ours = End::with(facts, behaviour, new.daemon());
    same("alert", &ours.alerts, &wanted.alerts);
    assert!(!wanted.alerts.is_empty() && wanted.behaviour.len() as u64 > lines / 2);
    same("fact after the start", &logged(&new).0, &wanted.facts);
    let id = |place: &Place| {
        let text = fs::read_to_string(place.data_dir().join("checkpoint.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["store"].clone()
    };
    assert_ne!(id(&old), id(&new), "the checkpoint is the new store's own");
}
