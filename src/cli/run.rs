//! `intentd run`: the daemon under systemd or by hand.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::check::load_catalog;
use super::starting::begin;
use super::{Failure, Global, code, runtime};
use crate::app::App;
use crate::commands::Commands as _;
use crate::commands::models::{Models as _, Who};
use crate::config::Config;
use crate::domain::shard::Shard;
use crate::{http, metrics, telemetry};

/// How often the gauges are looked at and the watchdog is told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Run the daemon: read the log, keep every user's features and signals live, score, alert, serve.
///
/// SIGHUP looks into the models folder, as `POST /alerts/models/reload` does. SIGTERM and SIGINT stop it in order; what it leaves undone is in the log and done after the next start.
#[derive(Debug, Args)]
#[command(after_help = "Under systemd: systemd/intentd.service (readiness, watchdog, hardening).\n\
                        By hand:       intentd --config config/intentd.toml run")]
pub(crate) struct Run {}

impl Run {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(&config.catalog)?;
        telemetry::install(&config.log).map_err(|error| Failure::of(code::CONFIG, "logging", &error))?;
        let metrics = metrics::install().map_err(|error| Failure::of(code::SOFTWARE, "metrics", &error))?;
        let inherited = http::server::inherited()
            .map_err(|error| Failure::of(code::UNAVAILABLE, "the inherited socket", &error))?;
        runtime()?.block_on(async {
            let Some((mut app, listening)) = begin(&config, catalog, &metrics, inherited).await? else {
                return Ok(());
            };
            let address =
                app.serve(&config, metrics, listening).await.map_err(|error| start_failed(&error))?;
            if let Some(address) = app.speak(&config).await.map_err(|error| start_failed(&error))? {
                tracing::info!(%address, "speaking the KurrentDB protocol");
            }
            tracing::info!(%address, data_dir = %shown(&config), "serving");
            let ended = until_stopped(&app, config.shard).await;
            notify(&[NotifyState::Stopping]);
            app.stop().await;
            ended
        })
    }
}

fn shown(config: &Config) -> std::path::Display<'_> {
    Path::display(&config.data_dir)
}

/// What a start that failed exits with: a fault of the machine may pass, a fault of the log does not.
pub(crate) fn start_failed(error: &crate::app::StartError) -> Failure {
    use crate::app::StartError;
    let code = if error.is_transient() || matches!(error, StartError::Http(_) | StartError::Wire(_)) {
        code::UNAVAILABLE
    } else {
        code::FAILED
    };
    Failure::of(code, "cannot start", error)
}

async fn until_stopped(app: &App, shard: Shard) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::of(code::SOFTWARE, "signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    metrics::build_info(env!("CARGO_PKG_VERSION"), option_env!("INTENTD_COMMIT").unwrap_or("unknown"), 1.0);
    metrics::shard_info(&shard.index.to_string(), &shard.count.to_string(), 1.0);
    let mut told_ready = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(app).await,
            reason = app.daemon.failed() => {
                return Err(Failure::new(code::SOFTWARE, format!("the daemon cannot go on: {reason}")));
            }
            _ = look.tick() => told_ready = tick(app, told_ready).await,
        }
    }
}

/// Looks for new versions of the models; whatever it finds, the daemon goes on.
async fn reload(app: &App) {
    let who = Who { by: "signal".to_owned(), why: "SIGHUP".to_owned() };
    match app.models.reload(None, who).await {
        Ok(changes) => {
            for change in changes {
                let version = change.version.unwrap_or_default();
                tracing::info!(model = change.model, version, result = ?change.result, "SIGHUP: model looked at");
            }
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the models are as they were"),
    }
}

/// Tells the service manager that we are alive and, once everything is caught up, that we are ready.
async fn tick(app: &App, told_ready: bool) -> bool {
    let lacking = app.daemon.not_ready();
    for component in ["store", "feed", "models", "projection", "shard"] {
        let ready = !lacking.iter().any(|lack| lack.component == component);
        metrics::ready(component, f64::from(u8::from(ready)));
    }
    metrics::store_available(f64::from(u8::from(app.store.writable().is_ok())));
    app.daemon.gauges().await;
    app.models.gauges();
    notify(&[NotifyState::Watchdog]);
    // Models may be missing for long; what they would score waits, and everything else works. So it does beside another
    // instance with the same users, and a service manager that killed one of the two would choose the wrong one.
    let serves = lacking.iter().all(|lack| lack.component == "models" || lack.component == "shard");
    if serves && !told_ready {
        notify(&[NotifyState::Ready]);
        tracing::info!(degraded = !lacking.is_empty(), "ready");
    }
    told_ready || serves
}

pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
