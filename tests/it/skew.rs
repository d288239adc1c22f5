//! Training/serving skew: the features in every recorded score of a run are those that a replay makes, bit for bit.

use intentd::backtest::{self, Options, Running};
use intentd::domain::catalog::{Catalog, ModelIx};
use intentd::domain::codec::{decode_fact, encode_fact};
use intentd::domain::event::{ExpectedRevision, Fact, IntentEvent, Metadata, NewEvent, Recorded};
use intentd::domain::score::{Score, Unscored};
use intentd::scoring::Scorer;
use intentd::store::Append;
use intentd::store::memory::MemoryStore;

use super::daemon::{Place, events_in, models_are_there, simulated};

/// Features are compared as they are asked for: no answer is needed.
struct Silent;

impl Scorer for Silent {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        vec![Err(Unscored::Timeout); rows.len()]
    }
}

fn copy(events: &[Recorded]) -> MemoryStore {
    let store = MemoryStore::default();
    for event in events {
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

async fn features(events: &[Recorded]) -> backtest::report::Features {
    let text = std::fs::read_to_string("config/catalog.toml").unwrap();
    let catalog = Catalog::load(&text, "config/catalog.toml").unwrap();
    let models = vec![Running::default(); catalog.models.len()];
    let options = Options { models, threads: 2, ..Options::default() };
    backtest::run(&copy(events), catalog, &options, || Box::new(Silent)).await.unwrap().features
}

/// Changes the features of the first fact of a type.
fn change(events: &[Recorded], kind: &str, with: impl Fn(&mut f32)) -> Vec<Recorded> {
    let mut changed = events.to_vec();
    let event = changed.iter_mut().find(|event| event.event_type == kind).unwrap();
    let mut fact = decode_fact(&event.event_type, &event.data).unwrap().unwrap();
    let features = match &mut fact {
        IntentEvent::AlertScored(fact) => &mut fact.scoring.features,
        IntentEvent::UserScored(fact) => &mut fact.scoring.features,
        other => panic!("{other:?}"),
    };
    let known = features.iter_mut().find(|feature| feature.value > 0.0).unwrap();
    with(&mut known.value);
    event.data = encode_fact(&Fact { id: event.id, event: fact, metadata: Metadata::default() }).data;
    changed
}

#[test]
fn recorded_features_are_the_replayed_ones_bit_for_bit() {
    if !models_are_there("recorded_features_are_the_replayed_ones_bit_for_bit") {
        return;
    }
    let place = Place::new();
    let log = place.path("people.jsonl");
    simulated(&log, 6, 400, 240);
    // Requests, so that scores are recorded whatever they are.
    let mut text = std::fs::read_to_string(&log).unwrap();
    for user in 0..40 {
        let at = format!("2026-05-{:02}T00:00:00.000Z", 1 + user % 28);
        text.push_str(&format!(
            "{{\"id\":\"ask-{user}\",\"userId\":\"user-{user}\",\"type\":\"ScoreRequested\",\"occurredAt\":\"{at}\"}}\n"
        ));
    }
    std::fs::write(&log, text).unwrap();
    place.done(&["import", log.to_str().unwrap()]);
    let events = events_in(&place.data_dir(), "");
    let count = |kind: &str| events.iter().filter(|event| event.event_type == kind).count();
    let (alerts, asked, up) = (count("AlertScored"), count("UserScored"), count("AlertEscalated"));
    assert!(alerts > 20 && asked >= 100, "{alerts} alerts, {asked} answers");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(features(&events));
    assert_eq!((found.differing, found.alerts), (0, alerts as u64), "{:?}", found.examples);
    assert_eq!((found.scores, found.other_catalog), ((alerts + asked + up) as u64, 0));
    // The smallest difference that there is, in one feature of one score, is found.
    for kind in ["AlertScored", "UserScored"] {
        let changed = change(&events, kind, |value| *value = f32::from_bits(value.to_bits() + 1));
        assert_eq!(runtime.block_on(features(&changed)).differing, 1, "{kind}");
    }
    // A value that was not known is not the value 0.
    let changed = change(&events, "AlertScored", |value| *value = f32::NAN);
    assert_eq!(runtime.block_on(features(&changed)).differing, 1);
}
