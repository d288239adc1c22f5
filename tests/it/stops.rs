//! Real actors on paused time: how a daemon ends, by itself and as told, and what it leaves behind.

use std::time::Duration;

use bytestring::ByteString;
use intentd::commands::{Commands as _, Error, Ingest};
use intentd::domain::alert::Status;
use intentd::domain::event::NewEvent;
use intentd::domain::id::EventId;
use intentd::store::memory::Fault;
use tokio::time::{Instant, sleep, timeout};

use crate::support::rules::{Town, hour};
use crate::support::world::{World, user};

fn ingest(id: usize) -> Ingest {
    let event = NewEvent {
        id: EventId::of_behaviour("u1", &id.to_string()),
        event_type: ByteString::from_static("SCORE"),
        data: "{}".into(),
        metadata: "".into(),
    };
    Ingest { stream: "user-u1".to_owned(), event }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_store_ends_the_daemon_and_the_next_one_does_what_was_left() {
    let world = World::default();
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    world.settle(&daemon).await;
    assert!(daemon.not_ready().is_empty(), "{:?}", daemon.not_ready());
    world.store.order_faults([Fault::Corrupt]);
    for id in 1..20 {
        world.event(&user(id % 4), "SCORE", id);
    }
    let why = timeout(Duration::from_secs(60), daemon.failed()).await.expect("it gives up");
    assert!(why.contains("the store is damaged: ordered in memory"), "{why}");
    let unready = daemon.not_ready();
    assert!(
        unready.iter().any(|it| it.component == "daemon" && it.reason.contains("damaged")),
        "{unready:?}"
    );
    assert_eq!(world.facts().len(), 1, "what the store refused is nowhere");
    let began = Instant::now();
    daemon.stop().await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());

    let next = world.start().await;
    world.settle(&next).await;
    assert_eq!(world.facts().len(), 20, "each event has its fact, once");
    assert!(next.not_ready().is_empty(), "{:?}", next.not_ready());
}

#[tokio::test(start_paused = true)]
async fn an_unwritable_store_makes_the_daemon_unready_and_nothing_is_lost() {
    let world = World::default();
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    world.settle(&daemon).await;
    world.store.set_unwritable(Some("no room"));
    let unready = daemon.not_ready();
    assert!(unready[0].component == "store" && unready[0].reason.contains("no room"), "{unready:?}");
    for id in 1..20 {
        world.event(&user(id % 4), "SCORE", id);
    }
    let refused = daemon.ingest(vec![ingest(99)]).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable { reason } if reason.contains("no room")), "{refused:?}");
    sleep(Duration::from_secs(300)).await;
    assert_eq!(world.facts().len(), 1);
    assert!(timeout(Duration::from_secs(1), daemon.failed()).await.is_err(), "it waits for room");
    world.store.set_unwritable(None);
    let began = Instant::now();
    world.settle(&daemon).await;
    assert!(began.elapsed() <= Duration::from_secs(31), "the longest wait is 30 s: {:?}", began.elapsed());
    assert_eq!(world.facts().len(), 20);
    assert!(daemon.not_ready().is_empty(), "{:?}", daemon.not_ready());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_daemon_takes_no_commands() {
    let world = World::default();
    let daemon = world.start().await;
    daemon.stop().await;
    let refused = daemon.ingest(Vec::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(daemon.not_ready().iter().any(|it| it.component == "stopping"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_in_flight() {
    let mut world = World::default();
    // Rows wait two seconds for company: the stop comes while all of them do.
    world.options.score_wait = Duration::from_secs(2);
    let daemon = world.start().await;
    for id in 0..60 {
        world.event(&user(id % 7), "SCORE", id);
    }
    sleep(Duration::from_millis(500)).await;
    assert_eq!((world.facts().len(), daemon.in_flight()), (0, 60));
    daemon.stop().await;
    assert_eq!(world.facts().len(), 60, "what had been read is decided");
    assert_eq!(world.snapshots.count(), 7, "everybody left, and was kept");
    let next = world.start().await;
    assert!(world.is_settled(&next), "the checkpoint stands at the end");
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_the_commands_under_way() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    town.event(&user(0), "VIEWED", 0, 0);
    town.settle(&daemon).await;
    let alert = town.alert().alert.id;
    town.world.store.order_faults([Fault::Delay(Duration::from_secs(3))]);
    let moved = daemon.set_status(user(0), alert, Status::Snoozed, None, Some(hour(9)), "ann".to_owned());
    let stop = async {
        sleep(Duration::from_millis(100)).await;
        daemon.stop().await;
    };
    let (moved, ()) = tokio::join!(moved, stop);
    assert!(moved.is_ok(), "{moved:?}");
    assert_eq!(town.alert().alert.status, Status::Snoozed);
    assert_eq!(town.world.snapshots.count(), 1);
}
