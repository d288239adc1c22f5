//! Facts and their metadata as JSON.
//!
//! Law: every shape ever written stays readable; a golden file holds each (`tests/golden/`). Numbers read back bit for bit.
//! Called by whoever appends or reads `intent-<id>`.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde_json::Value;

use super::schema;
use crate::domain::event::{Fact, IntentEvent, Metadata, NewEvent};

/// The version of the facts' shape that this code writes. Facts only ever gain fields; this number moves when a reader has
/// to tell two meanings apart.
pub const FACT_SCHEMA: u16 = 1;

/// The one table of facts: what has no line here does not compile, and what has one is written, read and described.
macro_rules! facts {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// The explicit type name of a fact.
        pub fn event_type(event: &IntentEvent) -> &'static str {
            match event { $(IntentEvent::$variant(_) => $name),* }
        }

        fn data(event: &IntentEvent) -> Bytes {
            match event { $(IntentEvent::$variant(fact) => json(fact)),* }
        }

        /// Reads a fact; none for a type that is not ours (a newer daemon's, or a foreign one).
        ///
        /// # Errors
        /// The data is not JSON of that type's shape.
        pub fn decode_fact(
            event_type: &str,
            data: &[u8],
        ) -> Result<Option<IntentEvent>, serde_json::Error> {
            let event = match event_type {
                $($name => IntentEvent::$variant(serde_json::from_slice(data)?),)*
                _ => return Ok(None),
            };
            Ok(Some(event))
        }

        /// Every type of fact with its JSON Schema.
        pub fn fact_schemas() -> Vec<(&'static str, Value)> {
            vec![$(($name, schema::of::<crate::domain::event::$variant>())),*]
        }
    };
}

facts! {
    SignalDetected = "SignalDetected",
    AlertScored = "AlertScored",
    AlertEscalated = "AlertEscalated",
    AlertStatusChanged = "AlertStatusChanged",
    AlertOutcomeRecorded = "AlertOutcomeRecorded",
    AlertRearmed = "AlertRearmed",
    UserScored = "UserScored",
    ScoringFailed = "ScoringFailed",
    ChallengerScored = "ChallengerScored",
    EventParked = "EventParked",
    EventUnparked = "EventUnparked",
}

/// A fact as it is appended; its metadata is stamped with [`FACT_SCHEMA`].
pub fn encode_fact(fact: &Fact) -> NewEvent {
    NewEvent {
        id: fact.id,
        event_type: ByteString::from_static(event_type(&fact.event)),
        data: data(&fact.event),
        metadata: encode_metadata(&Metadata { schema: FACT_SCHEMA, ..fact.metadata.clone() }),
    }
}

/// Metadata as JSON.
pub fn encode_metadata(metadata: &Metadata) -> Bytes {
    json(metadata)
}

/// Reads metadata; empty means none was written.
///
/// # Errors
/// The bytes are not JSON of that shape.
pub fn decode_metadata(bytes: &[u8]) -> Result<Metadata, serde_json::Error> {
    if bytes.is_empty() { Ok(Metadata::default()) } else { serde_json::from_slice(bytes) }
}

#[expect(clippy::expect_used, reason = "our shapes have text keys and no failing serializer")]
pub(super) fn json<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("facts are always JSON"))
}
