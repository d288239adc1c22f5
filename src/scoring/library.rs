//! Finds ONNX Runtime's library, and refuses a file that would crash the process when loaded.
//!
//! Law: a path that somebody named is used or refused, never silently replaced by another. Called by [`super::runtime`].

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The variable that names the library and wins over every setting.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";
const NAME: &str = "libonnxruntime.so";

/// Why there is no library to load.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was named and nothing is where it usually lies.
    #[error(
        "no ONNX Runtime library at {}; fetch it with `python3 models/fetch_onnxruntime.py`, or name it in {VARIABLE}",
        .searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    Missing {
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the library {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no shared library for this machine, or is cut short.
    #[error("{} is no usable library: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Fault,
    },
}

/// What is wrong with a file that should be a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not begin as an ELF file of 64 bits does.
    #[error("it is no 64-bit ELF file")]
    NotElf,
    /// Its header says that there is more. Mapping it would end in SIGBUS, which nobody can catch.
    #[error("it is cut short: {found} of {needed} bytes")]
    Cut {
        /// Bytes in the file.
        found: u64,
        /// Bytes that its header speaks of.
        needed: u64,
    },
}

/// Where the library is: `ORT_DYLIB_PATH`, else the configured path (empty = none), else beside the program, else `.ort/`.
///
/// # Errors
/// There is none, or the one that was named is not usable.
pub fn find(configured: &Path) -> Result<PathBuf, Error> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = named.or_else(|| (!configured.as_os_str().is_empty()).then(|| configured.to_path_buf()));
    let path = match named {
        Some(path) => path,
        None => usual()?,
    };
    // Absolute, because `ort` looks for a relative path beside the program first.
    let path =
        std::path::absolute(&path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    check(&path)?;
    Ok(path)
}

fn usual() -> Result<PathBuf, Error> {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(NAME)));
    let searched: Vec<PathBuf> = beside.into_iter().chain([Path::new(".ort").join(NAME)]).collect();
    let found = searched.iter().find(|path| path.is_file()).cloned();
    found.ok_or(Error::Missing { searched })
}

/// Reads the ELF header: loading a file that is no library fails with a clear error, but a truncated one kills the process.
fn check(path: &Path) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    let mut header = Vec::with_capacity(64);
    file.by_ref().take(64).read_to_end(&mut header).map_err(unreadable)?;
    let unusable = |reason| Err(Error::Unusable { path: path.to_path_buf(), reason });
    match needed(&header) {
        None => unusable(Fault::NotElf),
        Some(needed) if needed > found => unusable(Fault::Cut { found, needed }),
        Some(_) => Ok(()),
    }
}

/// The end of the section table, which linkers write last; none when this is no little-endian ELF of 64 bits.
fn needed(header: &[u8]) -> Option<u64> {
    let field = |at: usize| header.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let half = |at: usize| header.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    // Magic, class 2 (64 bits), encoding 1 (little-endian).
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64::from(half(58)?) * u64::from(half(60)?);
    field(40)?.checked_add(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(content: &[u8]) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, content).unwrap();
        check(&path).unwrap_err()
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        for content in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x01\x01", &[0; 4096]] {
            assert!(matches!(refused(content), Error::Unusable { reason: Fault::NotElf, .. }));
        }
    }

    #[test]
    fn a_library_cut_anywhere_is_refused() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let whole = program.len();
        assert!(needed(&program).unwrap() <= whole as u64);
        for cut in [64, 4096, whole / 2, whole - 1] {
            assert!(matches!(refused(&program[..cut]), Error::Unusable { reason: Fault::Cut { .. }, .. }));
        }
    }
}
