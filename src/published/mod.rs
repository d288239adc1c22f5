//! The events that we write, described for whoever reads them from the log: `docs/events.md` and `config/schemas/`.
//!
//! Law: nothing is said twice. Types and names come from the tables that write (`domain::codec`), fields and meanings from the
//! types that are written, examples from the encoder; a test holds the files, and every event of whole runs, to them.
//! Called by `intentd events`.

use std::path::PathBuf;

use serde_json::Value;

use crate::domain::codec::{FACT_SCHEMA, fact_schemas, model_schemas, schema};
use crate::domain::event::{
    CONVERSION_RECORDED, ConversionRecorded, Metadata, NewEvent, SCORE_REQUESTED, STORE_NAMED,
    ScoreRequested, StoreNamed,
};
use crate::domain::id::stream;

mod example;
mod ordered;
mod page;

/// Who writes a type of event, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Into `intent-<userId>`, by that user's actor.
    Decision,
    /// Into `model-<MODEL>`, by the model registry.
    Model,
    /// Into `user-<userId>`, by the API, the sweep, or any other system.
    Request,
    /// Into `intentd-store`, by the first data directory that used a cluster.
    Store,
}

impl Written {
    /// The streams it is written into.
    pub fn stream(self) -> &'static str {
        match self {
            Self::Decision => "intent-<userId>",
            Self::Model => "model-<MODEL>",
            Self::Request => "user-<userId>",
            Self::Store => stream::STORE,
        }
    }

    /// The version of its shape, as its metadata says; none where it has no metadata.
    fn version(self) -> Option<u16> {
        match self {
            Self::Decision | Self::Model => Some(FACT_SCHEMA),
            Self::Request | Self::Store => None,
        }
    }
}

/// One type of event.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its explicit name.
    pub event_type: &'static str,
    /// Who writes it, and where.
    pub written: Written,
    /// JSON Schema of its data.
    pub schema: Value,
    /// One as it is written, with every field that it can have; none only while somebody adds a type.
    pub example: Option<NewEvent>,
}

/// Every type of event that we write.
pub fn pages() -> Vec<Page> {
    let examples = example::all();
    let requests = [
        (SCORE_REQUESTED, schema::of::<ScoreRequested>()),
        (CONVERSION_RECORDED, schema::of::<ConversionRecorded>()),
    ];
    let decisions = fact_schemas().into_iter().map(|(name, schema)| (Written::Decision, name, schema));
    let requests = requests.into_iter().map(|(name, schema)| (Written::Request, name, schema));
    let models = model_schemas().into_iter().map(|(name, schema)| (Written::Model, name, schema));
    let page = |(written, event_type, schema)| {
        let example = examples.iter().find(|event| &*event.event_type == event_type).cloned();
        Page { event_type, written, schema, example }
    };
    let store = [(Written::Store, STORE_NAMED, schema::of::<StoreNamed>())];
    decisions.chain(requests).chain(models).chain(store).map(page).collect()
}

/// JSON Schema of the metadata.
pub fn metadata() -> Value {
    schema::of::<Metadata>()
}

/// The page that people read.
pub fn text() -> String {
    page::text(&pages(), &metadata())
}

/// A schema as its file holds it.
pub fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// Every file that is made from the code, below the root of the repository.
pub fn files() -> Vec<(PathBuf, String)> {
    let schema = |name: &str, schema: &Value| {
        (PathBuf::from("config/schemas").join(format!("{name}.json")), pretty(schema))
    };
    let mut files = vec![(PathBuf::from("docs/events.md"), text()), schema("metadata", &metadata())];
    files.extend(pages().iter().map(|page| schema(page.event_type, &page.schema)));
    files
}
