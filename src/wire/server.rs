//! Sockets and the threads behind them: accepts up to a cap, drives each connection, cuts off who is slow, stops in time.
//!
//! Law: all of it runs on threads of its own, so that no number of clients takes more of the machine from the daemon than
//! these. Called by `app`.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::access::{self, Access};
use super::calls::All;
use super::gossip::Alone;
use super::tls::{self, Tls};
use super::{App, Options, Ports, stopped};
use crate::error::Chain;
use crate::{metrics, store};

/// A connection that asks for nothing within this time is no client.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(60);
/// How often a silent client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long it may take to answer; one that reads nothing answers nothing.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that a client may send ahead on one call, and on all calls of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes that wait to be sent, on one call.
const SEND_BYTES_MAX: usize = 128 << 10;
/// Bytes of a request's head: a token, a name, a deadline.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Threads that read the disk for clients.
const DISK_THREADS_MAX: usize = 8;
/// Wait after an accept that failed because there are no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the protocol is not spoken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be taken.
    #[error("cannot listen on {address}; set wire.listen to a free address")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its threads cannot be started.
    #[error("cannot start the threads of the wire")]
    Threads(#[source] io::Error),
    /// Who may call cannot be read.
    #[error("cannot read who may call")]
    Access(#[from] access::Error),
    /// There is no TLS.
    #[error("cannot speak TLS")]
    Tls(#[from] tls::Error),
    /// What it has to know of the log cannot be read.
    #[error("cannot read the closed streams")]
    Store(#[from] store::Error),
}

/// The protocol, while it is spoken.
pub struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Listens and answers.
    ///
    /// # Errors
    /// The address is taken, or the store cannot be read.
    pub async fn start(address: SocketAddr, options: Options, ports: Ports) -> Result<Self, StartError> {
        let file = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
        let access = Access::load(file(&options.users).as_deref())?;
        let tls = match (file(&options.certificate), file(&options.key)) {
            (Some(certificate), Some(key)) => Some(Tls::load(&certificate, &key)?),
            (_, _) => None,
        };
        let listener = listen(address).map_err(|source| StartError::Bind { address, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Bind { address, source })?;
        let (signal, stopping) = watch::channel(false);
        let threads = options.threads;
        let app = App::new(ports, options, stopping).await?;
        // Last of all: a runtime must not be dropped where others wait, as it would be if anything behind it failed.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(DISK_THREADS_MAX)
            .thread_name("wire")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let gossip = Alone::new(app.store.id(), &app.options.advertise, address);
        let door = Door { calls: All::new(&app, gossip, access), app, tls };
        let (stop, stopped) = oneshot::channel();
        let run = move || runtime.block_on(run(listener, door, signal, stopped));
        let thread = std::thread::Builder::new().name("wire-accept".to_owned()).spawn(run);
        Ok(Self { address, stop, thread: thread.map_err(StartError::Threads)? })
    }

    /// Where it listens: the real port when the configured one is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends subscriptions with an error, lets calls under way finish within the deadline, and cuts what is left.
    pub async fn stop(self) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the wire has ended already");
        }
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the wire's thread panicked");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What every connection goes through.
#[derive(Clone)]
struct Door {
    app: Arc<App>,
    calls: All,
    tls: Option<Tls>,
}

async fn run(
    listener: StdListener,
    door: Door,
    signal: watch::Sender<bool>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the wire's socket cannot be used");
            return;
        }
    };
    let app = Arc::clone(&door.app);
    let slots = Arc::new(Semaphore::new(app.options.connections_max));
    let mut connections = JoinSet::new();
    let mut look = tokio::time::interval(app.options.slow_after / 4);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            _ = look.tick() => look_around(&app),
            (slot, accepted) = accept(&slots, &listener) => match accepted {
                Ok(tcp) => {
                    let door = door.clone();
                    connections.spawn(async move {
                        enter(tcp, door).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a wire connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        metrics::wire_connections(connections.len() as f64);
    }
    drop(listener);
    signal.send_replace(true);
    let drained = async {
        while connections.join_next().await.is_some() {}
        // They write down how far they have come.
        app.groups.ended().await;
    };
    let in_time = tokio::time::timeout(app.options.stop_timeout, drained).await.is_ok();
    let cut = if in_time { 0 } else { connections.len() };
    connections.shutdown().await;
    metrics::wire_connections(0.0);
    tracing::info!(cut, "the wire has stopped");
}

/// Cuts off who is slow, and shows how full the bounds are.
fn look_around(app: &App) {
    let (running, cut) = app.flows.cut_slow(app.options.slow_after);
    if cut > 0 {
        tracing::warn!(cut, "readers of the wire were too slow and have been cut off");
        metrics::wire_cut(cut as u64);
    }
    tracing::trace!(running, "wire flows");
    let most = app.options.subscriptions_max;
    let used = most - app.subscriptions.available_permits().min(most);
    metrics::wire_subscriptions(used as f64);
    metrics::bound_used("wire_subscriptions", used as f64 / most as f64);
    metrics::bound_limit("wire_subscriptions", most as f64);
    let (used, most) = app.room.used();
    metrics::bound_used("wire_sent_bytes", used as f64 / most as f64);
    metrics::bound_limit("wire_sent_bytes", most as f64);
}

/// The next connection, once there is a slot for it: those beyond the cap wait in the kernel's queue.
async fn accept(
    slots: &Arc<Semaphore>,
    listener: &TcpListener,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, io::Result<TcpStream>) {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, listener.accept().await.map(|(tcp, _)| tcp))
}

fn builder(app: &App) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_CALL_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(app.options.streams_max)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn enter(tcp: TcpStream, door: Door) {
    let peer = match tcp.set_nodelay(true).and_then(|()| tcp.peer_addr()) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::debug!(%error, "a wire connection was gone before it began");
            return;
        }
    };
    match &door.tls {
        None => drive(TokioIo::new(tcp), door, peer).await,
        Some(tls) => {
            let shaking = tls.accept(tcp);
            if let Some(stream) = shaking.await {
                drive(TokioIo::new(stream), door, peer).await;
            }
        }
    }
}

async fn drive(io: impl Read + Write + Unpin + Send + 'static, door: Door, peer: SocketAddr) {
    let Door { app, calls, .. } = door;
    let spoke = Arc::new(AtomicBool::new(false));
    let answer = {
        let spoke = Arc::clone(&spoke);
        service_fn(move |request| {
            spoke.store(true, Ordering::Relaxed);
            calls.clone().answer(request, peer)
        })
    };
    let builder = builder(&app);
    let mut connection = std::pin::pin!(builder.serve_connection(io, answer));
    let mut stopping = app.stopping.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = silent(&spoke) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(error = %Chain(&*error), "a wire connection ended early");
    }
}

/// Ready when nothing was asked for in time; never otherwise.
async fn silent(spoke: &AtomicBool) {
    tokio::time::sleep(FIRST_CALL_WITHIN).await;
    if spoke.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
