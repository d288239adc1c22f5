//! `intentd demo`: simulated people, alerts as they appear, the API on loopback.

use std::io::{Cursor, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::sleep;

use super::check::load_catalog;
use super::feeding::{Fed, Reading, feed};
use super::run::start_failed;
use super::{Failure, Global, code, runtime};
use crate::app::App;
use crate::clock;
use crate::config::Config;
use crate::domain::shard::Shard;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::import::lines::Chunks;
use crate::import::names::Names;
use crate::projection::AlertChange;
use crate::{metrics, simulate, telemetry};

/// The last days are fed slowly, so that alerts can be watched.
const LIVE_DAYS: i64 = 14;
/// In so many steps.
const STEPS: usize = 60;

/// Simulated people on a fresh embedded store: watch alerts appear, then ask the API about them.
///
/// On a terminal it serves until Ctrl-C; otherwise it ends when the log has been told (--serve keeps it).
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many people.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    users: u32,
    /// The same seed gives the same people.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The data directory; deleted and made anew.
    #[arg(long, default_value = "demo-data", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// How long the last days take, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Go on serving when the log has been told, also without a terminal.
    #[arg(long)]
    serve: bool,
}

impl Demo {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let mut config = global.config()?;
        config.data_dir.clone_from(&self.data_dir);
        // Simulated people are for nobody's cluster.
        config.kurrentdb.connection.clear();
        config.shard = Shard::WHOLE;
        config.log.filter = "warn".to_owned();
        let catalog = load_catalog(&config.catalog)?;
        telemetry::install(&config.log).map_err(|error| Failure::of(code::CONFIG, "logging", &error))?;
        fresh(&self.data_dir)?;
        let metrics = metrics::install().map_err(|error| Failure::of(code::SOFTWARE, "metrics", &error))?;
        runtime()?.block_on(async {
            let mut app = App::start(&config, catalog).await.map_err(|error| start_failed(&error))?;
            let address = match app.serve(&config, metrics.clone(), None).await {
                Ok(address) => address,
                // The usual port is taken: any other will do for a demo.
                Err(_) => {
                    config.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                    app.serve(&config, metrics, None).await.map_err(|error| start_failed(&error))?
                }
            };
            println!("serving http://{address}/api/v1 (data in {})", self.data_dir.display());
            let done = self.tell(&app, &config).await;
            if done.is_ok() {
                afterwards(&app, address, self.serve || std::io::stdin().is_terminal()).await;
            }
            app.stop().await;
            done
        })
    }

    async fn tell(&self, app: &App, config: &Config) -> Result<(), Failure> {
        let until = clock::wall();
        let options = simulate::Options {
            seed: self.seed,
            users: self.users,
            days: 365,
            until,
            events_per_user: 40.0,
            events_max: None,
        };
        let mut log = Vec::new();
        simulate::write(&options, &mut log).map_err(|error| Failure::of(code::IO, "simulate", &error))?;
        let live_from = Timestamp::from_millis(until.millis() - LIVE_DAYS * DAY_MS).to_string();
        let (past, live) = split(&log, &live_from);
        println!("telling a year of {} people …", self.users);
        let told = tell(app, config, past).await?;
        println!("{} events told; now the last {LIVE_DAYS} days, alerts as they appear:\n", told.accepted);
        println!("{HEAD}");
        let mut changes = app.daemon.changes();
        for part in parts(live) {
            tell(app, config, part).await?;
            show(&mut changes);
            sleep(Duration::from_millis(self.seconds * 1_000 / STEPS as u64)).await;
        }
        show(&mut changes);
        Ok(())
    }
}

const HEAD: &str = "TIME                     USER        MODEL       CONFIDENCE  CALIBRATED  PRIORITY  WHY";

fn fresh(data_dir: &Path) -> Result<(), Failure> {
    // Only what looks like ours is deleted.
    let is_ours = data_dir.join("store").is_dir() || !data_dir.exists();
    let is_empty = std::fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_none());
    if !is_ours && !is_empty {
        let message =
            format!("{} is not a demo's data directory; give another --data-dir", data_dir.display());
        return Err(Failure::new(code::USAGE, message));
    }
    match std::fs::remove_dir_all(data_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::of(code::IO, &data_dir.display().to_string(), &error))
        }
        _ => Ok(()),
    }
}

/// The log before and from a time on; lines stand in order of time.
fn split<'a>(log: &'a [u8], from: &str) -> (&'a [u8], &'a [u8]) {
    let mut at = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let time = memchr::memmem::find(line, b"\"occurredAt\":\"")
            .and_then(|found| line.get(found + 14..found + 38));
        if time.is_some_and(|time| time >= from.as_bytes()) {
            break;
        }
        at += line.len();
    }
    log.split_at(at)
}

fn parts(log: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let mut at = 0;
    lines
        .chunks(lines.len().div_ceil(STEPS).max(1))
        .map(|chunk| {
            let length = chunk.iter().map(|line| line.len()).sum::<usize>();
            at += length;
            log.get(at - length..at).unwrap_or_default()
        })
        .collect()
}

async fn tell(app: &App, config: &Config, log: &[u8]) -> Result<Fed, Failure> {
    let chunks = Chunks::new(Box::new(Cursor::new(log.to_vec())));
    let chunks = chunks.map_err(|error| Failure::of(code::IO, "the simulated log", &error))?;
    let reading = Reading {
        names: Names::default(),
        skip_lines: 0,
        skip_bad: false,
        future_max: config.ingest.future_max,
    };
    let (fed, done) = feed(chunks, &app.daemon, &Arc::clone(&app.catalog), reading, |_| ()).await;
    done.map_err(|error| Failure::of(code::SOFTWARE, "the simulated log", &error))?;
    if let Some(last) = fed.position {
        app.daemon.settled(last).await;
    }
    Ok(fed)
}

fn show(changes: &mut Receiver<Arc<AlertChange>>) {
    let mut out = std::io::stdout().lock();
    loop {
        match changes.try_recv() {
            Ok(change) if change.event_type == "AlertScored" || change.event_type == "AlertEscalated" => {
                // A closed standard output ends a demo by itself.
                drop(writeln!(out, "{}", line(&change)));
            }
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(_) => return,
        }
    }
}

fn line(change: &AlertChange) -> String {
    let alert = &change.alert;
    let why: Vec<String> = alert
        .top_features
        .iter()
        .take(3)
        .map(|reason| format!("{}={} ({:+.2})", reason.name, round(reason.value), reason.contribution))
        .collect();
    format!(
        "{}  {:<10}  {:<10}  {:>10.3}  {:>10.3}  {:<8}  {}",
        alert.scored_at,
        alert.user_id.as_str(),
        alert.model_type,
        alert.confidence,
        alert.calibrated_score,
        format!("{:?}", alert.priority).to_uppercase(),
        why.join(", ")
    )
}

fn round(value: f32) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

async fn afterwards(app: &App, address: SocketAddr, serves: bool) {
    println!(
        "\nquery them:\n  curl -s 'http://{address}/api/v1/alerts?limit=3&sort=-calibratedScore' | jq ."
    );
    println!("  curl -s 'http://{address}/api/v1/alerts/stats' | jq .");
    if serves {
        println!("serving http://{address}/api/v1 until Ctrl-C");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            reason = app.daemon.failed() => eprintln!("intentd: the daemon cannot go on: {reason}"),
        }
    } else {
        println!("no terminal: done (--serve keeps it serving)");
    }
}
