//! The running daemon: what each call of the outside does with actors, log and view.
//!
//! Law: a call answers when its effect is durable and the view shows it, or says that it does not know. What only a user's own
//! actor can do is refused where another instance has that user. Called by `calls`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, broadcast, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::asked::{Asked, Reply};
use super::flow::Flow;
use super::projector::Told;
use super::requests::Request;
use super::root::{self, Parts};
use super::{elsewhere, history, registry};
use crate::commands::{Error, Ingest, Ingested, Processed};
use crate::domain::entity::{Answer, Command, Description, LastScore};
use crate::domain::event::Position;
use crate::domain::id::{UserId, stream};
use crate::domain::market::Market;
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::error::Chain;
use crate::metrics;
use crate::projection::AlertChange;
use crate::store::{self, Append, Direction};

/// Users of other instances that one call waits for at once: each is a subscription on the one connection of all.
const ELSEWHERE_MAX: usize = 32;

/// The running daemon. Clones are the same one.
#[derive(Clone)]
pub struct Daemon(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) registry: registry::Handle,
    pub(super) flow: Arc<Flow>,
    pub(super) told: Told,
    pub(super) root: root::Handle,
    pub(super) ingesting: Semaphore,
    pub(super) stopping: AtomicBool,
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn number(count: u64) -> f64 {
    count as f64
}

pub(super) fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { reason: reason.into() }
}

pub(super) fn from_store(error: &store::Error) -> Error {
    let reason = Chain(error).to_string();
    match error {
        store::Error::Invalid { .. } | store::Error::TooBig { .. } => Error::NotTaken { reason },
        store::Error::Unavailable { .. } | store::Error::Corrupt { .. } => Error::Unavailable { reason },
    }
}

/// What a store that takes no such append most likely means: servers name their bound, and neither the append nor its size.
struct Largest {
    stream: String,
    events: usize,
    bytes: usize,
}

impl Largest {
    fn of(batch: &[Append]) -> Option<Self> {
        let bytes = |append: &Append| -> usize {
            append.events.iter().map(|event| event.data.len() + event.metadata.len()).sum()
        };
        let (bytes, append) =
            batch.iter().map(|append| (bytes(append), append)).max_by_key(|(bytes, _)| *bytes)?;
        Some(Self { stream: append.stream.clone(), events: append.events.len(), bytes })
    }

    fn explain(self, error: Error) -> Error {
        let Error::NotTaken { reason } = error else { return error };
        let Self { stream, events, bytes } = self;
        let reason = format!(
            "{reason} (the largest part of the request: {events} event(s) of {bytes} bytes to {stream}); send smaller \
             events or fewer at once, or raise the store's bound"
        );
        Error::NotTaken { reason }
    }
}

impl Daemon {
    /// Changes of alerts as they happen; one who is too slow is told how many were missed.
    pub fn changes(&self) -> broadcast::Receiver<Arc<AlertChange>> {
        self.0.told.changes.subscribe()
    }

    /// Stops in order: no new commands, feed, users, scorer, appender, projector; each with its deadline.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.root.stop().await;
    }

    /// Waits until the daemon cannot go on; answers why.
    pub async fn failed(&self) -> String {
        self.0.root.failed().await
    }

    /// Ends everything at once, as a kill does: for tests of recovery.
    pub fn abort(&self) {
        self.0.root.abort();
    }

    /// Events read from the log and not yet settled.
    pub fn in_flight(&self) -> u64 {
        self.0.flow.in_flight()
    }

    /// Everything up to here is decided and durable.
    pub fn checkpoint(&self) -> Option<Position> {
        self.0.flow.checkpoint()
    }

    /// Waits until everything up to an ingested position is decided and durable, and the view shows what was decided.
    pub async fn settled(&self, through: Position) {
        self.0.flow.is_settled_through(through).await;
        if let Ok(Some(head)) = self.0.parts.store.head().await {
            self.0.told.shows(head).await;
        }
    }

    /// Tells the metrics how far everything is and how full the bounds are.
    pub async fn gauges(&self) {
        let Inner { flow, told, parts, .. } = &*self.0;
        let options = &parts.options;
        metrics::feed_lag(number(flow.in_flight()));
        metrics::log_clock(number(u64::try_from(flow.clock().millis()).unwrap_or(0)) / 1_000.0);
        if let Ok(Some(head)) = parts.store.head().await {
            let behind = |at: Option<Position>| number(head.0.saturating_sub(at.map_or(0, |at| at.0)));
            metrics::feed_behind(behind(flow.checkpoint()));
            metrics::projection_behind(behind(*told.position.borrow()));
            flow.lag.mark(head);
            told.lag.mark(head);
        }
        parts.watch.gauges(self.now());
        parts.watch.measure(&parts.views, self.now(), options.measure_every);
        let (feed, view) = self.0.lags();
        metrics::lag("feed", feed.as_secs_f64());
        metrics::lag("projection", view.as_secs_f64());
        let ingests = options.ingest_max.saturating_sub(self.0.ingesting.available_permits());
        let bounds = [
            ("in_flight", flow.in_flight(), options.in_flight_max),
            ("span", flow.span(), options.span_max),
            ("ingest", ingests as u64, options.ingest_max),
        ];
        for (bound, used, limit) in bounds {
            metrics::bound_used(bound, number(used) / number(limit as u64));
            metrics::bound_limit(bound, number(limit as u64));
        }
    }

    /// The log's clock: the wall clock, or the largest event time in the log when that is earlier.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.flow.now((self.parts.wall)())
    }

    /// How long the feed and the view have been behind the log.
    pub(super) fn lags(&self) -> (Duration, Duration) {
        let shown = *self.told.position.borrow();
        (self.flow.lag.behind(self.flow.handed_through()), self.told.lag.behind(shown))
    }

    pub(super) async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(unavailable("the daemon is stopping"));
        }
        match timeout(self.parts.options.command_timeout, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { what: what.to_owned() }),
        }
    }

    /// Refuses users of whom the log holds nothing: a mistyped id must not make a user.
    pub(super) async fn known(&self, users: &[UserId]) -> Result<(), Error> {
        for user in users {
            let name = stream::user(user);
            let page = self.parts.store.read_stream(&name, None, Direction::Forwards, 1).await;
            if !page.map_err(|error| from_store(&error))?.exists {
                return Err(Error::NotFound { what: format!("user {user}") });
            }
        }
        Ok(())
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<store::Appended>, Error> {
        let largest = Largest::of(&batch);
        let explained = |error: store::Error| {
            let error = from_store(&error);
            largest.map_or_else(|| unavailable("nothing was appended"), |largest| largest.explain(error))
        };
        let answers = self.parts.store.append(batch).await.map_err(explained)?;
        answers
            .into_iter()
            .map(|answer| answer.map_err(|conflict| unavailable(conflict.to_string())))
            .collect()
    }

    async fn ask(&self, user: &UserId, command: Command) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { command, as_of: self.now(), reply };
        self.registry.command(user.clone(), asked);
        answer.await.ok()
    }

    /// Asks a user of ours once; waits until the view shows the answer.
    pub(super) async fn command(&self, user: &UserId, command: Command) -> Result<Answer, Error> {
        if !self.parts.shard.holds(user) {
            return Err(Error::Elsewhere { owner: self.parts.shard.owner_of(user) });
        }
        let Some((answer, facts_at)) = self.ask(user, command).await else {
            return Err(unavailable("the user is being brought to memory; ask again"));
        };
        if let Some(position) = facts_at {
            self.told.shows(position).await;
        }
        Ok(answer?)
    }

    /// Asks for what changes nothing, again when the user failed meanwhile.
    async fn query(&self, user: &UserId, command: Command) -> Result<Answer, Error> {
        loop {
            match self.command(user, command.clone()).await {
                Err(Error::Unavailable { .. }) => sleep(self.parts.options.backoff_first).await,
                other => return other,
            }
        }
    }

    /// Asks for scores through the log; answers when they are decided and shown.
    pub(super) async fn score(
        &self,
        wanted: Vec<Request>,
    ) -> Result<Vec<(UserId, u64, Vec<LastScore>)>, Error> {
        let batch = wanted.iter().map(Request::append).collect();
        let appended = self.append(batch).await?;
        let turns = Semaphore::new(ELSEWHERE_MAX);
        let one = async |(request, appended): (Request, store::Appended)| {
            let revision = appended.revision;
            let scores = self.scores_at(&request.user, revision, &turns).await?;
            let of =
                |score: &LastScore| request.models.is_empty() || request.models.contains(&score.model_type);
            Ok((request.user, revision, scores.into_iter().filter(of).collect()))
        };
        join_all(wanted.into_iter().zip(appended).map(one)).await.into_iter().collect()
    }

    /// The newest scores of a user, once everything up to a revision is decided.
    async fn scores_at(
        &self,
        user: &UserId,
        revision: u64,
        turns: &Semaphore,
    ) -> Result<Vec<LastScore>, Error> {
        if !self.parts.shard.holds(user) {
            let _turn = turns.acquire().await.map_err(|error| unavailable(error.to_string()))?;
            let decided = elsewhere::decided(&self.parts, user, revision).await;
            self.told.shows(decided.map_err(|error| from_store(&error))?).await;
            let description = elsewhere::describe(&self.parts, user, self.now()).await;
            let description = description.map_err(|error| from_store(&error))?;
            return Ok(description.map_or_else(Vec::new, |description| description.scores));
        }
        match self.query(user, Command::AwaitRevision { revision }).await? {
            Answer::Scores { scores, .. } => Ok(scores),
            Answer::Done { .. } | Answer::Description(_) => Ok(Vec::new()),
        }
    }

    pub(super) async fn ingest(&self, events: Vec<Ingest>) -> Result<Ingested, Error> {
        let Ok(_place) = self.ingesting.try_acquire() else {
            return Err(unavailable("too many appends are under way; try again in a second"));
        };
        let began = Instant::now();
        let (batch, repeated) = super::gather::gather(events);
        let count: u64 = batch.iter().map(|append| append.events.len() as u64).sum();
        let mut done = Ingested { accepted: 0, duplicates: repeated, position: Position::default() };
        for appended in self.append(batch).await? {
            done.accepted += u64::from(appended.appended);
            done.duplicates += u64::from(appended.duplicates);
            done.position = done.position.max(appended.position);
        }
        crate::metrics::stage_events("ingest", count);
        crate::metrics::stage_duration("ingest", began.elapsed());
        crate::metrics::ingest_duplicates(done.duplicates);
        Ok(done)
    }

    pub(super) async fn process_signals(&self, limit: usize) -> Result<Processed, Error> {
        let began = Instant::now();
        let views = Arc::clone(&self.parts.views);
        let waiting = tokio::task::spawn_blocking(move || views.unscored(limit, Shard::WHOLE)).await;
        let waiting = waiting.map_err(|error| unavailable(error.to_string()))?;
        let waiting = waiting.map_err(|error| unavailable(error.to_string()))?;
        let now = self.now();
        let requests = waiting.into_iter().map(|view| Request::sweep(&view, now)).collect();
        let mut done = Processed::default();
        for (user, revision, scores) in self.score(requests).await? {
            done.users += 1;
            done.scored += scores.iter().filter(|score| score.scoring.is_ok()).count() as u64;
            done.failed += u64::from(scores.iter().any(|score| score.scoring.is_err()));
            let store = &self.parts.store;
            done.alerts_created +=
                history::alerts_of(store, &user, revision).await.map_err(|e| from_store(&e))?;
            if let Some(description) = self.describe(&user).await? {
                done.signals += description.signals.len() as u64;
            }
        }
        done.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(done)
    }

    pub(super) async fn describe(&self, user: &UserId) -> Result<Option<Description>, Error> {
        let name = stream::user(user);
        let page = self.parts.store.read_stream(&name, None, Direction::Forwards, 1).await;
        if !page.map_err(|error| from_store(&error))?.exists {
            return Ok(None);
        }
        if !self.parts.shard.holds(user) {
            return elsewhere::describe(&self.parts, user, self.now()).await.map_err(|e| from_store(&e));
        }
        // The registry puts its own market in.
        let command = Command::Describe { as_of: self.now(), market: Arc::new(Market::default()) };
        match self.query(user, command).await? {
            Answer::Description(description) => Ok(Some(*description)),
            Answer::Done { .. } | Answer::Scores { .. } => Ok(None),
        }
    }

    pub(super) async fn events(&self, user: &UserId, revisions: Vec<u64>) -> Result<Vec<Bytes>, Error> {
        let name = stream::user(user);
        let mut found = Vec::with_capacity(revisions.len());
        for revision in revisions {
            let page = self.parts.store.read_stream(&name, Some(revision), Direction::Forwards, 1).await;
            let page = page.map_err(|error| from_store(&error))?;
            found.extend(page.events.into_iter().filter(|it| it.revision == revision).map(|it| it.data));
        }
        Ok(found)
    }
}
