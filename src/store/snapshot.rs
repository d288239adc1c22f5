//! Users put out of memory, as they stood: derived, so losing one only costs folding its events again.
//!
//! Law: a snapshot is good only with the store, the catalogue and the shape it was made by; a mismatch means rebuild, never
//! migrate. Called by user actors when they begin and when they end.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::StoreId;
use crate::domain::id::UserId;

/// What snapshots must agree with to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The store.
    pub store: StoreId,
    /// The catalogue's version.
    pub catalog: String,
    /// The number of the snapshot's shape.
    pub schema: u16,
}

/// Why a snapshot was not read or kept. The log has everything: go on without.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} snapshots in {path}")]
pub struct Error {
    /// `open`, `read` or `write`.
    pub action: &'static str,
    /// The directory.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: fjall::Error,
}

/// Where snapshots are kept. Calls are short (a read or a buffered write) and safe to lose at a crash.
pub trait Snapshots: Send + Sync + 'static {
    /// The newest of a user.
    ///
    /// # Errors
    /// The disk does not answer, or the bytes are damaged.
    fn load(&self, user: &UserId) -> Result<Option<Vec<u8>>, Error>;

    /// Keeps this one instead of the one before.
    ///
    /// # Errors
    /// The disk does not take it.
    fn save(&self, user: &UserId, snapshot: &[u8]) -> Result<(), Error>;

    /// Deletes a user's.
    ///
    /// # Errors
    /// The disk does not take it.
    fn forget(&self, user: &UserId) -> Result<(), Error>;
}

/// Snapshots in memory: for tests.
#[derive(Debug, Default)]
pub struct MemorySnapshots(Mutex<HashMap<UserId, Vec<u8>>>);

impl MemorySnapshots {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Snapshots for MemorySnapshots {
    fn load(&self, user: &UserId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned())
    }

    fn save(&self, user: &UserId, snapshot: &[u8]) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(user.detached(), snapshot.to_vec());
        Ok(())
    }

    fn forget(&self, user: &UserId) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
        Ok(())
    }
}

/// A snapshot longer than this is compressed; a shorter one gains less than the frame costs.
const COMPRESS_FROM: usize = 256;
/// zstd's level: 1 takes a tenth of the time of 3 at these sizes and gives up some 3 %.
const LEVEL: i32 = 1;
/// First byte of a stored snapshot.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Most bytes of one snapshot when unpacked: more is damage.
const SNAPSHOT_BYTES_MAX: usize = 16 << 20;
/// Buffered writes before they go to a table file: snapshots of some 100,000 users.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// The record that names what the snapshots agree with; no hash of a user is one byte long.
const KEY_RECORD: [u8; 1] = [0];

/// Snapshots in a directory, by the hash of the user's id (128 bits: no two users meet).
pub struct FileSnapshots {
    path: PathBuf,
    _database: Database,
    users: Keyspace,
}

impl FileSnapshots {
    /// Opens or makes the directory. Snapshots that do not agree with `key` are dropped.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(path: &Path, key: &Key) -> Result<Self, Error> {
        let fail = |source| Error { action: "open", path: path.to_path_buf(), source };
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let database = Database::builder(path).open().map_err(fail)?;
        let users = database.keyspace("users", options).map_err(fail)?;
        let wanted = format!("{} {} {}", key.store, key.catalog, key.schema);
        let held = users.get(KEY_RECORD).map_err(fail)?;
        if held.as_deref() != Some(wanted.as_bytes()) {
            users.clear().map_err(fail)?;
            users.insert(KEY_RECORD, wanted).map_err(fail)?;
        }
        Ok(Self { path: path.to_path_buf(), _database: database, users })
    }

    fn error(&self, action: &'static str) -> impl FnOnce(fjall::Error) -> Error {
        let path = self.path.clone();
        move |source| Error { action, path, source }
    }
}

fn place(user: &UserId) -> [u8; 16] {
    xxh3_128(user.as_str().as_bytes()).to_be_bytes()
}

thread_local! {
    /// A compressor costs a megabyte and 100 µs to make: one per thread serves all snapshots.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

fn compress(snapshot: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        compressor.compress(snapshot)
    })
}

fn decompress(packed: &[u8]) -> Option<Vec<u8>> {
    // As large as the frame says it is, not as large as it may be.
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten()?;
    let size = usize::try_from(size).ok().filter(|size| *size <= SNAPSHOT_BYTES_MAX)?;
    zstd::bulk::decompress(packed, size).ok()
}

fn pack(snapshot: &[u8]) -> Vec<u8> {
    let plain = |mut packed: Vec<u8>| {
        packed.clear();
        packed.push(PLAIN);
        packed.extend_from_slice(snapshot);
        packed
    };
    if snapshot.len() < COMPRESS_FROM {
        return plain(Vec::with_capacity(snapshot.len() + 1));
    }
    match compress(snapshot) {
        Ok(mut packed) if packed.len() < snapshot.len() => {
            packed.insert(0, ZSTD);
            packed
        }
        Ok(packed) => plain(packed),
        Err(_) => plain(Vec::new()),
    }
}

/// None when the bytes are not what [`pack`] made: the caller folds the log instead.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    match packed.split_first() {
        Some((&PLAIN, rest)) => Some(rest.to_vec()),
        Some((&ZSTD, rest)) => decompress(rest),
        Some(_) | None => None,
    }
}

impl Snapshots for FileSnapshots {
    fn load(&self, user: &UserId) -> Result<Option<Vec<u8>>, Error> {
        let packed = self.users.get(place(user)).map_err(self.error("read"))?;
        Ok(packed.and_then(|packed| unpack(&packed)))
    }

    fn save(&self, user: &UserId, snapshot: &[u8]) -> Result<(), Error> {
        self.users.insert(place(user), pack(snapshot)).map_err(self.error("write"))
    }

    fn forget(&self, user: &UserId) -> Result<(), Error> {
        self.users.remove(place(user)).map_err(self.error("write"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn snapshots_come_back_and_another_catalogue_sees_none() {
        let folder = tempfile::tempdir().unwrap();
        let key = |catalog: &str| Key {
            store: StoreId(Uuid::from_u128(1)),
            catalog: catalog.to_owned(),
            schema: 1,
        };
        let user: UserId = "anna".parse().unwrap();
        let long: Vec<u8> = b"0123456789".repeat(100);
        for snapshot in [&b"short"[..], &long] {
            let kept = FileSnapshots::open(folder.path(), &key("a")).unwrap();
            kept.save(&user, snapshot).unwrap();
            assert_eq!(kept.load(&user).unwrap().as_deref(), Some(snapshot));
            drop(kept);
            let again = FileSnapshots::open(folder.path(), &key("a")).unwrap();
            assert_eq!(again.load(&user).unwrap().as_deref(), Some(snapshot), "after a new start");
        }
        assert!(pack(&long).len() < 100);
        let other = FileSnapshots::open(folder.path(), &key("b")).unwrap();
        assert_eq!(other.load(&user).unwrap(), None);
        other.save(&user, b"b").unwrap();
        other.forget(&user).unwrap();
        assert_eq!(other.load(&user).unwrap(), None);
    }
}
