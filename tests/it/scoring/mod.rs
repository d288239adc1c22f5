//! Scoring at its boundary: model folders in, scores or reasons out, on the real ONNX Runtime.

use std::fs;
use std::path::{Path, PathBuf};

use intentd::domain::catalog::Catalog;
use intentd::scoring::{Options, library, runtime};
use sha2::{Digest as _, Sha256};

mod answers;
pub mod graphs;
mod live;
mod orders;
mod refusals;
mod speed;
mod startup;

/// Made by `models/train/fixture.py`: LINES 1 and 2, STEPS 1.
const FIXTURES: &str = "tests/fixtures/models";

/// Whether ONNX Runtime is there; says so when a test is left out for that. `make test` fetches and names it, and then every
/// other failure is one of the test.
pub fn is_there(test: &str) -> bool {
    match runtime::load(Path::new("")) {
        Ok(_) => true,
        Err(runtime::Error::Library(library::Error::Missing { .. })) => {
            println!("skipped {test}: no ONNX Runtime; run `make ort`");
            false
        }
        Err(error) => panic!("{}", intentd::error::Chain(&error)),
    }
}

/// A catalogue with those features, all inputs of LINES and STEPS.
fn catalog(features: &[&str]) -> Catalog {
    let mut text =
        "name = \"t\"\ncategories = [\"c\"]\n[event.E]\ncategory = \"c\"\ndoc = \"d\"\n".to_owned();
    for name in features {
        text += &format!(
            "[feature.{name}]\ncategory = \"c\"\ndoc = \"d\"\nunit = \"events\"\ncount = \"E\"\nwindow = \"7d\"\n"
        );
    }
    for model in ["LINES", "STEPS"] {
        text += &format!(
            "[model.{model}]\ndoc = \"d\"\nfeatures = {features:?}\nthreshold = 0.5\nexit = 0.4\ncooldown = \"30d\"\n\
             horizon = \"90d\"\nbands = [{{ priority = \"LOW\", score = 0.5 }}]\n"
        );
    }
    Catalog::load(&text, "catalog.toml").unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub fn five() -> Catalog {
    catalog(&["f0", "f1", "f2", "f3", "f4"])
}

fn fixtures() -> Options {
    Options { folder: PathBuf::from(FIXTURES), ..Options::default() }
}

/// A copy of the fixtures that a test may spoil.
struct Models {
    root: tempfile::TempDir,
}

impl Models {
    fn copy() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["LINES/1", "LINES/2", "STEPS/1"] {
            let to = root.path().join(folder);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(Path::new(FIXTURES).join(folder)).unwrap() {
                let from = entry.unwrap().path();
                fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
            }
        }
        Self { root }
    }

    fn options(&self) -> Options {
        Options { folder: self.root.path().to_path_buf(), ..Options::default() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.path().join(file)
    }

    /// Changes a text file.
    fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let before = fs::read_to_string(self.path(file)).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{file} is to change");
        fs::write(self.path(file), after).unwrap();
    }

    /// Changes bytes of a file at the one place where they are.
    fn patch(&self, file: &str, from: &[u8], to: &[u8]) {
        let mut content = fs::read(self.path(file)).unwrap();
        let places: Vec<usize> = content
            .windows(from.len())
            .enumerate()
            .filter(|(_, part)| *part == from)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 1, "{file} holds {from:?} once");
        content.splice(places[0]..places[0] + from.len(), to.iter().copied());
        fs::write(self.path(file), content).unwrap();
    }

    /// Makes the manifest's hashes right again, so that a spoiled file gets past them.
    fn rehash(&self, folder: &str) {
        for (key, file) in [("model_sha256", "model.onnx"), ("golden_sha256", "golden.jsonl")] {
            let digest = Sha256::digest(fs::read(self.path(&format!("{folder}/{file}"))).unwrap());
            let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let manifest = self.path(&format!("{folder}/manifest.toml"));
            let text = fs::read_to_string(&manifest).unwrap();
            let lines = text.lines().map(|line| match line.split_once(" = ") {
                Some((found, _)) if found == key => format!("{key} = \"{hash}\"\n"),
                _ => format!("{line}\n"),
            });
            fs::write(&manifest, lines.collect::<String>()).unwrap();
        }
    }
}
