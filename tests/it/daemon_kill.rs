//! SIGKILL during `intentd import`, five times: what is decided in the end is what an undisturbed import decides.
//!
//! Law: facts are compared whole (ids, scores, order in each stream), from the store itself and through HTTP; only positions
//! and the time of recording may differ.

use std::path::Path;

use intentd::store::Recorded;
use serde_json::Value;

use super::daemon::{Daemon, Place, models_are_there, simulated, until};
use super::support::schemas::STRICT;

const KILLS: u64 = 5;
/// The real log; never copied into this repository (its licence), so a clone alone does not have it.
const LOANS: &str = "../shared/data/bpi2012-loan/events.jsonl.zst";

/// A fact without its place in `$all` and the time of recording.
pub type Bare = (String, u64, String, String, String, String);

fn bare(event: Recorded) -> Bare {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (data, metadata) = (text(&event.data), text(&event.metadata));
    (
        event.stream.to_string(),
        event.revision,
        event.id.to_string(),
        event.event_type.to_string(),
        data,
        metadata,
    )
}

/// What a place holds in the end.
pub struct End {
    pub facts: Vec<Bare>,
    pub behaviour: Vec<Bare>,
    pub alerts: Vec<Value>,
}

impl End {
    pub fn of(place: &Place, has_models: bool) -> Self {
        let (facts, behaviour) = logged(place);
        let daemon = if has_models { place.daemon() } else { place.daemon_without_models() };
        Self::with(facts, behaviour, daemon)
    }

    /// With what a daemon shows.
    pub fn with(facts: Vec<Bare>, behaviour: Vec<Bare>, daemon: Daemon) -> Self {
        let listed = daemon.client.all("alerts?limit=500");
        let ids = listed.iter().map(|alert| alert["id"].as_str().unwrap());
        let alerts = ids.map(|id| daemon.client.get(&format!("alerts/{id}")).expect(200)).collect();
        daemon.stop();
        Self { facts, behaviour, alerts }
    }

    pub fn count(&self, event_type: &str) -> usize {
        self.facts.iter().filter(|fact| fact.3 == event_type).count()
    }
}

/// Facts and behaviour in a place's own store, which nobody has open.
pub fn logged(place: &Place) -> (Vec<Bare>, Vec<Bare>) {
    let sorted = |prefix| {
        let events = place.events(prefix);
        STRICT.check(&events);
        let mut found: Vec<Bare> = events.into_iter().map(bare).collect();
        found.sort();
        found
    };
    (sorted("intent-"), sorted("user-"))
}

/// The first difference, told in a few lines: the whole lists are too long to read.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &[T], wanted: &[T]) {
    for (at, (ours, wanted)) in ours.iter().zip(wanted).enumerate() {
        assert!(ours == wanted, "{what} {at} differs:\n{ours:?}\nundisturbed:\n{wanted:?}");
    }
    assert_eq!(ours.len(), wanted.len(), "{what}: the first ones are the same, their number is not");
}

/// Imports undisturbed and with kills, compares, and imports a second time. `place` makes a fresh place of one kind.
fn check(place: impl Fn() -> Place, has_models: bool, import: &[&str], lines: u64) -> End {
    let calm = place();
    let said = calm.done(import);
    assert!(said.contains(&format!("{lines} new, 0 duplicates, 0 bad")), "{said}");
    let whole = calm.log_bytes();
    let wanted = End::of(&calm, has_models);

    let stormy = place();
    for kill in 1..=KILLS {
        let goal = whole * kill / (KILLS + 1);
        let mut child = stormy.spawn(import);
        until("the log to grow", || {
            assert!(!child.has_ended(), "the import ended before its kill {kill}");
            (stormy.log_bytes() >= goal).then_some(())
        });
        child.kill();
    }
    println!("{}", stormy.done(import));
    let ours = End::of(&stormy, has_models);
    same("event", &ours.behaviour, &wanted.behaviour);
    same("fact", &ours.facts, &wanted.facts);
    same("alert", &ours.alerts, &wanted.alerts);

    let said = stormy.done(import);
    assert!(said.contains(&format!("0 new, {lines} duplicates, 0 bad")), "{said}");
    same("fact after the second import", &End::of(&stormy, has_models).facts, &wanted.facts);
    wanted
}

/// The real log of loans, to be imported.
pub struct Real {
    /// A model of this log, when `make real` has made one; without it signals and failed scores are compared.
    models: Option<String>,
}

impl Real {
    pub const IMPORT: [&str; 4] = ["import", "--map", "userId=user,occurredAt=time", LOANS];
    pub const LINES: u64 = 262_200;

    /// None, and said so, when the log is not there.
    pub fn of(test: &str) -> Option<Self> {
        let is_there = Path::new(LOANS).exists();
        if !is_there {
            println!("skipped {test}: {LOANS} is not there");
        }
        is_there.then(|| Self { models: std::env::var("BPI2012_MODELS").ok() })
    }

    pub fn has_models(&self) -> bool {
        self.models.is_some()
    }

    pub fn placed(&self, mut place: Place) -> Place {
        place.set("INTENTD_CATALOG", "tests/real/bpi2012/catalog.toml");
        place.set("INTENTD_MODELS__FOLDER", self.models.as_deref().unwrap_or("target/no-models"));
        // What the sweeper asks again by the wall clock is no part of what the import decides.
        place.set("INTENTD_PIPELINE__RESCORE_FIRST", "1h");
        place
    }

    pub fn is_enough(&self, end: &End) {
        println!("{} facts, {} alerts", end.facts.len(), end.alerts.len());
        assert!(end.count("SignalDetected") > 5_000, "{} signals", end.count("SignalDetected"));
        assert!(!self.has_models() || end.alerts.len() > 100, "{} alerts", end.alerts.len());
    }
}

#[test]
fn a_simulated_import_killed_five_times_decides_the_same() {
    if !models_are_there("a_simulated_import_killed_five_times_decides_the_same") {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("people.jsonl");
    let lines = simulated(&log, 5, 1_100, 240);
    assert!(lines > 40_000, "{lines}");
    let end = check(Place::new, true, &["import", log.to_str().unwrap()], lines);
    assert!(end.alerts.len() > 50 && end.count("SignalDetected") > 500, "{} alerts", end.alerts.len());
    assert_eq!(end.count("AlertScored"), end.alerts.len());
}

#[test]
fn a_real_import_killed_five_times_decides_the_same() {
    if let Some(real) = Real::of("a_real_import_killed_five_times_decides_the_same") {
        let end = check(|| real.placed(Place::new()), real.has_models(), &Real::IMPORT, Real::LINES);
        real.is_enough(&end);
    }
}
