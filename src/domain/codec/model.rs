//! Facts about models as JSON.
//!
//! Law: every shape ever written stays readable; a golden file holds each (`tests/golden/`). Called by the model registry.

use bytes::Bytes;
use bytestring::ByteString;

use super::facts::{FACT_SCHEMA, encode_metadata, json};
use crate::domain::event::{Metadata, NewEvent, Revision};
use crate::domain::id::EventId;
use crate::domain::model::ModelEvent;

const MODEL_ACTIVATED: &str = "ModelActivated";
const MODEL_REFUSED: &str = "ModelRefused";
const MODEL_ROLLED_BACK: &str = "ModelRolledBack";
const CHALLENGER_STARTED: &str = "ChallengerStarted";
const CHALLENGER_STOPPED: &str = "ChallengerStopped";

/// A fact about a model as it is appended at a revision of `model-<MODEL>`. Its id is made from model, kind, version and
/// that revision: a retry is the same event.
pub fn encode_model_event(event: &ModelEvent, revision: Revision) -> NewEvent {
    let (event_type, model, version, data): (_, &str, &str, Bytes) = match event {
        ModelEvent::ModelActivated(fact) => {
            (MODEL_ACTIVATED, &fact.model_type, &fact.made.version, json(fact))
        }
        ModelEvent::ModelRefused(fact) => (MODEL_REFUSED, &fact.model_type, &fact.version, json(fact)),
        ModelEvent::ModelRolledBack(fact) => {
            (MODEL_ROLLED_BACK, &fact.model_type, &fact.made.version, json(fact))
        }
        ModelEvent::ChallengerStarted(fact) => {
            (CHALLENGER_STARTED, &fact.model_type, &fact.made.version, json(fact))
        }
        ModelEvent::ChallengerStopped(fact) => {
            (CHALLENGER_STOPPED, &fact.model_type, &fact.version, json(fact))
        }
    };
    NewEvent {
        id: EventId::of_model(model, event_type, version, revision),
        event_type: ByteString::from_static(event_type),
        data,
        metadata: encode_metadata(&Metadata { schema: FACT_SCHEMA, ..Metadata::default() }),
    }
}

/// Reads a fact about a model; none for a type that is not ours.
///
/// # Errors
/// The data is not JSON of that type's shape.
pub fn decode_model_event(event_type: &str, data: &[u8]) -> Result<Option<ModelEvent>, serde_json::Error> {
    let event = match event_type {
        MODEL_ACTIVATED => ModelEvent::ModelActivated(serde_json::from_slice(data)?),
        MODEL_REFUSED => ModelEvent::ModelRefused(serde_json::from_slice(data)?),
        MODEL_ROLLED_BACK => ModelEvent::ModelRolledBack(serde_json::from_slice(data)?),
        CHALLENGER_STARTED => ModelEvent::ChallengerStarted(serde_json::from_slice(data)?),
        CHALLENGER_STOPPED => ModelEvent::ChallengerStopped(serde_json::from_slice(data)?),
        _ => return Ok(None),
    };
    Ok(Some(event))
}
