//! How far the feed has come, kept outside the log: derived, so losing it only costs reading again.
//!
//! Law: a checkpoint is good only with the store it was made on; a file holds a whole one or the one before it, never half.
//! Called by the feed.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Position, StoreId, files};
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;

/// How far everything is decided and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// In which store.
    pub store: StoreId,
    /// Of whose users.
    #[serde(default)]
    pub shard: Shard,
    /// Everything of theirs up to here is settled.
    pub position: Position,
    /// The log's clock there: the largest event time seen.
    pub clock: Timestamp,
}

/// Why a checkpoint was not kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the checkpoint {path}")]
pub struct Error {
    /// `read` or `write`.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Where checkpoints are kept. Calls may wait for a disk.
pub trait Checkpoints: Send + Sync + 'static {
    /// The newest one of this store; none when there is none, or one of another store, or one that cannot be understood.
    ///
    /// # Errors
    /// The disk does not answer.
    fn load(&self, store: StoreId) -> Result<Option<Checkpoint>, Error>;

    /// Keeps this one instead of the one before.
    ///
    /// # Errors
    /// The disk does not take it; the one before stands.
    fn save(&self, checkpoint: Checkpoint) -> Result<(), Error>;
}

/// Why nobody's checkpoint is good for a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// They are not of one store.
    #[error("the checkpoints are of different stores: {one} and {other}")]
    Stores {
        /// One of the stores.
        one: StoreId,
        /// Another.
        other: StoreId,
    },
    /// Some users of the shard are nobody's among them.
    #[error(
        "some users of shard {shard} were none of theirs; name the data directories of all instances before the change"
    )]
    Users {
        /// The shard.
        shard: Shard,
    },
}

/// The checkpoint of a shard whose users were others' until now: the earliest of those that had any of them.
///
/// # Errors
/// They are not of one store, or some user was nobody's.
pub fn earliest(kept: &[Checkpoint], shard: Shard) -> Result<Checkpoint, NotTaken> {
    if let Some((one, other)) =
        kept.iter().zip(kept.iter().skip(1)).find(|(one, other)| one.store != other.store)
    {
        return Err(NotTaken::Stores { one: one.store, other: other.store });
    }
    let concerned = || kept.iter().filter(|kept| kept.shard.overlaps(shard));
    let shards: Vec<Shard> = concerned().map(|kept| kept.shard).collect();
    let first = concerned().min_by_key(|kept| kept.position).filter(|_| shard.is_covered_by(&shards));
    first.map(|first| Checkpoint { shard, ..*first }).ok_or(NotTaken::Users { shard })
}

/// Checkpoints in memory: for tests.
#[derive(Debug, Default)]
pub struct MemoryCheckpoints(Mutex<Option<Checkpoint>>);

impl Checkpoints for MemoryCheckpoints {
    fn load(&self, store: StoreId) -> Result<Option<Checkpoint>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).filter(|kept| kept.store == store))
    }

    fn save(&self, checkpoint: Checkpoint) -> Result<(), Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
        Ok(())
    }
}

/// Checkpoints in one small JSON file.
#[derive(Debug)]
pub struct FileCheckpoints {
    path: PathBuf,
}

impl FileCheckpoints {
    /// Checkpoints in this file, whose directory exists.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The newest one, of whatever store and shard; none when there is none, or one that cannot be understood.
    ///
    /// # Errors
    /// The disk does not answer.
    pub fn newest(&self) -> Result<Option<Checkpoint>, Error> {
        match fs::read(&self.path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read")(error)),
        }
    }

    fn error(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error { action, path, source }
    }
}

impl Checkpoints for FileCheckpoints {
    fn load(&self, store: StoreId) -> Result<Option<Checkpoint>, Error> {
        Ok(self.newest()?.filter(|kept| kept.store == store))
    }

    fn save(&self, checkpoint: Checkpoint) -> Result<(), Error> {
        let text = serde_json::to_vec(&checkpoint).map_err(|error| self.error("write")(error.into()))?;
        files::replace(&self.path, &text).map_err(self.error("write"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_file_gives_back_the_newest_and_only_to_its_store() {
        let folder = tempfile::tempdir().unwrap();
        let kept = FileCheckpoints::new(folder.path().join("checkpoint.json"));
        let (store, other) = (StoreId(Uuid::from_u128(1)), StoreId(Uuid::from_u128(2)));
        assert_eq!(kept.load(store).unwrap(), None);
        for position in [7, 9] {
            let clock = Timestamp::from_millis(5);
            let shard = Shard::WHOLE;
            kept.save(Checkpoint { store, shard, position: Position(position), clock }).unwrap();
        }
        assert_eq!(kept.load(store).unwrap().unwrap().position, Position(9));
        assert_eq!(kept.load(other).unwrap(), None);
        let old = format!(r#"{{"store":"{store}","position":3,"clock":"2026-01-01T00:00:00.000Z"}}"#);
        fs::write(folder.path().join("checkpoint.json"), old).unwrap();
        let whole = kept.load(store).unwrap().map(|kept| (kept.position, kept.shard));
        assert_eq!(
            whole,
            Some((Position(3), Shard::WHOLE)),
            "one from before there were shards is of all users"
        );
        fs::write(folder.path().join("checkpoint.json"), "{\"sto").unwrap();
        assert_eq!(kept.load(store).unwrap(), None, "what cannot be understood is read again from the log");
    }
}
