//! The composition root: builds adapters and actors from the configuration, starts and stops them in order.
//!
//! Law: the only place where `http` and `actors`, and the adapters among each other, meet. Called by the commands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::actors::{self, Daemon, OpenSink, ProjectionSink, RuleCore, TrainedOn, Watch};
use crate::clock;
use crate::commands::models::Models as _;
use crate::config::Config;
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::domain::codec::check_ingest;
use crate::domain::entity::{Rules, Snapshot};
use crate::domain::event::{CONVERSION_RECORDED, Position, Recorded};
use crate::domain::id::stream;
use crate::http;
use crate::models::{self, ModelRegistry};
use crate::projection::sqlite::{Projection, Reader};
use crate::projection::{self, AlertChange};
use crate::scoring::Scorer;
use crate::store::checkpoint::FileCheckpoints;
use crate::store::embedded::Embedded;
use crate::store::kurrent::Kurrent;
use crate::store::snapshot::{self, FileSnapshots};
use crate::store::{self, EventStore, Filter, StoreId};
use crate::wire;

/// Where things lie in the data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The log: the truth.
    pub store: PathBuf,
    /// The projection: derived.
    pub projection: PathBuf,
    /// Users out of memory: derived.
    pub snapshots: PathBuf,
    /// How far the feed has come: derived.
    pub checkpoint: PathBuf,
    /// Which cluster's log the rest was made from, when the log is in one.
    pub cluster: PathBuf,
    /// How far imports have come: derived.
    pub imports: PathBuf,
}

impl Layout {
    /// The layout of a data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            store: data_dir.join("store"),
            projection: data_dir.join("projection.sqlite"),
            snapshots: data_dir.join("snapshots"),
            checkpoint: data_dir.join("checkpoint.json"),
            cluster: data_dir.join("kurrentdb-id"),
            imports: data_dir.join("imports"),
        }
    }
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be opened.
    #[error("the store {path} cannot be opened")]
    Store {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// The view cannot be opened.
    #[error("the projection cannot be opened")]
    Projection(#[from] projection::Error),
    /// Snapshots cannot be kept.
    #[error("snapshots cannot be kept; the folder may be deleted, it is derived")]
    Snapshots(#[from] snapshot::Error),
    /// The actors did not start.
    #[error("the actors did not start")]
    Actors(#[from] actors::StartError),
    /// The log cannot be read.
    #[error("the facts about models cannot be read")]
    Models(#[from] crate::commands::models::Error),
    /// The API cannot listen.
    #[error("the API cannot listen")]
    Http(#[from] http::server::Error),
    /// The KurrentDB protocol cannot be spoken.
    #[error("the KurrentDB protocol cannot be spoken")]
    Wire(#[from] wire::StartError),
    /// A thread of the start was lost.
    #[error("a part of the start failed")]
    Lost(#[from] tokio::task::JoinError),
}

impl StartError {
    /// Whether the log could not be reached, and the same start may succeed later.
    pub fn is_transient(&self) -> bool {
        use crate::commands::models::Error as OfModels;
        match self {
            Self::Store { source, .. } | Self::Actors(actors::StartError::Market(source)) => {
                source.is_transient()
            }
            Self::Models(error) => matches!(error, OfModels::Unavailable { .. }),
            Self::Projection(_)
            | Self::Snapshots(_)
            | Self::Actors(_)
            | Self::Http(_)
            | Self::Wire(_)
            | Self::Lost(_) => false,
        }
    }
}

/// Opens the log of a configuration, embedded or in a cluster; a cluster that this data directory knows need not be there.
/// Blocking, and on a thread that may block a runtime.
///
/// # Errors
/// It is held by another process, damaged, or cannot be read or written.
pub fn open_store(config: &Config) -> Result<Arc<dyn EventStore>, StartError> {
    let layout = Layout::of(&config.data_dir);
    if !config.kurrentdb.connection.is_empty() {
        return open_cluster(config, layout.cluster);
    }
    let path = layout.store;
    match Embedded::open(&path, &config.store) {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(StartError::Store { path, source }),
    }
}

fn open_cluster(config: &Config, path: PathBuf) -> Result<Arc<dyn EventStore>, StartError> {
    let failed = |source| StartError::Store { path: path.clone(), source };
    let made = std::fs::create_dir_all(&config.data_dir);
    made.map_err(|error| {
        failed(store::Error::Unavailable {
            reason: "the data directory cannot be made".to_owned(),
            source: Some(error),
        })
    })?;
    let opening = Kurrent::open(&path, config.kurrentdb.clone());
    let opened = match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.block_on(opening),
        Err(_) => {
            return Err(failed(store::Error::Invalid { reason: "a cluster needs a runtime".to_owned() }));
        }
    };
    opened.map(|store| Arc::new(store) as Arc<dyn EventStore>).map_err(failed)
}

/// A running daemon, with or without its API.
pub struct App {
    /// What can be asked of it.
    pub daemon: Daemon,
    /// The view, for reading.
    pub views: Reader,
    /// The catalogue it judges by.
    pub catalog: Arc<Catalog>,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The models.
    pub models: ModelRegistry,
    server: Option<Serving>,
    wire: Option<wire::Running>,
    /// Takes up what other instances do to models, where there are any; a subscription that one alone would pay for.
    _following: Option<JoinSet<()>>,
}

/// Streams that the daemon writes: other systems read them. Behaviour comes through the API, which checks it.
const OWNED: &[&str] = &[stream::INTENT, stream::USER, stream::MARKET];

/// The API while it answers.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<http::server::Stopped>,
}

impl App {
    /// Opens the log and starts everything but the API.
    ///
    /// # Errors
    /// What cannot be opened or started.
    pub async fn start(config: &Config, catalog: Catalog) -> Result<Self, StartError> {
        let opening = config.clone();
        let store = tokio::task::spawn_blocking(move || open_store(&opening)).await??;
        Self::start_on(store, config, catalog).await
    }

    /// Starts everything but the API on a log that is open.
    ///
    /// # Errors
    /// What cannot be opened or started.
    pub async fn start_on(
        store: Arc<dyn EventStore>,
        config: &Config,
        catalog: Catalog,
    ) -> Result<Self, StartError> {
        let catalog = Arc::new(catalog);
        let models = ModelRegistry::start(models::Parts {
            store: Arc::clone(&store),
            catalog: Arc::clone(&catalog),
            options: config.models.clone(),
            wall: clock::wall,
        })
        .await?;
        let layout = Layout::of(&config.data_dir);
        let config = &folding(config, &catalog);
        let first = open_projection(&layout.projection, store.id(), config)?;
        let views = first.reader();
        drop(first);
        let key =
            snapshot::Key { store: store.id(), catalog: catalog.version.clone(), schema: Snapshot::SCHEMA };
        let snapshots = Arc::new(FileSnapshots::open(&layout.snapshots, &key)?);
        let rules = Arc::new(Rules::new(Catalog::clone(&catalog)));
        let (champions, lacking) = (models.champions().clone(), models.clone());
        let watch = watch(config, &catalog, &models);
        let parts = actors::Parts {
            store: Arc::clone(&store),
            core: Arc::new(RuleCore::new(rules)),
            snapshots,
            checkpoints: Arc::new(FileCheckpoints::new(layout.checkpoint)),
            scorers: Arc::new(move || Box::new(champions.scorer()) as Box<dyn Scorer>),
            challengers: Arc::new(models.challengers().clone()),
            open_sink: sink(layout.projection, store.id(), config.clone()),
            views: Arc::new(views.clone()),
            models: Arc::new(move || lacking.lacking()),
            watch: Arc::new(watch),
            wall: clock::wall,
            shard: config.shard,
            options: config.pipeline.clone(),
        };
        let daemon = actors::start(parts).await?;
        let following = (!config.shard.is_whole()).then(|| models.follow());
        Ok(Self { daemon, views, catalog, store, models, server: None, wire: None, _following: following })
    }

    /// Begins to answer HTTP; answers where.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn serve(
        &mut self,
        config: &Config,
        metrics: PrometheusHandle,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<SocketAddr, StartError> {
        let daemon = self.daemon.clone();
        let clock = self.daemon.clone();
        let ports = http::Ports {
            commands: Arc::new(self.daemon.clone()),
            models: Arc::new(self.models.clone()),
            views: Arc::new(self.views.clone()),
            catalog: Arc::clone(&self.catalog),
            check: check(Arc::clone(&self.catalog), config.ingest.future_max),
            changes: Arc::new(move || daemon.changes()),
            metrics: Arc::new(move || metrics.render()),
            now: Arc::new(move || clock.now()),
            store: self.store.id(),
        };
        let server = http::server::Server::bind(config.http.clone(), ports, inherited).await?;
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(async move {
            // A sender that is gone is a stop too.
            drop(stopped.await);
        }));
        self.server = Some(Serving { address, stop, tasks });
        Ok(address)
    }

    /// Begins to speak the KurrentDB protocol, if it is asked for; answers where.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn speak(&mut self, config: &Config) -> Result<Option<SocketAddr>, StartError> {
        let Some(address) = config.wire.listen.0 else { return Ok(None) };
        let ports = wire::Ports { store: Arc::clone(&self.store), owned: OWNED };
        let running = wire::Running::start(address, config.wire.clone(), ports).await?;
        let address = running.address();
        self.wire = Some(running);
        Ok(Some(address))
    }

    /// Where the API answers.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(|server| server.address)
    }

    /// Stops in order: API, KurrentDB protocol, feed, users, scorer, appender, projector, store.
    pub async fn stop(self) {
        if let Some(mut server) = self.server {
            if server.stop.send(()).is_err() {
                tracing::debug!("the API has ended already");
            }
            if let Some(Ok(stopped)) = server.tasks.join_next().await
                && stopped.cut > 0
            {
                tracing::warn!(connections = stopped.cut, "connections were cut at the stop");
            }
        }
        if let Some(wire) = self.wire {
            wire.stop().await;
        }
        self.daemon.stop().await;
        tracing::info!("stopped");
    }
}

/// The check that every event passes before it is appended.
pub fn check(catalog: Arc<Catalog>, future_max: Duration) -> http::Check {
    Arc::new(move |json| check_ingest(&catalog, json, clock::wall(), future_max))
}

/// The configuration with what the view has to know of the catalogue.
fn folding(config: &Config, catalog: &Catalog) -> Config {
    let mut config = config.clone();
    let models_of = |event: usize| {
        let converts =
            |model: &&ModelSpec| model.conversion_events.iter().any(|kind| usize::from(kind.0) == event);
        catalog.models.iter().filter(converts).map(|model| model.name.clone()).collect()
    };
    let named = catalog.events.iter().enumerate().map(|(at, event)| (event.name.clone(), models_of(at)));
    config.projection.conversion_events =
        named.filter(|(_, models): &(String, Vec<String>)| !models.is_empty()).collect();
    config
}

/// The watch over what models see and say.
fn watch(config: &Config, catalog: &Catalog, models: &ModelRegistry) -> Watch {
    let manifests = models.clone();
    let trained_on: TrainedOn = Arc::new(move |model, version| manifests.trained_on(model, version));
    Watch::new(catalog, config.pipeline.watch_days, trained_on, clock::wall())
}

fn open_projection(path: &Path, store: StoreId, config: &Config) -> Result<Projection, projection::Error> {
    let projection = Projection::open(path, store, config.projection.clone())?;
    if let Some(reset) = projection.reset() {
        tracing::warn!(%reset, "the projection is built again from the log");
    }
    Ok(projection)
}

fn sink(path: PathBuf, store: StoreId, config: Config) -> OpenSink {
    Arc::new(move || {
        let projection = open_projection(&path, store, &config)?;
        Ok(Box::new(Sink(projection)) as Box<dyn ProjectionSink>)
    })
}

/// The projection as the projector drives it.
struct Sink(Projection);

impl ProjectionSink for Sink {
    fn filter(&self) -> Filter {
        // Of a user's own events the view needs to know that there are any, and what became of people.
        Filter::streams(&[stream::INTENT, stream::USER]).sparsely(stream::USER, &[CONVERSION_RECORDED])
    }

    fn position(&mut self) -> Result<Option<Position>, projection::Error> {
        Ok(self.0.position())
    }

    fn apply(
        &mut self,
        events: &[Recorded],
        through: Position,
    ) -> Result<Vec<AlertChange>, projection::Error> {
        let changes = self.0.apply(events, through)?;
        for unreadable in self.0.take_unreadable() {
            tracing::warn!(
                position = unreadable.position.0,
                event_type = unreadable.event_type,
                reason = unreadable.reason,
                "an event is left out of the projection"
            );
        }
        Ok(changes)
    }
}
