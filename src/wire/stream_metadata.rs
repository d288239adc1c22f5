//! A stream's own metadata: how much of it is to be seen.
//!
//! Law: metadata are the newest event of `$$<stream>`; they hide events from reads of that stream and never from `$all`,
//! and they delete nothing. Called by reads, appends and deletes.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic::Status;
use uuid::Uuid;

use super::status::of_store;
use crate::domain::event::{NewEvent, Position, Recorded, Revision};
use crate::domain::id::EventId;
use crate::domain::time::Timestamp;
use crate::store::{Direction, EventStore};

/// Before the name of the stream that holds another one's metadata.
pub(super) const PREFIX: &str = "$$";
/// Type of the event that holds metadata.
const TYPE: &str = "$metadata";
const TRUNCATE_BEFORE: &str = "$tb";
/// `$tb` of a stream that is deleted until somebody appends to it again.
const DELETED: Revision = i64::MAX as Revision;

/// What hides events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct Limits {
    #[serde(rename = "$maxCount", default)]
    count_max: Option<u64>,
    /// In seconds.
    #[serde(rename = "$maxAge", default)]
    age_max: Option<u64>,
    #[serde(rename = "$tb", default)]
    truncate_before: Option<Revision>,
}

/// A stream's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// Where they stand in the log.
    written_at: Position,
    limits: Limits,
    all: Map<String, Value>,
}

/// The last event of a stream.
pub(super) async fn last(store: &dyn EventStore, stream: &str) -> Result<Option<Recorded>, Status> {
    let page = store.read_stream(stream, None, Direction::Backwards, 1).await;
    Ok(page.map_err(|error| of_store(&error))?.events.pop())
}

/// A stream's metadata; nothing when there are none.
pub(super) async fn metadata(store: &dyn EventStore, stream: &str) -> Result<Metadata, Status> {
    if stream.starts_with(PREFIX) {
        return Ok(Metadata::default());
    }
    let newest = last(store, &format!("{PREFIX}{stream}")).await?;
    let read = |event: Recorded| Metadata { written_at: event.position, ..Metadata::read(&event.data) };
    Ok(newest.map(read).unwrap_or_default())
}

/// The newest event, up to the last, that is hidden from who begins to follow a stream now. Those to come are told, however
/// old they grow.
pub(super) async fn hidden(
    store: &dyn EventStore,
    stream: &str,
    last: Option<Revision>,
    now: Timestamp,
) -> Result<Option<Revision>, Status> {
    let metadata = metadata(store, stream).await?;
    if metadata.is_deleted() {
        return Ok(last);
    }
    let Window { first, oldest } = metadata.window(last, now);
    let first = match oldest {
        Some(oldest) => recorded_since(store, stream, first..last.map_or(0, |last| last + 1), oldest).await?,
        None => first,
    };
    Ok(first.checked_sub(1))
}

/// The first of these revisions that was recorded since then, or their end. As long as the store's clock did not go back,
/// later ones were too.
async fn recorded_since(
    store: &dyn EventStore,
    stream: &str,
    among: Range<Revision>,
    oldest: Timestamp,
) -> Result<Revision, Status> {
    let Range { start: mut low, end: mut high } = among;
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.read_stream(stream, Some(middle), Direction::Forwards, 1).await;
        match page.map_err(|error| of_store(&error))?.events.pop() {
            Some(event) if event.revision < high && event.recorded_at < oldest => low = event.revision + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

impl Metadata {
    /// Metadata that cannot be understood hide nothing.
    fn read(json: &[u8]) -> Self {
        let all: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
        let limits = Limits::deserialize(&Value::Object(all.clone())).unwrap_or_default();
        Self { written_at: Position::default(), limits, all }
    }

    /// Whether the stream is deleted, for now.
    pub(super) fn is_deleted(&self) -> bool {
        self.limits.truncate_before == Some(DELETED)
    }

    /// Where in the log they were written.
    pub(super) fn written_at(&self) -> Position {
        self.written_at
    }

    /// The first revision that is to be seen, when those before it are hidden for good.
    pub(super) fn first(&self) -> Option<Revision> {
        self.limits.truncate_before
    }

    /// The event that deletes the stream, or brings it back with what follows `from`.
    pub(super) fn truncated(mut self, from: Option<Revision>) -> NewEvent {
        self.all.insert(TRUNCATE_BEFORE.to_owned(), from.unwrap_or(DELETED).into());
        NewEvent {
            id: EventId(Uuid::new_v4()),
            event_type: TYPE.into(),
            data: Bytes::from(Value::Object(self.all).to_string()),
            metadata: Bytes::new(),
        }
    }

    /// What of a stream is to be seen that ends with this event.
    pub(super) fn window(&self, last: Option<Revision>, now: Timestamp) -> Window {
        let Limits { count_max, age_max, truncate_before } = self.limits;
        let end = last.map_or(0, |last| last + 1);
        let counted = count_max.map_or(0, |count| end.saturating_sub(count));
        let age = age_max.map(|seconds| Duration::from_secs(seconds).as_millis());
        let oldest = age.map(|age| now.millis().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)));
        let first = truncate_before.unwrap_or(0).max(counted);
        Window { first, oldest: oldest.map(Timestamp::from_millis) }
    }
}

/// What of a stream is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// From this revision on.
    pub(super) first: Revision,
    /// Recorded since then.
    oldest: Option<Timestamp>,
}

impl Window {
    /// Whether it shows an event.
    pub(super) fn shows(&self, event: &Recorded) -> bool {
        event.revision >= self.first && self.oldest.is_none_or(|oldest| event.recorded_at >= oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::ExpectedRevision;
    use crate::store::Append;
    use crate::store::memory::MemoryStore;

    fn of(json: &str) -> Metadata {
        Metadata::read(json.as_bytes())
    }

    #[test]
    fn each_limit_hides_what_it_says() {
        let now = Timestamp::from_millis(100_000);
        assert_eq!(of("{}").window(Some(9), now), Window::default());
        assert_eq!(of("no json").window(Some(9), now), Window::default());
        assert_eq!(of(r#"{"$maxCount":3}"#).window(Some(9), now).first, 7);
        assert_eq!(of(r#"{"$maxCount":30}"#).window(Some(9), now).first, 0);
        assert_eq!(of(r#"{"$maxCount":3,"$tb":8}"#).window(Some(9), now).first, 8);
        let aged = of(r#"{"$maxAge":40}"#).window(Some(9), now);
        assert_eq!(aged.oldest, Some(Timestamp::from_millis(60_000)));
        assert_eq!(of(r#"{"$maxAge":18446744073709551615}"#).window(None, now).first, 0);
    }

    #[tokio::test]
    async fn who_begins_to_follow_finds_what_a_reader_finds() {
        // The store in memory counts its events for a clock.
        let store = MemoryStore::default();
        let put = |stream: &str, data: String| {
            let id = EventId(Uuid::new_v4());
            let data = Bytes::from(data);
            let event = NewEvent { id, event_type: TYPE.into(), data, metadata: Bytes::new() };
            let expected = ExpectedRevision::Any;
            store
                .append_now(vec![Append { stream: stream.to_owned(), expected, events: vec![event] }])
                .unwrap();
        };
        (0..10).for_each(|number| put("s", number.to_string()));
        let at = |millis| Timestamp::from_millis(millis);
        let hides = async |json: &str, now| {
            put("$$s", json.to_owned());
            hidden(&store, "s", Some(9), at(now)).await.unwrap()
        };
        for now in 0..15 {
            let found = hides(r#"{"$maxAge":1}"#, 1_000 + now).await;
            let window = of(r#"{"$maxAge":1}"#).window(Some(9), at(1_000 + now));
            let events = store.everything().into_iter().filter(|event| event.stream == "s");
            let wanted = events.filter(|event| !window.shows(event)).map(|event| event.revision).max();
            assert_eq!(found, wanted, "{now}");
        }
        assert_eq!(hides(r#"{"$maxAge":1,"$tb":6}"#, 1_003).await, Some(5));
        assert_eq!(hides(r#"{"$maxAge":1,"$tb":60}"#, 1_003).await, Some(59));
        assert_eq!(hides("{}", 1_000_000).await, None);
        assert_eq!(hidden(&store, "none", None, at(5)).await.unwrap(), None);
    }

    #[test]
    fn a_delete_keeps_the_other_keys_and_can_be_undone() {
        let deleted = of(r#"{"$maxCount":3,"mine":[1]}"#).truncated(None);
        let read = Metadata::read(&deleted.data);
        assert!(read.is_deleted() && read.all["mine"] == serde_json::json!([1]));
        let back = Metadata::read(&read.truncated(Some(5)).data);
        assert!(!back.is_deleted());
        assert_eq!(back.window(Some(5), Timestamp::default()).first, 5);
    }
}
