//! Sockets: binds or takes over the listener, accepts up to a cap, drives each connection under its time limits, stops
//! gracefully within a deadline.
//!
//! Law: no client holds a connection without getting on: head, body, answer and idle time are each limited. Called by
//! `app`. hyper drives the connections, because warp's own server knows no time limits and panics when it cannot bind.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::socket::Socket;
use super::{App, Options, Ports, routes};
use crate::metrics;

/// Fields in a request's head; ours and a proxy's are about twenty.
const HEADERS_MAX: usize = 100;
/// Bytes of a request's head; a user id in a path has at most 600. Twice as much is buffered per connection.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Wait after an accept that failed because the process or the machine has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be taken.
    #[error("cannot listen on {address}; is another daemon running? set http.listen to a free address")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket that was handed over is no listening TCP socket.
    #[error("the inherited socket cannot be listened on")]
    Inherited(#[source] io::Error),
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open at the deadline and were cut.
    pub cut: usize,
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Takes over `inherited`, or listens where the options say.
    ///
    /// # Errors
    /// The address cannot be taken, or the inherited socket is not one to listen on.
    pub async fn bind(
        options: Options,
        ports: Ports,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Self, Error> {
        let listener = match inherited {
            Some(socket) => {
                socket.set_nonblocking(true).map_err(Error::Inherited)?;
                TcpListener::from_std(socket).map_err(Error::Inherited)?
            }
            None => TcpListener::bind(options.listen)
                .await
                .map_err(|source| Error::Bind { address: options.listen, source })?,
        };
        let address = listener.local_addr().map_err(Error::Inherited)?;
        let (stop, stopping) = watch::channel(false);
        Ok(Self { listener, address, app: App::new(ports, options, stopping), stop })
    }

    /// Where it listens: the real port when the configured one is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready; then takes no more connections, ends streams, lets answers under way finish, and
    /// cuts what is left at the deadline (`http.stop_timeout`).
    pub async fn run(self, stop: impl Future<Output = ()>) -> Stopped {
        let Self { listener, app, stop: signal, .. } = self;
        let slots = Arc::new(Semaphore::new(app.options.connections_max));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                (slot, accepted) = accept(&slots, &listener) => match accepted {
                    Ok(tcp) => {
                        let app = Arc::clone(&app);
                        connections.spawn(async move {
                            drive(tcp, app).await;
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            metrics::http_connections(connections.len() as f64);
        }
        drop(listener);
        signal.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(app.options.stop_timeout, drained).await.is_ok();
        let cut = if in_time { 0 } else { connections.len() };
        connections.shutdown().await;
        metrics::http_connections(0.0);
        tracing::info!(cut, "the http server has stopped");
        Stopped { cut }
    }
}

/// The next connection, once there is a slot for it: those beyond the cap wait in the kernel's queue.
async fn accept(
    slots: &Arc<Semaphore>,
    listener: &TcpListener,
) -> (Option<tokio::sync::OwnedSemaphorePermit>, io::Result<TcpStream>) {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, listener.accept().await.map(|(tcp, _)| tcp))
}

async fn drive(tcp: TcpStream, app: Arc<App>) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let socket = TokioIo::new(Socket::new(tcp, app.options.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .serve_connection(socket, TowerToHyperService::new(warp::service(routes(Arc::clone(&app)))));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %crate::error::Chain(&error), "a connection ended early");
    }
}

/// The listening socket that systemd handed over, when there is one (socket activation).
///
/// # Errors
/// `LISTEN_FDS` is not readable, or names more than one socket.
pub fn inherited() -> io::Result<Option<std::net::TcpListener>> {
    let mut given = sd_notify::listen_fds()?;
    let Some(descriptor) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than one socket was handed over"));
    }
    #[expect(unsafe_code, reason = "systemd hands descriptors over by number")]
    // SAFETY: LISTEN_PID names this process, so the descriptor is open and, by that protocol, ours alone to take.
    let owned = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) };
    if rustix::net::sockopt::socket_acceptconn(&owned).unwrap_or(false) {
        Ok(Some(owned.into()))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket handed over does not listen"))
    }
}
