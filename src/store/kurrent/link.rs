//! The connection to the cluster, made anew whenever it failed.
//!
//! Law: a client that met a connection error is thrown away: it would stay closed for ever, or dial a dead node for ever.
//! Between attempts calls fail at once, so that nobody waits for what is known to be down. Called by all of [`super`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kurrentdb::{Client, ClientSettings, Credentials};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::convert::unavailable;
use super::{Options, identity, nodelay};
use crate::domain::backoff::Backoff;
use crate::store::{Error, StoreId};

/// An append that failed longer ago says nothing of the next one: somebody has to try.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Which of the clients made so far.
pub(super) type Generation = u64;

#[derive(Default)]
struct State {
    client: Option<Client>,
    generation: Generation,
    failures: u32,
    not_before: Option<Instant>,
}

/// The connection.
pub(super) struct Link {
    settings: ClientSettings,
    /// Goes with each call. The client would send what stands in the connection string as it is escaped there.
    pub(super) credentials: Option<Credentials>,
    /// The name that the cluster must have; none when nobody asks.
    named: Option<StoreId>,
    connect_timeout: Duration,
    backoff: Backoff,
    state: tokio::sync::Mutex<State>,
    /// Why it does not work; none when it does.
    trouble: Mutex<Option<String>>,
    /// Why the newest append failed, and when; none when it did not. Reads may work where appends do not: rights, a quorum.
    refused: Mutex<Option<(String, Instant)>>,
}

impl Link {
    pub(super) fn new(named: Option<StoreId>, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            settings: options.settings().map_err(|reason| Error::Invalid { reason })?,
            credentials: options.credentials()?,
            named,
            connect_timeout: options.connect_timeout,
            backoff: Backoff { first: options.retry_first, max: options.retry_max },
            state: tokio::sync::Mutex::default(),
            trouble: Mutex::new(Some("not connected yet".to_owned())),
            refused: Mutex::default(),
        })
    }

    /// Whether it works, as far as is known.
    pub(super) fn state(&self) -> Result<(), Error> {
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(trouble) => Err(unavailable(trouble.clone())),
        }
    }

    /// Whether it takes appends, as far as is known.
    pub(super) fn takes_appends(&self) -> Result<(), Error> {
        self.state()?;
        match &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((trouble, at)) if at.elapsed() < REFUSED_FOR => Err(unavailable(trouble.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// How an append went.
    pub(super) fn appended(&self, error: Option<&Error>) {
        let trouble = error.filter(|error| error.is_transient());
        let refused = trouble.map(|error| (format!("the newest append failed: {error}"), Instant::now()));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// How long to wait after so many failures.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.backoff.delay(failures, u64::from(std::process::id()))
    }

    /// A client that has reached the cluster, as far as is known.
    pub(super) async fn client(&self) -> Result<(Generation, Client), Error> {
        let mut state = self.state.lock().await;
        if let Some(client) = &state.client {
            return Ok((state.generation, client.clone()));
        }
        if state.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(self.state().err().unwrap_or_else(|| unavailable("waiting to connect again")));
        }
        match self.connect().await {
            Ok(client) => {
                if state.failures > 0 {
                    tracing::info!(attempts = state.failures + 1, "connected to the cluster");
                }
                state.generation += 1;
                (state.failures, state.not_before, state.client) = (0, None, Some(client.clone()));
                self.set_trouble(None);
                Ok((state.generation, client))
            }
            Err(trouble) => {
                state.failures += 1;
                let wait = self.pause(state.failures);
                state.not_before = Some(Instant::now() + wait);
                tracing::warn!(trouble, retry_in = ?wait, "the cluster cannot be reached");
                self.set_trouble(Some(trouble.clone()));
                Err(unavailable(trouble))
            }
        }
    }

    async fn connect(&self) -> Result<Client, String> {
        let (settings, runtime) = (self.settings.clone(), Handle::current());
        // It reads certificates, and panics over a file that holds none.
        let made = tokio::task::spawn_blocking(move || Client::with_runtime_handle(runtime, settings)).await;
        let client = made
            .map_err(|_| "the client cannot be made; are its certificates PEM files?".to_owned())?
            .map_err(|error| error.to_string())?;
        let late = |_| format!("no answer within {:?}", self.connect_timeout);
        let reached = timeout(self.connect_timeout, client.server_info()).await.map_err(late)?;
        reached.map_err(|error| error.to_string())?;
        nodelay::everywhere();
        let Some(ours) = self.named else { return Ok(client) };
        let look = identity::look(&client, self.credentials.as_ref());
        match timeout(self.connect_timeout, look).await.map_err(late)?.map_err(|error| error.to_string())? {
            Some(theirs) if theirs == ours => Ok(client),
            Some(theirs) => Err(format!(
                "the cluster holds the log {theirs}, this data directory belongs to {ours}; \
                 to work with that one run `intentd rebuild`"
            )),
            None => Err(format!(
                "the cluster holds no log of ours, this data directory belongs to {ours}; if the cluster is empty on \
                 purpose, or the log was copied to it, run `intentd rebuild`"
            )),
        }
    }

    /// The cluster's name; `ours` becomes it when it has none yet.
    pub(super) async fn name(&self, ours: StoreId) -> Result<StoreId, Error> {
        let (_, client) = self.client().await?;
        let named = identity::name(&client, self.credentials.as_ref(), ours);
        match timeout(self.connect_timeout, named).await {
            Ok(named) => named.map_err(|error| unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {:?}", self.connect_timeout))),
        }
    }

    /// This client has failed: the next call makes a new one.
    pub(super) async fn lost(&self, generation: Generation, trouble: &str) {
        let mut state = self.state.lock().await;
        if state.generation == generation && state.client.take().is_some() {
            tracing::warn!(trouble, "the connection to the cluster is lost");
            self.set_trouble(Some(trouble.to_owned()));
        }
    }
}
