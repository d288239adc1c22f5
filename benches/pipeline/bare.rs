//! The bare work in one thread: the same check, fold, rules, models and decisions as the daemon, and nothing else: no log, no
//! actors, no projection. What the daemon is measured against.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use intentd::clock;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::{check_ingest, decode};
use intentd::domain::entity::{Effect, Input, Rules, Ticket, UserEntity};
use intentd::domain::event::{ExpectedRevision, IntentEvent, Position, Recorded, UserEvent};
use intentd::domain::market::Market;
use intentd::domain::score::{Row, Score, Unscored};
use intentd::import::lines::Chunks;
use intentd::scoring::Scorer as _;
use intentd::scoring::onnx::OnnxScorer;
use intentd::scoring::registry::Registry;
use serde_json::Value;

use super::{Job, memory_mb, timed};

/// What the loop did.
#[derive(Default)]
struct Counted {
    scored: u64,
    alerts: u64,
}

/// Events in a log, and users.
pub fn count(file: &Path) -> (u64, u64) {
    const KEY: &[u8] = b"\"userId\":\"";
    let mut chunks = Chunks::open(file, |raw| raw).unwrap();
    let (mut events, mut users) = (0, hashbrown::HashSet::new());
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        for (_, line) in chunk.lines() {
            events += 1;
            let Some(at) = memchr::memmem::find(&line, KEY) else { continue };
            let name = &line[at + KEY.len()..];
            let name = &name[..memchr::memchr(b'"', name).unwrap_or(name.len())];
            users.insert(xxhash_rust::xxh3::xxh3_64(name));
        }
    }
    (events, users.len() as u64)
}

struct Loop {
    rules: Rules,
    users: HashMap<String, UserEntity>,
    market: Arc<Market>,
    scorer: OnnxScorer,
    asked: Vec<(String, Ticket, Vec<Row>)>,
    counted: Counted,
    effects: Vec<Effect>,
}

/// Checks, folds, scores and decides the whole log.
pub fn run(job: &Job) -> Value {
    let scorer = Registry::load(&job.config.models, &job.catalog).scorer();
    let (counted, mut figures) = timed(job.events, || work(&job.file, job.catalog.clone(), scorer));
    figures["scored"] = counted.scored.into();
    figures["alerts"] = counted.alerts.into();
    figures["peakMegabytes"] = memory_mb("VmHWM").into();
    figures
}

fn work(file: &Path, catalog: Catalog, scorer: OnnxScorer) -> Counted {
    let mut bare = Loop {
        rules: Rules::new(catalog),
        users: HashMap::new(),
        market: Arc::new(Market::default()),
        scorer,
        asked: Vec::new(),
        counted: Counted::default(),
        effects: Vec::new(),
    };
    let mut chunks = Chunks::open(file, |raw| raw).unwrap();
    let mut position = 0;
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        let now = clock::wall();
        for (_, line) in chunk.lines() {
            let ingest = check_ingest(&bare.rules.catalog, &line, now, Duration::from_secs(86_400)).unwrap();
            position += 1;
            let recorded = Recorded {
                id: ingest.event.id,
                stream: ingest.stream.into(),
                revision: 0,
                position: Position(position),
                event_type: ingest.event.event_type,
                data: ingest.event.data,
                metadata: ingest.event.metadata,
                recorded_at: now,
            };
            bare.take(recorded);
        }
        // Rows are scored a chunk at a time: batches, as in the daemon.
        bare.score();
    }
    bare.counted
}

impl Loop {
    fn take(&mut self, mut recorded: Recorded) {
        if recorded.stream.starts_with("market-") {
            if let Ok(UserEvent::Behaviour(event)) = decode(&self.rules.catalog, &recorded) {
                self.market = Arc::new(self.market.with(recorded.position, event));
            }
            return;
        }
        let name = &recorded.stream["user-".len()..];
        if !self.users.contains_key(name) {
            self.users.insert(name.to_owned(), UserEntity::new(name.parse().unwrap()));
        }
        let name = name.to_owned();
        let user = self.users.get_mut(&name).unwrap();
        recorded.revision = user.next_revision();
        let input = Input::Deliver { events: vec![recorded], market: Arc::clone(&self.market) };
        user.step(&self.rules, input, &mut self.effects);
        self.perform(&name);
    }

    fn perform(&mut self, name: &str) {
        let mut effects = std::mem::take(&mut self.effects);
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Score { ticket, rows } => self.asked.push((name.to_owned(), ticket, rows)),
                Effect::Append { ticket, expected, facts } => {
                    self.counted.alerts +=
                        facts.iter().filter(|fact| matches!(fact.event, IntentEvent::AlertScored(_))).count()
                            as u64;
                    let next = if let ExpectedRevision::Exact(last) = expected { last + 1 } else { 0 };
                    let input = Input::Appended { ticket, answer: Ok(next + facts.len() as u64 - 1) };
                    self.users.get_mut(name).unwrap().step(&self.rules, input, &mut effects);
                }
                Effect::Settled { .. }
                | Effect::Answer { .. }
                | Effect::Restart { .. }
                | Effect::Rebuild { .. } => {}
            }
        }
        self.effects = effects;
    }

    fn score(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        let mut answers: Vec<Vec<Option<Result<Score, Unscored>>>> =
            asked.iter().map(|(_, _, rows)| vec![None; rows.len()]).collect();
        for (model, _) in (0_u16..).zip(self.rules.catalog.models.clone()) {
            let model = intentd::domain::catalog::ModelIx(model);
            let places: Vec<(usize, usize)> = asked
                .iter()
                .enumerate()
                .flat_map(|(job, (_, _, rows))| (0..rows.len()).map(move |row| (job, row)))
                .filter(|(job, row)| asked[*job].2[*row].model == model)
                .collect();
            let rows: Vec<&[f32]> = places.iter().map(|(job, row)| &*asked[*job].2[*row].features).collect();
            if rows.is_empty() {
                continue;
            }
            self.counted.scored += rows.len() as u64;
            for ((job, row), answer) in places.iter().zip(self.scorer.score(model, &rows)) {
                assert!(answer.is_ok(), "a loop that does not score measures nothing: {answer:?}");
                answers[*job][*row] = Some(answer);
            }
        }
        for ((name, ticket, _), answers) in asked.into_iter().zip(answers) {
            let answers = answers.into_iter().map(Option::unwrap).collect();
            let user = self.users.get_mut(&name).unwrap();
            user.step(&self.rules, Input::Scored { ticket, answers }, &mut self.effects);
            self.perform(&name);
        }
    }
}
