//! A daemon with real rules and a real view, on the log in memory with paused time: a catalogue of one signal and one model,
//! whose answer a test orders.

use std::sync::{Arc, Mutex};

use intentd::actors::{Daemon, ProjectionSink, RuleCore};
use intentd::commands::Commands as _;
use intentd::domain::catalog::{Catalog, ModelIx};
use intentd::domain::entity::{Description, Rules};
use intentd::domain::event::{Position, Recorded};
use intentd::domain::id::{UserId, stream};
use intentd::domain::score::{Score, Unscored};
use intentd::domain::time::{HOUR_MS, Timestamp};
use intentd::projection::sqlite::{self, Projection};
use intentd::projection::{self, AlertChange, AlertDetail, AlertQuery, Views as _};
use intentd::scoring::Scorer;
use intentd::store::{EventStore as _, Filter};

use super::world::World;

pub const CATALOG: &str = r#"
name = "small"
categories = ["engagement"]

[event.VIEWED]
category = "engagement"
doc = "A view."
fields.price = { type = "number", min = 0, max = 1e9 }

[event.TICK]
category = "engagement"
doc = "Time has passed for somebody."

[feature.views]
category = "engagement"
doc = "Views."
unit = "events"
count = "VIEWED"
window = "30d"

[feature.ticks]
category = "engagement"
doc = "Ticks."
unit = "events"
count = "TICK"
window = "30d"

[signal.keen]
category = "engagement"
doc = "A view."
when = 'views >= 1'
strength = 0.6
cooldown = "1h"
expires = "3d"
models = ["SELL"]

[model.SELL]
doc = "Sells."
features = ["views", "ticks"]
threshold = 0.5
exit = 0.4
cooldown = "3d"
horizon = "2d"
rescore_after = "1h"
bands = [{ priority = "HIGH", score = 0.7 }, { priority = "LOW", score = 0.5 }]
"#;

/// What the model says to everything; nothing while it is not there.
#[derive(Clone)]
pub struct Says(pub Arc<Mutex<Option<f32>>>);

impl Scorer for Says {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let said = *self.0.lock().unwrap();
        let score = |row: &&[f32]| match said {
            Some(probability) => Ok(Score {
                version: "1".into(),
                raw: probability,
                probability,
                bias: 0.0,
                contributions: vec![0.0; row.len()].into(),
                shadow: None,
            }),
            None => Err(Unscored::NoModel { model_type: "SELL".to_owned() }),
        };
        rows.iter().map(score).collect()
    }
}

struct Sink(Projection);

impl ProjectionSink for Sink {
    fn filter(&self) -> Filter {
        Filter::streams(&[stream::INTENT, stream::USER])
    }

    fn position(&mut self) -> Result<Option<Position>, projection::Error> {
        Ok(self.0.position())
    }

    fn apply(
        &mut self,
        events: &[Recorded],
        through: Position,
    ) -> Result<Vec<AlertChange>, projection::Error> {
        self.0.apply(events, through)
    }
}

/// A world whose daemons judge by a catalogue.
pub struct Town {
    pub world: World,
    pub views: sqlite::Reader,
    pub says: Says,
    _folder: tempfile::TempDir,
}

/// Event time, in hours from a Monday in 2026.
pub fn hour(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_767_571_200_000 + hours * HOUR_MS)
}

impl Town {
    /// A new town on the log of a world.
    pub fn on(world: World, catalog: &str, says: Option<f32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = (folder.path().join("view.sqlite"), world.store.id());
        let open = move || Projection::open(&path, store, sqlite::Options::default());
        let views = open().unwrap().reader();
        let says = Says(Arc::new(Mutex::new(says)));
        let scorer = says.clone();
        let catalog = Catalog::load(catalog, "small.toml").unwrap();
        let world = World {
            open_sink: Arc::new(move || Ok(Box::new(Sink(open()?)))),
            views: Arc::new(views.clone()),
            core: Arc::new(RuleCore::new(Arc::new(Rules::new(catalog)))),
            scorers: Arc::new(move || Box::new(scorer.clone())),
            wall: || hour(24 * 365),
            ..world
        };
        Self { world, views, says, _folder: folder }
    }

    pub fn new(says: Option<f32>) -> Self {
        Self::on(World::default(), CATALOG, says)
    }

    /// Appends an event of a user at an hour.
    pub fn event(&self, user: &UserId, event_type: &'static str, id: usize, at: i64) {
        let body = format!(
            r#"{{"id":"{id}","userId":"{user}","type":"{event_type}","occurredAt":"{}","data":{{}}}}"#,
            hour(at)
        );
        self.world.told(user, event_type, id, body.into());
    }

    /// Everything in the log is decided, and shown.
    pub async fn settle(&self, daemon: &Daemon) {
        self.world.settle(daemon).await;
        daemon.settled(daemon.checkpoint().unwrap()).await;
    }

    pub async fn describe(&self, daemon: &Daemon, user: &UserId) -> Description {
        daemon.describe(user.clone(), None).await.unwrap().unwrap()
    }

    /// The one alert there is.
    pub fn alert(&self) -> AlertDetail {
        let alerts = self.views.alerts(&AlertQuery::default()).unwrap().items;
        assert_eq!(alerts.len(), 1);
        self.views.alert(alerts[0].id).unwrap().unwrap()
    }

    /// Types of a user's facts, in order.
    pub fn facts(&self, user: &UserId) -> Vec<String> {
        let stream = stream::intent(user);
        self.world.facts().into_iter().filter(|fact| fact.0 == stream).map(|fact| fact.3).collect()
    }

    /// How many events of a type a user's own stream holds.
    pub fn count(&self, user: &UserId, event_type: &str) -> usize {
        let stream = stream::user(user);
        let all = self.world.store.everything();
        all.iter().filter(|event| *event.stream == *stream && *event.event_type == *event_type).count()
    }
}
