//! One version of a model as it lies in its folder: read, checked against the catalogue, tried.
//!
//! Law: a graph whose files are not the ones meant is not run at all, and one that fails its trial never serves; every reason
//! is found in one go. Called by the registries and by `intentd models verify`.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::manifest::{self, Manifest};
use super::onnx::{Graph, GraphFault, Serving};
use super::refusal::Refusal;
use super::runtime::{self, Runtime};
use super::{Options, trial};
use crate::domain::catalog::{Catalog, ModelSpec};
use crate::domain::model::by_version;

/// Largest file of a model folder that is read: a graph of 40 features has some 100 KB, and a wrong path may name anything.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A version that may serve.
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

impl Loaded {
    /// A session of its own.
    pub(super) fn open(&self, runtime: &Runtime) -> Result<Graph, GraphFault> {
        Graph::open(runtime, &self.graph, self.manifest.features.len())
    }

    /// Itself with a session, as a scoring thread has it.
    pub(super) fn serve(&self, graph: Result<Graph, GraphFault>) -> Serving {
        Serving { version: Arc::clone(&self.version), bias: self.manifest.bias, graph }
    }
}

/// The models folder, the catalogue that its models have to fit, and the runtime that runs them.
#[derive(Clone, Debug)]
pub struct Shelf {
    options: Options,
    runtime: Runtime,
}

impl Shelf {
    /// A shelf; loads the runtime, unless one is loaded.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn open(options: &Options) -> Result<Self, runtime::Error> {
        Ok(Self { options: options.clone(), runtime: runtime::load(&options.library)? })
    }

    /// What runs the models.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Checks a version of the models folder. Slow (some 100 ms); never on a scoring or async thread.
    ///
    /// # Errors
    /// Every reason for which it may not serve.
    pub fn check(&self, catalog: &Catalog, model: &ModelSpec, version: &str) -> Result<Loaded, Vec<Refusal>> {
        let folder = self.options.folder.join(&model.name).join(version);
        if !is_name(version) || !folder.is_dir() {
            return Err(vec![Refusal::Absent { version: version.to_owned(), folder }]);
        }
        self.check_at(&folder, catalog, model, version)
    }

    /// Checks a version wherever it lies.
    ///
    /// # Errors
    /// Every reason for which it may not serve.
    pub fn check_at(
        &self,
        folder: &Path,
        catalog: &Catalog,
        model: &ModelSpec,
        version: &str,
    ) -> Result<Loaded, Vec<Refusal>> {
        let manifest = text(folder, "manifest.toml").and_then(|text| Manifest::parse(&text));
        let manifest = manifest.map_err(|refusal| vec![refusal])?;
        let mut reasons = manifest.check(catalog, model, version);
        reasons.extend(read(folder, "CARD.md").err());
        let bytes = hashed(folder, "model.onnx", &manifest.model_sha256, &mut reasons);
        let golden = hashed(folder, "golden.jsonl", &manifest.golden_sha256, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let golden = utf8("golden.jsonl", golden)
            .and_then(|text| manifest::parse_golden(&text, manifest.features.len()));
        let golden = golden.map_err(|refusal| vec![refusal])?;
        let mut graph = Graph::open(&self.runtime, &bytes, manifest.features.len())
            .map_err(|fault| vec![Refusal::Graph { reason: fault.to_string() }])?;
        let reasons = trial::run(&mut graph, &manifest, &golden, &self.options);
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
}

/// The hash that a version's manifest says its graph has, as it lies there now; none when that cannot be read.
pub fn model_hash(options: &Options, model: &str, version: &str) -> Option<String> {
    let folder = options.folder.join(model).join(version);
    let manifest = text(&folder, "manifest.toml").and_then(|text| Manifest::parse(&text)).ok()?;
    Some(manifest.model_sha256)
}

/// Whether a text may be the name of a version: it names a folder inside its model's, and none that is being written.
fn is_name(version: &str) -> bool {
    !version.is_empty() && !version.starts_with('.') && !version.contains(['/', '\\', '\0'])
}

/// The versions in a model's folder, newest first. A folder that does not exist has none.
pub fn versions(options: &Options, model: &str) -> Vec<String> {
    let entries = fs::read_dir(options.folder.join(model)).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    // A leading dot: a version that is being written.
    let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
    names.sort_by(|one, other| by_version(other, one));
    names
}

fn hashed(folder: &Path, file: &'static str, hash: &str, reasons: &mut Vec<Refusal>) -> Vec<u8> {
    match read(folder, file) {
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
    }
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
