//! Real actors on paused time: failures, waits, poison, stops and kills.

use std::time::Duration;

use intentd::commands::Commands as _;
use intentd::store::memory::Fault;
use tokio::time::Instant;

use crate::support::world::{World, user};

/// Facts of `SCORE` events written as a plain fold would: one for each, in order.
fn check_facts(world: &World, users: usize, scores_each: u64) {
    let facts = world.facts();
    assert_eq!(facts.len() as u64, users as u64 * scores_each);
    for number in 0..users {
        let stream = format!("intent-{}", user(number));
        let revisions: Vec<u64> = facts.iter().filter(|fact| fact.0 == stream).map(|fact| fact.1).collect();
        assert_eq!(revisions, (0..scores_each).collect::<Vec<_>>(), "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_become_facts_and_the_checkpoint_follows() {
    let world = World::default();
    let daemon = world.start().await;
    for id in 0..30 {
        world.event(&user(id % 3), if id % 2 == 0 { "SCORE" } else { "PLAIN" }, id);
    }
    world.settle(&daemon).await;
    check_facts(&world, 3, 5);
    daemon.stop().await;
    assert_eq!(world.snapshots.count(), 3, "a stop puts everybody out of memory");
    let again = world.start().await;
    assert!(world.is_settled(&again), "the checkpoint was kept");
}

#[tokio::test(start_paused = true)]
async fn poison_is_parked_after_its_attempts_with_waits_between_and_others_go_on() {
    let world = World::default();
    let daemon = world.start().await;
    let began = Instant::now();
    for (id, kind) in ["SCORE", "POISON", "SCORE"].into_iter().enumerate() {
        world.event(&user(0), kind, id);
        world.event(&user(1), "SCORE", id);
    }
    world.until("the other user is done", || world.facts().len() >= 3).await;
    assert!(began.elapsed() < Duration::from_millis(90), "a failing user does not stop the others");
    world.settle(&daemon).await;
    let types: Vec<_> =
        world.facts().into_iter().filter(|fact| fact.0 == "intent-u0").map(|fact| fact.3).collect();
    assert_eq!(types, ["EventUnparked", "EventParked", "EventUnparked"]);
    // Three failures: waits of 0.1, 0.2 and 0.4 s, each up to a quarter shorter, and ticks of 0.1 s.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(525) && took < Duration::from_millis(1_200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_and_lost_answers_delay_facts_and_double_none() {
    let world = World::default();
    world.store.order_faults([
        Fault::Fail,
        Fault::LoseAck,
        Fault::Delay(Duration::from_secs(3)),
        Fault::LoseAck,
    ]);
    let daemon = world.start().await;
    for id in 0..40 {
        world.event(&user(id % 4), "SCORE", id);
    }
    world.settle(&daemon).await;
    check_facts(&world, 4, 10);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_read_is_tried_again_until_it_shows_what_was_delivered() {
    let mut world = World::default();
    world.options.idle_after = Duration::from_secs(1);
    let daemon = world.start().await;
    for id in 0..5 {
        world.event(&user(0), "SCORE", id);
    }
    world.settle(&daemon).await;
    world.until("the user has left", || world.snapshots.count() == 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The successor must read the fact of event 4 and finds it missing: it is fenced off, waits, and reads again.
    world.store.order_stale_reads(4, 3);
    world.event(&user(0), "SCORE", 5);
    world.event(&user(0), "POISON", 6);
    world.event(&user(0), "SCORE", 7);
    world.settle(&daemon).await;
    check_facts(&world, 1, 8);
}

#[tokio::test(start_paused = true)]
async fn another_writer_is_fenced_off_and_its_facts_are_read() {
    let world = World::default();
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    world.settle(&daemon).await;
    // A second daemon on the same log, as after a mistake in operation, decides the same things with the same ids.
    let second = World { checkpoints: Default::default(), snapshots: Default::default(), ..world.clone() };
    let other = second.start().await;
    for id in 1..20 {
        world.event(&user(0), "SCORE", id);
    }
    world.settle(&daemon).await;
    second.settle(&other).await;
    check_facts(&world, 1, 20);
}

/// A store may write some of a call and refuse another one: what it finds when they are sent again is our own.
#[tokio::test(start_paused = true)]
async fn facts_sent_again_after_a_refusal_are_no_sign_of_another_instance() {
    let world = World::default();
    let daemon = world.start().await;
    for id in 0..4 {
        world.event(&user(id), "SCORE", id);
    }
    // The first call takes so long that the next one is of several users.
    world.store.order_faults([Fault::Delay(Duration::from_millis(100)), Fault::Blame]);
    for id in 4..40 {
        world.event(&user(id % 4), "SCORE", id);
    }
    world.settle(&daemon).await;
    check_facts(&world, 4, 10);
    let lacking = daemon.not_ready();
    assert!(!lacking.iter().any(|lack| lack.component == "shard"), "{lacking:?}");
}

#[tokio::test(start_paused = true)]
async fn kills_at_any_moment_end_in_the_facts_of_an_undisturbed_run() {
    let fill = |world: &World| {
        for id in 0..300 {
            let kind = if id % 29 == 3 { "POISON" } else { ["SCORE", "PLAIN", "SCORE"][id * id % 3] };
            world.event(&user(id % 7), kind, id);
        }
    };
    let undisturbed = World::default();
    fill(&undisturbed);
    let daemon = undisturbed.start().await;
    undisturbed.settle(&daemon).await;
    let killed = World::default();
    fill(&killed);
    killed.store.order_faults((0..60).map(|nth| Fault::Delay(Duration::from_millis(nth * 7 % 13))));
    for round in 0..20 {
        let daemon = killed.start().await;
        tokio::time::sleep(Duration::from_millis(3 + round * 11)).await;
        daemon.abort();
        // What was handed to the store before the kill may still come.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let daemon = killed.start().await;
    killed.settle(&daemon).await;
    assert_eq!(killed.facts(), undisturbed.facts());
    assert!(killed.facts().iter().any(|fact| fact.3 == "EventParked"));
}
