//! `intentd check`: is everything in order? Names every fault of configuration, catalogue and models at once.

use std::path::Path;

use clap::Args;

use super::{Failure, Global, code};
use crate::domain::catalog::Catalog;

/// Check configuration, catalogue and models; name every fault at once, with its place and the way out.
#[derive(Debug, Args)]
#[command(after_help = "systemd runs this before it starts the daemon. Exit codes: 0 in order, 78 not.")]
pub(crate) struct Check {}

impl Check {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        let catalog = load_catalog(&config.catalog)?;
        println!(
            "catalogue {} ({}): {} event types, {} features, {} signals, {} models",
            catalog.name,
            catalog.version,
            catalog.events.len(),
            catalog.features.len(),
            catalog.signals.len(),
            catalog.models.len()
        );
        Ok(())
    }
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
