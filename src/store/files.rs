//! Small files that are replaced whole.
//!
//! Law: after a crash a file is what it was or what it was to become, never a part of it. Called by whoever keeps a place or a
//! name beside the log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes beside, makes it durable, then takes the old one's place.
///
/// # Errors
/// The file system does not do it; what was there is there still.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
