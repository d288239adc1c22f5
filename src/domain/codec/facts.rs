//! Facts and their metadata as JSON.
//!
//! Law: every shape ever written stays readable; a golden file holds each (`tests/golden/`). Numbers read back bit for bit.
//! Called by whoever appends or reads `intent-<id>`.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

use crate::domain::event::{Fact, IntentEvent, Metadata, NewEvent};

/// The version of the facts' shape that this code writes. Facts only ever gain fields; this number moves when a reader has
/// to tell two meanings apart.
pub const FACT_SCHEMA: u16 = 1;

const SIGNAL_DETECTED: &str = "SignalDetected";
const ALERT_SCORED: &str = "AlertScored";
const ALERT_ESCALATED: &str = "AlertEscalated";
const ALERT_STATUS_CHANGED: &str = "AlertStatusChanged";
const ALERT_OUTCOME_RECORDED: &str = "AlertOutcomeRecorded";
const ALERT_REARMED: &str = "AlertRearmed";
const USER_SCORED: &str = "UserScored";
const SCORING_FAILED: &str = "ScoringFailed";
const CHALLENGER_SCORED: &str = "ChallengerScored";
const EVENT_PARKED: &str = "EventParked";
const EVENT_UNPARKED: &str = "EventUnparked";

/// The explicit type name of a fact.
pub fn event_type(event: &IntentEvent) -> &'static str {
    match event {
        IntentEvent::SignalDetected(_) => SIGNAL_DETECTED,
        IntentEvent::AlertScored(_) => ALERT_SCORED,
        IntentEvent::AlertEscalated(_) => ALERT_ESCALATED,
        IntentEvent::AlertStatusChanged(_) => ALERT_STATUS_CHANGED,
        IntentEvent::AlertOutcomeRecorded(_) => ALERT_OUTCOME_RECORDED,
        IntentEvent::AlertRearmed(_) => ALERT_REARMED,
        IntentEvent::UserScored(_) => USER_SCORED,
        IntentEvent::ScoringFailed(_) => SCORING_FAILED,
        IntentEvent::ChallengerScored(_) => CHALLENGER_SCORED,
        IntentEvent::EventParked(_) => EVENT_PARKED,
        IntentEvent::EventUnparked(_) => EVENT_UNPARKED,
    }
}

/// A fact as it is appended; its metadata is stamped with [`FACT_SCHEMA`].
pub fn encode_fact(fact: &Fact) -> NewEvent {
    let data = match &fact.event {
        IntentEvent::SignalDetected(fact) => json(fact),
        IntentEvent::AlertScored(fact) => json(fact),
        IntentEvent::AlertEscalated(fact) => json(fact),
        IntentEvent::AlertStatusChanged(fact) => json(fact),
        IntentEvent::AlertOutcomeRecorded(fact) => json(fact),
        IntentEvent::AlertRearmed(fact) => json(fact),
        IntentEvent::UserScored(fact) => json(fact),
        IntentEvent::ScoringFailed(fact) => json(fact),
        IntentEvent::ChallengerScored(fact) => json(fact),
        IntentEvent::EventParked(fact) => json(fact),
        IntentEvent::EventUnparked(fact) => json(fact),
    };
    NewEvent {
        id: fact.id,
        event_type: ByteString::from_static(event_type(&fact.event)),
        data,
        metadata: encode_metadata(&Metadata { schema: FACT_SCHEMA, ..fact.metadata.clone() }),
    }
}

/// Reads a fact; none for a type that is not ours (a newer daemon's, or a foreign one).
///
/// # Errors
/// The data is not JSON of that type's shape.
pub fn decode_fact(event_type: &str, data: &[u8]) -> Result<Option<IntentEvent>, serde_json::Error> {
    let event = match event_type {
        SIGNAL_DETECTED => IntentEvent::SignalDetected(serde_json::from_slice(data)?),
        ALERT_SCORED => IntentEvent::AlertScored(serde_json::from_slice(data)?),
        ALERT_ESCALATED => IntentEvent::AlertEscalated(serde_json::from_slice(data)?),
        ALERT_STATUS_CHANGED => IntentEvent::AlertStatusChanged(serde_json::from_slice(data)?),
        ALERT_OUTCOME_RECORDED => IntentEvent::AlertOutcomeRecorded(serde_json::from_slice(data)?),
        ALERT_REARMED => IntentEvent::AlertRearmed(serde_json::from_slice(data)?),
        USER_SCORED => IntentEvent::UserScored(serde_json::from_slice(data)?),
        SCORING_FAILED => IntentEvent::ScoringFailed(serde_json::from_slice(data)?),
        CHALLENGER_SCORED => IntentEvent::ChallengerScored(serde_json::from_slice(data)?),
        EVENT_PARKED => IntentEvent::EventParked(serde_json::from_slice(data)?),
        EVENT_UNPARKED => IntentEvent::EventUnparked(serde_json::from_slice(data)?),
        _ => return Ok(None),
    };
    Ok(Some(event))
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
