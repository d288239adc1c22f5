//! A fresh store of each kind, with what has to live as long as it.

use std::sync::Arc;

use intentd::store::EventStore;
use intentd::store::embedded::{self, Embedded};
use intentd::store::memory::MemoryStore;
use intentd::wire::Running;
use tempfile::TempDir;

use super::apart::Apart;
use crate::store_kurrent;

/// A store, and what has to live as long as it.
pub struct Fresh {
    pub store: Arc<dyn EventStore>,
    _dir: Option<TempDir>,
    _server: Option<Running>,
}

pub fn memory() -> Fresh {
    Fresh { store: Arc::new(MemoryStore::default()), _dir: None, _server: None }
}

/// Bounds small enough that a test meets them: several segments, tables and evictions.
pub fn small() -> embedded::Options {
    embedded::Options {
        segment_bytes: 8 << 10,
        block_bytes: 2 << 10,
        block_events: 16,
        event_bytes_max: 8 << 10,
        append_bytes_max: 32 << 10,
        waiting_bytes_max: 64 << 10,
        stream_cache_bytes: 4 << 10,
        memtable_events: 32,
        live_bytes: 4 << 10,
        checkpoint_events: 10,
        ..embedded::Options::default()
    }
}

pub fn embedded() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), &small()).unwrap();
    Fresh { store: Arc::new(store), _dir: Some(dir), _server: None }
}

/// The adapter, on our own server over an embedded store; or in a corner of the server that `KURRENTDB_URL` names.
pub async fn kurrent() -> Fresh {
    if let Ok(connection) = std::env::var("KURRENTDB_URL") {
        return Fresh {
            store: Arc::new(Apart::new(store_kurrent::to(connection))),
            _dir: None,
            _server: None,
        };
    }
    let Fresh { store: log, _dir, .. } = embedded();
    let server = store_kurrent::serve(&log, store_kurrent::any_port()).await;
    let store = store_kurrent::to(format!("kurrentdb://{}?tls=false", server.address()));
    Fresh { store, _dir, _server: Some(server) }
}
