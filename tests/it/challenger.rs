//! A version in shadow on real actors: recorded beside what the serving version decided, and never in its way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use intentd::actors::RuleCore;
use intentd::domain::catalog::ModelIx;
use intentd::domain::codec::{decode_fact, decode_metadata};
use intentd::domain::entity::Rules;
use intentd::domain::event::{ChallengerScored, IntentEvent, SCORE_REQUESTED};
use intentd::domain::score::{Score, Unscored};
use intentd::scoring::{Challengers, Scorer};

use crate::scoring::five;
use crate::support::schemas::STRICT;
use crate::support::world::{World, user};

/// What a scorer does when it is asked.
#[derive(Clone)]
enum Does {
    Says(f32),
    Panics,
    Fails,
    /// Answers once the gate opens.
    Waits(Arc<(Mutex<bool>, Condvar)>),
}

#[derive(Clone)]
struct Fake {
    version: &'static str,
    does: Does,
}

impl Scorer for Fake {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let probability = match &self.does {
            Does::Says(probability) => *probability,
            Does::Panics => panic!("a planted panic"),
            Does::Fails => return vec![Err(Unscored::Timeout); rows.len()],
            Does::Waits(gate) => {
                drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
                0.9
            }
        };
        let score = |row: &&[f32]| Score {
            version: self.version.into(),
            raw: probability,
            probability,
            bias: 0.0,
            contributions: vec![0.0; row.len()].into(),
            shadow: None,
        };
        rows.iter().map(score).map(Ok).collect()
    }
}

/// The second model is challenged, the first is not.
struct Shadows {
    is_on: Arc<AtomicBool>,
    does: Does,
}

impl Challengers for Shadows {
    fn is_any_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    fn is_on(&self, model: ModelIx) -> bool {
        model == ModelIx(1) && self.is_on.load(Ordering::Acquire)
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(Fake { version: "2", does: self.does.clone() })
    }
}

fn world(does: Does) -> (World, Arc<AtomicBool>) {
    let is_on = Arc::new(AtomicBool::new(true));
    let world = World {
        core: Arc::new(RuleCore::new(Arc::new(Rules::new(five())))),
        scorers: Arc::new(|| Box::new(Fake { version: "1", does: Does::Says(0.4) })),
        challengers: Arc::new(Shadows { is_on: Arc::clone(&is_on), does }),
        ..World::default()
    };
    (world, is_on)
}

/// Asks for the scores of a user by both models.
fn ask(world: &World, of: usize, id: usize) {
    let user = user(of);
    let event = format!(r#"{{"id": "{id}", "userId": "{user}", "occurredAt": "2026-01-01T00:00:00Z"}}"#);
    world.told(&user, SCORE_REQUESTED, id, event.into());
}

/// What the log holds: answers of models that serve, and of versions in shadow.
fn recorded(world: &World) -> (usize, Vec<ChallengerScored>) {
    let all = world.store.everything();
    let facts = || all.iter().filter(|event| event.stream.starts_with("intent-"));
    STRICT.check(facts());
    let (mut scored, mut shadows) = (0, Vec::new());
    for fact in facts() {
        match decode_fact(&fact.event_type, &fact.data).unwrap().unwrap() {
            IntentEvent::UserScored(_) => scored += 1,
            IntentEvent::ChallengerScored(shadow) => shadows.push(shadow),
            other => panic!("{other:?}"),
        }
    }
    (scored, shadows)
}

#[tokio::test(start_paused = true)]
async fn what_the_shadow_says_stands_beside_the_decision_and_is_not_acted_on() {
    let (world, is_on) = world(Does::Says(0.75));
    let daemon = world.start().await;
    for id in 0..40 {
        ask(&world, id % 7, id);
    }
    world.settle(&daemon).await;
    let (scored, shadows) = recorded(&world);
    assert_eq!((scored, shadows.len()), (80, 40), "the other model is not challenged");
    for shadow in &shadows {
        assert_eq!(
            (&*shadow.model_type, &*shadow.model_version, &*shadow.champion_version),
            ("STEPS", "2", "1")
        );
        assert_eq!(
            (shadow.probability.to_bits(), shadow.champion_probability.to_bits()),
            (0.75_f32.to_bits(), 0.4_f32.to_bits())
        );
        assert!(shadow.would_alert && !shadow.champion_would_alert, "and no alert was opened");
    }
    // One append for one revision: source and neighbours agree.
    let all = world.store.everything();
    let stream: Vec<_> = all.iter().filter(|event| &*event.stream == "intent-u3").collect();
    for facts in stream.chunks(3) {
        let kinds: Vec<&str> = facts.iter().map(|fact| &*fact.event_type).collect();
        assert_eq!(kinds, ["UserScored", "UserScored", "ChallengerScored"]);
        let sources = facts.iter().map(|fact| decode_metadata(&fact.metadata).unwrap().source_revision);
        assert!(sources.collect::<Vec<_>>().windows(2).all(|pair| pair[0] == pair[1]));
    }
    is_on.store(false, Ordering::Release);
    ask(&world, 0, 99);
    world.settle(&daemon).await;
    assert_eq!(recorded(&world).1.len(), 40, "none runs in shadow any more");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_challenger_that_panics_fails_or_talks_nonsense_costs_only_its_own_record() {
    for does in [Does::Panics, Does::Fails, Does::Says(f32::NAN), Does::Says(1.5)] {
        let (world, _) = world(does);
        let daemon = world.start().await;
        for id in 0..20 {
            ask(&world, id % 3, id);
        }
        world.settle(&daemon).await;
        let (scored, shadows) = recorded(&world);
        assert_eq!((scored, shadows.len()), (40, 0));
        daemon.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenger_that_hangs_holds_up_no_more_than_its_wait() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (mut world, _) = world(Does::Waits(Arc::clone(&gate)));
    world.options.challenger_wait = Duration::from_millis(50);
    let daemon = world.start().await;
    // Time only moves by hand here: a thread is blocked.
    let mut waited = Duration::ZERO;
    for id in 0..30 {
        ask(&world, id % 5, id);
        for _ in 0..2_000 {
            if recorded(&world).0 == 2 * (id + 1) {
                break;
            }
            // Threads get their turn at real time, timers at this one.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
            waited += Duration::from_millis(1);
        }
        assert_eq!(recorded(&world).0, 2 * (id + 1), "the {id}th is answered without its shadow");
    }
    // The first has waited; the others go out at once, since the shadow is late.
    assert!(waited >= Duration::from_millis(50) && waited < Duration::from_millis(250), "{waited:?}");
    assert!(recorded(&world).1.is_empty());
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    world.settle(&daemon).await;
    // It has come back, and is heard again.
    ask(&world, 0, 100);
    world.settle(&daemon).await;
    assert_eq!(recorded(&world).1.len(), 1);
    daemon.stop().await;
}
