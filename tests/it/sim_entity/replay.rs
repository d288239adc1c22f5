//! A log that was lived through crashes, failures, sweeps and commands, replayed: the same facts again.

use std::collections::BTreeMap;

use intentd::backtest::{self, Options, Running, report::Report};
use intentd::domain::catalog::ModelIx;
use intentd::domain::event::{ExpectedRevision, NewEvent, Recorded};
use intentd::domain::score::{Row, Score, Unscored};
use intentd::domain::time::Timestamp;
use intentd::scoring::Scorer;
use intentd::store::Append;
use intentd::store::memory::MemoryStore;

use super::disturbed;
use super::story::{RULES, Story, answer};
use super::world::World;

struct Told;

impl Scorer for Told {
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        rows.iter()
            .map(|row| Ok(answer(&Row { model, as_of: Timestamp::MIN, features: (*row).into() })))
            .collect()
    }
}

fn store_of(story: &Story, facts: &[Recorded]) -> MemoryStore {
    let mut events: Vec<&Recorded> = story.events.iter().chain(&story.market).collect();
    events.sort_by_key(|event| event.position);
    let store = MemoryStore::default();
    for event in events.into_iter().chain(facts) {
        let new = NewEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            data: event.data.clone(),
            metadata: event.metadata.clone(),
        };
        let append =
            Append { stream: event.stream.to_string(), expected: ExpectedRevision::Any, events: vec![new] };
        store.append_now(vec![append]).unwrap()[0].as_ref().unwrap();
    }
    store
}

fn replayed(story: &Story, facts: &[Recorded]) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = Options { models: vec![Running::default(); 2], threads: 1, ..Options::default() };
    let store = store_of(story, facts);
    runtime.block_on(backtest::run(&store, RULES.catalog.clone(), &options, || Box::new(Told))).unwrap()
}

#[test]
fn whatever_was_lived_through_a_replay_decides_the_same() {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..400 {
        let story = Story::new(seed);
        let weather = disturbed(seed % 3 == 0, seed % 2 == 0, seed % 5 != 0);
        let mut world = World::new(seed, &story, weather);
        world.run();
        let report = replayed(&story, &world.log.intent);
        assert!(report.decisions.is_equal, "seed {seed}: {report}\n{}", world.trace);
        assert_eq!(report.features.differing, 0, "seed {seed}: {report}");
        assert_eq!(report.commands_without_alert, 0, "seed {seed}: {report}");
        for fact in &world.log.intent {
            *kinds.entry(fact.event_type.to_string()).or_default() += 1;
        }
    }
    for kind in [
        "AlertScored",
        "AlertStatusChanged",
        "AlertOutcomeRecorded",
        "EventParked",
        "EventUnparked",
        "ScoringFailed",
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 20), "too few of {kind}: {kinds:?}");
    }
}
