//! Appends as a caller sees them: learn the streams, take one's turn, answer.
//!
//! Law: a call has its place in the order of all calls from its first moment, however long it takes to learn its streams, and
//! keeps it when its caller has gone: what was made behind it may not go in front of what its caller will ask for again.
//! Called by [`super`].

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::iter;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hashbrown::HashMap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Shared;
use super::convert::unavailable;
use super::flight::{Call, Learnt};
use super::job::Done;
use super::known::{Slot, lock};
use crate::domain::event::{ExpectedRevision, NewEvent, Recorded, Revision};
use crate::error::Chain;
use crate::store::{Append, AppendAnswer, Appended, Direction, Error, kind};

/// Events of one page while a stream is learnt.
const PAGE: usize = 1_000;
/// Reads under way for one call.
const READS_MAX: usize = 64;

/// Streams with what is known of them.
type Unread = Vec<(String, Slot)>;

/// Where appends go in: one flight, and what has to be learnt for it, whoever waits. All ends with the last clone.
#[derive(Clone)]
pub(super) struct Door {
    calls: UnboundedSender<Call>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Door {
    /// A door with its flight.
    pub(super) fn new(
        calls: UnboundedSender<Call>,
        flight: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(flight);
        Self { calls, tasks: Arc::new(Mutex::new(tasks)) }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// Learns streams and says so, while the call is still there.
async fn learning(
    shared: Arc<Shared>,
    unread: Unread,
    appends: Vec<(Append, Slot)>,
    mut tell: oneshot::Sender<Learnt>,
) {
    let learnt = tokio::select! {
        learnt = shared.learn(&unread) => learnt,
        () = tell.closed() => return,
    };
    drop(tell.send(learnt.map(|()| appends).map_err(|error| Chain(&error).to_string())));
}

impl Shared {
    /// Appends many. Its turn is taken when this is first polled.
    pub(super) async fn append(
        self: &Arc<Self>,
        door: &Door,
        batch: Vec<Append>,
    ) -> Result<Vec<AppendAnswer>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let gone = || unavailable("the store is being closed");
        let (tell, learnt) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        {
            let _closed = self.gate.close();
            let is_late = self.gate.has_failed();
            door.calls.send(Call { learnt, answer, is_late }).map_err(|_| gone())?;
        }
        let with_slot = |append: Append| {
            let slot = self.streams.slot(&append.stream);
            (append, slot)
        };
        let appends: Vec<(Append, Slot)> = batch.iter().cloned().map(with_slot).collect();
        let mut unread = HashMap::new();
        for (append, slot) in &appends {
            if lock(slot).unread().is_some() {
                unread.entry_ref(&append.stream).or_insert_with(|| Arc::clone(slot));
            }
        }
        if unread.is_empty() {
            drop(tell.send(Ok(appends)));
        } else {
            let unread = unread.into_iter().collect();
            door.spawn(learning(Arc::clone(self), unread, appends, tell));
        }
        let done = match answered.await.map_err(|_| gone())? {
            Ok(done) => done,
            Err(failed) => return Err(failed.heard().unwrap_or_else(gone)),
        };
        let answers = batch.iter().zip(done).map(|(append, done)| self.answer(append, done));
        iter(answers.collect::<Vec<_>>()).buffered(READS_MAX).try_collect().await
    }

    /// Reads streams of which something is not known.
    pub(super) async fn learn(&self, streams: &[(String, Slot)]) -> Result<(), Error> {
        let all = streams.iter().map(|(name, slot)| self.learn_one(name, slot));
        iter(all.collect::<Vec<_>>()).buffer_unordered(READS_MAX).try_collect().await
    }

    /// Reads on from what is certain. What it has read stays known when it fails or nobody waits any more.
    async fn learn_one(&self, stream: &str, slot: &Slot) -> Result<(), Error> {
        let mut learnt = 0;
        loop {
            let Some(from) = lock(slot).unread() else { return Ok(()) };
            let page = self.read_stream(stream, Some(from), Direction::Forwards, PAGE).await?;
            let new = lock(slot).learn(from, &page);
            if learnt <= self.options.ids_max && learnt + new > self.options.ids_max {
                let (kind, ids_max) = (kind(stream), self.options.ids_max);
                tracing::warn!(
                    kind,
                    ids_max,
                    "a stream is longer than kurrentdb.ids_max; it is kept whole in memory"
                );
            }
            learnt += new;
            self.streams.learnt(new);
            // One that is being read is in use.
            self.streams.slot(stream);
        }
    }

    async fn answer(&self, append: &Append, done: Done) -> Result<AppendAnswer, Error> {
        match done {
            Done::Written(done) => self.checked(append, done).await.map(Ok),
            Done::Stands { revision, ours } => self.stands(append, revision, ours).await.map(Ok),
            Done::Refused(conflict) => Ok(Err(conflict)),
            Done::Failed(error) => Err(error),
        }
    }

    /// The server answers the same for events that it has just written and for events that somebody else wrote under the same
    /// ids at the same place, which is what two daemons do that were given the same user. Whoever wrote at an exact place is
    /// told whose events stand there.
    async fn checked(&self, append: &Append, done: Appended) -> Result<Appended, Error> {
        if matches!(append.expected, ExpectedRevision::Any | ExpectedRevision::Exists) {
            return Ok(done);
        }
        let count = append.events.len();
        let from = done.revision + 1 - u64::from(done.appended);
        let page = self.read_stream(&append.stream, Some(from), Direction::Forwards, count).await?;
        let same = |(there, ours): (&Recorded, &NewEvent)| {
            there.id == ours.id && there.data == ours.data && there.metadata == ours.metadata
        };
        let is_ours = page.events.len() == count && page.events.iter().zip(&append.events).all(same);
        Ok(if is_ours { done } else { Appended { appended: 0, duplicates: done.appended, ..done } })
    }

    /// The answer for what stands already, when it does.
    async fn stands(&self, append: &Append, revision: Revision, ours: bool) -> Result<Appended, Error> {
        let page = self.read_stream(&append.stream, Some(revision), Direction::Forwards, 1).await?;
        let is_there = |there: &&Recorded| {
            there.revision == revision && append.events.iter().any(|event| event.id == there.id)
        };
        let Some(event) = page.events.first().filter(is_there) else {
            lock(&self.streams.slot(&append.stream)).forget();
            let kind = kind(&append.stream);
            return Err(unavailable(format!(
                "a stream of {kind} does not hold at {revision} what it held; ask again"
            )));
        };
        let count = u32::try_from(append.events.len()).unwrap_or(u32::MAX);
        let (appended, duplicates) = if ours { (count, 0) } else { (0, count) };
        Ok(Appended { revision, position: event.position, appended, duplicates })
    }
}
