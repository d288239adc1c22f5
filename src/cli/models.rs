//! `intentd models`: which version of each model serves, and the commands that change it.
//!
//! Law: `verify` looks at files alone; the others ask the running daemon, or open the data directory when none runs, so that
//! every change stands in the log.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::check::load_catalog;
use super::parked::with_app;
use super::remote::{get, segment, send};
use super::{Failure, Global, code};
use crate::app::App;
use crate::commands::models::{Change, Error, Models as _, Who};
use crate::config::Config;
use crate::domain::catalog::Catalog;
use crate::error::Chain;
use crate::http::{change_json, model_json};
use crate::scoring::folder::{Shelf, versions};
use crate::scoring::refusal::Refusal;

/// List, verify, activate, roll back and challenge versions of the models.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  intentd models verify SELL 2026.12.1      would it be taken?\n  \
                  intentd models challenge SELL 2026.12.1   run it in shadow\n  \
                  intentd models promote SELL               let it serve\n  \
                  intentd models rollback SELL --why \"precision fell\"")]
pub(crate) struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What serves, what runs in shadow, what lies in the models folder.
    List,
    /// Check versions against catalogue, golden rows and limits, without a daemon: all of them, a model's, or one.
    Verify {
        /// The model, such as SELL; or a folder that holds one version.
        model: Option<String>,
        /// The version; every version of the model when not given.
        version: Option<String>,
    },
    /// Look into the models folder and activate what is new and valid.
    Reload {
        /// The model; all when not given.
        model: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Let a version serve.
    Activate {
        /// The model.
        model: String,
        /// The version.
        version: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let the version serve again that served before.
    Rollback {
        /// The model.
        model: String,
        /// A version that served; the one before when not given.
        version: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Run a version in shadow: its scores are recorded and compared, not acted on.
    Challenge {
        /// The model.
        model: String,
        /// The version.
        version: String,
        #[command(flatten)]
        why: Why,
    },
    /// Run no version in shadow any more.
    Unchallenge {
        /// The model.
        model: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let the version in shadow serve.
    Promote {
        /// The model.
        model: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Args)]
struct Why {
    /// Why; stands in the log beside who and when.
    #[arg(long, value_name = "WORDS")]
    why: Option<String>,
}

impl Models {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        match self.action {
            Action::List => list(&config),
            Action::Verify { model, version } => verify(&config, model.as_deref(), version.as_deref()),
            Action::Reload { model, why } => reload(&config, model, why.why),
            Action::Activate { model, version, why } => {
                let body = json!({ "version": version });
                change(&config, &model, "activate", body, Change::Activate { version }, why.why)
            }
            Action::Rollback { model, version, why } => {
                let body = json!({ "version": version });
                change(&config, &model, "rollback", body, Change::RollBack { version }, why.why)
            }
            Action::Challenge { model, version, why } => {
                let body = json!({ "version": version });
                change(&config, &model, "challenge", body, Change::Challenge { version }, why.why)
            }
            Action::Unchallenge { model, why } => {
                change(&config, &model, "unchallenge", json!({}), Change::Unchallenge, why.why)
            }
            Action::Promote { model, why } => {
                change(&config, &model, "promote", json!({}), Change::Promote, why.why)
            }
        }
    }
}

fn list(config: &Config) -> Result<(), Failure> {
    let listed = match get(config, "/alerts/models")? {
        Some(listed) => listed.get("items").and_then(Value::as_array).cloned().unwrap_or_default(),
        None => with_app(config, async |app: &App| {
            let models = app.models.list().await.map_err(|error| failed(&error))?;
            models.into_iter().map(|model| model_json(model).map_err(|error| bug(&error))).collect()
        })?,
    };
    for model in &listed {
        show(model);
    }
    Ok(())
}

/// One model as a person reads it.
fn show(model: &Value) {
    let text = |pointer: &str| model.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    println!("{}", text("/modelType"));
    println!(
        "  serves      {}  since {} by {} ({})",
        text("/version"),
        text("/since/at"),
        text("/since/by"),
        text("/since/why")
    );
    for (label, pointer) in [
        ("in shadow ", "/challenger"),
        ("  fails   ", "/challengerFails"),
        ("pinned    ", "/pinned"),
        ("DEGRADED  ", "/reason"),
    ] {
        if text(pointer) != "-" {
            println!("  {label}  {}", text(pointer));
        }
    }
    for version in model.get("versions").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| version.get(key).and_then(Value::as_str).unwrap_or_default();
        println!("  {:<10}  {}", text("part").to_lowercase(), text("version"));
        for reason in version.get("reasons").and_then(Value::as_array).into_iter().flatten() {
            println!("              {}", reason.as_str().unwrap_or_default());
        }
    }
}

fn reload(config: &Config, model: Option<String>, why: Option<String>) -> Result<(), Failure> {
    let mut body = json!({ "why": why.clone().unwrap_or_else(|| "reload".to_owned()) });
    if let (Some(model), Some(members)) = (&model, body.as_object_mut()) {
        members.insert("modelType".to_owned(), json!(model));
    }
    let changes = match send(config, "/alerts/models/reload", &body)? {
        Some(answer) => answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default(),
        None => with_app(config, async |app: &App| {
            let who = who(why, "reload");
            let changes = app.models.reload(model, who).await.map_err(|error| failed(&error))?;
            changes.into_iter().map(|change| change_json(change).map_err(|error| bug(&error))).collect()
        })?,
    };
    for change in changes {
        let text = |key: &str| change.get(key).and_then(Value::as_str).unwrap_or("-");
        println!("{:<12} {:<10} {}", text("modelType"), text("result"), text("version"));
        for refused in change.get("refused").and_then(Value::as_array).into_iter().flatten() {
            let version = refused.get("version").and_then(Value::as_str).unwrap_or_default();
            for reason in refused.get("reasons").and_then(Value::as_array).into_iter().flatten() {
                println!("  {version} is refused: {}", reason.as_str().unwrap_or_default());
            }
        }
    }
    Ok(())
}

fn change(
    config: &Config,
    model: &str,
    name: &str,
    mut body: Value,
    change: Change,
    why: Option<String>,
) -> Result<(), Failure> {
    let who = who(why, name);
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
        members.insert("why".to_owned(), json!(who.why));
    }
    let changed = match send(config, &format!("/alerts/models/{}/{name}", segment(model)), &body)? {
        Some(changed) => changed,
        None => with_app(config, async |app: &App| {
            let view = app.models.change(model.to_owned(), change, who).await;
            model_json(view.map_err(|error| failed(&error))?).map_err(|error| bug(&error))
        })?,
    };
    show(&changed);
    Ok(())
}

fn who(why: Option<String>, default: &str) -> Who {
    Who { by: "cli".to_owned(), why: why.unwrap_or_else(|| default.to_owned()) }
}

fn failed(error: &Error) -> Failure {
    let code = match error {
        Error::Unavailable { .. } => code::UNAVAILABLE,
        Error::NotFound { .. } => code::NO_INPUT,
        Error::Refused { .. } | Error::NotAllowed { .. } => code::DATA,
    };
    Failure::new(code, error.to_string())
}

fn bug(error: &serde_json::Error) -> Failure {
    Failure::of(code::SOFTWARE, "models", error)
}

/// Checks files alone: neither a daemon nor a data directory is needed.
fn verify(config: &Config, model: Option<&str>, version: Option<&str>) -> Result<(), Failure> {
    let catalog = load_catalog(&config.catalog)?;
    let shelf = Shelf::open(&config.models)
        .map_err(|error| Failure::new(code::UNAVAILABLE, Chain(&error).to_string()))?;
    let folders = match (model, version) {
        (Some(folder), None) if Path::new(folder).join("manifest.toml").is_file() => {
            vec![named_by(Path::new(folder))?]
        }
        (model, version) => in_folder(config, &catalog, model, version)?,
    };
    let mut refused = 0;
    for (model, version, folder) in folders {
        let Some(spec) = catalog.models.iter().find(|spec| spec.name == model) else {
            return Err(Failure::new(code::DATA, format!("the catalogue has no model {model}")));
        };
        match shelf.check_at(&folder, &catalog, spec, &version) {
            Ok(loaded) => {
                let differs =
                    if loaded.catalog_differs { " (made with another version of the catalogue)" } else { "" };
                println!("{model} {version}: in order{differs}");
            }
            Err(reasons) => {
                refused += 1;
                for reason in reasons {
                    println!("{model} {version}: refused: {}", told(&reason));
                }
            }
        }
    }
    if refused > 0 { Err(Failure::new(code::DATA, format!("{refused} version(s) refused"))) } else { Ok(()) }
}

/// A reason, with the figure that the log's words leave out.
fn told(reason: &Refusal) -> String {
    if let Refusal::Slow { took, .. } = reason { format!("{reason}: {took:?}") } else { reason.to_string() }
}

type Place = (String, String, PathBuf);

/// Model and version of a folder, from its path.
fn named_by(folder: &Path) -> Result<Place, Failure> {
    let whole = folder.canonicalize();
    let whole = whole.map_err(|error| Failure::of(code::NO_INPUT, &folder.display().to_string(), &error))?;
    let name = |path: Option<&Path>| Some(path?.file_name()?.to_str()?.to_owned());
    let both = name(whole.parent()).zip(name(Some(&whole)));
    let (model, version) = both
        .ok_or_else(|| Failure::new(code::USAGE, format!("{} is no <MODEL>/<version>/", folder.display())))?;
    Ok((model, version, whole))
}

fn in_folder(
    config: &Config,
    catalog: &Catalog,
    model: Option<&str>,
    version: Option<&str>,
) -> Result<Vec<Place>, Failure> {
    let names = catalog.models.iter().map(|spec| spec.name.as_str());
    let mut places = Vec::new();
    for name in names.filter(|name| model.is_none_or(|model| model == *name)) {
        let all = versions(&config.models, name).into_iter();
        let wanted = all.filter(|found| version.is_none_or(|version| version == found));
        places.extend(wanted.map(|version| {
            let folder = config.models.folder.join(name).join(&version);
            (name.to_owned(), version, folder)
        }));
    }
    if places.is_empty() {
        let what = format!("{} {}", model.unwrap_or("any model"), version.unwrap_or_default());
        let message = format!("there is no version of {} in {}", what.trim(), config.models.folder.display());
        return Err(Failure::new(code::NO_INPUT, message));
    }
    Ok(places)
}
