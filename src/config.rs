//! Configuration: composes each module's own `Options`, from `intentd.toml` and then the environment.
//!
//! Law: unknown keys are refused, and all faults are listed at once, each with its place and what would be right.
//! Every key has a default; `config/intentd.toml` shows them all (a test holds the two equal).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::{Deserialize, Serialize};

use crate::domain::shard::Shard;
use crate::projection::sqlite;
use crate::store::{embedded, kurrent};
use crate::{actors, http, scoring, telemetry, wire};

/// Prefix of the environment variables that set keys: `[http] listen` is `INTENTD_HTTP__LISTEN`.
pub const ENVIRONMENT: &str = "INTENTD_";
/// Environment variables with the prefix that are not keys.
const NOT_KEYS: &[&str] = &["config"];

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything that the daemon writes lives.
    pub data_dir: PathBuf,
    /// The catalogue.
    pub catalog: PathBuf,
    /// `[store]`: the embedded store.
    pub store: embedded::Options,
    /// `[kurrentdb]`: the log in a cluster, instead of the embedded store.
    pub kurrentdb: kurrent::Options,
    /// `[ingest]`: what the door takes.
    pub ingest: Ingest,
    /// `[shard]`: whose users are folded here.
    pub shard: Shard,
    /// `[pipeline]`: the actors.
    pub pipeline: actors::Options,
    /// `[models]`.
    pub models: scoring::Options,
    /// `[projection]`.
    pub projection: sqlite::Options,
    /// `[http]`.
    pub http: http::Options,
    /// `[wire]`: the KurrentDB protocol, for other systems.
    pub wire: wire::Options,
    /// `[log]`.
    pub log: telemetry::Options,
}

/// `[ingest]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// How far ahead of the wall clock an event may claim to have happened.
    #[serde(with = "humantime_serde")]
    pub future_max: Duration,
}

impl Default for Ingest {
    fn default() -> Self {
        // A day: time zones taken for UTC pass, a year that was mistyped does not (it would move the log's clock).
        Self { future_max: Duration::from_secs(86_400) }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("intentd-data"),
            catalog: PathBuf::from("config/catalog.toml"),
            store: embedded::Options::default(),
            kurrentdb: kurrent::Options::default(),
            ingest: Ingest::default(),
            shard: Shard::WHOLE,
            pipeline: actors::Options::default(),
            models: scoring::Options::default(),
            projection: sqlite::Options::default(),
            http: http::Options::default(),
            wire: wire::Options::default(),
            log: telemetry::Options::default(),
        }
    }
}

/// Something wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `config/intentd.toml:12` or `environment`.
    pub place: String,
    /// The key, such as `http.listen`; empty when the whole file is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

/// Every fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} fault(s)", .faults.len())]
pub struct Faults {
    /// In order of their places.
    pub faults: Vec<Fault>,
}

impl Config {
    /// Reads a file (none = defaults only), then the environment.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Faults> {
        let (config, faults) = Self::read(file);
        if faults.is_empty() { Ok(config) } else { Err(Faults { faults }) }
    }

    /// As [`Config::load`], but what is in order comes beside the faults, for whoever goes on to look for more of them: a key
    /// with a fault has its default.
    pub fn read(file: Option<&Path>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            match text_of(path) {
                Ok(text) => {
                    let place = |key: &str| format!("{}:{}", path.display(), line_of(&text, key));
                    figment = sound(figment, &Figment::from(Toml::string(&text)), place, &mut faults);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let environment = Figment::from(Env::prefixed(ENVIRONMENT).ignore(NOT_KEYS).split("__"));
        let place = |key: &str| format!("environment {ENVIRONMENT}{}", key.replace('.', "__").to_uppercase());
        figment = sound(figment, &environment, place, &mut faults);
        let config = figment.extract().unwrap_or_else(|error| {
            faults.push(whole(&error));
            Self::default()
        });
        faults.extend(config.faults());
        (config, faults)
    }

    /// What the sections themselves find wrong: values that parse and make no sense.
    fn faults(&self) -> Vec<Fault> {
        let named = |(key, message): (&str, String)| (key.to_owned(), message);
        let pipeline = self.pipeline.check().into_iter().map(|fault| {
            let (key, message) = fault.split_once(": ").unwrap_or(("", &fault));
            (format!("pipeline.{key}"), message.to_owned())
        });
        let shard = self.shard.fault().or_else(|| self.unshared());
        let shard = shard.map(|(key, message)| (format!("shard.{key}"), message));
        let http = self.http.faults().into_iter().map(named);
        let cluster = self.kurrentdb.faults().into_iter().map(named);
        let wire = self.wire.faults().into_iter().map(named);
        let found = shard
            .into_iter()
            .chain(pipeline)
            .chain(cluster)
            .chain(http)
            .chain(wire)
            .chain(self.log.faults().into_iter().map(named));
        found.map(|(key, message)| Fault { place: "configuration".to_owned(), key, message }).collect()
    }

    /// Several instances need a log that they can share: each would write into its own, where nobody else reads.
    fn unshared(&self) -> Option<(&'static str, String)> {
        (!self.shard.is_whole() && self.kurrentdb.connection.is_empty()).then(|| {
            let count = self.shard.count;
            let message = format!(
                "{count} instances share one log, and the embedded store is one instance's own: set \
                 kurrentdb.connection for all of them (docs/operations.md, \"Several instances\"), or count = 1"
            );
            ("count", message)
        })
    }
}

fn whole(error: &figment::Error) -> Fault {
    let place = "configuration".to_owned();
    Fault { place, key: error.path.join("."), message: error.kind.to_string() }
}

/// The text of a file, which is TOML.
fn text_of(path: &Path) -> Result<String, Fault> {
    let text = std::fs::read_to_string(path).map_err(|error| Fault {
        place: path.display().to_string(),
        key: String::new(),
        message: format!("cannot be read ({error}); give another path with --config"),
    })?;
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(syntax_fault(path, &text, &error)),
    }
}

/// Adds a source's keys that are in order. Tries every leaf alone over the defaults, so that one fault hides no other.
fn sound(
    mut all: Figment,
    source: &Figment,
    place: impl Fn(&str) -> String,
    faults: &mut Vec<Fault>,
) -> Figment {
    let Ok(tree) = source.extract::<Dict>() else {
        let message = "is no table of keys".to_owned();
        faults.push(Fault { place: place(""), key: String::new(), message });
        return all;
    };
    let mut leaves = Vec::new();
    flatten("", &tree, &mut leaves);
    for (key, value) in leaves {
        let leaf = (key.as_str(), value);
        let alone = Figment::from(Serialized::defaults(Config::default())).merge(leaf.clone());
        match alone.extract::<Config>() {
            Ok(_) => all = all.merge(leaf),
            Err(error) => {
                let is_unknown = matches!(error.kind, Kind::UnknownField(..));
                let message = if is_unknown { unknown(&key) } else { said(&key, &error.kind) };
                faults.push(Fault { place: place(&key), key, message });
            }
        }
    }
    all
}

/// What is wrong with a value. One that may hold a password, such as a connection, is not shown.
fn said(key: &str, kind: &Kind) -> String {
    if let Kind::InvalidType(Actual::Str(value), expected) | Kind::InvalidValue(Actual::Str(value), expected) =
        kind
        && (key.starts_with("kurrentdb") || value.contains('@'))
    {
        return format!("is a text that is no {expected}");
    }
    kind.to_string()
}

fn unknown(key: &str) -> String {
    let mut known = Vec::new();
    if let Ok(defaults) = Figment::from(Serialized::defaults(Config::default())).extract::<Dict>() {
        flatten("", &defaults, &mut known);
    }
    let nearest = known
        .iter()
        .map(|(name, _)| (strsim::jaro_winkler(name, key), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("there is no such key; did you mean {name}?"),
        None => "there is no such key; config/intentd.toml shows them all".to_owned(),
    }
}

fn flatten(prefix: &str, tree: &Dict, into: &mut Vec<(String, Value)>) {
    for (name, value) in tree {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let Value::Dict(_, inner) = value
            && !inner.is_empty()
        {
            flatten(&key, inner, into);
        } else {
            into.push((key, value.clone()));
        }
    }
}

/// The line on which a dotted key is set; 1 when it cannot be found.
fn line_of(text: &str, key: &str) -> usize {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            header.trim().clone_into(&mut current);
        } else if let Some((left, _)) = line.split_once('=') {
            let left = left.trim();
            if (current == section && left == name) || format!("{current}.{left}").trim_matches('.') == key {
                return number + 1;
            }
        }
    }
    1
}

fn syntax_fault(path: &Path, text: &str, error: &toml::de::Error) -> Fault {
    let line =
        error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
    Fault {
        place: format!("{}:{line}", path.display()),
        key: String::new(),
        message: error.message().to_owned(),
    }
}
