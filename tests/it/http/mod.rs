//! The HTTP API at its boundary: requests in, status and body out; bad input of each kind; sockets that misbehave.

mod alerts;
mod client;
mod commands;
mod events;
mod models;
mod performance;
mod samples;
mod sockets;
mod streams;
mod table;
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::check_ingest;
use intentd::http::{App, Options, Ports, routes};
use intentd::store::StoreId;
use samples::time;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;
use warp::http::{HeaderMap, StatusCode};
use world::World;

const CATALOG: &str = r#"
name = "test"
categories = ["engagement"]

[event.LISTING_VIEWED]
category = "engagement"
doc = "A user opened the page of a listing."
fields.price = { type = "number", min = 0, max = 1e9 }

[feature.listing_views_7d]
category = "engagement"
doc = "Listings viewed in the last week."
unit = "events"
count = "LISTING_VIEWED"
window = "7d"

[feature.busy]
category = "engagement"
doc = "Views a day, on a log scale."
unit = "log events"
derive = 'log1p(coalesce(listing_views_7d, 0) / 7)'

[signal.burst]
category = "engagement"
doc = "Many listings in a week."
when = 'listing_views_7d >= 5'
strength = 0.8
cooldown = "7d"
expires = "30d"
models = ["SELL"]

[model.SELL]
doc = "Sells."
features = ["listing_views_7d", "busy"]
threshold = 0.5
exit = 0.4
cooldown = "30d"
horizon = "90d"
bands = [{ priority = "CRITICAL", score = 0.9, strength = 1.0 }, { priority = "LOW", score = 0.5 }]
"#;

/// The store that positions in these tests belong to.
pub const STORE: StoreId = StoreId(Uuid::from_u128(7));

/// The API's ports over a world in memory, with the real catalogue's door for events.
pub fn ports(world: &Arc<World>) -> Ports {
    let catalog = Catalog::load(CATALOG, "test.toml").unwrap_or_else(|faults| panic!("{faults:?}"));
    let catalog = Arc::new(catalog);
    let (rules, live) = (Arc::clone(&catalog), world.live.clone());
    let now = time("2026-01-03T00:00:00Z");
    Ports {
        commands: Arc::clone(world) as _,
        models: Arc::clone(world) as _,
        views: Arc::clone(world) as _,
        catalog,
        check: Arc::new(move |raw: &Bytes| check_ingest(&rules, raw, now, Duration::from_secs(60))),
        changes: Arc::new(move || live.subscribe()),
        metrics: Arc::new(|| "intentd_up 1\n".to_owned()),
        now: Arc::new(move || now),
        store: STORE,
    }
}

pub struct Api {
    pub world: Arc<World>,
    app: Arc<App>,
    _stop: watch::Sender<bool>,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Api {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let world = World::new();
        let (stop, stopping) = watch::channel(false);
        let app = App::new(ports(&world), options, stopping);
        Self { world, app, _stop: stop }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = warp::test::request().method(method).path(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let response = request.reply(&routes(Arc::clone(&self.app))).await;
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.into_body(),
        };
        reply.check();
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes()).await
    }
}

impl Reply {
    /// What holds for every answer.
    fn check(&self) {
        assert_eq!(self.headers["x-content-type-options"], "nosniff");
        if self.status >= 400 && !self.body.is_empty() {
            assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.status);
            let body = self.json();
            assert_eq!(body["status"], self.status, "{body}");
            assert!(body["type"].as_str().unwrap().starts_with("urn:intentd:problem:"), "{body}");
            assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            assert_eq!(self.headers["retry-after"], "1");
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body of a success.
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.headers["content-type"], "application/json");
        self.json()
    }

    /// The places of the faults of a 400.
    pub fn faults(&self) -> Vec<String> {
        assert_eq!(self.status, 400, "{:?}", self.body);
        let body = self.json();
        let paths = body["errors"].as_array().unwrap_or_else(|| panic!("{body}"));
        paths.iter().map(|fault| fault["path"].as_str().unwrap().to_owned()).collect()
    }

    /// The kind of a problem.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{:?}", self.body);
        self.json()["type"].as_str().unwrap().replace("urn:intentd:problem:", "")
    }
}
