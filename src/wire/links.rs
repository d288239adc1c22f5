//! Events that stand for other events: type `$>`, data `<revision>@<stream>`.
//!
//! Law: a link whose event is gone is told as the link alone. Called by reads and subscriptions that resolve links.

use super::kept::{own, size};
use super::status::of_store;
use crate::domain::event::{Recorded, Revision};
use crate::store::{Direction, EventStore};

/// Type of a link.
pub(super) const LINK: &str = "$>";

/// An event as a reader gets it.
pub(super) struct Told {
    pub(super) event: Option<Recorded>,
    pub(super) link: Option<Recorded>,
}

impl Told {
    /// As a group keeps it.
    pub(super) fn own(&self) -> Self {
        Self { event: self.event.as_ref().map(own), link: self.link.as_ref().map(own) }
    }

    /// Bytes that it holds once it is [`own`].
    pub(super) fn size(&self) -> usize {
        self.event.iter().chain(&self.link).map(size).sum()
    }

    /// What was found: the link where there is one. Consumers acknowledge it by its id.
    pub(super) fn original(&self) -> Option<&Recorded> {
        self.link.as_ref().or(self.event.as_ref())
    }
}

fn target(event: &Recorded) -> Option<(Revision, &str)> {
    if event.event_type != LINK {
        return None;
    }
    let (revision, stream) = std::str::from_utf8(&event.data).ok()?.split_once('@')?;
    Some((revision.parse().ok()?, stream))
}

/// Follows links if the reader asked for it.
pub(super) async fn told(
    store: &dyn EventStore,
    event: Recorded,
    resolve: bool,
) -> Result<Told, tonic::Status> {
    let Some((revision, stream)) = target(&event).filter(|_| resolve) else {
        return Ok(Told { event: Some(event), link: None });
    };
    let page = store.read_stream(stream, Some(revision), Direction::Forwards, 1).await;
    let found = page.map_err(|error| of_store(&error))?.events.pop();
    Ok(Told { event: found.filter(|found| found.revision == revision), link: Some(event) })
}
