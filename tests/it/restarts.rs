//! Real actors on paused time: users that begin again from the log, because somebody else has written or because they were
//! asked to; and who waits for them meanwhile.

use std::time::Duration;

use intentd::commands::{Commands as _, Error};
use intentd::store::memory::Fault;
use tokio::time::{Instant, sleep};

use crate::support::rules::{CATALOG, Town};
use crate::support::world::{World, user};

/// Lets the facts of one event wait in the store while a second daemon, whose model says otherwise, writes its own under the
/// same ids.
async fn overtaken(town: &Town) -> Town {
    sleep(Duration::from_millis(10)).await;
    let world =
        World { checkpoints: Default::default(), snapshots: Default::default(), ..town.world.clone() };
    let other = Town::on(world, CATALOG, Some(0.9));
    let second = other.world.start().await;
    other.settle(&second).await;
    second.abort();
    other
}

#[tokio::test(start_paused = true)]
async fn facts_that_another_daemon_wrote_under_our_ids_are_read_and_not_taken_for_ours() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.world.store.order_faults([Fault::Delay(Duration::from_secs(2))]);
    town.event(&user(0), "VIEWED", 0, 0);
    let _other = overtaken(&town).await;
    let before = town.world.facts();
    town.settle(&daemon).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(town.world.facts(), before, "nothing is written twice");
    let description = town.describe(&daemon, &user(0)).await;
    let scoring = description.scores[0].scoring.as_ref().unwrap();
    assert_eq!(scoring.probability.to_bits(), 0.9_f32.to_bits(), "memory says what the log says");
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_our_own_success_and_nobody_begins_again() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.world.store.order_faults([Fault::LoseAck, Fault::LoseAck]);
    town.event(&user(0), "VIEWED", 0, 0);
    sleep(Duration::from_millis(10)).await;
    // Its answer waits for the append under way, and would be lost with the incarnation.
    let refused = daemon.unpark(user(0), 7, "test".to_owned()).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    town.settle(&daemon).await;
    assert_eq!(town.facts(&user(0)), ["SignalDetected", "AlertScored"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waits_when_its_user_begins_again_is_told_to_ask_again() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.world.store.order_faults([Fault::Delay(Duration::from_secs(2))]);
    town.event(&user(0), "VIEWED", 0, 0);
    let _other = overtaken(&town).await;
    let began = Instant::now();
    // Refused or done, its answer waits for the append under way.
    let answer = daemon.unpark(user(0), 7, "test".to_owned()).await;
    assert!(
        matches!(&answer, Err(Error::Unavailable { reason }) if reason.contains("ask again")),
        "{answer:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let again = daemon.unpark(user(0), 7, "test".to_owned()).await;
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_for_a_user_that_begins_too_late_is_told_so_at_once() {
    let mut town = Town::new(Some(0.6));
    town.world.options.backoff_first = Duration::from_secs(60);
    town.world.options.backoff_max = Duration::from_secs(60);
    let daemon = town.world.start().await;
    town.world.store.order_faults([Fault::Delay(Duration::from_secs(2))]);
    town.event(&user(0), "VIEWED", 0, 0);
    let _other = overtaken(&town).await;
    sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    let answer = daemon.unpark(user(0), 7, "test".to_owned()).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    town.settle(&daemon).await;
    assert!(matches!(daemon.unpark(user(0), 7, "test".to_owned()).await, Err(Error::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn an_unparked_event_is_folded_at_once_and_that_is_no_failure() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.event(&user(0), "VIEWED", 0, 0);
    town.world.told(&user(0), "VIEWED", 1, r#"{"occurredAt":"yesterday"}"#.into());
    town.world.told(&user(0), "TICK", 2, r#"{"occurredAt":12}"#.into());
    town.settle(&daemon).await;
    assert_eq!(town.facts(&user(0)), ["SignalDetected", "AlertScored", "EventParked", "EventParked"]);
    assert_eq!(town.describe(&daemon, &user(0)).await.features, [1.0, 0.0]);
    daemon.stop().await;

    // The catalogue no longer knows TICK: an event of an unknown type can be folded, whatever is in it.
    let without = CATALOG.replace("TICK", "TOCK");
    let mut town = Town::on(town.world.clone(), &without, Some(0.6));
    // Were it a failure, the user would wait.
    town.world.options.backoff_first = Duration::from_secs(3_600);
    town.world.options.backoff_max = Duration::from_secs(3_600);
    let daemon = town.world.start().await;
    let began = Instant::now();
    daemon.unpark(user(0), 2, "test".to_owned()).await.unwrap();
    town.describe(&daemon, &user(0)).await;
    daemon.unpark(user(0), 1, "test".to_owned()).await.unwrap();
    // Nothing but the command wakes the user.
    let facts =
        ["SignalDetected", "AlertScored", "EventParked", "EventParked", "EventUnparked", "EventUnparked"];
    let parked_again = [&facts[..], &["EventParked"]].concat();
    town.world.until("it is folded, and put aside", || town.facts(&user(0)) == parked_again).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    daemon.stop().await;
}
