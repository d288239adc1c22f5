//! All groups of a server.
//!
//! Law: what is known here is what the log says; a change is in the log before it is here. A group works from its first use
//! on, on the server's own threads. Called by `calls` and `server`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tonic::Status;

use super::command::Command;
use super::config::{Config, Followed, Key};
use super::group::Group;
use super::journal;
use crate::store::{Error, EventStore};
use crate::wire::status::{group_exists, group_missing, too_busy};

/// Commands on their way to one group; who sends more waits.
const COMMANDS: usize = 64;

struct Entry {
    config: Arc<Config>,
    working: Option<mpsc::Sender<Command>>,
}

/// All groups.
pub(in crate::wire) struct Groups {
    store: Arc<dyn EventStore>,
    stopping: watch::Receiver<bool>,
    groups_max: usize,
    entries: Mutex<BTreeMap<Key, Entry>>,
    tasks: Lock<JoinSet<()>>,
}

fn missing(key: &Key) -> Status {
    group_missing(key.follows.name(), &key.group)
}

impl Groups {
    /// Reads from the log which there are.
    pub(in crate::wire) async fn load(
        store: Arc<dyn EventStore>,
        stopping: watch::Receiver<bool>,
        groups_max: usize,
    ) -> Result<Self, Error> {
        let known = journal::load(&*store).await?;
        let entry = |config| Entry { config: Arc::new(config), working: None };
        let entries = known.into_iter().map(|(key, config)| (key, entry(config))).collect();
        Ok(Self { store, stopping, groups_max, entries: Mutex::new(entries), tasks: Lock::default() })
    }

    pub(super) fn store(&self) -> &dyn EventStore {
        &*self.store
    }

    pub(super) async fn create(&self, config: Config) -> Result<(), Status> {
        let mut entries = self.entries.lock().await;
        let stem = journal::stem(&config.key);
        // Two keys may have one name between them: their streams would be one.
        if entries.keys().any(|known| journal::stem(known) == stem) {
            return Err(group_exists(config.key.follows.name(), &config.key.group));
        }
        if entries.len() >= self.groups_max {
            return Err(too_busy());
        }
        journal::set(&*self.store, &config, true).await?;
        entries.insert(config.key.clone(), Entry { config: Arc::new(config), working: None });
        Ok(())
    }

    /// Changes a group, given how it is; its consumers are let go.
    pub(super) async fn update(
        &self,
        key: &Key,
        change: impl FnOnce(&Config) -> Config,
    ) -> Result<(), Status> {
        let mut entries = self.entries.lock().await;
        let entry = entries.get_mut(key).ok_or_else(|| missing(key))?;
        let config = change(&entry.config);
        end(entry).await;
        journal::set(&*self.store, &config, false).await?;
        entry.config = Arc::new(config);
        Ok(())
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), Status> {
        let mut entries = self.entries.lock().await;
        end(entries.get_mut(key).ok_or_else(|| missing(key))?).await;
        journal::forget(&*self.store, key).await?;
        entries.remove(key);
        Ok(())
    }

    /// All groups end; each begins again when it is used.
    pub(super) async fn restart(&self) {
        for entry in self.entries.lock().await.values_mut() {
            end(entry).await;
        }
    }

    /// Those that follow this, or all.
    pub(super) async fn keys(&self, follows: Option<&Followed>) -> Vec<Key> {
        let entries = self.entries.lock().await;
        let wanted = |key: &&Key| follows.is_none_or(|follows| key.follows == *follows);
        entries.keys().filter(wanted).cloned().collect()
    }

    pub(super) async fn has(&self, key: &Key) -> bool {
        self.entries.lock().await.contains_key(key)
    }

    /// A way to a group, which works from now on.
    pub(super) async fn reach(&self, key: &Key) -> Result<mpsc::Sender<Command>, Status> {
        let mut entries = self.entries.lock().await;
        let entry = entries.get_mut(key).ok_or_else(|| missing(key))?;
        if let Some(working) = entry.working.as_ref().filter(|working| !working.is_closed()) {
            return Ok(working.clone());
        }
        let (sender, commands) = mpsc::channel(COMMANDS);
        let group = Group {
            store: Arc::clone(&self.store),
            config: Arc::clone(&entry.config),
            commands,
            stopping: self.stopping.clone(),
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a persistent subscription ended in a panic");
            }
        }
        tasks.spawn(group.run());
        entry.working = Some(sender.clone());
        Ok(sender)
    }

    /// Ready when all groups have ended: after the server began to stop.
    pub(in crate::wire) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

/// Ends a group that works, and waits until it has.
async fn end(entry: &mut Entry) {
    let Some(working) = entry.working.take() else { return };
    let (done, ended) = oneshot::channel();
    if working.send(Command::End { done }).await.is_ok() {
        // It is dropped, never sent.
        drop(ended.await);
    }
}
