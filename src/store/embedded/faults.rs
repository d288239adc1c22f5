//! A disk that fails on order, and what the store makes of it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::disk::Disk;
use super::{Embedded, Options};
use crate::domain::id::EventId;
use crate::store::{
    Append, Appended, Direction, Error, EventStore, ExpectedRevision, Filter, NewEvent, Recorded,
};

/// A disk of so many bytes, which can also be told to fail.
#[derive(Default)]
struct Faulty {
    /// Bytes that can still be written; the write that needs more is cut short. Counted only when `limited`.
    room: AtomicU64,
    limited: AtomicBool,
    sync_fails: AtomicBool,
    cut_fails: AtomicBool,
}

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

impl Disk for Faulty {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if is_set(&self.limited) {
            let room = self.room.load(Ordering::SeqCst);
            let fits = bytes.len().min(room as usize);
            self.room.store(room - fits as u64, Ordering::SeqCst);
            file.write_all_at(&bytes[..fits], offset)?;
            return if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) };
        }
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if is_set(&self.sync_fails) { Err(io::Error::other("input/output error")) } else { file.sync_data() }
    }

    fn set_len(&self, file: &File, length: u64) -> io::Result<()> {
        if is_set(&self.cut_fails) {
            Err(io::Error::other("input/output error"))
        } else {
            file.set_len(length)
        }
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 4 << 10,
        block_bytes: 1 << 10,
        memtable_events: 16,
        retry_after: std::time::Duration::from_millis(5),
        ..Options::default()
    }
}

fn append(stream: &str, ids: std::ops::Range<u128>) -> Append {
    let event = |id| NewEvent {
        id: EventId(Uuid::from_u128(id)),
        event_type: "T".into(),
        data: Bytes::from(vec![b'x'; 100]),
        metadata: Bytes::new(),
    };
    Append { stream: stream.to_owned(), expected: ExpectedRevision::Any, events: ids.map(event).collect() }
}

async fn one(store: &Embedded, append: Append) -> Result<Appended, Error> {
    store.append(vec![append]).await.map(|mut answers| answers.remove(0).unwrap())
}

async fn everything(store: &Embedded) -> Vec<Recorded> {
    store.read_all(None, Direction::Forwards, &Filter::default(), 10_000).await.unwrap().events
}

fn ids(events: &[Recorded]) -> Vec<u128> {
    events.iter().map(|event| event.id.0.as_u128()).collect()
}

/// Waits for the writer to find out by itself that it can write again.
fn until_writable(store: &Embedded) {
    let begun = std::time::Instant::now();
    while store.writable().is_err() {
        assert!(begun.elapsed().as_secs() < 10, "the store never recovered");
        std::thread::yield_now();
    }
}

fn open(disk: &Arc<Faulty>, dir: &Path) -> Embedded {
    Embedded::open_on(Arc::clone(disk) as Arc<dyn Disk>, dir, &options()).unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let store = open(&disk, dir.path());
    one(&store, append("a", 0..5)).await.unwrap();
    // Full at every place of a block: in its head, in its body, in its tail.
    for (nth, room) in [0, 10, 40, 300, 795].into_iter().enumerate() {
        disk.room.store(room, Ordering::SeqCst);
        disk.limited.store(true, Ordering::SeqCst);
        let ids_now = 100 * (nth as u128 + 1)..100 * (nth as u128 + 1) + 5;
        let error = one(&store, append("a", ids_now.clone())).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let Err(Error::Unavailable { reason, .. }) = store.writable() else { panic!("still writable") };
        assert!(reason.contains(".seg") && reason.contains("free space"), "{reason}");
        assert_eq!(everything(&store).await.len(), 5 * (nth + 1), "reads go on");
        disk.limited.store(false, Ordering::SeqCst);
        until_writable(&store);
        assert_eq!(one(&store, append("a", ids_now)).await.unwrap().appended, 5);
    }
    store.verify().unwrap();
    drop(store);
    let store = open(&disk, dir.path());
    assert_eq!(everything(&store).await.len(), 30);
}

#[tokio::test]
async fn after_a_failed_sync_the_tail_is_not_trusted() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let store = open(&disk, dir.path());
    one(&store, append("a", 0..5)).await.unwrap();
    disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(one(&store, append("a", 5..10)).await.is_err());
    assert!(one(&store, append("b", 5..10)).await.is_err());
    disk.sync_fails.store(false, Ordering::SeqCst);
    disk.cut_fails.store(true, Ordering::SeqCst);
    // The unknown tail cannot be cut: nothing may be written behind it.
    assert!(one(&store, append("a", 5..10)).await.is_err());
    assert_eq!(ids(&everything(&store).await), (0..5).collect::<Vec<_>>());
    disk.cut_fails.store(false, Ordering::SeqCst);
    assert_eq!(one(&store, append("a", 5..10)).await.unwrap().revision, 9);
    assert!(!store.read_stream("b", None, Direction::Forwards, 9).await.unwrap().exists);
    store.verify().unwrap();
}

#[tokio::test]
async fn under_random_faults_acknowledged_is_there_and_refused_is_whole_or_absent() {
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (dir, disk) = (
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            Arc::new(Faulty::default()),
        );
        let mut store = open(&disk, dir.path());
        let (mut acked, mut refused): (Vec<u128>, Vec<u128>) = (Vec::new(), Vec::new());
        for number in 0..60_u128 {
            disk.limited.store(random.random_bool(0.3), Ordering::SeqCst);
            disk.room.store(random.random_range(0..1_500), Ordering::SeqCst);
            disk.sync_fails.store(random.random_bool(0.2), Ordering::SeqCst);
            disk.cut_fails.store(random.random_bool(0.2), Ordering::SeqCst);
            let stream = format!("s-{}", number % 3);
            match one(&store, append(&stream, number * 10..number * 10 + 3)).await {
                Ok(done) => {
                    assert_eq!((done.appended, done.duplicates), (3, 0));
                    acked.push(number * 10);
                }
                Err(_) => refused.push(number * 10),
            }
            if random.random_bool(0.05) {
                drop(store);
                for flag in [&disk.limited, &disk.sync_fails, &disk.cut_fails] {
                    flag.store(false, Ordering::SeqCst);
                }
                store = open(&disk, dir.path());
            }
        }
        let found = ids(&everything(&store).await);
        let firsts: Vec<u128> = found.iter().copied().filter(|id| id % 10 == 0).collect();
        for three in found.chunks(3) {
            assert_eq!(three, [three[0], three[0] + 1, three[0] + 2], "seed {seed}: in part");
        }
        assert!(firsts.iter().all(|first| acked.contains(first) || refused.contains(first)), "seed {seed}");
        assert!(acked.iter().all(|first| firsts.contains(first)), "seed {seed}: acknowledged and gone");
        assert!(!refused.is_empty() && !acked.is_empty());
        store.verify().unwrap();
    }
}
