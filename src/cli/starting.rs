//! The start of the daemon: at once where the log is its own, and when the cluster comes where it is in one.
//!
//! Law: a cluster that is down is waited for, by itself and for as long as it takes, and `/readyz` says so meanwhile; what
//! waiting does not mend ends the start. Called by `run`, and by `import`, which waits for less long.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::run::{notify, start_failed};
use super::{Failure, code};
use crate::app::{App, StartError, open_store};
use crate::config::Config;
use crate::domain::catalog::Catalog;
use crate::error::Chain;
use crate::http::server;
use crate::http::waiting::Waiting;
use crate::metrics;
use crate::store::EventStore;

/// How often a start is tried again; the connection has a back-off of its own.
const AGAIN: Duration = Duration::from_millis(500);
/// How much longer the service manager is asked to wait, each time.
const EXTENSION_US: u32 = 60_000_000;

/// The daemon, and the socket to answer on when there is one already; none when it was told to stop before it began.
pub(super) async fn begin(
    config: &Config,
    catalog: Catalog,
    prometheus: &PrometheusHandle,
    inherited: Option<TcpListener>,
) -> Result<Option<(App, Option<TcpListener>)>, Failure> {
    if config.kurrentdb.connection.is_empty() {
        let app = App::start(config, catalog).await.map_err(|error| start_failed(&error))?;
        return Ok(Some((app, inherited)));
    }
    let io = |error: std::io::Error| Failure::of(code::UNAVAILABLE, "cannot start", &error);
    let listener = match inherited {
        Some(listener) => listener,
        None => TcpListener::bind(config.http.listen).map_err(|source| {
            start_failed(&StartError::Http(server::Error::Bind { address: config.http.listen, source }))
        })?,
    };
    let rendered = prometheus.clone();
    let shared = listener.try_clone().map_err(io)?;
    let waiting = Waiting::begin(shared, Arc::new(move || rendered.render())).map_err(io)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
    let app = tokio::select! {
        _ = terminate.recv() => return Ok(None),
        _ = interrupt.recv() => return Ok(None),
        app = reached(config, &catalog, &waiting) => app?,
    };
    waiting.end().await;
    Ok(Some((app, Some(listener))))
}

async fn reached(config: &Config, catalog: &Catalog, waiting: &Waiting) -> Result<App, Failure> {
    let (mut store, mut said) = (None, String::new());
    loop {
        let error = match start(&mut store, config, catalog).await {
            Ok(app) => return Ok(app),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(start_failed(&error)),
        };
        let reason = Chain(&error).to_string();
        if reason != said {
            tracing::warn!(reason, "the daemon waits for its store");
            waiting.say(reason.clone());
            said = reason;
        }
        metrics::ready("store", 0.0);
        metrics::store_available(0.0);
        let status = "waiting for the store";
        notify(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(EXTENSION_US)]);
        sleep(AGAIN).await;
    }
}

/// The daemon without its API, for a command: a cluster that is down is waited for as long as this patience lasts, and the
/// person told.
pub(super) async fn patiently(
    config: &Config,
    catalog: &Catalog,
    patience: Duration,
) -> Result<App, Failure> {
    let (mut store, mut is_told, began) = (None, false, Instant::now());
    let waits = !config.kurrentdb.connection.is_empty();
    loop {
        match start(&mut store, config, catalog).await {
            Ok(app) => return Ok(app),
            Err(error) if waits && error.is_transient() && began.elapsed() < patience => {
                if !std::mem::replace(&mut is_told, true) {
                    eprintln!("waits for the store, up to {} s: {}", patience.as_secs(), Chain(&error));
                }
                sleep(AGAIN).await;
            }
            Err(error) => return Err(start_failed(&error)),
        }
    }
}

/// One try; a store that was opened is kept for the next.
async fn start(
    store: &mut Option<Arc<dyn EventStore>>,
    config: &Config,
    catalog: &Catalog,
) -> Result<App, StartError> {
    let opened = match store {
        Some(store) => Arc::clone(store),
        None => {
            let opening = config.clone();
            let opened = tokio::task::spawn_blocking(move || open_store(&opening)).await??;
            Arc::clone(store.insert(opened))
        }
    };
    App::start_on(opened, config, catalog.clone()).await
}
