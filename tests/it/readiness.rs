//! Real actors on paused time: `/readyz` says so when what is answered is older than allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intentd::actors::{Daemon, ProjectionSink};
use intentd::commands::Commands as _;
use intentd::domain::event::{Position, Recorded};
use intentd::projection::{self, AlertChange};
use intentd::store::memory::MemoryStore;
use intentd::store::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, Filter, Message, Page, Revision, StoreId,
    Subscription,
};
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

/// A log whose subscriptions are refused while it is told so.
struct Mute(MemoryStore, Arc<AtomicBool>);

impl Mute {
    fn followed(&self, inner: Box<dyn Subscription>) -> Box<dyn Subscription> {
        Box::new(Following { inner, is_mute: Arc::clone(&self.1) })
    }
}

impl EventStore for Mute {
    fn id(&self) -> StoreId {
        self.0.id()
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        self.0.append(batch)
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.0.read_stream(stream, from, direction, limit)
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        self.0.read_all(from, direction, filter, limit)
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        self.followed(self.0.subscribe_all(after, filter))
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        self.followed(self.0.subscribe_stream(stream, after))
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        self.0.head()
    }

    fn writable(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Following {
    inner: Box<dyn Subscription>,
    is_mute: Arc<AtomicBool>,
}

impl Subscription for Following {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(async {
            let refused = || Error::Unavailable { reason: "ordered".to_owned(), source: None };
            if self.is_mute.load(Ordering::SeqCst) {
                // As long as a server takes to say no.
                sleep(Duration::from_secs(3)).await;
                return Err(refused());
            }
            let message = self.inner.next().await?;
            if self.is_mute.load(Ordering::SeqCst) { Err(refused()) } else { Ok(message) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_followed_is_not_one_in_which_nothing_happens() {
    let world = World::default();
    let is_mute = Arc::new(AtomicBool::new(false));
    let daemon = world.start_on(Arc::new(Mute(world.store.clone(), Arc::clone(&is_mute)))).await;
    world.event(&user(0), "SCORE", 0);
    world.settle(&daemon).await;
    is_mute.store(true, Ordering::SeqCst);
    world.event(&user(0), "SCORE", 1);
    pass(&daemon, 60).await;
    assert_eq!(components(&daemon), ["feed", "projection"], "{:?}", daemon.not_ready());
    is_mute.store(false, Ordering::SeqCst);
    world.settle(&daemon).await;
    pass(&daemon, 35).await;
    assert!(components(&daemon).is_empty(), "{:?}", daemon.not_ready());
}
