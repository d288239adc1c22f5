//! How far an import has come: a small file in the data directory, so that an import that was cut off goes on where it was.
//!
//! Law: only lines that are durable in the store are remembered; a finished import forgets itself, so that importing the same
//! file again looks at every line again (and finds duplicates).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::files;

/// How much of a file's head tells it from others.
const HEAD_BYTES: u64 = 1 << 16;

/// The place reached in one file.
#[derive(Clone, Debug)]
pub struct Progress {
    path: PathBuf,
    reached: Reached,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reached {
    file: String,
    store: String,
    lines_done: u64,
}

impl Progress {
    /// Finds what is remembered of a file: the same size and head, imported into the same store.
    ///
    /// # Errors
    /// The file or the folder cannot be read.
    pub fn find(folder: &Path, file: &Path, store: &str) -> io::Result<Self> {
        let mut head = Vec::new();
        let opened = File::open(file)?;
        let size = opened.metadata()?.len();
        opened.take(HEAD_BYTES).read_to_end(&mut head)?;
        let mut hash = Sha256::new();
        hash.update(size.to_le_bytes());
        hash.update(&head);
        let name: String = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.json"));
        let known = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Reached>(&text).ok().filter(|known| known.store == store),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let fresh = Reached { file: file.display().to_string(), store: store.to_owned(), lines_done: 0 };
        Ok(Self { path, reached: known.unwrap_or(fresh) })
    }

    /// How many lines are done.
    pub fn lines_done(&self) -> u64 {
        self.reached.lines_done
    }

    /// Remembers that every line up to this one is durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn reach(&mut self, lines_done: u64) -> io::Result<()> {
        self.reached.lines_done = lines_done;
        files::replace(&self.path, &serde_json::to_vec(&self.reached)?)
    }

    /// Forgets the file: its import is finished.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_again_for_the_same_file_and_store_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.jsonl");
        fs::write(&file, "one\ntwo\n").unwrap();
        let mut progress = Progress::find(folder.path(), &file, "store-a").unwrap();
        progress.reach(1).unwrap();
        assert_eq!(Progress::find(folder.path(), &file, "store-a").unwrap().lines_done(), 1);
        assert_eq!(Progress::find(folder.path(), &file, "store-b").unwrap().lines_done(), 0);
        Progress::find(folder.path(), &file, "store-a").unwrap().finish().unwrap();
        assert_eq!(Progress::find(folder.path(), &file, "store-a").unwrap().lines_done(), 0);
    }
}
