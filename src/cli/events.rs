//! `intentd events`: what this program writes into the log, for whoever reads it there.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, code};
use crate::published;

/// What this program writes into the log: types, streams, fields, examples (Markdown), or the JSON Schema of one type.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  intentd events --schema AlertScored > AlertScored.json")]
pub(crate) struct Events {
    /// The JSON Schema (draft 2020-12) of the data of this type of event instead.
    #[arg(long, value_name = "TYPE")]
    schema: Option<String>,
    /// Write docs/events.md and config/schemas/ below this folder instead: for the repository.
    #[arg(long, value_name = "FOLDER", conflicts_with = "schema")]
    write: Option<PathBuf>,
}

impl Events {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match (self.schema, self.write) {
            (Some(name), _) => print(&schema(&name)?),
            (None, Some(root)) => write(&root),
            (None, None) => print(&published::text()),
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let printed = io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| Failure::of(code::IO, "standard output", &error))
}

fn schema(name: &str) -> Result<String, Failure> {
    let pages = published::pages();
    match pages.iter().find(|page| page.event_type == name) {
        Some(page) => Ok(published::pretty(&page.schema)),
        None => {
            let known: Vec<_> = pages.iter().map(|page| page.event_type).collect();
            let message = format!("no event type {name:?}; there are {}", known.join(", "));
            Err(Failure::new(code::USAGE, message))
        }
    }
}

fn write(root: &std::path::Path) -> Result<(), Failure> {
    for (path, text) in published::files() {
        let path = root.join(path);
        let failed = |error| Failure::of(code::IO, &path.display().to_string(), &error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, text).map_err(failed)?;
        println!("{}", path.display());
    }
    Ok(())
}
