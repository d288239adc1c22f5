//! Real actors on paused time: what bounds them, and what a command's answer means.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use intentd::commands::{Commands as _, Error, Ingest};
use intentd::domain::catalog::ModelIx;
use intentd::domain::event::NewEvent;
use intentd::domain::id::EventId;
use intentd::domain::score::{Score, Unscored};
use intentd::scoring::Scorer;
use tokio::time::Instant;

use crate::support::fake::FakeScorer;
use crate::support::world::{World, user};

#[tokio::test(start_paused = true)]
async fn a_slow_scorer_stops_the_feed_reading_and_nothing_is_lost() {
    let mut world = World::default();
    world.options.in_flight_max = 100;
    world.options.score_wait = Duration::from_secs(1);
    for id in 0..5_000 {
        world.event(&user(id % 50), "SCORE", id);
    }
    let daemon = world.start().await;
    let mut most = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        most = most.max(daemon.in_flight());
    }
    // The bound, and one message of the store's subscription above it.
    assert!((100..100 + 1_024).contains(&most), "{most} in flight");
    world.settle(&daemon).await;
    assert_eq!(world.facts().len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_score_is_answered_when_the_view_shows_it() {
    let world = World::default();
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    let ingest = |id: usize| Ingest {
        stream: "user-u1".to_owned(),
        event: NewEvent {
            id: EventId::of_behaviour("u1", &id.to_string()),
            event_type: "SCORE".into(),
            data: "{}".into(),
            metadata: "".into(),
        },
    };
    let done = daemon.ingest(vec![ingest(0), ingest(1), ingest(1)]).await.unwrap();
    assert_eq!((done.accepted, done.duplicates), (2, 1));
    let again = daemon.ingest(vec![ingest(1)]).await.unwrap();
    assert_eq!((again.accepted, again.duplicates, again.position), (0, 1, done.position));
    let scored = daemon.score(vec![user(0), user(1)], Vec::new()).await.unwrap();
    assert_eq!(scored.len(), 2);
    // Everything before the request is decided, durable and shown.
    assert_eq!(world.seen.events.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_never_takes_is_not_to_be_tried_again() {
    let world = World::default();
    let daemon = world.start().await;
    let ingest = |stream: &str| {
        let id = EventId::of_behaviour("u1", "1");
        let event = NewEvent { id, event_type: "SCORE".into(), data: "{}".into(), metadata: "".into() };
        vec![Ingest { stream: stream.to_owned(), event }]
    };
    let refused = daemon.ingest(ingest("")).await.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, Error::NotTaken { .. }) && said.contains("1 event(s) of 2 bytes"), "{said}");
    world.store.set_unwritable(Some("disk full"));
    let away = daemon.ingest(ingest("user-u1")).await.unwrap_err();
    assert!(matches!(away, Error::Unavailable { .. }), "{away}");
}

struct Panics;

impl Scorer for Panics {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        assert!(rows.len() > 1_000_000, "a scorer that panics is made anew and its rows are answered");
        Vec::new()
    }
}

#[tokio::test(start_paused = true)]
async fn a_scorer_that_panics_answers_without_a_score() {
    let world = World { scorers: Arc::new(|| Box::new(Panics)), ..World::default() };
    let daemon = world.start().await;
    for id in 0..10 {
        world.event(&user(id), "SCORE", id);
    }
    world.settle(&daemon).await;
    assert_eq!(world.facts().len(), 10);
    daemon.stop().await;
}

/// Its first call lasts until the sender is gone; later ones, of others of its kind, answer.
struct HangsOnce(Arc<Mutex<Option<Receiver<()>>>>);

impl Scorer for HangsOnce {
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let first = self.0.lock().unwrap().take();
        if let Some(hang) = first {
            assert!(hang.recv().is_err(), "only the end of the test wakes it");
        }
        FakeScorer.score(model, rows)
    }
}

/// Lets time pass while a thread is blocked, which holds paused time.
async fn pass(seconds: u64, done: impl Fn() -> bool) {
    for _ in 0..seconds * 10 {
        if done() {
            return;
        }
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..10 {
            // Behind what other threads were asked before.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_costs_its_own_time_out_and_not_the_daemon() {
    let (wake, hang) = std::sync::mpsc::channel();
    let hang = Arc::new(Mutex::new(Some(hang)));
    let world =
        World { scorers: Arc::new(move || Box::new(HangsOnce(Arc::clone(&hang)))), ..World::default() };
    let daemon = world.start().await;
    let began = Instant::now();
    world.event(&user(0), "SCORE", 0);
    pass(60, || world.facts().len() == 1).await;
    assert_eq!(world.facts().len(), 1, "it is answered without a score");
    let took = began.elapsed();
    // The time-out of 10 s, and a look every 2.5 s.
    assert!(took >= Duration::from_secs(10) && took <= Duration::from_secs(13), "{took:?}");
    // The thread still hangs; the others have another one.
    world.event(&user(1), "SCORE", 0);
    pass(60, || world.facts().len() == 2).await;
    assert_eq!(world.facts().len(), 2);
    drop(wake);
    // What it says at last means nothing to anybody.
    world.event(&user(0), "SCORE", 1);
    world.settle(&daemon).await;
    assert_eq!(world.facts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stop_under_load_loses_nothing() {
    let world = World::default();
    for id in 0..2_000 {
        world.event(&user(id % 90), "SCORE", id);
    }
    let daemon = world.start().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    daemon.stop().await;
    let between = world.facts().len();
    let daemon = world.start().await;
    world.settle(&daemon).await;
    assert_eq!(world.facts().len(), 2_000, "{between} were written before the stop");
}
