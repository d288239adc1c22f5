//! What the log asks of the file system, in one place so that a test can make it fail.
//!
//! Law: nothing here retries or hides a failure. Called by `log` and `recover`; reads go straight to the files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::Error;

/// The writing half of a file system.
pub(super) trait Disk: Send + Sync {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn set_len(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
    }
}

/// The file system as it is.
pub(super) struct Real;

impl Disk for Real {}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a small file whole or not at all.
pub(super) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = disk.open(&new, true)?;
    disk.set_len(&file, 0)?;
    disk.write_all_at(&file, bytes, 0)?;
    disk.sync(&file)?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// A failure of the file system: what was done, where, and the way out.
pub(super) fn unavailable(doing: &str, path: &Path, source: io::Error) -> Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds have no way out of their own")]
    let way_out = match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on its file system",
        ErrorKind::PermissionDenied => "give the daemon's user the right to write there",
        ErrorKind::ReadOnlyFilesystem => "mount its file system for writing",
        ErrorKind::NotFound => "put the directory back, or name another one",
        _ => "see the kernel's log for the disk",
    };
    Error::Unavailable {
        reason: format!("cannot {doing} {}; {way_out}", path.display()),
        source: Some(source),
    }
}

/// Stored bytes that are not what was written.
pub(super) fn corrupt(path: &Path, offset: u64, what: &str) -> Error {
    Error::Corrupt { what: what.to_owned(), path: path.display().to_string(), offset }
}
