//! The daemon with its log in another process, over the KurrentDB protocol: the store is down, comes, is killed and comes
//! again, under load, and what is decided in the end is what an undisturbed import on the embedded store decides.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use super::daemon::{Answer, Place, Running, models_are_there, simulated, until};
use super::daemon_kill::{End, Real, logged, same};

/// A place whose log is served by another process, from the directory where the embedded store would be.
pub struct Behind {
    pub place: Place,
    pub at: SocketAddr,
}

fn placed(at: SocketAddr) -> Place {
    let mut place = Place::new();
    place.set("INTENTD_KURRENTDB__CONNECTION", &format!("kurrentdb://{at}?tls=false"));
    place.set("INTENTD_KURRENTDB__RETRY_MAX", "200ms");
    place.set("INTENTD_PIPELINE__BACKOFF_MAX", "1s");
    place
}

impl Behind {
    pub fn new() -> Self {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { place: placed(at), at }
    }

    /// Another place on the same log.
    pub fn beside(&self) -> Place {
        placed(self.at)
    }

    pub fn serve(&self) -> Running {
        let dir = self.place.data_dir().join("store");
        let (dir, at) = (dir.display().to_string(), self.at.to_string());
        let mut server = self.place.spawn(&["store", "serve", "--dir", &dir, "--listen", &at]);
        until("the store", || {
            assert!(!server.has_ended(), "the store ended");
            TcpStream::connect(self.at).ok()
        });
        server
    }
}

fn lacks_store(answer: &Answer) -> bool {
    answer.lacking().is_some_and(|lacking| lacking.iter().any(|part| part == "store"))
}

fn event() -> Value {
    json!({
        "id": "e-1", "userId": "u-1", "type": "LISTING_VIEWED", "occurredAt": "2026-06-01T10:00:00Z",
        "data": { "listingId": "l-1", "price": 300_000 }
    })
}

#[test]
fn a_daemon_whose_store_is_down_starts_says_so_and_goes_on_when_it_comes() {
    let behind = Behind::new();
    let daemon = behind.place.daemon_when(lacks_store);
    let status = |path: &str| daemon.client.get(path).status;
    assert_eq!(["/healthz", "/readyz", "/metrics", "alerts"].map(status), [200, 503, 200, 503]);
    let server = behind.serve();
    let serves = |answer: Answer| {
        let lacking = answer.lacking().unwrap_or_default();
        (answer.status == 200 || lacking == ["models"]).then_some(())
    };
    until("the daemon to go on", || serves(daemon.client.try_get("/readyz")?));
    assert_eq!(daemon.client.post("events", &event()).status, 202);
    // Its store goes while it runs.
    server.kill();
    until("the daemon to notice", || lacks_store(&daemon.client.try_get("/readyz")?).then_some(()));
    assert_eq!(daemon.client.post("events", &event()).status, 503);
    let server = behind.serve();
    until("the daemon to go on again", || serves(daemon.client.try_get("/readyz")?));
    let again = daemon.client.post("events", &event());
    assert_eq!(again.expect(202)["duplicates"], 1);
    let user: Value = daemon.client.get("users/u-1").expect(200);
    assert_eq!(user["userId"], "u-1");
    daemon.stop();
    server.kill();
    // The same directory, the store down again: it knows which store it belongs to, and waits for it.
    let daemon = behind.place.daemon_when(lacks_store);
    daemon.stop();
}

#[test]
fn an_import_whose_store_is_down_at_its_start_waits_for_it() {
    let behind = Behind::new();
    let log = behind.place.path("log.jsonl");
    simulated(&log, 3, 5, 30);
    let import = ["import", log.to_str().unwrap()];
    let mut child = behind.place.spawn(&import);
    until("the import to say that it waits", || {
        assert!(!child.has_ended(), "it ended");
        let said = std::fs::read_to_string(behind.place.path("child.log")).unwrap();
        said.contains("waits for the store").then_some(())
    });
    let server = behind.serve();
    until("the import to end", || child.has_ended().then_some(()));
    let said = std::fs::read_to_string(behind.place.path("child.log")).unwrap();
    assert!(said.contains("events to committed alerts"), "{said}");
    assert!(behind.place.done(&import).contains("0 new"));
    server.kill();
}

/// Many events of one user at once are more than this server takes in one append: that is the sender's to mend.
#[test]
fn what_the_server_never_takes_ends_the_call_at_once() {
    let mut behind = Behind::new();
    behind.place.set("INTENTD_WIRE__APPEND_BYTES_MAX", "8000");
    let server = behind.serve();
    let many = |count: usize| -> Vec<Value> {
        let one = |nth: usize| {
            let mut event = event();
            event["id"] = format!("e-{nth}").into();
            event
        };
        (0..count).map(one).collect()
    };
    let log = behind.place.path("log.jsonl");
    let lines: String = many(100).iter().map(|event| format!("{event}\n")).collect();
    std::fs::write(&log, lines).unwrap();
    let began = std::time::Instant::now();
    let ended = behind.place.run(&["import", log.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(65), "{said}");
    assert!(said.contains("100 event(s)") && !said.contains("--skip-bad"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "it waited");
    let lacks = |answer: &Answer| answer.lacking().unwrap_or_default();
    let daemon = behind.place.daemon_when(|answer| answer.status == 200 || lacks(answer) == ["models"]);
    let refused = daemon.client.post("events", &many(100).into()).expect(422);
    assert_eq!(refused["type"], "urn:intentd:problem:not-taken");
    assert!(refused["detail"].as_str().unwrap().contains("100 event(s)"), "{refused}");
    assert_eq!(daemon.client.post("events", &many(10).into()).status, 202);
    daemon.stop();
    server.kill();
}

/// Imports undisturbed into an embedded store, and into one in another process while that and the import are killed in turn;
/// compares. `placed` sets a place up.
fn check(placed: impl Fn(Place) -> Place, has_models: bool, import: &[&str], lines: u64) -> End {
    const KILLS: u64 = 4;
    let calm = placed(Place::new());
    calm.done(import);
    let whole = calm.log_bytes();
    let wanted = End::of(&calm, has_models);

    let mut behind = Behind::new();
    behind.place = placed(behind.place);
    let mut server = behind.serve();
    let mut child = behind.place.spawn(import);
    for kill in 1..=KILLS {
        let goal = whole * kill / (KILLS + 1);
        until("the log to grow", || {
            assert!(!child.has_ended(), "the import ended before kill {kill}");
            (behind.place.log_bytes() >= goal).then_some(())
        });
        if kill % 2 == 0 {
            child.kill();
            child = behind.place.spawn(import);
        } else {
            server.kill();
            server = behind.serve();
        }
    }
    until("the import to end", || child.has_ended().then_some(()));
    let said = behind.place.done(import);
    assert!(said.contains(&format!("0 new, {lines} duplicates, 0 bad")), "{said}");
    server.kill();
    let (facts, behaviour) = logged(&behind.place);
    let server = behind.serve();
    let daemon = if has_models { behind.place.daemon() } else { behind.place.daemon_without_models() };
    let ours = End::with(facts, behaviour, daemon);
    same("event", &ours.behaviour, &wanted.behaviour);
    same("fact", &ours.facts, &wanted.facts);
    same("alert", &ours.alerts, &wanted.alerts);
    server.kill();
    wanted
}

#[test]
fn an_import_whose_store_and_self_are_killed_in_turn_decides_the_same() {
    if !models_are_there("an_import_whose_store_and_self_are_killed_in_turn_decides_the_same") {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("people.jsonl");
    let lines = simulated(&log, 5, 250, 240);
    let end = check(|place| place, true, &["import", log.to_str().unwrap()], lines);
    assert!(end.alerts.len() > 10 && end.count("SignalDetected") > 100, "{}", end.alerts.len());
}

#[test]
fn a_real_import_whose_store_and_self_are_killed_in_turn_decides_the_same() {
    if let Some(real) = Real::of("a_real_import_whose_store_and_self_are_killed_in_turn_decides_the_same") {
        real.is_enough(&check(|place| real.placed(place), real.has_models(), &Real::IMPORT, Real::LINES));
    }
}
