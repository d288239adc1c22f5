//! Which store a directory is, and that one daemon has it.
//!
//! Law: the id is written once, before the first segment, and is in every segment's head. Called by `open` in `mod`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{self, Disk, corrupt, unavailable};
use crate::store::{Error, StoreId};

/// The layout of directory and files; another one is refused.
const FORMAT: u32 = 1;

/// The file that names the store.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("store.toml")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u32,
    id: StoreId,
    /// Of the id, so that a damaged one is not taken for another store's.
    check: String,
}

fn check_of(id: StoreId) -> String {
    format!("{:016x}", xxh3_64(id.0.as_bytes()))
}

/// Makes the directory if there is none, and takes its lock. The lock lives as long as the file is open.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    fs::create_dir_all(dir).map_err(|error| unavailable("create", dir, error))?;
    let path = dir.join("lock");
    let failed = |error| unavailable("lock", &path, error);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // What it says is for people; the lock itself is the kernel's.
            let holder = file.read_to_string(&mut holder).map_or("another process", |_| holder.trim());
            let reason = format!("{} is held by {holder}; stop it, or name another directory", dir.display());
            return Err(Error::Unavailable { reason, source: None });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "process {}", std::process::id())
    };
    write(&mut file).map_err(failed)?;
    Ok(file)
}

/// The store's id; a new one for a directory without a log.
pub(super) fn identity(disk: &dyn Disk, dir: &Path) -> Result<StoreId, Error> {
    let path = path(dir);
    let log = dir.join("log");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let identity: Identity = toml::from_str(&text).map_err(|error| {
                corrupt(&path, error.span().map_or(0, |span| span.start as u64), error.message())
            })?;
            if identity.format != FORMAT {
                let what =
                    format!("format {} is not known to this build, which knows {FORMAT}", identity.format);
                return Err(corrupt(&path, 0, &what));
            }
            if identity.check != check_of(identity.id) {
                return Err(corrupt(&path, 0, "the store's id does not match its checksum"));
            }
            Ok(identity.id)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(corrupt(&path, 0, "the file is not text"))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable("read", &path, error)),
        Err(_) => {
            let segments = fs::read_dir(&log).map(Iterator::count).unwrap_or_default();
            if segments > 0 {
                return Err(corrupt(&path, 0, "the file is missing beside a log"));
            }
            let id = StoreId(Uuid::new_v4());
            let text = format!(
                "# Names this store. Positions and all derived files are good only with it.\nformat = {FORMAT}\nid = \"{id}\"\ncheck = \"{}\"\n",
                check_of(id)
            );
            let write = || {
                fs::create_dir_all(&log)?;
                disk::write_file(disk, &path, text.as_bytes())?;
                disk::sync_dir(dir)
            };
            write().map_err(|error| unavailable("create", &path, error))?;
            Ok(id)
        }
    }
}
