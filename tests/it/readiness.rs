//! Real actors on paused time: `/readyz` says so when what is answered is older than allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intentd::actors::{Daemon, ProjectionSink};
use intentd::commands::Commands as _;
use intentd::domain::event::{Position, Recorded};
use intentd::projection::{self, AlertChange};
use intentd::store::Filter;
use tokio::time::sleep;

use crate::support::world::{Seen, World, user};

/// A view that takes nothing while it is told so.
struct Stuck(Seen, Arc<AtomicBool>);

impl ProjectionSink for Stuck {
    fn filter(&self) -> Filter {
        self.0.filter()
    }

    fn position(&mut self) -> Result<Option<Position>, projection::Error> {
        self.0.position()
    }

    fn apply(
        &mut self,
        events: &[Recorded],
        through: Position,
    ) -> Result<Vec<AlertChange>, projection::Error> {
        if self.1.load(Ordering::SeqCst) {
            return Err(projection::Error::Unavailable { reason: "ordered".to_owned() });
        }
        self.0.apply(events, through)
    }
}

/// Looks at the gauges every five seconds, as `intentd run` does.
async fn pass(daemon: &Daemon, seconds: u64) {
    for _ in 0..seconds.div_ceil(5) {
        daemon.gauges().await;
        sleep(Duration::from_secs(5)).await;
    }
}

fn components(daemon: &Daemon) -> Vec<String> {
    daemon.not_ready().into_iter().map(|it| it.component).collect()
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_behind_for_too_long_is_not_ready() {
    let (seen, stuck) = (Seen::default(), Arc::new(AtomicBool::new(false)));
    let (sink, order) = (seen.clone(), Arc::clone(&stuck));
    let world = World {
        open_sink: Arc::new(move || Ok(Box::new(Stuck(sink.clone(), Arc::clone(&order))))),
        views: Arc::new(seen.clone()),
        ..World::default()
    };
    let daemon = world.start().await;
    world.event(&user(0), "SCORE", 0);
    world.settle(&daemon).await;
    pass(&daemon, 100).await;
    assert!(components(&daemon).is_empty(), "{:?}", daemon.not_ready());
    stuck.store(true, Ordering::SeqCst);
    world.event(&user(0), "SCORE", 1);
    world.settle(&daemon).await;
    pass(&daemon, 25).await;
    assert!(components(&daemon).is_empty(), "within the bound: {:?}", daemon.not_ready());
    pass(&daemon, 15).await;
    assert_eq!(components(&daemon), ["projection"]);
    let reason = daemon.not_ready().remove(0).reason;
    assert!(reason.contains("the view does not show what was appended"), "{reason}");
    stuck.store(false, Ordering::SeqCst);
    // The longest wait between two tries.
    pass(&daemon, 35).await;
    assert!(components(&daemon).is_empty(), "{:?}", daemon.not_ready());
    assert_eq!(seen.events.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn users_that_are_behind_for_too_long_are_not_ready() {
    let mut world = World::default();
    world.options.in_flight_max = 4;
    // A model that takes a minute for each batch.
    world.options.score_wait = Duration::from_secs(60);
    world.options.score_batch_max = 100_000;
    let daemon = world.start().await;
    pass(&daemon, 10).await;
    assert!(components(&daemon).is_empty(), "{:?}", daemon.not_ready());
    for id in 0..3_000 {
        world.event(&user(id % 5), "SCORE", id);
    }
    pass(&daemon, 40).await;
    assert_eq!(components(&daemon), ["feed"], "{:?}", daemon.not_ready());
    world.settle(&daemon).await;
    pass(&daemon, 5).await;
    assert!(components(&daemon).is_empty(), "{:?}", daemon.not_ready());
}
