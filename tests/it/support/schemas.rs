//! Holds events to the schemas in `config/schemas/`, and to nothing beside them: a field that no schema names is refused.
//!
//! Law: what the daemon wrote is checked as it stands in the log, not as our own types read it back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use intentd::store::Recorded;
use serde_json::Value;

/// Streams of which every event is ours.
const OURS: [&str; 2] = ["intent-", "model-"];
const METADATA: &str = "metadata";
/// What an alert's life and the calls around it write.
const WHOLE: &str = "SignalDetected AlertScored AlertEscalated AlertStatusChanged AlertOutcomeRecorded UserScored \
                     ScoreRequested ConversionRecorded ModelActivated";

/// The schemas, strict.
pub struct Strict {
    schemas: Schemas,
    by_type: BTreeMap<String, SchemaIndex>,
}

/// Those of the repository.
pub static STRICT: LazyLock<Strict> = LazyLock::new(|| {
    let folder = fs::read_dir("config/schemas").unwrap().map(|entry| entry.unwrap().path());
    Strict::of(folder.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    }))
});

impl Strict {
    pub fn of(named: impl IntoIterator<Item = (String, Value)>) -> Self {
        let (mut schemas, mut by_type) = (Schemas::new(), BTreeMap::new());
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        for (name, mut schema) in named {
            close(&mut schema);
            let place = format!("mem:///{name}.json");
            compiler.add_resource(&place, schema).unwrap();
            by_type.insert(name, compiler.compile(&place, &mut schemas).unwrap());
        }
        Self { schemas, by_type }
    }

    fn fault(&self, name: &str, json: &[u8]) -> Option<String> {
        let Some(schema) = self.by_type.get(name) else {
            return Some(format!("there is no config/schemas/{name}.json"));
        };
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(error) => return Some(error.to_string()),
        };
        self.schemas.validate(&value, *schema).err().map(|error| format!("{error:#}"))
    }

    /// What is wrong with an event; none also for one that is not ours.
    pub fn fault_of(&self, stream: &str, event_type: &str, data: &[u8], metadata: &[u8]) -> Option<String> {
        let is_ours = OURS.iter().any(|prefix| stream.starts_with(prefix));
        if !is_ours && !self.by_type.contains_key(event_type) {
            return None;
        }
        let in_data = self.fault(event_type, data);
        in_data.or_else(|| self.fault(METADATA, metadata).filter(|_| is_ours || !metadata.is_empty()))
    }

    /// Holds every event to its schema; answers which of our types were among them.
    #[track_caller]
    pub fn check<'a>(&self, events: impl IntoIterator<Item = &'a Recorded>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for event in events {
            let fault = self.fault_of(&event.stream, &event.event_type, &event.data, &event.metadata);
            if let Some(fault) = fault {
                let data = String::from_utf8_lossy(&event.data);
                panic!("{} in {}: {fault}\n{data}", event.event_type, event.stream);
            }
            if self.by_type.contains_key(&*event.event_type) {
                seen.insert(event.event_type.to_string());
            }
        }
        seen
    }

    /// The same for a run through every call, which has to have written all of [`WHOLE`].
    #[track_caller]
    pub fn check_whole(&self, events: &[Recorded]) {
        let seen = self.check(events);
        let missing: Vec<_> = WHOLE.split_whitespace().filter(|name| !seen.contains(*name)).collect();
        assert!(missing.is_empty(), "not written: {missing:?}");
    }
}

/// Nothing but what is described: the published schemas let a reader live with fields to come, this does not.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
