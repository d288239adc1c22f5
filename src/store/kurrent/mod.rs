//! The log in a KurrentDB cluster, through its own client crate, whose defects end here.
//!
//! Law: as [`super`] says for every adapter, on any server: appends go out at exact revisions only, decided on what this
//! adapter knows of the stream, because "anywhere" is idempotent there as a best effort alone. A connection that failed is
//! never used again. Called through the port.
//!
//! ```text
//! append → known (ids and end of each stream) → flight (order, sent again after breaks) → session ─┐
//! read, head ──────────────────────────────────────────────────────────────────────────────────────┼→ link → cluster
//! subscribe → follow (a task per subscription, resumed by place) ──────────────────────────────────┘
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kurrentdb::{ClientSettings, Credentials, NodePreference};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use self::append::Door;
use self::follow::{Follow, Place};
use self::known::Streams;
use self::link::Link;
use super::{
    Append, AppendAnswer, BoxFuture, Direction, Error, EventStore, Filter, Page, Position, Revision, StoreId,
    Subscription,
};
use crate::error::Chain;

/// A call's options with the credentials.
macro_rules! signed {
    ($link:expr, $options:expr) => {
        match &$link.credentials {
            Some(credentials) => $options.authenticated(credentials.clone()),
            None => $options,
        }
    };
}

mod append;
mod convert;
mod ended;
mod flight;
mod follow;
mod gate;
mod identity;
mod job;
mod known;
mod link;
mod nodelay;
mod read;
mod session;

/// Reads under way at once, by all users of a store together; our own server takes 64 from everybody.
const READS_MAX: usize = 32;
/// How long the client waits before an attempt to connect, in milliseconds.
const DISCOVERY: &str = "discoveryInterval=50";

/// `[kurrentdb]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `kurrentdb://host:2113?tls=true`; empty: the log is in the embedded store.
    pub connection: String,
    /// A file with `user:password`; empty: none, or those in `connection`.
    pub credentials: String,
    /// How long a call waits for its answer: the client's own deadlines are none.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long a new connection may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Wait before a connection that failed is tried again, doubled each time …
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// … up to this.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    /// Event ids of streams that are remembered, some 40 bytes each: others are read again before an append. A stream in use is
    /// kept whole, even if it has more.
    pub ids_max: usize,
    /// Appends under way at once.
    pub appends_max: usize,
    /// Events of one subscription that wait for the daemon.
    pub waiting_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connection: String::new(),
            credentials: String::new(),
            call_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            ids_max: 4_000_000,
            appends_max: 256,
            waiting_max: 4_096,
        }
    }
}

impl Options {
    /// What is wrong with these options: key and message.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |reason: String| faults.push(("kurrentdb.connection", reason));
        match self.settings() {
            _ if self.connection.is_empty() => {}
            // It counts one more than it makes.
            Ok(settings) if settings.max_discover_attempts() < 2 => {
                fault("maxDiscoverAttempts must be at least 2".to_owned());
            }
            Ok(settings) if settings.node_preference() != NodePreference::Leader => fault(
                "nodePreference must be leader: another node lags behind what was just written, which would be taken \
                 for somebody else's doing"
                    .to_owned(),
            ),
            Ok(_) => {}
            Err(reason) => fault(reason),
        }
        for (key, count) in [
            ("kurrentdb.ids_max", self.ids_max),
            ("kurrentdb.appends_max", self.appends_max),
            ("kurrentdb.waiting_max", self.waiting_max),
        ] {
            if count == 0 {
                faults.push((key, "must be at least 1".to_owned()));
            }
        }
        for (key, span) in [
            ("kurrentdb.call_timeout", self.call_timeout),
            ("kurrentdb.connect_timeout", self.connect_timeout),
            ("kurrentdb.retry_first", self.retry_first),
        ] {
            if span.is_zero() {
                faults.push((key, "must be longer than nothing".to_owned()));
            }
        }
        faults
    }

    /// The client's settings.
    fn settings(&self) -> Result<ClientSettings, String> {
        let mut connection = self.connection.clone();
        if !connection.to_lowercase().contains("discoveryinterval=") {
            // The client waits before it connects at all, half a second when nothing is said.
            connection.push(if connection.contains('?') { '&' } else { '?' });
            connection.push_str(DISCOVERY);
        }
        // What it says may hold the whole string, and that a password.
        let parsed = connection.parse();
        parsed.map_err(|_| "is no connection string, such as kurrentdb://host:2113?tls=true".to_owned())
    }

    /// What is wrong with the file of credentials, as it is now: key and message.
    pub fn credentials_fault(&self) -> Option<(&'static str, String)> {
        let reason = match self.credentials().err()? {
            Error::Invalid { reason } => reason,
            error @ (Error::Unavailable { .. } | Error::Corrupt { .. } | Error::TooBig { .. }) => {
                Chain(&error).to_string()
            }
        };
        Some(("kurrentdb.credentials", reason))
    }

    /// What stands in the file.
    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        if self.credentials.is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&self.credentials).map_err(|error| Error::Unavailable {
            reason: format!("kurrentdb.credentials {} cannot be read", self.credentials),
            source: Some(error),
        })?;
        let (user, password) =
            text.trim_end_matches(['\r', '\n']).split_once(':').ok_or_else(|| Error::Invalid {
                reason: format!("kurrentdb.credentials {} holds no user:password", self.credentials),
            })?;
        Ok(Some(Credentials::new(user.to_owned(), password.to_owned())))
    }
}

/// What all calls share.
struct Shared {
    options: Options,
    gate: Arc<gate::Gate>,
    link: Link,
    streams: Streams,
    /// Reads that may still begin: servers refuse more than some.
    reads: Semaphore,
}

/// An event store in a cluster. Clones share the connection.
#[derive(Clone)]
pub struct Kurrent {
    id: StoreId,
    shared: Arc<Shared>,
    door: Door,
}

impl Kurrent {
    /// A store that connects when it is first called, and again whenever that is needed. Made within a runtime.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn new(id: StoreId, options: Options) -> Result<Self, Error> {
        Self::with(id, None, options)
    }

    /// The store that a data directory works with: the cluster's name is kept in `file`, and every connection is checked
    /// against it. A directory that has none takes the cluster's, or gives it one, which needs the cluster.
    ///
    /// # Errors
    /// The options make no sense, the file cannot be used, or the cluster is needed and cannot be reached.
    pub async fn open(file: &Path, options: Options) -> Result<Self, Error> {
        if let Some(id) = identity::kept(file)? {
            return Self::with(id, Some(id), options);
        }
        let proposed = StoreId(Uuid::new_v4());
        let probe = Self::new(proposed, options.clone())?;
        let id = probe.shared.link.name(proposed).await?;
        identity::keep(file, id)?;
        Self::with(id, Some(id), options)
    }

    fn with(id: StoreId, named: Option<StoreId>, options: Options) -> Result<Self, Error> {
        let link = Link::new(named, &options)?;
        let streams = Streams::new(options.ids_max);
        let (gate, reads) = (Arc::default(), Semaphore::new(READS_MAX));
        let shared = Arc::new(Shared { link, streams, gate, reads, options });
        let (calls, called) = unbounded_channel();
        let door = Door::new(calls, flight::run(Arc::clone(&shared), called));
        Ok(Self { id, shared, door })
    }
}

impl EventStore for Kurrent {
    fn id(&self) -> StoreId {
        self.id
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<AppendAnswer>, Error>> {
        Box::pin(async move {
            if let Some(reason) = batch.iter().find_map(Append::misuse) {
                return Err(Error::Invalid { reason });
            }
            let answers = self.shared.append(&self.door, batch).await;
            self.shared.link.appended(answers.as_ref().err());
            answers
        })
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a str,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.shared.read_stream(stream, from, direction, limit))
    }

    fn read_all<'a>(
        &'a self,
        from: Option<Position>,
        direction: Direction,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, Error>> {
        Box::pin(self.shared.read_all(from, direction, filter, limit))
    }

    fn subscribe_all(&self, after: Option<Position>, filter: Filter) -> Box<dyn Subscription> {
        Box::new(Follow::new(&self.shared, Place::All { after, filter }))
    }

    fn subscribe_stream(&self, stream: &str, after: Option<Revision>) -> Box<dyn Subscription> {
        Box::new(Follow::new(&self.shared, Place::Stream { name: stream.to_owned(), after }))
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Position>, Error>> {
        Box::pin(self.shared.head())
    }

    fn writable(&self) -> Result<(), Error> {
        self.shared.link.takes_appends()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_their_file_as_they_stand_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let credentials = file.display().to_string();
            Options { credentials, ..Options::default() }.credentials()
        };
        let wanted = Credentials::new("me".to_owned(), "p@ss/w:rd ".to_owned());
        assert_eq!(read("me:p@ss/w:rd \n").unwrap(), Some(wanted));
        assert!(matches!(read("nothing"), Err(Error::Invalid { .. })));
        assert!(matches!(Options::default().credentials(), Ok(None)));
    }

    #[test]
    fn nonsense_is_named_and_passwords_are_not() {
        let faults =
            |connection: &str| Options { connection: connection.to_owned(), ..Options::default() }.faults();
        assert!(faults("").is_empty() && faults("kurrentdb://h:1?tls=false").is_empty());
        assert!(faults("esdb+discover://h,i,j:2113?discoveryInterval=9").is_empty());
        assert!(faults("kurrentdb://h:1?tls=false&nodePreference=leader").is_empty());
        for wrong in [
            "http://x",
            "kurrentdb://me:secret@h:port",
            "kurrentdb://h?maxDiscoverAttempts=1",
            "kurrentdb://me:secret@h:1?nodePreference=follower",
            "kurrentdb://h:1,i:1?NODEPREFERENCE=Random",
            "kurrentdb://h:1?nodePreference=readOnlyReplica",
        ] {
            let faults = faults(wrong);
            assert_eq!(
                faults.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
                ["kurrentdb.connection"],
                "{wrong}"
            );
            assert!(!faults[0].1.contains("secret"), "{faults:?}");
        }
        let wrong = Options { ids_max: 0, retry_first: Duration::ZERO, ..Options::default() };
        let keys: Vec<_> = wrong.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["kurrentdb.ids_max", "kurrentdb.retry_first"]);
    }
}
