//! Real actors on paused time: users leave memory and come back, and nobody notices.

use std::time::Duration;

use crate::support::world::{World, user};

#[tokio::test(start_paused = true)]
async fn passivation_under_load_gives_the_facts_of_a_plain_run() {
    let fill = |world: &World, from: usize| {
        for id in from..from + 400 {
            world.event(&user(id * id % 23), if id % 3 == 0 { "SCORE" } else { "PLAIN" }, id);
        }
    };
    let plain = World::default();
    let roomy = plain.start().await;
    let mut tight = World::default();
    tight.options.resident_max = 3;
    tight.options.idle_after = Duration::from_millis(300);
    let crowded = tight.start().await;
    for from in (0..4_000).step_by(400) {
        fill(&plain, from);
        fill(&tight, from);
        tokio::time::sleep(Duration::from_millis(137)).await;
    }
    plain.settle(&roomy).await;
    tight.settle(&crowded).await;
    assert_eq!(plain.facts(), tight.facts());
    assert_eq!(plain.snapshots.count(), 0);
    tight.until("everybody has left", || tight.snapshots.count() == 12).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_user_leaves_once_and_an_event_brings_it_back_from_its_snapshot() {
    let mut world = World::default();
    world.options.idle_after = Duration::from_secs(60);
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(world.snapshots.count(), 0, "not idle for long enough");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(world.snapshots.count(), 1);
    world.event(&user(0), "SCORE", 1);
    world.settle(&daemon).await;
    assert_eq!(world.facts().len(), 2);
}
