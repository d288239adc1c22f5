//! Random appends, reads and restarts, held against a model simple enough to be right.

use std::collections::BTreeMap;

use intentd::store::embedded::Embedded;
use intentd::store::memory::MemoryStore;
use intentd::store::{Append, Direction, EventStore, ExpectedRevision, Filter, Position};
use proptest::prelude::*;

use super::store_contract::{append, small};
use super::store_flip::scratch_root;

const STREAMS: [&str; 4] = ["a-1", "a-2", "b-1", "b-10"];

/// What an append should do: new and duplicate events and the last revision, or where the stream really ends.
type Outcome = Result<(u32, u32, u64), Option<u64>>;

#[derive(Default)]
struct Model {
    all: Vec<(String, u128)>,
    streams: BTreeMap<String, Vec<u128>>,
}

impl Model {
    fn append(&mut self, append: &Append) -> Outcome {
        let held = self.streams.entry(append.stream.clone()).or_default();
        let ids: Vec<u128> = append.events.iter().map(|event| event.id.0.as_u128()).collect();
        let place = |id: &u128| held.iter().position(|other| other == id);
        let end = held.len() as u64;
        let first = match append.expected {
            ExpectedRevision::NoStream => Some(0),
            ExpectedRevision::Exact(revision) => Some(revision as usize + 1),
            _ => place(&ids[0]),
        };
        let again = first.is_some_and(|first| held.get(first..first + ids.len()) == Some(&ids[..]));
        let fits = match append.expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => end == 0,
            ExpectedRevision::Exists => end > 0,
            ExpectedRevision::Exact(revision) => end == revision + 1,
        };
        let known = ids.iter().filter(|id| place(id).is_some()).count();
        if append.expected != ExpectedRevision::Any && !again && (!fits || known > 0) {
            return Err(end.checked_sub(1));
        }
        let newest = ids.iter().filter_map(place).max();
        let new: Vec<u128> = ids.iter().copied().filter(|id| place(id).is_none()).collect();
        for id in &new {
            held.push(*id);
            self.all.push((append.stream.clone(), *id));
        }
        let last = if new.is_empty() { newest.unwrap() as u64 } else { held.len() as u64 - 1 };
        Ok((new.len() as u32, known as u32, last))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Append>),
    Restart,
    Read(usize, Option<u64>, bool, usize),
    ReadAll(usize, bool, usize),
}

fn appends() -> impl Strategy<Value = Append> {
    let expected = prop_oneof![
        3 => Just(ExpectedRevision::Any),
        1 => Just(ExpectedRevision::NoStream),
        1 => Just(ExpectedRevision::Exists),
        2 => (0..12_u64).prop_map(ExpectedRevision::Exact),
    ];
    (0..STREAMS.len(), expected, 0..40_u128, 1..6_u128)
        .prop_map(|(stream, expected, first, count)| append(STREAMS[stream], expected, first..first + count))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(appends(), 1..5).prop_map(Step::Append),
        1 => Just(Step::Restart),
        3 => (0..STREAMS.len(), prop::option::of(0..30_u64), any::<bool>(), 1..20_usize)
            .prop_map(|(stream, from, back, limit)| Step::Read(stream, from, back, limit)),
        2 => (0..200_usize, any::<bool>(), 1..20_usize).prop_map(|(at, back, limit)| Step::ReadAll(at, back, limit)),
    ];
    prop::collection::vec(step, 1..25)
}

async fn agree(store: &dyn EventStore, model: &mut Model, step: &Step) {
    match step {
        Step::Append(batch) => {
            let expected: Vec<Outcome> = batch.iter().map(|append| model.append(append)).collect();
            let answers = store.append(batch.clone()).await.unwrap();
            let answers: Vec<Outcome> = answers
                .into_iter()
                .map(|answer| match answer {
                    Ok(done) => Ok((done.appended, done.duplicates, done.revision)),
                    Err(conflict) => Err(conflict.actual),
                })
                .collect();
            assert_eq!(answers, expected, "{batch:?}");
        }
        Step::Restart => {}
        Step::Read(stream, from, back, limit) => {
            let held = model.streams.get(STREAMS[*stream]).cloned().unwrap_or_default();
            let mut wanted: Vec<(u64, u128)> = (0..).zip(held).collect();
            if *back {
                wanted.reverse();
                wanted.retain(|(revision, _)| from.is_none_or(|from| *revision <= from));
            } else {
                wanted.retain(|(revision, _)| from.is_none_or(|from| *revision >= from));
            }
            let next = wanted.get(*limit).map(|(revision, _)| *revision);
            wanted.truncate(*limit);
            let way = if *back { Direction::Backwards } else { Direction::Forwards };
            let page = store.read_stream(STREAMS[*stream], *from, way, *limit).await.unwrap();
            let found: Vec<_> =
                page.events.iter().map(|event| (event.revision, event.id.0.as_u128())).collect();
            assert_eq!((found, page.next), (wanted, next), "{step:?}");
        }
        Step::ReadAll(at, back, limit) => {
            let everything =
                store.read_all(None, Direction::Forwards, &Filter::default(), 10_000).await.unwrap();
            let all: Vec<_> = everything
                .events
                .iter()
                .map(|event| (event.stream.to_string(), event.id.0.as_u128()))
                .collect();
            assert_eq!(all, model.all);
            let from = everything.events.get(*at).map(|event| event.position);
            let filter = Filter::streams(&["b-1"]);
            let admitted = |event: &&intentd::store::Recorded| filter.admits_event(event);
            let wanted: Vec<_> = if *back {
                let before = from.map_or(all.len(), |_| *at);
                everything.events[..before].iter().rev().filter(admitted).take(*limit).cloned().collect()
            } else {
                let start = from.map_or(0, |_| *at);
                everything.events[start..].iter().filter(admitted).take(*limit).cloned().collect()
            };
            let way = if *back { Direction::Backwards } else { Direction::Forwards };
            let page = store.read_all(from, way, &filter, *limit).await.unwrap();
            assert_eq!(page.events, wanted);
            assert_eq!(store.head().await.unwrap(), everything.events.last().map(|event| event.position));
            assert!(store.head().await.unwrap() != Some(Position(0)));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_agrees_with_the_model(steps in steps()) {
        let (store, mut model) = (MemoryStore::default(), Model::default());
        runtime().block_on(async {
            for step in &steps {
                agree(&store, &mut model, step).await;
            }
        });
    }

    #[test]
    fn embedded_agrees_with_the_model(steps in steps()) {
        let dir = scratch_root();
        let mut store = Embedded::open(dir.path(), &small()).unwrap();
        let mut model = Model::default();
        runtime().block_on(async {
            for step in &steps {
                if matches!(step, Step::Restart) {
                    drop(store);
                    store = Embedded::open(dir.path(), &small()).unwrap();
                }
                agree(&store, &mut model, step).await;
            }
            assert_eq!(store.verify().unwrap().events, model.all.len() as u64);
        });
    }
}
