//! `intentd store serve`: an embedded store for other processes, over the KurrentDB protocol.
//!
//! Law: no daemon judges here: clients may write every stream. The daemon that uses it names it in `[kurrentdb]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::{Failure, Global, code, runtime};
use crate::app::Layout;
use crate::config::Config;
use crate::store::embedded::{self, Embedded};
use crate::store::kurrent::{self, Kurrent};
use crate::store::{self, EventStore, Position, StoreId, copy, files};
use crate::{telemetry, wire};

/// Work on a store without a daemon.
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    Serve(Serve),
    Copy(Copy),
}

/// Copy a log to another store: order, ids, revisions, data and metadata of all events are kept, and compared at the end.
///
/// A copy that was broken off goes on where it stood: run it again with the same --state. Checkpoints and snapshots of the old
/// store are never used with the new one. No daemon may write to either meanwhile.
///
/// `[kurrentdb] credentials` goes with a connection on either side: a password on the command line is seen by the whole machine.
///
/// Not copied: the time of recording, and streams whose name begins with `$`. Those hold what the server keeps of streams
/// (`$$<stream>`: how many events, how long, from where on, who may read), persistent subscriptions and projections. So a stream
/// that was truncated or deleted, and not for ever, shows again whatever the source still holds of it, and limits and rights have
/// to be set again in the target. A source that was scavenged of the beginning of a stream cannot be copied: its places are gone.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  intentd store copy --from /var/lib/intentd/store --to kurrentdb://db:2113 --state copy.place"
)]
struct Copy {
    /// A directory, or a KurrentDB connection string.
    #[arg(long, value_name = "STORE")]
    from: String,
    /// A directory, or a KurrentDB connection string.
    #[arg(long, value_name = "STORE")]
    to: String,
    /// Where the place is kept that has been reached.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

/// Serve an embedded store to other processes over the KurrentDB protocol, until SIGTERM or SIGINT.
///
/// Bounds come from `[store]` and `[wire]`. Every stream can be written.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  intentd store serve --dir /var/lib/intentd/store --listen 127.0.0.1:2113"
)]
struct Serve {
    /// The store's directory; made when it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2113")]
    listen: SocketAddr,
}

impl Store {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        match self.command {
            Work::Serve(serve) => serve.run(global),
            Work::Copy(copy) => copy.run(global),
        }
    }
}

impl Copy {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        runtime()?.block_on(async {
            holds_a_store(&self.from)?;
            let source = opened("--from", &self.from, &config)?;
            let target = opened("--to", &self.to, &config)?;
            // A place is good only between the two stores that it was reached between.
            let names = format!("{} {}", source.id(), target.id());
            let after = self.state.as_deref().and_then(|state| place(state, &names));
            let mut kept = Ok(());
            let copied = copy::copy(&*source, &*target, after, |progress| {
                if let (Some(state), Some(Position(at)), Ok(())) = (&self.state, progress.through, &kept) {
                    kept = files::replace(state, format!("{names} {at}\n").as_bytes());
                }
            });
            let copied =
                copied.await.map_err(|error| Failure::of(code::FAILED, "the copy stopped", &error))?;
            kept.map_err(|error| Failure::of(code::IO, "the place cannot be kept", &error))?;
            eprintln!("{} events written, {} were there already", copied.written, copied.held);
            let verified = copy::verify(&*source, &*target).await;
            let same = verified.map_err(|error| Failure::of(code::FAILED, "the stores differ", &error))?;
            println!("{} events, {:032x}", same.events, same.hash);
            Ok(())
        })
    }
}

fn place(state: &Path, names: &str) -> Option<Position> {
    let text = std::fs::read_to_string(state).ok()?;
    let at = text.trim().strip_prefix(names)?.trim().parse().ok()?;
    Some(Position(at))
}

/// Opening makes a store where there is none: a name that was mistyped would be an empty log, copied whole.
fn holds_a_store(from: &str) -> Result<(), Failure> {
    let dir = Path::new(from);
    if is_connection(from) || embedded::is_in(dir) {
        return Ok(());
    }
    let below = Layout::of(dir).store;
    let way_out = if embedded::is_in(&below) {
        format!("it is a data directory: give --from {}", below.display())
    } else {
        "give another --from".to_owned()
    };
    Err(Failure::new(code::NO_INPUT, format!("there is no store in {from}; {way_out}")))
}

fn is_connection(store: &str) -> bool {
    store.contains("://")
}

fn opened(which: &str, store: &str, config: &Config) -> Result<Arc<dyn EventStore>, Failure> {
    if is_connection(store) {
        // It may hold a password, above all when it does not parse: only its place on the command line is told.
        let options = kurrent::Options { connection: store.to_owned(), ..config.kurrentdb.clone() };
        if let Some((_, message)) = options.faults().into_iter().next() {
            return Err(Failure::new(code::USAGE, format!("{which}: {message}")));
        }
        // Its hosts are its name here: a copy keeps nothing beyond its place.
        let id = StoreId(Uuid::new_v5(&Uuid::NAMESPACE_URL, store.as_bytes()));
        let opened = Kurrent::new(id, options);
        let failed = |error: store::Error| Failure::of(code::UNAVAILABLE, which, &error);
        return Ok(Arc::new(opened.map_err(failed)?));
    }
    let failed =
        |error: store::Error| Failure::of(code::UNAVAILABLE, &format!("{which}: the store {store}"), &error);
    Ok(Arc::new(Embedded::open(Path::new(store), &config.store).map_err(failed)?))
}

impl Serve {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let mut config = global.config()?;
        config.wire.listen = wire::Listen(Some(self.listen));
        if let Some((key, message)) = config.wire.faults().into_iter().next() {
            return Err(Failure::new(code::CONFIG, format!("{key}: {message}")));
        }
        telemetry::install(&config.log).map_err(|error| Failure::of(code::CONFIG, "logging", &error))?;
        let store = Embedded::open(&self.dir, &config.store)
            .map_err(|error| Failure::of(code::UNAVAILABLE, "the store cannot be opened", &error))?;
        runtime()?.block_on(async {
            let ports = wire::Ports { store: Arc::new(store), owned: &[] };
            let running = wire::Running::start(self.listen, config.wire.clone(), ports)
                .await
                .map_err(|error| Failure::of(code::UNAVAILABLE, "cannot start", &error))?;
            println!("{}", running.address());
            let ended = until_told().await;
            running.stop().await;
            ended
        })
    }
}

async fn until_told() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::of(code::SOFTWARE, "signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
