//! JSON to events and back.
//!
//! Law: what we encode decodes to the same, bit for bit; what was ever written stays readable. Strict at the door
//! ([`check_ingest`]), lenient in the log ([`decode`]): bounds and choices may have changed since an event was taken.
//! Called by ingest, the user entity, the projection and datasets.

mod behaviour;
mod built_in;
mod envelope;
mod facts;
mod ingest;
mod model;
mod quick;
pub mod schema;

use xxhash_rust::xxh3::xxh3_64;

use super::catalog::Catalog;
use super::event::{CONVERSION_RECORDED, Recorded, SCORE_REQUESTED, UserEvent};
use super::id::EventId;

pub use facts::{
    FACT_SCHEMA, decode_fact, decode_metadata, encode_fact, encode_metadata, event_type, fact_schemas,
};
pub use ingest::{Fault, check_ingest};
pub use model::{decode_model_event, encode_model_event, model_schemas};

/// An event that the log holds and that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("event {id} of type {event_type} cannot be decoded")]
pub struct Undecodable {
    /// Its id in the store.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// What is wrong with it, and where.
    #[source]
    pub source: serde_json::Error,
}

/// A text as a number: the upper 52 bits of its XXH3, which a float holds exactly. Two texts have the same symbol only by
/// a chance of one in 4.5e15.
#[expect(clippy::cast_precision_loss, reason = "52 bits fit a float's mantissa")]
pub fn symbol(text: &str) -> f64 {
    (xxh3_64(text.as_bytes()) >> 12) as f64
}

/// Reads an event of `user-<id>` or `market-<name>`. Fields that are missing or null are NaN, fields that the catalogue does
/// not know are passed over, bounds are not asked again.
///
/// # Errors
/// The data is no JSON object, has no readable `occurredAt`, or a field holds a value of another type.
pub fn decode(catalog: &Catalog, recorded: &Recorded) -> Result<UserEvent, Undecodable> {
    let data = &recorded.data;
    let decoded = match catalog.event(&recorded.event_type) {
        Some(kind) => behaviour::read(catalog, kind, data).map(UserEvent::Behaviour),
        None => match &*recorded.event_type {
            SCORE_REQUESTED => serde_json::from_slice(data).map(UserEvent::ScoreRequested),
            CONVERSION_RECORDED => serde_json::from_slice(data).map(UserEvent::ConversionRecorded),
            _ => Ok(UserEvent::Unknown),
        },
    };
    decoded.map_err(|source| Undecodable {
        id: recorded.id,
        event_type: recorded.event_type.to_string(),
        source,
    })
}
