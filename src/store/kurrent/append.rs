//! Appends as a caller sees them: learn the streams, take one's turn, answer.
//!
//! Law: a call has its place in the order of all calls from its first moment, however long it takes to learn its streams.
//! Called by [`super`].

use std::sync::Arc;

use futures_util::stream::iter;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::Shared;
use super::convert::unavailable;
use super::flight::Call;
use super::job::Done;
use super::known::{Slot, lock};
use crate::domain::event::{ExpectedRevision, NewEvent, Recorded, Revision};
use crate::error::Chain;
use crate::store::{Append, AppendAnswer, Appended, Direction, Error};

/// Events of one page while a stream is learnt.
const PAGE: usize = 1_000;
/// Reads under way for one call.
const READS_MAX: usize = 64;

impl Shared {
    /// Appends many. Its turn is taken when this is first polled.
    pub(super) async fn append(
        &self,
        calls: &UnboundedSender<Call>,
        batch: Vec<Append>,
    ) -> Result<Vec<AppendAnswer>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let gone = || unavailable("the store is being closed");
        let (tell, learnt) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        calls.send(Call { learnt, answer }).map_err(|_| gone())?;
        let slot = |append: &Append| (append.stream.clone(), self.streams.slot(&append.stream));
        let slots: Vec<(String, Slot)> = batch.iter().map(slot).collect();
        let appends = batch.clone().into_iter().zip(slots.iter().map(|(_, slot)| Arc::clone(slot)));
        let unread = slots.iter().filter(|(_, slot)| !lock(slot).is_read);
        let learning = self.learn(&unread.cloned().collect::<Vec<_>>()).await;
        let told = learning.map(|()| appends.collect()).map_err(|error| Chain(&error).to_string());
        drop(tell.send(told));
        let done = answered.await.map_err(|_| gone())??;
        let answers = batch.iter().zip(done).map(|(append, done)| self.answer(append, done));
        iter(answers.collect::<Vec<_>>()).buffered(READS_MAX).try_collect().await
    }

    /// Reads streams of which something is not known.
    pub(super) async fn learn(&self, streams: &[(String, Slot)]) -> Result<(), Error> {
        let all = streams.iter().map(|(name, slot)| self.learn_one(name, slot));
        iter(all.collect::<Vec<_>>()).buffer_unordered(READS_MAX).try_collect().await
    }

    async fn learn_one(&self, stream: &str, slot: &Slot) -> Result<(), Error> {
        let mut at = Some(0);
        while let Some(from) = at {
            let page = self.read_stream(stream, Some(from), Direction::Forwards, PAGE).await?;
            lock(slot).learn(&page.events);
            self.streams.learnt(page.events.len());
            at = page.next;
        }
        lock(slot).is_read = true;
        Ok(())
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

    /// The answer for what stands already.
    async fn stands(&self, append: &Append, revision: Revision, ours: bool) -> Result<Appended, Error> {
        let page = self.read_stream(&append.stream, Some(revision), Direction::Forwards, 1).await?;
        let event = page.events.first().filter(|event| event.revision == revision);
        let Some(event) = event else {
            lock(&self.streams.slot(&append.stream)).forget();
            return Err(unavailable(format!("{} has lost its revision {revision}", append.stream)));
        };
        let count = u32::try_from(append.events.len()).unwrap_or(u32::MAX);
        let (appended, duplicates) = if ours { (count, 0) } else { (0, count) };
        Ok(Appended { revision, position: event.position, appended, duplicates })
    }
}
