//! The bare work in one thread: the same check, fold, rules, models and decisions as the daemon, and nothing else: no log, no
//! actors, no projection. What the daemon is measured against.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use intentd::clock;
use intentd::config::Config;
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

/// What the loop did.
#[derive(Default)]
pub struct Counted {
    pub scored: u64,
    pub alerts: u64,
}

/// Events in a log.
pub fn count(file: &Path) -> u64 {
    let mut chunks = Chunks::open(file, |raw| raw).unwrap();
    let mut events = 0;
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        events += chunk.lines().count() as u64;
    }
    events
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
pub fn run(file: &Path, catalog: Catalog, config: &Config) -> Counted {
    let scorer = Registry::load(&config.models, &catalog).scorer();
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
                Effect::Settled { .. } | Effect::Answer { .. } | Effect::Restart { .. } => {}
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
