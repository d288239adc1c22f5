//! Real actors on paused time: what happens to users whom no event wakes.

use std::time::Duration;

use intentd::commands::Commands as _;
use intentd::domain::alert::Status;
use intentd::domain::event::SCORE_REQUESTED;
use tokio::time::sleep;

use crate::support::rules::{Town, hour};
use crate::support::world::user;

#[tokio::test(start_paused = true)]
async fn a_failed_score_is_asked_for_three_times_soon_and_then_with_the_sweep() {
    let town = Town::new(None);
    let daemon = town.world.start().await;
    town.event(&user(0), "VIEWED", 0, 0);
    town.settle(&daemon).await;
    assert_eq!(town.facts(&user(0)), ["SignalDetected", "ScoringFailed"]);
    let mut asked_at = Vec::new();
    for second in 1..=700_u32 {
        sleep(Duration::from_secs(1)).await;
        while asked_at.len() < town.count(&user(0), SCORE_REQUESTED) {
            asked_at.push(second);
        }
    }
    // Noticed within 5 s; then waits of 5, 10 and 20 s; then the sweep's 300 s. Each look comes up to 5 s late.
    let between = |from: u32, to: u32| move |at: &u32| (from..=to).contains(at);
    assert!(asked_at.first().is_some_and(between(5, 15)), "{asked_at:?}");
    let waits: Vec<u32> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() >= 4, "{asked_at:?}");
    assert!(between(10, 15)(&waits[0]) && between(20, 25)(&waits[1]), "{asked_at:?}");
    assert!(waits[2..].iter().all(between(300, 305)), "{asked_at:?}");

    // The model is back: the next request is answered, opens the alert, and is the last.
    *town.says.0.lock().unwrap() = Some(0.9);
    sleep(Duration::from_secs(310)).await;
    let facts = town.facts(&user(0));
    assert_eq!(facts[facts.len() - 2..], ["AlertScored", "UserScored"], "{facts:?}");
    let asked = town.count(&user(0), SCORE_REQUESTED);
    sleep(Duration::from_secs(1_000)).await;
    assert_eq!(town.count(&user(0), SCORE_REQUESTED), asked);
}

#[tokio::test(start_paused = true)]
async fn an_alert_expires_when_the_logs_clock_has_passed_its_horizon() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.event(&user(0), "VIEWED", 0, 0);
    sleep(Duration::from_secs(700)).await;
    assert_eq!(town.alert().alert.status, Status::Pending, "the wall clock alone expires nothing");
    town.event(&user(1), "TICK", 1, 47);
    sleep(Duration::from_secs(700)).await;
    assert_eq!(town.alert().alert.status, Status::Pending, "one hour is left");
    town.event(&user(1), "TICK", 2, 49);
    sleep(Duration::from_secs(310)).await;
    let alert = town.alert();
    assert_eq!(alert.alert.status, Status::Expired);
    let last = alert.history.last().unwrap();
    assert_eq!((last.at, last.by.as_str()), (hour(48), "sweep"));
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_snooze_ends_when_the_logs_clock_has_passed_it() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.event(&user(0), "VIEWED", 0, 0);
    town.settle(&daemon).await;
    let (alert, by) = (town.alert().alert.id, "ann".to_owned());
    let snooze = daemon.set_status(user(0), alert, Status::Snoozed, None, Some(hour(10)), by);
    snooze.await.unwrap();
    town.event(&user(1), "TICK", 1, 9);
    sleep(Duration::from_secs(700)).await;
    assert_eq!(town.alert().alert.status, Status::Snoozed);
    town.event(&user(1), "TICK", 2, 11);
    sleep(Duration::from_secs(310)).await;
    let alert = town.alert();
    assert_eq!(alert.alert.status, Status::Pending);
    let last = alert.history.last().unwrap();
    assert_eq!((last.at, last.by.as_str()), (hour(10), "sweep"));
}

#[tokio::test(start_paused = true)]
async fn process_signals_scores_those_who_wait_and_counts_them() {
    let mut town = Town::new(None);
    // Nobody else asks meanwhile.
    town.world.options.rescore_first = Duration::from_secs(100_000);
    town.world.options.sweep_every = Duration::from_secs(100_000);
    let daemon = town.world.start().await;
    for number in 0..3 {
        town.event(&user(number), "VIEWED", 0, 0);
        town.settle(&daemon).await;
    }
    let failed = daemon.process_signals(2).await.unwrap();
    assert_eq!((failed.users, failed.scored, failed.failed, failed.alerts_created), (2, 0, 2, 0));
    *town.says.0.lock().unwrap() = Some(0.9);
    // Who waits longest comes first: user 2 was not asked the first time.
    let first = daemon.process_signals(1).await.unwrap();
    assert_eq!(
        (first.users, first.signals, first.scored, first.failed, first.alerts_created),
        (1, 1, 1, 0, 1)
    );
    assert_eq!(town.facts(&user(2)), ["SignalDetected", "ScoringFailed", "AlertScored", "UserScored"]);
    let rest = daemon.process_signals(1_000).await.unwrap();
    assert_eq!((rest.users, rest.scored, rest.alerts_created), (2, 2, 2));
    let none = daemon.process_signals(1_000).await.unwrap();
    assert_eq!((none.users, none.signals, none.scored, none.alerts_created), (0, 0, 0, 0));
}
