//! `intentd rebuild`: deletes what is derived, so that it is made again from the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::run::start_failed;
use super::{Failure, Global, code};
use crate::app::{Layout, open_store};

/// Delete what is derived from the log (projection, snapshots, checkpoint); the next start makes it again, the same.
///
/// The log itself is never touched. The daemon has to be stopped.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Delete the store's index too; it is made again from the log when the store is opened.
    #[arg(long)]
    index: bool,
}

impl Rebuild {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let config = global.config()?;
        if config.kurrentdb.connection.is_empty() {
            // Opening takes the store's lock: a running daemon is told apart from a stopped one.
            drop(open_store(&config).map_err(|error| start_failed(&error))?);
        }
        let layout = Layout::of(&config.data_dir);
        let mut derived: Vec<PathBuf> = vec![layout.snapshots, layout.checkpoint, layout.cluster];
        for suffix in ["", "-wal", "-shm"] {
            let mut name = layout.projection.clone().into_os_string();
            name.push(suffix);
            derived.push(name.into());
        }
        if self.index {
            derived.push(layout.store.join("index"));
        }
        for path in derived {
            if remove(&path).map_err(|error| Failure::of(code::IO, &path.display().to_string(), &error))? {
                println!("deleted {}", path.display());
            }
        }
        println!("the next `intentd run` makes it again from the log");
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<bool> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
