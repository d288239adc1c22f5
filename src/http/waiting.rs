//! The API before there is a daemon: alive, not ready, and why.
//!
//! Law: `/healthz`, `/readyz` and `/metrics` are answered as ever, everything else with 503; the listening socket itself stays
//! open when the daemon takes over, so nobody is turned away between. Called by `intentd run` while the store cannot be
//! reached.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use warp::http::StatusCode;
use warp::reply::Response;

use super::health::{EXPOSITION, TEXT};
use super::problem::Problem;
use super::routes::with_type;
use crate::commands::NotReady;

/// Connections at once: a balancer, a scraper and a person or two.
const CONNECTIONS_MAX: usize = 64;
/// The whole of a call: nothing here takes longer than its bytes.
const CALL_MAX: Duration = Duration::from_secs(10);

type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

struct Shared {
    reason: Mutex<String>,
    metrics: Metrics,
}

/// Answers until it is ended or dropped.
pub struct Waiting {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Waiting {
    /// Begins to answer on a socket that listens.
    ///
    /// # Errors
    /// It is none.
    pub fn begin(listener: std::net::TcpListener, metrics: Metrics) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let reason = Mutex::new("it has not been reached yet".to_owned());
        let shared = Arc::new(Shared { reason, metrics });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Why the daemon waits.
    pub fn say(&self, reason: String) {
        *self.shared.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Takes no more calls.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Who is too slow asks again.
            drop(timeout(CALL_MAX, drive(tcp, shared)).await);
            drop(slot);
        });
    }
}

async fn drive(tcp: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = shared.answer(request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CALL_MAX)
        // The next call is the daemon's.
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), answer);
    if let Err(error) = connection.await {
        tracing::debug!(error = %crate::error::Chain(&error), "a connection ended early");
    }
}

impl Shared {
    fn answer(&self, path: &str) -> Response {
        match path {
            "/healthz" => with_type(StatusCode::OK, TEXT, b"alive\n".to_vec()),
            "/metrics" => with_type(StatusCode::OK, EXPOSITION, (self.metrics)().into_bytes()),
            "/readyz" => {
                let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Problem::not_ready(vec![NotReady { component: "store".to_owned(), reason }]).into_response()
            }
            _ => Problem::unavailable("the daemon waits for its store; /readyz says why").into_response(),
        }
    }
}
