//! What is not the ordinary way: full disk, wrong files, wrong places, events that cannot be read, slow queries.

use std::time::Duration;

use intentd::domain::event::{Position, Recorded};
use intentd::domain::shard::Shard;
use intentd::projection::sqlite::{Options, Projection, Reset};
use intentd::projection::{AlertQuery, Error, Views};
use intentd::store::StoreId;
use uuid::Uuid;

use super::given::{Step, at, log};
use super::{STORE, answers, apply, open, options};

fn events(count: usize) -> Vec<Recorded> {
    let step = |at: usize| Step {
        kind: [0, 13, 5, 8][at % 4],
        user: (at % 4) as u8,
        a: (at % 251) as u8,
        b: (at % 7) as u8,
        day: (at % 5) as u8,
    };
    log(&(0..count).map(step).collect::<Vec<_>>()).events
}

#[test]
fn a_full_disk_leaves_nothing_half_done_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sqlite");
    let small = Options { file_bytes_max: 600_000, ..options() };
    let mut projection = Projection::open(&path, STORE, small).unwrap();
    let events = events(2_000);
    let mut done = 0;
    let failed = events.chunks(50).find_map(|batch| {
        let result = projection.apply(batch, batch[49].position);
        done += if result.is_ok() { 50 } else { 0 };
        result.err()
    });
    let Some(Error::Unavailable { reason }) = failed else { panic!("{failed:?}") };
    assert!(reason.contains(path.to_str().unwrap()) && reason.contains("full"), "{reason}");
    assert!(done > 0);
    assert_eq!(projection.position(), Some(events[done - 1].position));
    assert_eq!(projection.reader().position().unwrap(), Some(events[done - 1].position));

    let other = tempfile::tempdir().unwrap();
    let mut undisturbed = open(other.path());
    apply(&mut undisturbed, &events[..done]);
    assert_eq!(
        answers(&projection.reader()),
        answers(&undisturbed.reader()),
        "nothing of the batch is there"
    );

    drop(projection);
    let mut projection = open(folder.path());
    apply(&mut projection, &events[done..]);
    apply(&mut undisturbed, &events[done..]);
    assert_eq!(answers(&projection.reader()), answers(&undisturbed.reader()), "and with room it goes on");
}

#[test]
fn a_transaction_cut_off_takes_its_checkpoint_along() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(40);
    let mut projection = open(folder.path());
    apply(&mut projection, &events[..20]);
    let before = answers(&projection.reader());
    drop(projection);
    let raw = rusqlite::Connection::open(folder.path().join("p.sqlite")).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET checkpoint = 999, users = 9; DELETE FROM alerts;")
        .unwrap();
    drop(raw);
    let projection = open(folder.path());
    assert_eq!(projection.position(), Some(events[19].position));
    assert_eq!(answers(&projection.reader()), before);
}

#[test]
fn a_batch_without_events_moves_the_checkpoint_and_none_moves_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    assert_eq!((projection.position(), projection.reader().position().unwrap()), (None, None));
    projection.apply(&[], Position(500)).unwrap();
    projection.apply(&[], Position(70)).unwrap();
    assert_eq!(projection.position(), Some(Position(500)));
    drop(projection);
    assert_eq!(open(folder.path()).position(), Some(Position(500)));
}

#[test]
fn a_file_of_another_store_or_schema_is_begun_anew_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sqlite");
    let events = events(40);
    let mut projection = open(folder.path());
    apply(&mut projection, &events);
    let expected = answers(&projection.reader());
    drop(projection);

    let other = StoreId(Uuid::from_u128(8));
    let projection = Projection::open(&path, other, options()).unwrap();
    assert_eq!(projection.reset(), Some(&Reset::Store { found: STORE }));
    assert_eq!(projection.position(), None);
    assert_eq!(projection.reader().alerts(&AlertQuery::default()).unwrap().items, []);
    drop(projection);

    drop(Projection::open(&path, STORE, options()).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 77).unwrap();
    drop(raw);
    let mut projection = open(folder.path());
    assert_eq!(projection.reset(), Some(&Reset::Schema { found: 77 }));
    apply(&mut projection, &events);
    assert_eq!(answers(&projection.reader()), expected);
    drop(projection);

    let projection = Projection::open(&path, STORE, Options::default()).unwrap();
    assert_eq!(
        projection.reset(),
        Some(&Reset::ConversionEvents),
        "labels would be those of another catalogue"
    );
    assert_eq!(projection.position(), None);
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sqlite");
    std::fs::write(&path, "a letter to my aunt, long enough to be taken for a header. ".repeat(50)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Projection::open(&path, STORE, options()).unwrap_err();
    assert!(matches!(&error, Error::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("intentd rebuild"));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE accounts (money INTEGER); INSERT INTO accounts VALUES (5)").unwrap();
    let error = Projection::open(&path, STORE, options()).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(raw.query_row("SELECT money FROM accounts", [], |row| row.get::<_, i64>(0)).unwrap(), 5);
}

#[test]
fn a_damaged_file_is_named_and_never_answered_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sqlite");
    let mut projection = open(folder.path());
    apply(&mut projection, &events(400));
    drop(projection);
    let mut bytes = std::fs::read(&path).unwrap();
    let schema_ends = 8192;
    bytes[schema_ends..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let error = match Projection::open(&path, STORE, options()) {
        Err(error) => error,
        Ok(projection) => projection.reader().alerts(&AlertQuery::default()).unwrap_err(),
    };
    assert!(matches!(&error, Error::Unusable { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    for path in ["/proc/intentd/p.sqlite", "/nowhere/at/all/p.sqlite"] {
        let error = Projection::open(path, STORE, options()).unwrap_err();
        assert!(matches!(&error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn an_event_that_cannot_be_read_is_told_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = events(8);
    let mut torn = events(8)[4].clone();
    torn.data = bytes::Bytes::from_static(b"{\"alertId\":");
    torn.position = Position(100);
    // The second event opens an alert here and none in the other log; the third moves it.
    let orphan = [13, 0, 5].map(|kind| Step { kind, user: 1, a: 0, b: 1, day: 1 });
    let orphan = Recorded { position: Position(103), ..log(&orphan).events[2].clone() };
    let twice = Recorded { position: Position(106), ..all[0].clone() };
    let unknown = Recorded { position: Position(109), event_type: "AlertFramed".into(), ..all[0].clone() };
    let mut projection = open(folder.path());
    apply(&mut projection, &all);
    let before = answers(&projection.reader());
    all.extend([torn, orphan, twice, unknown]);
    assert_eq!(projection.apply(&all, Position(107)).unwrap().len(), 0);
    let told: Vec<_> = projection.take_unreadable().into_iter().map(|one| one.position.0).collect();
    assert_eq!(told, [100, 103, 106, 109]);
    assert_eq!(projection.take_unreadable(), []);
    assert_eq!(projection.position(), Some(Position(109)));
    let after = answers(&projection.reader());
    assert_eq!(after.trim_end_matches("109"), before.trim_end_matches("21"));
}

#[test]
fn a_query_that_takes_too_long_is_stopped_and_the_next_one_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut projection = open(folder.path());
    apply(&mut projection, &events(4_000));
    drop(projection);
    let hasty = Options { query_time_max: Duration::ZERO, readers: 1, ..options() };
    let projection = Projection::open(folder.path().join("p.sqlite"), STORE, hasty).unwrap();
    let reader = projection.reader();
    let Err(Error::Unavailable { reason }) = reader.stats(None, None) else { panic!("was not stopped") };
    assert!(reason.contains("query_time_max"), "{reason}");
    assert!(reader.position().unwrap().is_some(), "a short query ends before anybody looks at the clock");
    assert_eq!(reader.due(at(0), 1, Shard::WHOLE).unwrap(), []);
}

#[test]
fn more_readers_than_connections_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let few = Options { readers: 2, ..options() };
    let mut projection = Projection::open(folder.path().join("p.sqlite"), STORE, few).unwrap();
    let events = events(2_000);
    let reader = projection.reader();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let reader = reader.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let (before, stats) = (reader.position().unwrap(), reader.stats(None, None).unwrap());
                    let by_status: u64 = stats.by_status.iter().map(|(_, count)| count).sum();
                    assert_eq!(by_status, stats.total);
                    assert!(reader.position().unwrap() >= before);
                }
            });
        }
        for batch in events.chunks(20) {
            projection.apply(batch, batch[batch.len() - 1].position).unwrap();
        }
    });
    assert_eq!(reader.stats(None, None).unwrap().total, 500);
}
