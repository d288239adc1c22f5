//! Appends that are not like others: of nothing, and to streams that were deleted for now.
//!
//! Law: what is written and what shows it again go to the store in one call, and a repeated append completes one that was
//! done by half. Called by `append`.

use tonic::Status;

use super::App;
use super::append::Done;
use super::expected::fits;
use super::status::{Refused, of_store};
use super::stream_metadata::{self, Metadata, PREFIX};
use crate::domain::event::{ExpectedRevision, NewEvent, Position, Revision};
use crate::domain::id::EventId;
use crate::store::{Append, Conflict, Direction};

/// Events of one page on the way back to a deletion: hardly ever more than one has come since.
const PAGE: usize = 16;

impl App {
    /// Nothing to append: where the stream ends, if it is as expected.
    pub(super) async fn append_nothing(
        &self,
        stream: String,
        expected: ExpectedRevision,
        metadata: &Metadata,
    ) -> Result<Done, Refused> {
        let last = stream_metadata::last(&*self.store, &stream).await?;
        let seen = last.as_ref().filter(|_| !metadata.is_deleted());
        let revision = seen.map(|seen| seen.revision);
        if !fits(expected, revision) && !fits_behind(expected, last.as_ref().map(|last| last.revision)) {
            return Err(Refused::Conflict(Conflict { stream, expected, actual: revision }));
        }
        Ok(Done { revision, position: seen.map(|seen| seen.position) })
    }

    /// Brings a deleted stream back with these events.
    pub(super) async fn revive(
        &self,
        stream: String,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        metadata: Metadata,
    ) -> Result<Done, Refused> {
        let last = stream_metadata::last(&*self.store, &stream).await?.map(|last| last.revision);
        let first = self.first_since(&stream, metadata.written_at()).await?;
        let back = Append {
            stream: format!("{PREFIX}{stream}"),
            expected: ExpectedRevision::Any,
            events: vec![metadata.truncated(Some(first))],
        };
        if let Some(done) = self.standing(&stream, first, &ids(&events)).await? {
            self.append_all(vec![back]).await?;
            return Ok(done);
        }
        let seen = last.filter(|last| *last >= first);
        if !fits(expected, seen) && !fits_behind(expected, last) {
            return Err(Refused::Conflict(Conflict { stream, expected, actual: seen }));
        }
        let exact = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        // Refused only when the daemon itself has just written to the stream: that brings it back as well.
        let appends = vec![Append { stream, expected: exact, events }, back];
        Ok(self.append_all(appends).await?.into())
    }

    /// The revision of the first event that came after a deletion, or that will.
    async fn first_since(&self, stream: &str, deleted_at: Position) -> Result<Revision, Status> {
        let mut from = None;
        loop {
            let page = self.store.read_stream(stream, from, Direction::Backwards, PAGE).await;
            let page = page.map_err(|error| of_store(&error))?;
            if let Some(before) = page.events.iter().find(|event| event.position < deleted_at) {
                return Ok(before.revision + 1);
            }
            from = page.next;
            if from.is_none() {
                return Ok(0);
            }
        }
    }

    /// What these events' append did, if they stand in the stream from this revision on.
    pub(super) async fn standing(
        &self,
        stream: &str,
        from: Revision,
        ids: &[EventId],
    ) -> Result<Option<Done>, Status> {
        let page = self.store.read_stream(stream, Some(from), Direction::Forwards, ids.len()).await;
        let events = page.map_err(|error| of_store(&error))?.events;
        let same = events.iter().map(|event| &event.id).eq(ids);
        let done = |last| Done { revision: Some(last), position: events.last().map(|last| last.position) };
        Ok(events.last().filter(|_| same).map(|last| done(last.revision)))
    }
}

/// The ids of events, in order.
pub(super) fn ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Whoever deleted a stream may go on as if it were new, or from where it really ends.
fn fits_behind(expected: ExpectedRevision, last: Option<Revision>) -> bool {
    matches!(expected, ExpectedRevision::Exact(_)) && fits(expected, last)
}
