//! Which version of each model serves: the newest by name that passes every check, or the pinned one.
//!
//! Law: nothing here is fatal. A missing library, folder or model leaves users unscored and visible in [`Registry::status`];
//! a version that is refused lets the next older one serve. Called by the composition root and by `intentd check`.

use std::cmp::Ordering;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::manifest::{self, Manifest};
use super::onnx::{Graph, OnnxScorer, Serving, Slot};
use super::refusal::Refusal;
use super::runtime::{self, Runtime};
use super::{Options, trial};
use crate::domain::catalog::{Catalog, ModelIx, ModelSpec};
use crate::domain::quality::Trained;
use crate::error::Chain;

/// Largest file of a model folder that is read: a graph of 40 features has some 100 KB, and a wrong path may name anything.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The models of a catalogue, checked.
#[derive(Clone, Debug)]
pub struct Registry {
    runtime: Result<Runtime, Arc<runtime::Error>>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    folder: PathBuf,
    serving: Option<Loaded>,
    refused: Vec<Refused>,
}

/// A version that serves.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its version.
    pub version: Arc<str>,
    /// What its trainer says of it.
    pub manifest: Arc<Manifest>,
    /// Whether it learned from features of another catalogue version: it fits, but may be out of date.
    pub catalog_differs: bool,
    graph: Arc<[u8]>,
}

/// A version that may not serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its version.
    pub version: String,
    /// Every reason.
    pub reasons: Vec<Refusal>,
}

/// One model, as an operator wants to see it.
#[derive(Clone, Copy, Debug)]
pub struct ModelStatus<'a> {
    /// `SELL`.
    pub name: &'a str,
    /// What serves; none = degraded.
    pub serving: Option<&'a Loaded>,
    /// Newer versions (or the pinned one) that do not.
    pub refused: &'a [Refused],
}

impl Registry {
    /// Loads the runtime and checks the model folders. Slow (some 20 ms a model); never on an async thread.
    pub fn load(options: &Options, catalog: &Catalog) -> Self {
        let runtime = runtime::load(&options.library).map_err(Arc::new);
        let entry = |model: &ModelSpec| {
            let folder = options.folder.join(&model.name);
            let mut entry = Entry { name: model.name.clone(), folder, serving: None, refused: Vec::new() };
            if let Ok(runtime) = &runtime {
                choose(&mut entry, runtime, options, catalog, model);
            }
            entry
        };
        let entries = catalog.models.iter().map(entry).collect();
        Self { runtime, entries }
    }

    /// Every model, in the catalogue's order.
    pub fn status(&self) -> impl Iterator<Item = ModelStatus<'_>> {
        self.entries.iter().map(|entry| ModelStatus {
            name: &entry.name,
            serving: entry.serving.as_ref(),
            refused: &entry.refused,
        })
    }

    /// The library that was loaded, or why there is none: then no model serves.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn runtime(&self) -> Result<&Path, &runtime::Error> {
        self.runtime.as_ref().map(|runtime| runtime.path.as_path()).map_err(AsRef::as_ref)
    }

    /// Whether a model does not serve.
    pub fn is_degraded(&self) -> bool {
        self.entries.iter().any(|entry| entry.serving.is_none())
    }

    /// Everything that keeps a model or a newer version of it from serving, a line each: for `intentd check` and readiness.
    pub fn faults(&self) -> Vec<String> {
        if let Err(error) = &self.runtime {
            return vec![Chain(error.as_ref()).to_string()];
        }
        let mut lines = Vec::new();
        for entry in &self.entries {
            if entry.serving.is_none() && entry.refused.is_empty() {
                lines.push(format!("{}: no version of {}", entry.folder.display(), entry.name));
            }
            for refused in &entry.refused {
                let place = entry.folder.join(&refused.version);
                lines.extend(refused.reasons.iter().map(|reason| format!("{}: {reason}", place.display())));
            }
        }
        lines
    }

    /// What a version that serves learned from, if its manifest says so.
    pub fn trained_on(&self, model: ModelIx, version: &str) -> Option<Arc<Trained>> {
        let loaded = self.entries.get(usize::from(model.0))?.serving.as_ref()?;
        let manifest = Some(&loaded.manifest).filter(|_| *loaded.version == *version)?;
        // What makes no sense was refused before it served.
        manifest.drift.as_ref()?.trained(&manifest.features).ok()
    }

    /// Sessions for one scoring thread.
    pub fn scorer(&self) -> OnnxScorer {
        let slot = |entry: &Entry| {
            let both = entry.serving.as_ref().zip(self.runtime.as_ref().ok());
            let serving = both.map(|(loaded, runtime)| Serving {
                version: Arc::clone(&loaded.version),
                bias: loaded.manifest.bias,
                graph: Graph::open(runtime, &loaded.graph, loaded.manifest.features.len()),
            });
            Slot { name: entry.name.clone(), serving }
        };
        OnnxScorer::new(self.entries.iter().map(slot).collect())
    }
}

fn choose(entry: &mut Entry, runtime: &Runtime, options: &Options, catalog: &Catalog, model: &ModelSpec) {
    let folder = entry.folder.clone();
    let mut versions = versions(&folder);
    if let Some(pin) = options.pin.get(&model.name) {
        if !versions.contains(pin) {
            let absent = Refusal::Absent { version: pin.clone(), folder: folder.join(pin) };
            entry.refused.push(Refused { version: pin.clone(), reasons: vec![absent] });
        }
        versions.retain(|version| version == pin);
    }
    for version in versions {
        match open(runtime, &folder.join(&version), catalog, model, &version) {
            Ok(loaded) => {
                entry.serving = Some(loaded);
                return;
            }
            Err(reasons) => entry.refused.push(Refused { version, reasons }),
        }
    }
}

/// The versions in a model's folder, newest first. A folder that does not exist has none.
fn versions(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    // A leading dot: a version that is being written.
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort_by(|one, other| newest_last(other, one));
    names
}

/// Orders versions by name, with runs of digits as numbers: 2 before 10, 1.9 before 1.10.
fn newest_last(one: &str, other: &str) -> Ordering {
    let runs = |text: &str| -> Vec<(bool, usize, String)> {
        let mut runs: Vec<(bool, usize, String)> = Vec::new();
        for letter in text.chars() {
            let digit = letter.is_ascii_digit();
            match runs.last_mut() {
                Some((last, _, run)) if *last == digit => run.push(letter),
                _ => runs.push((digit, 0, letter.to_string())),
            }
        }
        for (digit, length, run) in &mut runs {
            if *digit {
                *run = run.trim_start_matches('0').to_owned();
                *length = run.len();
            }
        }
        runs
    };
    runs(one).cmp(&runs(other)).then_with(|| one.cmp(other))
}

fn open(
    runtime: &Runtime,
    folder: &Path,
    catalog: &Catalog,
    model: &ModelSpec,
    version: &str,
) -> Result<Loaded, Vec<Refusal>> {
    let manifest = text(folder, "manifest.toml").and_then(|text| Manifest::parse(&text));
    let manifest = manifest.map_err(|refusal| vec![refusal])?;
    let mut reasons = manifest.check(catalog, model, version);
    reasons.extend(read(folder, "CARD.md").err());
    let hashed = |file, hash: &str, reasons: &mut Vec<Refusal>| match read(folder, file) {
        Ok(content) => {
            let found = sha256(&content);
            if found != hash {
                reasons.push(Refusal::Hash { file, found, expected: hash.to_owned() });
            }
            content
        }
        Err(refusal) => {
            reasons.push(refusal);
            Vec::new()
        }
    };
    let bytes = hashed("model.onnx", &manifest.model_sha256, &mut reasons);
    let golden = hashed("golden.jsonl", &manifest.golden_sha256, &mut reasons);
    if !reasons.is_empty() {
        // A graph that is not the one meant is not run at all.
        return Err(reasons);
    }
    let golden =
        utf8("golden.jsonl", golden).and_then(|text| manifest::parse_golden(&text, manifest.features.len()));
    let golden = golden.map_err(|refusal| vec![refusal])?;
    let mut graph = Graph::open(runtime, &bytes, manifest.features.len())
        .map_err(|fault| vec![Refusal::Graph { reason: fault.to_string() }])?;
    let reasons = trial::run(&mut graph, &manifest, &golden);
    if !reasons.is_empty() {
        return Err(reasons);
    }
    Ok(Loaded {
        version: version.into(),
        catalog_differs: manifest.catalog_version != catalog.version,
        manifest: Arc::new(manifest),
        graph: bytes.into(),
    })
}

fn read(folder: &Path, file: &'static str) -> Result<Vec<u8>, Refusal> {
    let path: PathBuf = folder.join(file);
    let unreadable = |error: std::io::Error| Refusal::Unreadable { file, reason: error.to_string() };
    let mut content = Vec::new();
    let opened = fs::File::open(path).map_err(unreadable)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(Refusal::Unreadable { file, reason: format!("it has over {FILE_BYTES_MAX} bytes") });
    }
    Ok(content)
}

fn utf8(file: &'static str, content: Vec<u8>) -> Result<String, Refusal> {
    let malformed =
        |error: std::string::FromUtf8Error| Refusal::Malformed { file, line: 1, reason: error.to_string() };
    String::from_utf8(content).map_err(malformed)
}

fn text(folder: &Path, file: &'static str) -> Result<String, Refusal> {
    read(folder, file).and_then(|content| utf8(file, content))
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_may_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        fn moved<T: Send>() {}
        shared::<Registry>();
        moved::<OnnxScorer>();
    }

    #[test]
    fn versions_are_ordered_by_number_where_they_have_one() {
        for (one, other) in
            [("1", "2"), ("2", "10"), ("1.9", "1.10"), ("2026-01-09", "2026-01-10"), ("1", "1.1")]
        {
            assert_eq!(newest_last(one, other), Ordering::Less, "{one} {other}");
            assert_eq!(newest_last(other, one), Ordering::Greater, "{other} {one}");
        }
        assert_ne!(newest_last("01", "1"), Ordering::Equal);
    }
}
