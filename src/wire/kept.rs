//! Events that are kept for longer than it takes to tell them.
//!
//! Law: what is kept holds no bytes but its own, and those are counted. Called by `fanout` and `groups`.

use bytes::Bytes;
use bytestring::ByteString;

use crate::domain::event::Recorded;

/// What an event costs beside its bytes.
const EVENT_BYTES: usize = 256;

/// Bytes that an event holds once it is [`own`].
pub(super) fn size(event: &Recorded) -> usize {
    event.data.len() + event.metadata.len() + event.stream.len() + event.event_type.len() + EVENT_BYTES
}

/// The event in memory of its own: what the store gave shares a whole block.
pub(super) fn own(event: &Recorded) -> Recorded {
    Recorded {
        stream: ByteString::from(&*event.stream),
        event_type: ByteString::from(&*event.event_type),
        data: Bytes::copy_from_slice(&event.data),
        metadata: Bytes::copy_from_slice(&event.metadata),
        ..*event
    }
}
