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
use crate::domain::event::{ExpectedRevision, Position};
use crate::store::Append;

impl App {
    /// Hides all that a stream holds, until somebody appends to it again.
    pub(super) async fn delete(
        &self,
        stream: String,
        expected: ExpectedRevision,
    ) -> Result<Position, Status> {
        let tombs = self.tombs.alone().await;
        self.check_delete(&tombs, &stream)?;
        let metadata = stream_metadata::metadata(&*self.store, &stream).await?;
        let last = stream_metadata::last(&*self.store, &stream).await?.map(|event| event.revision);
        if last.is_none() || !fits(expected, last) {
            return Err(delete_conflict(&stream, expected, last));
        }
        let events = vec![metadata.truncated(None)];
        let append = Append { stream: format!("{PREFIX}{stream}"), expected: ExpectedRevision::Any, events };
        Ok(self.append_one(append).await.map_err(Refused::status)?.position)
    }

    /// Closes a stream for ever.
    pub(super) async fn tombstone(
        &self,
        stream: String,
        expected: ExpectedRevision,
    ) -> Result<Position, Status> {
        let mut tombs = self.tombs.alone().await;
        self.check_delete(&tombs, &stream)?;
        let last = stream_metadata::last(&*self.store, &stream).await?.map(|event| event.revision);
        if !fits(expected, last) {
            return Err(delete_conflict(&stream, expected, last));
        }
        let exact = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let ended = self.append_one(tombs::end(&stream, exact)).await.map_err(Refused::status)?;
        self.append_one(tombs::remember(&stream)).await.map_err(Refused::status)?;
        tombs.insert(stream.into());
        Ok(ended.position)
    }

    fn check_delete(&self, tombs: &tombs::Names, stream: &str) -> Result<(), Status> {
        if !self.may_write(stream) || stream.starts_with(PREFIX) {
            return Err(access_denied());
        }
        if tombs.contains(stream) {
            return Err(stream_deleted(stream));
        }
        Ok(())
    }
}
