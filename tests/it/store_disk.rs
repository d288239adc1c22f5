//! A file system that is really full, one that is really read-only, and a directory that somebody else holds.
//!
//! The first two mount a small tmpfs, which needs the right to mount; without it these tests say so and pass.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use intentd::store::embedded::{Embedded, Options};
use intentd::store::{Append, Direction, Error, EventStore, ExpectedRevision, Filter};

use super::store_contract::{append, event, small};
use super::store_flip::scratch_root;

/// A tmpfs of 8 MiB; none where mounting is not permitted.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = mount(dir.path(), "size=8m");
        if !mounted {
            println!("skipped: mounting a tmpfs is not permitted here");
        }
        mounted.then_some(Self(dir))
    }
}

fn mount(path: &Path, options: &str) -> bool {
    let command = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
    command.is_ok_and(|output| output.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 256 << 10,
        block_bytes: 64 << 10,
        retry_after: Duration::from_millis(10),
        ..small()
    }
}

/// One append of some 4 KiB.
fn heavy(number: u128) -> Append {
    let mut heavy = append("a", ExpectedRevision::Any, []);
    let padding = "x".repeat(4_000);
    let data = format!("\"{padding}\"").into();
    heavy.events = vec![intentd::store::NewEvent { data, ..event(number) }];
    heavy
}

async fn count(store: &Embedded) -> u128 {
    let (mut at, mut count) = (None, 0);
    loop {
        let page = store.read_all(at, Direction::Forwards, &Filter::default(), 1_000).await.unwrap();
        count += page.events.len() as u128;
        match page.next {
            Some(next) => at = Some(intentd::store::Position(next)),
            None => return count,
        }
    }
}

#[tokio::test]
async fn a_full_file_system_costs_nothing_acknowledged() {
    let Some(mounted) = Mounted::new() else { return };
    let dir = mounted.0.path().join("store");
    let store = Embedded::open(&dir, &options()).unwrap();
    let ballast = mounted.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let mut acked = 0;
    let error = loop {
        match store.append(vec![heavy(acked)]).await {
            Ok(_) => acked += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_transient() && acked > 500, "{acked}: {error:?}");
    let Err(Error::Unavailable { reason, .. }) = store.writable() else { panic!("still writable") };
    assert!(reason.contains(dir.to_str().unwrap()) && reason.contains("free space"), "{reason}");
    assert_eq!(count(&store).await, acked);
    // Somebody makes room: the store finds out by itself.
    std::fs::remove_file(&ballast).unwrap();
    let begun = Instant::now();
    while store.writable().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.writable());
        std::thread::yield_now();
    }
    let answer = store.append(vec![heavy(acked)]).await.unwrap().remove(0).unwrap();
    assert_eq!((answer.appended, answer.revision), (1, acked as u64));
    drop(store);
    let store = Embedded::open(&dir, &options()).unwrap();
    assert_eq!(count(&store).await, acked + 1);
    store.verify().unwrap();
}

#[tokio::test]
async fn a_read_only_file_system_is_named_with_the_way_out() {
    let Some(mounted) = Mounted::new() else { return };
    let dir = mounted.0.path().join("store");
    {
        let store = Embedded::open(&dir, &options()).unwrap();
        store.append(vec![heavy(1)]).await.unwrap();
    }
    assert!(mount(mounted.0.path(), "remount,ro"));
    let error = Embedded::open(&dir, &options()).err().unwrap();
    let Error::Unavailable { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains(dir.to_str().unwrap()) && reason.contains("mount"), "{reason}");
    assert!(mount(mounted.0.path(), "remount,rw"));
    let store = Embedded::open(&dir, &options()).unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_directory_has_one_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), &options()).unwrap();
    let Err(Error::Unavailable { reason, .. }) = Embedded::open(dir.path(), &options()) else {
        panic!("two daemons")
    };
    assert!(reason.contains(&format!("process {}", std::process::id())), "{reason}");
    store.close().unwrap();
    assert!(store.append(vec![heavy(1)]).await.unwrap_err().is_transient());
    drop(store);
    Embedded::open(dir.path(), &options()).unwrap();
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_everything_before_it_stays() {
    let root = scratch_root();
    let (dir, copy) = (root.path().join("store"), root.path().join("copy"));
    let store = Embedded::open(&dir, &options()).unwrap();
    let mut ends = Vec::new();
    let path = dir.join("log/00000000000000000000.seg");
    for number in 0..5 {
        ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        store.append(vec![heavy(number)]).await.unwrap();
    }
    let log = std::fs::read(&path).unwrap();
    ends.push(log.len());
    let last = ends[4];
    let open = |bytes: &[u8]| {
        drop(std::fs::remove_dir_all(&copy));
        std::fs::create_dir_all(copy.join("log")).unwrap();
        std::fs::copy(dir.join("store.toml"), copy.join("store.toml")).unwrap();
        std::fs::write(copy.join("log/00000000000000000000.seg"), bytes).unwrap();
        Embedded::open(&copy, &options())
    };
    for cut in (last..log.len()).step_by(613) {
        assert_eq!(count(&open(&log[..cut]).unwrap()).await, 4, "cut at {cut}");
        let page = cut.next_multiple_of(4096);
        if page < log.len() {
            // Whole pages of the last write are missing, others are there.
            let mut holed = log.clone();
            holed[page..(page + 4096).min(log.len())].fill(0);
            assert_eq!(count(&open(&holed).unwrap()).await, 4, "page at {page}");
        }
    }
    // A hole before the last block is no torn tail: acknowledged blocks stand behind it.
    let mut holed = log.clone();
    holed[ends[2]..ends[3]].fill(0);
    assert!(matches!(open(&holed).err(), Some(Error::Corrupt { .. })));
    assert_eq!(count(&open(&log).unwrap()).await, 5);
}
