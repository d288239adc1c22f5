//! Two registries of models on one log: each takes up what the other changes, and writes nothing for that.

use crate::models_registry::{World, activate, change, reload, roll_back, scored};
use crate::scoring::graphs::Recipe;
use crate::scoring::is_there;
use intentd::commands::models::{Change, Models as _, Reloaded};
use intentd::domain::catalog::ModelIx;
use intentd::models::ModelRegistry;

const STEPS: ModelIx = ModelIx(1);

async fn until(what: &str, holds: impl Fn() -> bool) {
    // Paused time stands still while a model is loaded on its own thread.
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not yet: {what}");
}

fn shadow(registry: &ModelRegistry) -> Option<String> {
    registry.challengers().current(STEPS).map(|loaded| loaded.version.to_string())
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_up_what_another_one_changes() {
    if !is_there("an_instance_takes_up_what_another_one_changes") {
        return;
    }
    let world = World::with(&["1", "2", "3"]);
    let (one, other) = (world.start().await, world.start().await);
    let _following = other.follow();
    assert_eq!((scored(&other).as_deref(), world.log().len()), (Some("3"), 1), "one fact for both");
    activate(&one, "1").await.unwrap();
    until("the activation is taken up", || scored(&other).as_deref() == Some("1")).await;
    roll_back(&one).await.unwrap();
    until("the rollback is taken up", || scored(&other).as_deref() == Some("3")).await;
    change(&one, Change::Challenge { version: "2".to_owned() }).await.unwrap();
    until("the challenger runs here too", || shadow(&other).as_deref() == Some("2")).await;
    change(&one, Change::Promote).await.unwrap();
    until("it serves, and not in shadow", || {
        scored(&other).as_deref() == Some("2") && shadow(&other).is_none()
    })
    .await;
    let facts = world.log();
    assert!(facts.iter().skip(1).all(|fact| fact.ends_with("ann")), "following writes nothing: {facts:?}");
    // The other way round: who followed can change, and is not asked to look first.
    activate(&other, "1").await.unwrap();
    assert_eq!(reload(&one).await, (Reloaded::Activated { previous: Some("2".to_owned()) }, vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_serve_here_is_told_and_taken_up_when_it_can() {
    if !is_there("what_cannot_serve_here_is_told_and_taken_up_when_it_can") {
        return;
    }
    let world = World::with(&["1"]);
    let apart = World { store: world.store.clone(), ..World::with(&["1"]) };
    let (one, other) = (world.start().await, apart.start().await);
    let _following = other.follow();
    world.put("2", &Recipe::default());
    activate(&one, "2").await.unwrap();
    until("the lack is told", || {
        other.lacking().iter().any(|lack| lack.reason.starts_with("STEPS: version 2 serves by the log"))
    })
    .await;
    assert_eq!(scored(&other).as_deref(), Some("1"), "what served goes on");
    assert_eq!(world.log(), ["activated 1 start", "activated 2 ann"]);
    apart.put("2", &Recipe::default());
    assert_eq!(reload(&other).await, (Reloaded::Activated { previous: Some("1".to_owned()) }, vec![]));
    assert!(!other.lacking().iter().any(|lack| lack.reason.starts_with("STEPS")));
    assert_eq!(world.log().len(), 2);
}
