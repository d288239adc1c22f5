//! `intentd shards` and the settings behind it, with the real program.

use std::fs;

use intentd::domain::shard::{Shard, owner};
use intentd::domain::time::Timestamp;
use intentd::store::checkpoint::{Checkpoint, Checkpoints as _, FileCheckpoints};
use intentd::store::{Position, StoreId};
use uuid::Uuid;

use super::daemon::Place;

fn place(index: &str, count: &str) -> Place {
    let mut place = Place::new();
    place.set("INTENTD_SHARD__INDEX", index);
    place.set("INTENTD_SHARD__COUNT", count);
    place.set("INTENTD_KURRENTDB__CONNECTION", "kurrentdb://127.0.0.1:1?tls=false");
    place
}

#[test]
fn the_command_names_owners_and_takes_over_from_all_instances_before() {
    let place = place("1", "3");
    assert!(place.done(&["shards", "show"]).contains("shard 1 of 3"));
    let said = place.done(&["shards", "owner", "user-123", "me"]);
    let wanted = format!("{}\tuser-123\n{}\tme\n", owner("user-123", 3), owner("me", 3));
    assert_eq!(said, wanted);
    assert_eq!(place.done(&["shards", "owner", "me", "--count", "1"]), "0\tme\n");

    let mut folders = Vec::new();
    for (index, position) in [(0, 70), (1, 50)] {
        let folder = place.path(&format!("old-{index}"));
        fs::create_dir(&folder).unwrap();
        let shard = Shard { index, count: 2 };
        let (store, clock) = (StoreId(Uuid::from_u128(9)), Timestamp::from_millis(5));
        let kept = Checkpoint { store, shard, position: Position(position), clock };
        FileCheckpoints::new(folder.join("checkpoint.json")).save(kept).unwrap();
        folders.push(folder.display().to_string());
    }
    let one_alone = place.run(&["shards", "take-over", &folders[0]]);
    assert_eq!(one_alone.status.code(), Some(65), "{one_alone:?}");
    assert!(
        String::from_utf8_lossy(&one_alone.stderr).contains("name the data directories of all instances")
    );
    assert!(!place.data_dir().join("checkpoint.json").exists());
    let none = place.run(&["shards", "take-over", place.path("nowhere").to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(66), "{none:?}");

    let said = place.done(&["shards", "take-over", &folders[0], &folders[1]]);
    assert!(said.ends_with("shard 1 of 3 begins at 50\n"), "{said}");
    let shown = place.done(&["shards", "show"]);
    assert!(shown.contains("checkpoint at 50 of shard 1 of 3: the next start reads on there"), "{shown}");
}

/// As docs/operations.md said once: each instance would have had a log of its own, and lost what it took for the others.
#[test]
fn instances_that_share_no_log_do_not_begin() {
    let mut place = Place::new();
    place.set("INTENTD_SHARD__INDEX", "1");
    place.set("INTENTD_SHARD__COUNT", "2");
    let events = place.path("events.jsonl");
    fs::write(&events, "").unwrap();
    for command in [&["run"][..], &["check"], &["import", events.to_str().unwrap()]] {
        let refused = place.run(command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{command:?}: {said}");
        assert!(said.contains("shard.count: 2 instances") && said.contains("kurrentdb.connection"), "{said}");
        assert!(!place.data_dir().exists(), "{command:?}");
    }
}

#[test]
fn a_shard_that_cannot_be_is_a_bad_configuration() {
    let refused = place("2", "2").run(&["check"]);
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("shard.index: must be below count, from 0 to 1, not 2"), "{said}");
}
