//! Events: what a store records, what users do, and the facts that we decide.
//!
//! Law: an event only ever gains fields. Every type has an explicit name that never follows a Rust name.

use bytes::Bytes;
use bytestring::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use uuid::Uuid;

use super::catalog::EventIx;
use super::id::{EventId, UserId};
use super::time::Timestamp;

pub use super::evidence::*;
pub use super::fact::*;

/// A place in one stream, from 0.
pub type Revision = u64;

/// A place in the order of all events of one store; strictly increasing, not dense, below 2^63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// An event as a store recorded it. Cheap to clone: all buffers are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Unique in its stream.
    pub id: EventId,
    /// The stream it stands in.
    pub stream: ByteString,
    /// Its place in that stream.
    pub revision: Revision,
    /// Its place in `$all`.
    pub position: Position,
    /// The explicit type name, such as `LISTING_VIEWED` or `AlertScored`.
    pub event_type: ByteString,
    /// JSON.
    pub data: Bytes,
    /// JSON, or empty.
    pub metadata: Bytes,
    /// When the store took it (wall clock of the store).
    pub recorded_at: Timestamp,
}

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// A second append of the same id to the same stream has no effect.
    pub id: EventId,
    /// The explicit type name.
    pub event_type: ByteString,
    /// JSON.
    pub data: Bytes,
    /// JSON ([`Metadata`]), or empty.
    pub metadata: Bytes,
}

/// A checked event of a sender and the stream it goes to: made by [`super::codec::check_ingest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// The stream it goes to.
    pub stream: String,
    /// The event.
    pub event: NewEvent,
}

/// Where a stream must end for an append to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpectedRevision {
    /// Anywhere; idempotent by event id over the whole stream.
    Any,
    /// The stream must not exist.
    NoStream,
    /// The stream must exist.
    Exists,
    /// The last event must have this revision.
    Exact(Revision),
}

/// The metadata of each fact that we write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The id of the event that caused this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub causation_id: Option<EventId>,
    /// The id of the event that began the chain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation_id: Option<EventId>,
    /// How far of `user-<id>` the decision behind this event had been decided: everything up to it is done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(extend("x-unit" = "revision, from 0"))]
    pub source_revision: Option<Revision>,
    /// The version of the event's shape.
    #[serde(default)]
    #[schemars(extend("x-unit" = "schema version"))]
    pub schema: u16,
}

/// The values of an event's catalogue fields, in catalogue order: numbers as they are, true 1, false 0, texts as
/// [`super::codec::symbol`], missing NaN.
pub type Fields = SmallVec<[f64; 6]>;

/// What stands in `user-<id>` and `market-<name>`, decoded against a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub enum UserEvent {
    /// Something the user did, of a type the catalogue knows.
    Behaviour(Behaviour),
    /// Somebody wants a score, now (event time).
    ScoreRequested(ScoreRequested),
    /// What really happened, without an alert or beside it.
    ConversionRecorded(ConversionRecorded),
    /// A type that the catalogue does not know: counted, never folded.
    Unknown,
}

/// A behaviour or market event.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Its type in the catalogue.
    pub kind: EventIx,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its fields.
    pub fields: Fields,
}

/// Type names of the events in `user-<id>` that are ours and not the catalogue's.
pub const SCORE_REQUESTED: &str = "ScoreRequested";
/// See [`SCORE_REQUESTED`].
pub const CONVERSION_RECORDED: &str = "ConversionRecorded";

/// Somebody wants scores of a user, or the sweep asks again for one that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScoreRequested {
    /// The id that its sender gave it.
    pub id: String,
    /// The user.
    pub user_id: UserId,
    /// Event time as of which the user is scored.
    pub occurred_at: Timestamp,
    /// Which models; empty means all.
    #[serde(default)]
    pub model_types: Vec<String>,
    /// Why: `REQUEST` or `SWEEP`.
    #[serde(default)]
    pub reason: String,
}

/// What really happened to a user, without an alert or beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversionRecorded {
    /// The id that its sender gave it.
    pub id: String,
    /// The user.
    pub user_id: UserId,
    /// Which model should have seen it.
    pub model_type: String,
    /// Whether it happened; false corrects an earlier true.
    pub converted: bool,
    /// What it was worth, in the currency of the business.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(extend("x-unit" = "currency of the business"))]
    pub conversion_value: Option<f64>,
    /// Event time of the conversion.
    pub occurred_at: Timestamp,
}

/// Type name of the one event in `intentd-store`.
pub const STORE_NAMED: &str = "StoreNamed";

/// Which log this is, where it is in a cluster: the first data directory that used it gave it this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreNamed {
    /// The log's id. A data directory keeps it and works with no other log; positions are good only with it.
    pub id: Uuid,
}
