//! One event as bytes.
//!
//! Law: a record carries its own length and checksum, bound to its position, so that it can be read and trusted alone.
//! Called by `block` (many in a row), `reader` and `writer` (one by one).
//!
//! ```text
//! length u32 | sum u32 | id 16 | revision u64 | recorded_at i64 | data length u32 | stream length u16 | type length u16 |
//! stream | type | data | metadata
//! ```

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::le::Cut;
use crate::domain::event::{NewEvent, Position, Recorded, Revision};
use crate::domain::id::EventId;
use crate::domain::time::Timestamp;
use crate::store::Filter;

/// Bytes before the stream's name.
pub(super) const HEAD: usize = 48;
/// Bytes before what the sum covers.
const SUMMED_FROM: usize = 8;

/// A record's parts, as slices of where it stands.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) length: usize,
    pub(super) sum: u32,
    pub(super) id: EventId,
    pub(super) revision: Revision,
    pub(super) recorded_at: Timestamp,
    pub(super) stream: &'a [u8],
    event_type: &'a [u8],
    data_length: usize,
}

/// How long a record of this event is.
pub(super) fn length(stream: &str, event: &NewEvent) -> usize {
    HEAD + stream.len() + event.event_type.len() + event.data.len() + event.metadata.len()
}

fn sum(position: u64, bytes: &[u8]) -> u32 {
    // The length is not in the summed bytes, the position is not in the record: both go in through the seed.
    let seed = position ^ (bytes.len() as u64).rotate_left(40);
    xxh3_64_with_seed(bytes, seed) as u32
}

/// Writes a record at the end of `buffer`. The caller has checked the bounds of `Options`: every length fits its field.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    position: u64,
    stream: &str,
    revision: Revision,
    now: Timestamp,
    event: &NewEvent,
) {
    let at = buffer.len();
    let mut head = [0; HEAD];
    {
        let (first, second) = head.split_at_mut(SUMMED_FROM + 16);
        let (length_at, id_at) = first.split_at_mut(SUMMED_FROM);
        length_at.copy_from_slice(&(length(stream, event) as u64).to_le_bytes());
        id_at.copy_from_slice(event.id.0.as_bytes());
        let lengths =
            (event.data.len() as u64) | (stream.len() as u64) << 32 | (event.event_type.len() as u64) << 48;
        for (field, value) in
            second.chunks_exact_mut(8).zip([revision, now.millis().cast_unsigned(), lengths])
        {
            field.copy_from_slice(&value.to_le_bytes());
        }
    }
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(stream.as_bytes());
    buffer.extend_from_slice(event.event_type.as_bytes());
    buffer.extend_from_slice(&event.data);
    buffer.extend_from_slice(&event.metadata);
    if let Some(record) = buffer.get_mut(at..)
        && let Some((head, summed)) = record.split_at_mut_checked(SUMMED_FROM)
        && let Some(field) = head.get_mut(4..)
    {
        field.copy_from_slice(&sum(position, summed).to_le_bytes());
    }
}

/// How long the record is that begins here.
pub(super) fn length_at(bytes: &[u8]) -> Option<usize> {
    Cut(bytes).u32().map(|length| length as usize).filter(|length| *length >= HEAD)
}

impl<'a> Record<'a> {
    /// The record that begins here, its sum not yet looked at.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cut = Cut(bytes);
        let length = cut.u32()? as usize;
        let sum = cut.u32()?;
        let id = EventId(Uuid::from_bytes(cut.u128()?.to_le_bytes()));
        let revision = cut.u64()?;
        let recorded_at = Timestamp::from_millis(cut.u64()?.cast_signed());
        let data_length = cut.u32()? as usize;
        let stream_length = usize::from(cut.u16()?);
        let type_length = usize::from(cut.u16()?);
        let least = HEAD + stream_length + type_length + data_length;
        (least <= length && length <= bytes.len()).then_some(())?;
        let stream = cut.bytes(stream_length)?;
        let event_type = cut.bytes(type_length)?;
        Some(Self { length, sum, id, revision, recorded_at, stream, event_type, data_length })
    }

    /// The record that begins here, if it is whole and was written for this position.
    pub(super) fn verified(bytes: &'a [u8], position: u64) -> Option<Self> {
        let record = Self::parse(bytes)?;
        let summed = bytes.get(SUMMED_FROM..record.length)?;
        (sum(position, summed) == record.sum).then_some(record)
    }

    /// Whether a reader wants it.
    pub(super) fn passes(&self, filter: &Filter) -> bool {
        filter.admits(self.stream, self.revision, self.event_type)
    }

    /// The event, sharing `shared`, where this record stands at `at`. None when its texts are not UTF-8.
    pub(super) fn to_recorded(self, shared: &Bytes, at: usize, position: u64) -> Option<Recorded> {
        let stream = at + HEAD..at + HEAD + self.stream.len();
        let event_type = stream.end..stream.end + self.event_type.len();
        let data = event_type.end..event_type.end + self.data_length;
        let metadata = data.end..at + self.length;
        let part = |range: Range<usize>| {
            if range.is_empty() { Bytes::new() } else { shared.slice(range) }
        };
        Some(Recorded {
            id: self.id,
            stream: ByteString::try_from(part(stream)).ok()?,
            revision: self.revision,
            position: Position(position),
            event_type: ByteString::try_from(part(event_type)).ok()?,
            data: part(data),
            metadata: part(metadata),
            recorded_at: self.recorded_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> NewEvent {
        NewEvent {
            id: EventId(Uuid::from_u128(7)),
            event_type: "T".into(),
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::from_static(b"[]"),
        }
    }

    #[test]
    fn a_record_round_trips_and_knows_its_place() {
        let mut bytes = vec![1, 2, 3];
        write(&mut bytes, 99, "user-ä", 5, Timestamp::from_millis(-3), &event());
        let record = Record::verified(&bytes[3..], 99).unwrap();
        let shared = Bytes::from(bytes.clone());
        let recorded = record.to_recorded(&shared, 3, 99).unwrap();
        assert_eq!(
            (
                &*recorded.stream,
                recorded.revision,
                &*recorded.event_type,
                &*recorded.data,
                &*recorded.metadata
            ),
            ("user-ä", 5, "T", &b"{}"[..], &b"[]"[..])
        );
        assert_eq!((recorded.id, recorded.recorded_at.millis()), (event().id, -3));
        assert!(Record::verified(&bytes[3..], 98).is_none());
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        write(&mut bytes, 0, "s", 0, Timestamp::default(), &event());
        for at in 0..bytes.len() * 8 {
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Record::verified(&bytes, 0).is_none(), "bit {at}");
            bytes[at / 8] ^= 1 << (at % 8);
        }
    }
}
