//! A data directory and the cluster that it belongs to; a cluster that answers reads and takes no appends.

use std::sync::Arc;
use std::time::Duration;

use intentd::store::kurrent::Kurrent;
use intentd::store::memory::{Fault, MemoryStore};
use intentd::store::{EventStore, ExpectedRevision};

use super::store_contract::append;
use super::store_kurrent::{any_port, options, serve};

use ExpectedRevision::Any;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_holds_no_log_of_ours_does_not_get_the_name_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kurrentdb-id");
    let (ours, empty) = (MemoryStore::default(), MemoryStore::default());
    let mut ids = Vec::new();
    // The second time the directory knows its log already.
    for id in [1, 2] {
        let server = serve(&(Arc::new(ours.clone()) as Arc<dyn EventStore>), any_port()).await;
        let store = Kurrent::open(&file, options(&server.address().to_string())).await.unwrap();
        store.append(vec![append("s", Any, [id])]).await.unwrap();
        ids.push(store.id());
        drop(store);
        server.stop().await;
    }
    assert_eq!(ids[0], ids[1]);
    let server = serve(&(Arc::new(empty.clone()) as Arc<dyn EventStore>), any_port()).await;
    let store = Kurrent::open(&file, options(&server.address().to_string())).await.unwrap();
    let refused = store.append(vec![append("s", Any, [3])]).await.unwrap_err();
    assert!(refused.is_transient() && refused.to_string().contains("intentd rebuild"), "{refused}");
    assert!(store.head().await.is_err() && store.writable().is_err());
    assert!(empty.everything().is_empty(), "{:?}", empty.everything());
    std::fs::remove_file(&file).unwrap();
    let anew = Kurrent::open(&file, options(&server.address().to_string())).await.unwrap();
    assert_ne!(anew.id(), ids[0]);
    anew.append(vec![append("s", Any, [3])]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_takes_no_appends_is_not_writable_however_well_it_reads() {
    let log = MemoryStore::default();
    let server = serve(&(Arc::new(log.clone()) as Arc<dyn EventStore>), any_port()).await;
    let options = intentd::store::kurrent::Options {
        call_timeout: Duration::from_secs(1),
        ..options(&server.address().to_string())
    };
    let store = super::store_kurrent::kurrent(options);
    store.append(vec![append("s", Any, [1])]).await.unwrap();
    log.order_faults([Fault::Delay(Duration::from_secs(3_600))]);
    store.append(vec![append("s", Any, [2])]).await.unwrap_err();
    while store.head().await.is_err() {
        tokio::task::yield_now().await;
    }
    let refused = store.writable().unwrap_err();
    assert!(refused.to_string().contains("the newest append failed"), "{refused}");
    while store.append(vec![append("s", Any, [2])]).await.is_err() {
        tokio::task::yield_now().await;
    }
    store.writable().unwrap();
}
