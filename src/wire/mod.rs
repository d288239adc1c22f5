//! The gRPC protocol of KurrentDB, spoken over any [`EventStore`]: other systems read and follow the log with the clients
//! that they have. Only this folder knows tonic.
//!
//! Law: whatever clients do, this costs bounded memory and its own threads only; who reads too slowly is cut off with an
//! error; streams that the daemon owns are not written through here.
//!
//! ```text
//! server (sockets, runtime) → calls (paths, sent) → streams ─┬→ read, subscribe → flow (messages, cut-off)
//!                                                            │   └→ fanout (one reader for all who wait at the log's end)
//!                                                            ├→ append (revive), batch (answers), delete → tombs → store
//!                                                            └  convert, filter, expected, stream_metadata, status: shared
//!                                                 → groups (persistent subscriptions)
//!                                                 → gossip, features
//! ```
//! `app` composes it: [`Running::start`], then [`Running::stop`].

#![expect(clippy::result_large_err, reason = "tonic's Status is what its traits give and take")]

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::store::{Error, EventStore};

mod access;
mod answers;
mod append;
mod batch;
mod calls;
mod convert;
mod delete;
mod expected;
mod fanout;
mod features;
mod filter;
mod flow;
mod gossip;
mod groups;
mod kept;
mod links;
mod options;
pub mod proto;
mod read;
mod revive;
mod sent;
mod server;
mod status;
mod stream_metadata;
mod streams;
mod subscribe;
mod tls;
mod tombs;
mod turns;

pub use access::Error as AccessError;
pub use options::{Listen, Options};
pub use server::{Running, StartError};
pub use tls::Error as TlsError;

/// What the protocol is spoken over.
#[derive(Clone)]
pub struct Ports {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Streams that begin so are the daemon's own: clients read them and do not write them.
    pub owned: &'static [&'static str],
}

/// Ready when the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// Everything a call may use; one per server.
struct App {
    store: Arc<dyn EventStore>,
    owned: &'static [&'static str],
    options: Options,
    tombs: tombs::Tombs,
    turns: turns::Turns,
    /// What clients may have sent.
    room: Arc<sent::Room>,
    /// Reads that may still begin.
    reads: Arc<Semaphore>,
    /// Subscriptions that may still begin.
    subscriptions: Arc<Semaphore>,
    flows: flow::Flows,
    fanout: Arc<fanout::Fanout>,
    groups: groups::Groups,
    /// Turns true when the server stops.
    stopping: watch::Receiver<bool>,
}

impl App {
    async fn new(
        ports: Ports,
        options: Options,
        stopping: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, Error> {
        let tombs = tombs::Tombs::load(&*ports.store).await?;
        let store = Arc::clone(&ports.store);
        let groups = groups::Groups::load(store, stopping.clone(), options.groups_max).await?;
        let fanout = fanout::Fanout::new(Arc::clone(&ports.store), stopping.clone());
        Ok(Arc::new(Self {
            store: ports.store,
            owned: ports.owned,
            room: sent::Room::new(options.sent_bytes_max),
            reads: Arc::new(Semaphore::new(options.reads_max)),
            subscriptions: Arc::new(Semaphore::new(options.subscriptions_max)),
            options,
            tombs,
            turns: turns::Turns::default(),
            flows: flow::Flows::default(),
            fanout,
            groups,
            stopping,
        }))
    }

    /// Whether clients may write a stream: its metadata, and so its end, are written as it is.
    fn may_write(&self, stream: &str) -> bool {
        let name = stream.strip_prefix(stream_metadata::PREFIX).unwrap_or(stream);
        let ours = || self.owned.iter().chain(groups::OWNED);
        name != tombs::STREAM && !ours().any(|owned| name.starts_with(owned))
    }
}
