//! The HTTP API of CONTRACT.md over the ports: bytes in, ports asked, bytes out. Only this folder knows warp.
//!
//! Law: an answer never holds more than its bounds allow (bodies, batches, times, connections, streams), and every answer
//! that is not a success is `application/problem+json` made in `problem`.
//!
//! ```text
//! server (sockets, time limits) → routes (path, method) → one file per resource → Commands / Views / Check
//!                                                              ↑ body, query, problem, dto: what all of them share
//! ```
//! `app` composes it: [`server::Server::bind`], then [`server::Server::run`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::commands::models::Models;
use crate::commands::{Commands, Ingest};
use crate::domain::catalog::Catalog;
use crate::domain::codec;
use crate::domain::time::Timestamp;
use crate::projection::{AlertChange, Views};
use crate::store::StoreId;

mod alerts;
mod blocking;
mod body;
mod cloudevents;
mod dto;
mod events;
mod health;
mod models;
mod openapi;
mod options;
mod outcomes;
mod parked;
mod performance;
mod problem;
mod query;
mod routes;
pub mod server;
mod signals;
mod socket;
mod stats;
mod stream;
mod users;
pub mod waiting;

pub use models::{change_json, model_json};
pub use openapi::document;
pub use options::Options;
pub use problem::Fault;
pub use routes::{ROUTES, Route, routes};
pub use users::user_json;

/// Turns one event's JSON into what is appended, or names everything that is wrong with it: `codec::check_ingest` with the
/// catalogue and the clock.
pub type Check = Arc<dyn Fn(&Bytes) -> Result<Ingest, Vec<codec::Fault>> + Send + Sync>;
/// A new receiver of alert changes: sees each change after it stands in the projection, in order.
pub type Changes = Arc<dyn Fn() -> broadcast::Receiver<Arc<AlertChange>> + Send + Sync>;

/// What the API stands on.
#[derive(Clone)]
pub struct Ports {
    /// What is done.
    pub commands: Arc<dyn Commands>,
    /// What is done with models.
    pub models: Arc<dyn Models>,
    /// What is seen.
    pub views: Arc<dyn Views>,
    /// Names, units, budgets.
    pub catalog: Arc<Catalog>,
    /// Checks one event.
    pub check: Check,
    /// Alert changes as they happen.
    pub changes: Changes,
    /// The Prometheus exposition.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The log's clock: ages of open alerts are measured against it.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Positions are good only with their store: event ids of the stream carry it.
    pub store: StoreId,
}

/// Everything a call may use; one per server.
pub struct App {
    ports: Ports,
    options: Options,
    /// Threads for queries, which block on disk.
    queries: blocking::Threads,
    /// Threads for large bodies, whose parsing would hold up an async thread.
    parses: blocking::Threads,
    /// KiB of request bodies that may still be read.
    body_kib: Arc<Semaphore>,
    /// Event streams that may still be opened.
    streams: Arc<Semaphore>,
    /// Turns true when the server stops: streams end then.
    stopping: watch::Receiver<bool>,
}

impl App {
    /// Ready when the server stops.
    async fn stopping(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the server is gone, which is a stop too.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// An API over these ports; `stopping` turns true when the server stops.
    pub fn new(ports: Ports, options: Options, stopping: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            ports,
            queries: blocking::Threads::new(options.queries_max),
            parses: blocking::Threads::new(options.parses_max),
            body_kib: Arc::new(Semaphore::new(options.bodies_mib_max.saturating_mul(1024))),
            streams: Arc::new(Semaphore::new(options.streams_max)),
            options,
            stopping,
        })
    }
}
