//! What a subscription follows, and how far it has told that it came.
//!
//! Law: checkpoints never repeat and never go back. Called by `mod`.

use std::sync::Arc;

use crate::clock;
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{Filter, Subscription};
use crate::wire::App;
use crate::wire::convert::{message, wire_time};
use crate::wire::fanout::Topic;
use crate::wire::filter::{Key, Wanted};
use crate::wire::proto::event_store::client::streams::ReadResp;
use crate::wire::proto::event_store::client::streams::read_resp::{
    CaughtUp, Checkpoint, Content, Position as WirePosition,
};

/// Checkpoints of a filtered subscription.
pub(super) struct Marks {
    pub(super) wanted: Arc<Wanted>,
    /// What tells the filter from others; none when it may take long.
    key: Option<Key>,
    pub(super) considered: u64,
    /// The newest checkpoint told.
    told: Option<Position>,
}

impl Marks {
    pub(super) fn new(wanted: Wanted, after: Option<Position>) -> Self {
        Self { key: wanted.key(), wanted: Arc::new(wanted), considered: 0, told: after }
    }

    /// Whether a match may take long.
    pub(super) fn is_slow(&self) -> bool {
        self.key.is_none()
    }

    /// The checkpoint at this place, if enough was considered.
    pub(super) fn due(&mut self, position: Position) -> Option<ReadResp> {
        if self.considered < self.wanted.interval.get() {
            return None;
        }
        self.at(position)
    }

    /// The checkpoint at this place, unless it or a later one was told.
    fn at(&mut self, position: Position) -> Option<ReadResp> {
        self.considered = 0;
        if self.told.is_some_and(|told| told >= position) {
            return None;
        }
        self.told = Some(position);
        Some(message(Content::Checkpoint(Checkpoint {
            commit_position: position.0,
            prepare_position: position.0,
            timestamp: Some(wire_time(clock::wall())),
        })))
    }
}

/// What it follows.
pub(super) enum Followed {
    /// A stream, and the last revision told or passed over.
    Stream(Box<str>, Option<Revision>),
    All(Option<Marks>),
}

impl Followed {
    /// What is still to be told, read for it alone. Checkpoints count the events that do not pass, too: the store may not
    /// leave them out.
    pub(super) fn by_itself(&self, app: &App, at: Option<Position>) -> Box<dyn Subscription> {
        match self {
            Self::Stream(stream, last) => app.store.subscribe_stream(stream, *last),
            Self::All(_) => app.store.subscribe_all(at, Filter::default()),
        }
    }

    /// With whom it may wait; none when it has to hear of everything, or costs others too much.
    pub(super) fn topic(&self) -> Option<Topic<'_>> {
        match self {
            Self::Stream(stream, _) => Some(Topic::Stream(stream)),
            Self::All(marks) => {
                let Marks { wanted, key, .. } = marks.as_ref()?;
                Some(Topic::Filter(wanted, key.as_ref()?))
            }
        }
    }

    /// Whether it was not told before.
    pub(super) fn is_new(&self, event: &Recorded, at: Option<Position>) -> bool {
        match self {
            Self::Stream(_, last) => last.is_none_or(|last| event.revision > last),
            Self::All(_) => Some(event.position) > at,
        }
    }

    /// What is told at the log's end, which was here.
    pub(super) fn caught_up(&mut self, at: Option<Position>) -> Vec<ReadResp> {
        let mut batch = Vec::new();
        let mut caught_up =
            CaughtUp { timestamp: Some(wire_time(clock::wall())), stream_revision: None, position: None };
        match self {
            Self::Stream(_, last) => caught_up.stream_revision = last.map(u64::cast_signed),
            Self::All(marks) => {
                let place = |at: Position| WirePosition { commit_position: at.0, prepare_position: at.0 };
                caught_up.position = at.map(place);
                batch.extend(marks.as_mut().zip(at).and_then(|(marks, at)| marks.at(at)));
            }
        }
        batch.push(message(Content::CaughtUp(caught_up)));
        batch
    }
}
