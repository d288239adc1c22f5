//! `intentd store serve`: an embedded store for other processes, over the KurrentDB protocol.
//!
//! Law: no daemon judges here: clients may write every stream. The daemon that uses it names it in `[kurrentdb]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, code, runtime};
use crate::store::embedded::Embedded;
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
        }
    }
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
