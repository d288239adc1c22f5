//! Events as the store has them and as the wire has them.
//!
//! Law: what a client wrote comes back byte for byte, content type and custom metadata too. Called by reads and appends.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost_types::Timestamp as WireTime;
use uuid::Uuid;

use super::proto::event_store::client::streams::read_resp::read_event::{Position as Place, RecordedEvent};
use super::proto::event_store::client::streams::read_resp::{Content, ReadEvent};
use super::proto::event_store::client::streams::{ReadResp, append_req, batch_append_req};
use super::proto::event_store::client::{StreamIdentifier, Uuid as WireUuid, uuid as wire_uuid};
use super::status::{bad, metadata_missing, position_invalid};
use crate::domain::event::{NewEvent, Position, Recorded};
use crate::domain::id::EventId;
use crate::domain::time::Timestamp;

const TYPE: &str = "type";
const CONTENT_TYPE: &str = "content-type";
const CREATED: &str = "created";
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
/// Ticks of 100 ns in a millisecond.
const TICKS: i64 = 10_000;
/// The store keeps JSON and has no field for another content type: metadata that begin with this byte, which JSON cannot,
/// say that the event's bytes are not JSON; the client's own metadata follow it.
const MARK_OCTETS: u8 = 0;
/// Metadata that begin with this byte are a client's that began with one of the two marks.
const MARK_PLAIN: u8 = 1;

/// Bytes of a stream's name: errors tell it in text and trailers, and a client takes 16 KiB of these.
const NAME_BYTES_MAX: usize = 1_024;

/// How a client wants ids written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    Text,
    Halves,
}

/// A stream's name.
pub(super) fn name(stream: Option<StreamIdentifier>) -> Result<String, tonic::Status> {
    let bytes = stream.map(|stream| stream.stream_name).unwrap_or_default();
    if bytes.len() > NAME_BYTES_MAX {
        return Err(bad(format!("a stream's name has at most {NAME_BYTES_MAX} bytes")));
    }
    match std::str::from_utf8(&bytes) {
        Ok("") => Err(bad("a stream's name is missing")),
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(bad("a stream's name is not UTF-8")),
    }
}

/// A stream's name for the wire.
pub(super) fn identifier(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: Bytes::copy_from_slice(stream.as_bytes()) }
}

/// A position of `$all` as a client writes it; none is the end. One between two events is good: the next one is read.
pub(super) fn position(commit: u64, prepare: u64) -> Result<Option<Position>, tonic::Status> {
    match commit {
        u64::MAX => Ok(None),
        // A client that keeps the commit position only may leave out the other.
        commit if commit <= i64::MAX.cast_unsigned() && prepare <= commit => Ok(Some(Position(commit))),
        _ => Err(position_invalid()),
    }
}

/// An id as a client writes it.
pub(super) fn id(id: Option<&WireUuid>) -> Result<Uuid, tonic::Status> {
    match id.and_then(|id| id.value.as_ref()) {
        Some(wire_uuid::Value::String(text)) => Uuid::parse_str(text).map_err(|_| bad("an id is not a UUID")),
        Some(wire_uuid::Value::Structured(halves)) => Ok(Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
        None => Err(bad("an id is missing")),
    }
}

/// An id for the wire.
pub(super) fn wire_id(id: Uuid, ids: Ids) -> WireUuid {
    let value = match ids {
        Ids::Text => wire_uuid::Value::String(id.to_string()),
        Ids::Halves => {
            let (most, least) = id.as_u64_pair();
            wire_uuid::Value::Structured(wire_uuid::Structured {
                most_significant_bits: most.cast_signed(),
                least_significant_bits: least.cast_signed(),
            })
        }
    };
    WireUuid { value: Some(value) }
}

/// An event as a client proposes it.
pub(super) struct Proposed {
    pub(super) id: Option<WireUuid>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) custom_metadata: Bytes,
    pub(super) data: Bytes,
}

impl From<append_req::ProposedMessage> for Proposed {
    fn from(message: append_req::ProposedMessage) -> Self {
        let append_req::ProposedMessage { id, metadata, custom_metadata, data } = message;
        Self { id, metadata, custom_metadata, data }
    }
}

impl From<batch_append_req::ProposedMessage> for Proposed {
    fn from(message: batch_append_req::ProposedMessage) -> Self {
        let batch_append_req::ProposedMessage { id, metadata, custom_metadata, data } = message;
        Self { id, metadata, custom_metadata, data }
    }
}

impl Proposed {
    /// How many bytes it counts for.
    pub(super) fn size(&self) -> usize {
        let texts = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        texts + self.custom_metadata.len() + self.data.len()
    }

    /// The event for the store.
    pub(super) fn event(self) -> Result<NewEvent, tonic::Status> {
        let id = EventId(id(self.id.as_ref())?);
        let Some(event_type) = self.metadata.get(TYPE) else { return Err(metadata_missing(TYPE)) };
        let Some(content) = self.metadata.get(CONTENT_TYPE) else {
            return Err(metadata_missing(CONTENT_TYPE));
        };
        let metadata = marked(content == JSON, self.custom_metadata);
        Ok(NewEvent { id, event_type: event_type.as_str().into(), data: self.data, metadata })
    }
}

fn marked(is_json: bool, metadata: Bytes) -> Bytes {
    let mark = match (is_json, metadata.first()) {
        (false, _) => MARK_OCTETS,
        (true, Some(&(MARK_OCTETS | MARK_PLAIN))) => MARK_PLAIN,
        (true, _) => return metadata,
    };
    let mut marked = BytesMut::with_capacity(metadata.len() + 1);
    marked.put_u8(mark);
    marked.put_slice(&metadata);
    marked.freeze()
}

/// Content type and custom metadata of a stored event.
pub(super) fn unmarked(metadata: &Bytes) -> (&'static str, Bytes) {
    match metadata.first() {
        Some(&MARK_OCTETS) => (OCTETS, metadata.slice(1..)),
        Some(&MARK_PLAIN) => (JSON, metadata.slice(1..)),
        Some(_) | None => (JSON, metadata.clone()),
    }
}

/// A stored event for the wire.
pub(super) fn recorded(event: &Recorded, ids: Ids) -> RecordedEvent {
    let (content, custom_metadata) = unmarked(&event.metadata);
    let created = event.recorded_at.millis().saturating_mul(TICKS);
    let metadata = BTreeMap::from([
        (CONTENT_TYPE.to_owned(), content.to_owned()),
        (CREATED.to_owned(), created.to_string()),
        (TYPE.to_owned(), event.event_type.to_string()),
    ]);
    RecordedEvent {
        id: Some(wire_id(event.id.0, ids)),
        stream_identifier: Some(StreamIdentifier { stream_name: event.stream.as_bytes().clone() }),
        stream_revision: event.revision,
        prepare_position: event.position.0,
        commit_position: event.position.0,
        metadata,
        custom_metadata,
        data: event.data.clone(),
    }
}

/// The message that gives an event, and the link through which it was found.
pub(super) fn read_event(event: Option<&Recorded>, link: Option<&Recorded>, ids: Ids) -> ReadResp {
    let position = link.or(event).map(|event| Place::CommitPosition(event.position.0));
    let read = ReadEvent {
        event: event.map(|event| recorded(event, ids)),
        link: link.map(|link| recorded(link, ids)),
        position,
    };
    message(Content::Event(read))
}

/// A message of a read.
pub(super) fn message(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

/// A time for the wire.
pub(super) fn wire_time(at: Timestamp) -> WireTime {
    let millis = at.millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    WireTime { seconds: millis.div_euclid(1_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(content: &str, custom: &'static [u8]) -> Proposed {
        let pairs = [(TYPE, "T"), (CONTENT_TYPE, content)];
        Proposed {
            id: Some(wire_id(Uuid::from_u128(7), Ids::Halves)),
            metadata: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            custom_metadata: Bytes::from_static(custom),
            data: Bytes::from_static(b"\xff"),
        }
    }

    #[test]
    fn content_type_and_metadata_come_back_as_they_were() {
        for content in [JSON, OCTETS] {
            for custom in [&b""[..], b"{}", b"\0", b"\x01\0", b"\x02"] {
                let event = proposed(content, custom).event().unwrap();
                assert_eq!(event.id.0, Uuid::from_u128(7));
                let stored = Recorded {
                    id: event.id,
                    stream: "s".into(),
                    revision: 3,
                    position: Position(9),
                    event_type: event.event_type,
                    data: event.data,
                    metadata: event.metadata,
                    recorded_at: Timestamp::from_millis(2),
                };
                let back = recorded(&stored, Ids::Text);
                assert_eq!((&*back.metadata[CONTENT_TYPE], &*back.custom_metadata), (content, custom));
                assert_eq!((&*back.metadata[CREATED], &*back.metadata[TYPE]), ("20000", "T"));
            }
        }
        assert_eq!(proposed(JSON, b"{}").event().unwrap().metadata, "{}", "ours stay as they are");
    }

    #[test]
    fn ids_come_in_two_ways_and_nothing_else() {
        let wanted = Uuid::from_u128(0xFFFF_0000_1234_5678_9ABC_DEF0_1234_5678);
        for ids in [Ids::Text, Ids::Halves] {
            assert_eq!(id(Some(&wire_id(wanted, ids))).unwrap(), wanted);
        }
        assert!(id(None).is_err() && id(Some(&WireUuid { value: None })).is_err());
        assert!(id(Some(&WireUuid { value: Some(wire_uuid::Value::String("x".into())) })).is_err());
    }

    #[test]
    fn metadata_that_must_be_there_are_named() {
        let mut lacking = proposed(JSON, b"");
        lacking.metadata.remove(TYPE);
        assert_eq!(lacking.event().unwrap_err().message(), "Required Metadata Property 'type' is missing");
    }
}
