//! `intentd check`: is everything in order? Names every fault of configuration, catalogue and models at once.
//!
//! Law: a fault hides no other: what has one is taken as its default, or left out, and the rest is looked at all the same.
//! Called by people, and by systemd before a start.

use std::path::Path;

use clap::Args;

use super::{Failure, Global, code};
use crate::config::Config;
use crate::domain::catalog::Catalog;
use crate::error::Chain;
use crate::scoring::registry::Registry;
use crate::store::embedded::Embedded;

/// Check configuration, catalogue and models; name every fault at once, with its place and the way out.
#[derive(Debug, Args)]
#[command(
    after_help = "systemd runs this with --allow-degraded before it starts the daemon. Exit codes: 0 in order,\n\
                        65 the store is damaged, 69 it cannot be opened, 78 anything else is not in order."
)]
pub(crate) struct Check {
    /// A model that cannot serve is told and is no fault: the daemon starts without it, and its users wait.
    #[arg(long)]
    allow_degraded: bool,
    /// Look at every byte of the embedded store too. No daemon may run on it; as slow as the disk.
    #[arg(long)]
    store: bool,
}

impl Check {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let (config, faults) = Config::read(global.config.as_deref());
        let mut faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if !config.kurrentdb.connection.is_empty()
            && let Some((key, reason)) = config.kurrentdb.credentials_fault()
        {
            faults.push(format!("configuration: {key}: {reason}"));
        }
        match load_catalog(&config.catalog) {
            Ok(catalog) => {
                println!("{}", told(&catalog));
                let found = models(&config, &catalog);
                if self.allow_degraded {
                    found.iter().for_each(|fault| println!("warning: degraded: {fault}"));
                } else {
                    faults.extend(found);
                }
            }
            Err(failure) => faults.push(failure.message),
        }
        if !faults.is_empty() {
            let message = format!("{} fault(s):\n  {}", faults.len(), faults.join("\n  "));
            return Err(Failure::new(code::CONFIG, message));
        }
        if self.store { store(&config) } else { Ok(()) }
    }
}

fn told(catalog: &Catalog) -> String {
    format!(
        "catalogue {} ({}): {} event types, {} features, {} signals, {} models",
        catalog.name,
        catalog.version,
        catalog.events.len(),
        catalog.features.len(),
        catalog.signals.len(),
        catalog.models.len()
    )
}

/// Tells which models would serve, and gives what keeps one of them, or a newer version, from it.
fn models(config: &Config, catalog: &Catalog) -> Vec<String> {
    let registry = Registry::load(&config.models, catalog);
    for model in registry.status() {
        let Some(loaded) = model.serving else { continue };
        let differs =
            if loaded.catalog_differs { ", made with another version of the catalogue" } else { "" };
        let drift = if loaded.manifest.drift.is_none() { ", no [drift]: drift cannot be told" } else { "" };
        println!("model {} {}: in order{differs}{drift}", model.name, loaded.version);
    }
    registry.faults()
}

fn store(config: &Config) -> Result<(), Failure> {
    if !config.kurrentdb.connection.is_empty() {
        let message = "--store looks at an embedded store; the log is in a cluster (kurrentdb.connection)";
        return Err(Failure::new(code::UNAVAILABLE, message));
    }
    let folder = crate::app::Layout::of(&config.data_dir).store;
    if !folder.is_dir() {
        let message = format!("there is no store in {}; set `data_dir`", folder.display());
        return Err(Failure::new(code::UNAVAILABLE, message));
    }
    let report = Embedded::check_dir(&folder, &config.store).map_err(|error| {
        let is_damaged = matches!(error, crate::store::Error::Corrupt { .. });
        let code = if is_damaged { code::DATA } else { code::UNAVAILABLE };
        Failure::new(code, format!("{}: {}", folder.display(), Chain(&error)))
    })?;
    println!(
        "store {}: in order: {} events in {} streams, {} blocks in {} segments, {} bytes",
        folder.display(),
        report.events,
        report.streams,
        report.blocks,
        report.segments,
        report.bytes
    );
    Ok(())
}

/// Reads and compiles a catalogue.
pub(crate) fn load_catalog(path: &Path) -> Result<Catalog, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("the catalogue {} cannot be read ({error}); set `catalog`", path.display());
        Failure::new(code::CONFIG, message)
    })?;
    Catalog::load(&text, &path.display().to_string()).map_err(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let message = format!("the catalogue has {} fault(s):\n  {}", faults.len(), lines.join("\n  "));
        Failure::new(code::CONFIG, message)
    })
}
