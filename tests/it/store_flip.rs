//! Flipped bytes, everywhere: in the log they are found and named, in the index they cost a rebuild, and never is
//! anything wrong or missing told as if it were right.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use intentd::store::embedded::{Embedded, Options};
use intentd::store::{Direction, Error, EventStore, ExpectedRevision, Filter, Recorded};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::store_contract::{append, small};

fn options() -> Options {
    Options { segment_bytes: 12 << 10, block_bytes: 6 << 10, memtable_events: 64, ..small() }
}

/// The index's journals are made 64 MiB long; so much of them is written here.
const WRITTEN_MAX: u64 = 64 << 10;

/// A directory in memory where there is one: hundreds of stores are made, and each syncs.
pub fn scratch_root() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            let mut bytes = Vec::new();
            let file = fs::File::open(entry.path()).unwrap();
            let length = file.metadata().unwrap().len();
            file.take(WRITTEN_MAX).read_to_end(&mut bytes).unwrap();
            fs::write(&to, bytes).unwrap();
            fs::OpenOptions::new().write(true).open(&to).unwrap().set_len(length).unwrap();
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// Everything the store tells: the whole log, and each stream through the index.
async fn told(store: &Embedded) -> Result<(Vec<Recorded>, BTreeMap<String, Vec<Recorded>>), Error> {
    let all = store.read_all(None, Direction::Forwards, &Filter::default(), 10_000).await?.events;
    let mut streams = BTreeMap::new();
    for number in 0..12 {
        let name = format!("stream-{number}");
        let mut back = store.read_stream(&name, None, Direction::Backwards, 10_000).await?.events;
        let events = store.read_stream(&name, None, Direction::Forwards, 10_000).await?.events;
        back.reverse();
        assert_eq!(back, events);
        streams.insert(name, events);
    }
    Ok((all, streams))
}

/// Makes a store with several segments; gives a copy as a crash leaves it, and closes it cleanly.
async fn make(dir: &Path, crashed: &Path) {
    let store = Embedded::open(dir, &options()).unwrap();
    for id in 0..300_u128 {
        let stream = format!("stream-{}", id % 12);
        let mut batch = vec![append(&stream, ExpectedRevision::Any, [id, id + 1_000])];
        if id % 50 == 7 {
            // A block of many pages.
            batch.push(append("stream-3", ExpectedRevision::Any, 10_000 + id * 100..10_080 + id * 100));
        }
        store.append(batch).await.unwrap();
    }
    copy(dir, crashed);
    store.close().unwrap();
}

/// What became of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    NamedAtOpen,
    NamedAtRead,
    NamedByVerify,
    Rebuilt,
}

struct Flips {
    scratch: PathBuf,
    whole: (Vec<Recorded>, BTreeMap<String, Vec<Recorded>>),
}

impl Flips {
    fn named(&self, error: &Error, file: &Path) -> bool {
        let Error::Corrupt { path, offset, .. } = error else { return false };
        let index = self.scratch.join("index");
        if file.starts_with("index") {
            return Path::new(path).starts_with(&index);
        }
        let length = fs::metadata(self.scratch.join(file)).map_or(0, |file| file.len());
        Path::new(path) == self.scratch.join(file) && *offset <= length
    }

    /// Flips a bit in a copy of a store and looks at everything.
    async fn flip(&self, from: &Path, file: &Path, at: usize, bit: u32) -> Became {
        let place = format!("{} byte {at} bit {bit}", file.display());
        drop(fs::remove_dir_all(&self.scratch));
        copy(from, &self.scratch);
        let path = self.scratch.join(file);
        let opened = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        opened.read_exact_at(&mut byte, at as u64).unwrap();
        opened.write_all_at(&[byte[0] ^ 1 << bit], at as u64).unwrap();
        let store = match Embedded::open(&self.scratch, &options()) {
            Ok(store) => store,
            Err(error) => {
                assert!(self.named(&error, file), "{place}: {error:?}");
                return Became::NamedAtOpen;
            }
        };
        let (became, error) = match told(&store).await {
            Ok(told) => {
                assert!(told == self.whole, "{place}: what is told is wrong and no error says so");
                match store.verify() {
                    Ok(_) => (Became::Rebuilt, None),
                    Err(error) => (Became::NamedByVerify, Some(error)),
                }
            }
            Err(error) => (Became::NamedAtRead, Some(error)),
        };
        if let Some(error) = error {
            assert!(self.named(&error, file), "{place}: {error:?}");
        }
        drop(store);
        if file.starts_with("index") && became != Became::Rebuilt {
            let store = Embedded::open(&self.scratch, &options()).unwrap();
            assert!(told(&store).await.unwrap() == self.whole, "{place}: not rebuilt");
            store.verify().unwrap();
        }
        became
    }
}

#[tokio::test]
async fn every_flip_is_named_or_rebuilt() {
    let root = scratch_root();
    let (closed, crashed) = (root.path().join("closed"), root.path().join("crashed"));
    make(&closed, &crashed).await;
    let whole = {
        let copied = root.path().join("whole");
        copy(&closed, &copied);
        told(&Embedded::open(&copied, &options()).unwrap()).await.unwrap()
    };
    assert_eq!(whole.0.len(), 300 * 2 + 6 * 80);
    let flips = Flips { scratch: root.path().join("scratch"), whole };
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut became: BTreeMap<(bool, bool, Became), usize> = BTreeMap::new();
    for from in [&closed, &crashed] {
        let mut found = Vec::new();
        files(from, &mut found);
        let mut places: Vec<(PathBuf, usize)> = Vec::new();
        for path in &found {
            let file = path.strip_prefix(from).unwrap().to_owned();
            let mut length = fs::metadata(path).unwrap().len() as usize;
            if path.extension().is_some_and(|end| end == "jnl") {
                length = fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
            }
            let name = file.to_string_lossy().into_owned();
            let last =
                found.iter().rfind(|path| path.extension().is_some_and(|end| end == "seg")) == Some(path);
            let samples = match &*name {
                "lock" => 0,
                "store.toml" => 4,
                "closed" => 6,
                _ if last => 40,
                _ if name.starts_with("log") => 5,
                _ => 8,
            };
            if length > 0 {
                places.extend((0..samples).map(|_| (file.clone(), random.random_range(0..length))));
            }
            if last {
                // Every byte of the segment's head and of its first block's head, and the very last bytes.
                places.extend((0..56 + 40).chain(length - 16..length).map(|at| (file.clone(), at)));
            }
        }
        for (file, at) in places {
            let result = flips.flip(from, &file, at, random.random_range(0..8)).await;
            *became.entry((from == &closed, file.starts_with("index"), result)).or_default() += 1;
            let harmless = file.starts_with("index") || file == Path::new("store.toml");
            assert!(harmless || result != Became::Rebuilt, "{} byte {at}: nothing was said", file.display());
        }
    }
    println!("(clean close, in the index, what became of it) -> {became:?}");
    assert!(became.values().sum::<usize>() >= 300);
}

#[tokio::test]
async fn a_missing_or_cut_or_strange_file_is_named() {
    let root = scratch_root();
    let (closed, crashed) = (root.path().join("closed"), root.path().join("crashed"));
    make(&closed, &crashed).await;
    let mut found = Vec::new();
    files(&closed.join("log"), &mut found);
    let segments: Vec<PathBuf> =
        found.iter().map(|path| path.strip_prefix(&closed).unwrap().to_owned()).collect();
    assert!(segments.len() > 4);
    let scratch = root.path().join("scratch");
    let check = |change: &dyn Fn(&Path)| {
        drop(fs::remove_dir_all(&scratch));
        copy(&closed, &scratch);
        change(&scratch);
        match Embedded::open(&scratch, &options()).err() {
            Some(Error::Corrupt { path, .. }) => path,
            other => panic!("{other:?}"),
        }
    };
    for segment in &segments {
        check(&|dir| fs::remove_file(dir.join(segment)).unwrap());
        check(&|dir| {
            let file = fs::OpenOptions::new().write(true).open(dir.join(segment)).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        });
    }
    check(&|dir| fs::write(dir.join("log/strange"), "").unwrap());
    check(&|dir| fs::remove_file(dir.join("store.toml")).unwrap());
    // A whole segment of the same length and name from another store.
    let (other, other_crashed) = (root.path().join("other"), root.path().join("other-crashed"));
    make(&other, &other_crashed).await;
    let swapped =
        check(&|dir| assert!(fs::copy(other.join(&segments[1]), dir.join(&segments[1])).unwrap() > 0));
    assert!(swapped.ends_with(segments[1].to_str().unwrap()), "{swapped}");
}
