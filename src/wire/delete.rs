//! Deleting streams: for now (`Delete`) or for ever (`Tombstone`).
//!
//! Law: nothing leaves the log; a delete is an event like any other. While one is decided, nothing else is written through
//! here, so that what was expected still holds. Called by `streams`.

use tonic::Status;

use super::App;
use super::expected::fits;
use super::status::{Refused, access_denied, delete_conflict, stream_deleted};
use super::stream_metadata::{self, PREFIX};
use super::tombs;
use crate::domain::event::{ExpectedRevision, Position, Revision};
use crate::store::Append;

impl App {
    /// Hides all that a stream holds, until somebody appends to it again.
    pub(super) async fn delete(
        &self,
        stream: String,
        expected: ExpectedRevision,
    ) -> Result<Position, Status> {
        let _alone = self.tombs.alone().await;
        self.check_delete(&stream)?;
        let metadata = stream_metadata::metadata(&*self.store, &stream).await?;
        let last = stream_metadata::last(&*self.store, &stream).await?.map(|event| event.revision);
        if last.is_none() || !fits(expected, last) {
            return Err(delete_conflict(&stream, expected, last));
        }
        let events = vec![metadata.truncated(None)];
        let append = Append { stream: format!("{PREFIX}{stream}"), expected: ExpectedRevision::Any, events };
        Ok(self.append_all(vec![append]).await.map_err(Refused::status)?.position)
    }

    /// Closes a stream for ever.
    pub(super) async fn tombstone(
        &self,
        stream: String,
        expected: ExpectedRevision,
    ) -> Result<Position, Status> {
        let _alone = self.tombs.alone().await;
        self.check_delete(&stream)?;
        let last = stream_metadata::last(&*self.store, &stream).await?;
        let ended = match last {
            // A close before this one was done by half.
            Some(last) if tombs::ends(&last) => {
                let remember = tombs::remember(&stream, last.revision);
                self.append_all(vec![remember]).await.map(|_| last.position)
            }
            last => self.end(&stream, expected, last.map(|last| last.revision)).await,
        };
        let position = ended.map_err(Refused::status)?;
        self.tombs.insert(stream);
        Ok(position)
    }

    async fn end(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        last: Option<Revision>,
    ) -> Result<Position, Refused> {
        if !fits(expected, last) {
            return Err(delete_conflict(stream, expected, last).into());
        }
        // Where it is remembered, the place of the end stands too: if the daemon has just written to the stream and its end
        // is refused, it is not closed.
        let place = last.map_or(0, |last| last + 1);
        let appends = vec![tombs::end(stream, last), tombs::remember(stream, place)];
        Ok(self.append_all(appends).await?.position)
    }

    fn check_delete(&self, stream: &str) -> Result<(), Status> {
        if !self.may_write(stream) || stream.starts_with(PREFIX) {
            return Err(access_denied());
        }
        if self.tombs.contains(stream) {
            return Err(stream_deleted(stream));
        }
        Ok(())
    }
}
