//! `manifest.toml` and `golden.jsonl`: what a model folder says of its model, and whether the catalogue fits it.
//!
//! Law: names, order and number of features are equal on both sides, or the model does not serve. Called by the registry.

use serde::Deserialize;

use super::drift::Drift;
use super::refusal::Refusal;
use crate::domain::catalog::{Catalog, ModelSpec};

/// The schema of manifests that this program knows.
pub const SCHEMA: u32 = 1;
/// A larger tolerance would let a wrong export pass: such exports were off by 3.6e-3.
const TOLERANCE_MAX: f32 = 1e-3;
/// So many golden rows cover the features, unknown values and edges; `models/train` writes 64.
pub const GOLDEN_MIN: usize = 50;

/// What `models/train` wrote of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Manifest {
    /// Of this file.
    pub schema: u32,
    /// `SELL`.
    pub model: String,
    /// Its version.
    pub version: String,
    /// `logistic` or `boosted`.
    pub kind: String,
    /// The catalogue that the training set was made with.
    pub catalog_version: String,
    /// Its input, in order.
    pub features: Vec<String>,
    /// Constant part of the raw logit.
    pub bias: f32,
    /// Allowed difference between the graph and `golden.jsonl`.
    pub tolerance: f32,
    /// SHA-256 of `model.onnx`, hexadecimal.
    pub model_sha256: String,
    /// SHA-256 of `golden.jsonl`, hexadecimal.
    pub golden_sha256: String,
    /// From what it learned.
    pub training: Training,
    /// How that was distributed; none: drift cannot be told.
    pub drift: Option<Drift>,
}

/// From what a model learned.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Training {
    /// First moment, RFC 3339.
    pub from: String,
    /// Last moment, RFC 3339.
    pub to: String,
    /// Moments.
    pub rows: u64,
    /// Moments with a conversion after them.
    pub positives: u64,
    /// Their share, by weight.
    pub base_rate: f64,
}

/// A row of `golden.jsonl`: what the graph has to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// NaN where unknown.
    pub features: Vec<f32>,
    /// Calibrated.
    pub probability: f32,
    /// Before calibration.
    pub raw: f32,
    /// Per feature.
    pub contributions: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenLine {
    features: Vec<Option<f32>>,
    probability: f32,
    raw: f32,
    contributions: Vec<f32>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is no manifest, or of a later schema.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let malformed = |error: toml::de::Error| Refusal::Malformed {
            file: "manifest.toml",
            line: error.span().map_or(1, |span| 1 + text.get(..span.start).map_or(0, newlines)),
            reason: error.message().to_owned(),
        };
        let Schema { schema } = toml::from_str(text).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(Refusal::Schema { found: schema, known: SCHEMA });
        }
        toml::from_str(text).map_err(malformed)
    }

    /// Everything that is wrong with this manifest where it lies, for this catalogue.
    pub fn check(&self, catalog: &Catalog, model: &ModelSpec, version: &str) -> Vec<Refusal> {
        let mut found = Vec::new();
        for (key, is, should) in [("model", &*self.model, &*model.name), ("version", &*self.version, version)]
        {
            if is != should {
                found.push(Refusal::Misplaced { key, found: is.to_owned(), expected: should.to_owned() });
            }
        }
        let tolerance = self.tolerance;
        if !(tolerance > 0.0 && tolerance <= TOLERANCE_MAX) {
            let found_ = f64::from(tolerance);
            found.push(Refusal::OutOfBounds {
                key: "tolerance",
                found: found_,
                expected: "over 0, up to 0.001",
            });
        }
        if !self.bias.is_finite() {
            found.push(Refusal::OutOfBounds {
                key: "bias",
                found: f64::from(self.bias),
                expected: "a number",
            });
        }
        found.extend(self.check_features(&names(catalog, model)));
        if let Some(Err(refusals)) = self.drift.as_ref().map(|drift| drift.trained(&self.features)) {
            found.extend(refusals);
        }
        found
    }

    fn check_features(&self, expected: &[&str]) -> Vec<Refusal> {
        let found: Vec<&str> = self.features.iter().map(String::as_str).collect();
        let beyond = |these: &[&str], those: &[&str]| -> Vec<String> {
            these.iter().filter(|name| !those.contains(name)).map(|&name| name.to_owned()).collect()
        };
        let (missing, unknown) = (beyond(&found, expected), beyond(expected, &found));
        let mut refusals = Vec::new();
        if missing.is_empty() && unknown.is_empty() {
            let length = found.len().max(expected.len());
            let at = |list: &[&str], place: usize| (*list.get(place).unwrap_or(&"nothing")).to_owned();
            let differs = (0..length).find(|&place| found.get(place) != expected.get(place));
            refusals.extend(differs.map(|place| Refusal::FeatureOrder {
                place: place + 1,
                found: at(&found, place),
                expected: at(expected, place),
            }));
        }
        if !missing.is_empty() {
            refusals.push(Refusal::FeaturesMissing { names: missing });
        }
        if !unknown.is_empty() {
            refusals.push(Refusal::FeaturesUnknown { names: unknown });
        }
        refusals
    }
}

fn names<'a>(catalog: &'a Catalog, model: &ModelSpec) -> Vec<&'a str> {
    let name = |index: usize| catalog.features.get(index).map_or("?", |feature| feature.name.as_str());
    model.features.iter().map(|feature| name(usize::from(feature.0))).collect()
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// Reads golden rows for a model of so many features.
///
/// # Errors
/// A line is no golden row of that width, or there are too few.
pub fn parse_golden(text: &str, width: usize) -> Result<Vec<Golden>, Refusal> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let malformed = |reason: String| Refusal::Malformed { file: "golden.jsonl", line: at + 1, reason };
        let row: GoldenLine = serde_json::from_str(line).map_err(|error| malformed(error.to_string()))?;
        let (features, contributions) = (row.features.len(), row.contributions.len());
        if features != width || contributions != width {
            let reason =
                format!("{features} features and {contributions} contributions, the model has {width}");
            return Err(malformed(reason));
        }
        rows.push(Golden {
            features: row.features.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect(),
            probability: row.probability,
            raw: row.raw,
            contributions: row.contributions,
        });
    }
    let found = rows.len();
    if found < GOLDEN_MIN { Err(Refusal::GoldenFew { found, needed: GOLDEN_MIN }) } else { Ok(rows) }
}
