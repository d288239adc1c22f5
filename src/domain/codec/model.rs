//! Facts about models as JSON.
//!
//! Law: every shape ever written stays readable; a golden file holds each (`tests/golden/`). Called by the model registry.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;

use super::facts::{FACT_SCHEMA, encode_metadata, json};
use super::schema;
use crate::domain::event::{Metadata, NewEvent, Revision};
use crate::domain::id::EventId;
use crate::domain::model::ModelEvent;

/// The one table of facts about models, as that of facts in `facts`.
macro_rules! model_facts {
    ($($variant:ident = $name:literal),* $(,)?) => {
        fn parts(event: &ModelEvent) -> (&'static str, Bytes) {
            match event { $(ModelEvent::$variant(fact) => ($name, json(fact))),* }
        }

        /// Reads a fact about a model; none for a type that is not ours.
        ///
        /// # Errors
        /// The data is not JSON of that type's shape.
        pub fn decode_model_event(
            event_type: &str,
            data: &[u8],
        ) -> Result<Option<ModelEvent>, serde_json::Error> {
            let event = match event_type {
                $($name => ModelEvent::$variant(serde_json::from_slice(data)?),)*
                _ => return Ok(None),
            };
            Ok(Some(event))
        }

        /// Every type of fact about models with its JSON Schema.
        pub fn model_schemas() -> Vec<(&'static str, Value)> {
            vec![$(($name, schema::of::<crate::domain::model::$variant>())),*]
        }
    };
}

model_facts! {
    ModelActivated = "ModelActivated",
    ModelRefused = "ModelRefused",
    ModelRolledBack = "ModelRolledBack",
    ChallengerStarted = "ChallengerStarted",
    ChallengerStopped = "ChallengerStopped",
}

/// A fact about a model as it is appended at a revision of `model-<MODEL>`. Its id is made from model, kind, version and
/// that revision: a retry is the same event.
pub fn encode_model_event(event: &ModelEvent, revision: Revision) -> NewEvent {
    let (event_type, data) = parts(event);
    let (model, version) = match event {
        ModelEvent::ModelActivated(fact) => (&fact.model_type, &fact.made.version),
        ModelEvent::ModelRefused(fact) => (&fact.model_type, &fact.version),
        ModelEvent::ModelRolledBack(fact) => (&fact.model_type, &fact.made.version),
        ModelEvent::ChallengerStarted(fact) => (&fact.model_type, &fact.made.version),
        ModelEvent::ChallengerStopped(fact) => (&fact.model_type, &fact.version),
    };
    NewEvent {
        id: EventId::of_model(model, event_type, version, revision),
        event_type: ByteString::from_static(event_type),
        data,
        metadata: encode_metadata(&Metadata { schema: FACT_SCHEMA, ..Metadata::default() }),
    }
}
