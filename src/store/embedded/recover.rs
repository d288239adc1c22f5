//! Opening a log: which files there are, whether they follow each other, and where the last one ends.
//!
//! Law: after a crash only a torn tail is cut, and said so; after a clean close nothing is. Whatever else does not match is
//! an error that names file and byte. Called by `open` in `mod`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::block::{self, Fault, Whole};
use super::disk::{self, Disk, corrupt, unavailable};
use super::le::{Cut, is_zero};
use super::log::Log;
use super::record::Record;
use super::segment::{self, Extent, Foot, Segment, Segments};
use crate::store::{Error, StoreId};

/// The chain that the first block continues.
pub(super) fn first_chain(id: StoreId) -> u64 {
    xxh3_64(id.0.as_bytes())
}

/// The mark of a clean close: where the log ended.
pub(super) struct Closed {
    pub(super) end: u64,
    pub(super) chain: u64,
}

impl Closed {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("closed")
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.end.to_le_bytes(), self.chain.to_le_bytes()].concat();
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// Leaves the mark.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk::write_file(disk, &Self::path(dir), &self.to_bytes())
    }

    fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable("read", &path, error)),
        };
        let mut cut = Cut(&bytes);
        match (cut.u64(), cut.u64()) {
            (Some(end), Some(chain)) if bytes == (Self { end, chain }).to_bytes() => {
                Ok(Some(Self { end, chain }))
            }
            _ => Err(corrupt(&path, 0, "the mark of a clean close does not match its checksum")),
        }
    }
}

/// What a segment's bytes hold.
pub(super) struct Scan {
    pub(super) extent: Extent,
    pub(super) chain: u64,
    /// Position of the last record; 0 when there is none.
    pub(super) last: u64,
    pub(super) foot: Option<Foot>,
    /// Why the scan ended before the end of the bytes.
    pub(super) fault: Option<Fault>,
}

/// Walks over all blocks of a segment; `visit` sees each with its place.
pub(super) fn scan(bytes: &[u8], base: u64, previous: u64, mut visit: impl FnMut(usize, &Whole)) -> Scan {
    let extent = Extent { marks: Vec::new(), end: segment::HEAD as u32 };
    let mut scan = Scan { extent, chain: previous, last: 0, foot: None, fault: None };
    loop {
        let at = scan.extent.end as usize;
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return scan;
        }
        if Cut(rest).u32() == Some(segment::FOOT_MAGIC) {
            scan.foot = Foot::parse(rest);
            let wanted = Foot { marks: scan.extent.marks.clone(), last: scan.last, chain: scan.chain };
            if scan.foot.as_ref() != Some(&wanted) {
                let torn = rest.len() < wanted.to_bytes().len();
                scan.foot = None;
                scan.fault = Some(Fault { offset: at as u64, what: "a segment's foot does not match", torn });
            }
            return scan;
        }
        match block::check(rest, base + at as u64, at as u64) {
            Ok(whole) if whole.previous != scan.chain => {
                let what = "a block does not follow the one before it";
                scan.fault = Some(Fault { offset: at as u64, what, torn: false });
                return scan;
            }
            Ok(whole) => {
                visit(at, &whole);
                scan.last = last_record(rest, base + at as u64).unwrap_or(scan.last);
                scan.chain = whole.chain;
                scan.extent.grow(whole.length);
            }
            Err(fault) => {
                scan.fault = Some(fault);
                return scan;
            }
        }
    }
}

/// The position of the last record of a block that is whole.
fn last_record(block: &[u8], base: u64) -> Option<u64> {
    let head = block::Head::parse(block)?;
    let (mut at, mut last) = (block::HEAD, None);
    while at < block::HEAD + head.body {
        last = Some(base + at as u64);
        at += Record::parse(block.get(at..)?)?.length;
    }
    last
}

/// Whether a block begins somewhere after a fault: then the fault is no torn tail, for one write is in flight at a time.
fn block_after(bytes: &[u8], from: u64, base: u64) -> bool {
    let magic = block::MAGIC.to_le_bytes();
    (from as usize + 1..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        rest.starts_with(&magic) && block::Head::parse(rest).is_some_and(|head| head.base == base + at as u64)
    })
}

/// The positions that the files of a folder are named for.
fn bases(folder: &Path) -> Result<Vec<u64>, Error> {
    let failed = |error| unavailable("list", folder, error);
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.strip_suffix(".seg").filter(|base| base.len() == 20).map(str::parse) {
            Some(Ok(base)) => bases.push(base),
            _ => return Err(corrupt(&path, 0, "a file that does not belong to the log")),
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Reads head and foot of a full segment, and that the next one follows it.
fn sealed(
    disk: &dyn Disk,
    path: &Path,
    base: u64,
    next: u64,
    id: StoreId,
    previous: u64,
) -> Result<(Segment, Foot), Error> {
    let failed = |error| unavailable("read", path, error);
    let file = disk.open(path, false).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if base + length != next {
        let what = format!("the next segment begins at position {next}: this file is cut or one is missing");
        return Err(corrupt(path, length, &what));
    }
    let segment = Segment::new(base, path, file, Extent::default());
    let mut head = vec![0; segment::HEAD];
    segment.read_at(&mut head, 0)?;
    check_head(path, &head, id, base, previous)?;
    let mut end = [0; 8];
    segment.read_at(&mut end, length.saturating_sub(8))?;
    let damaged = || corrupt(path, length.saturating_sub(8), "a segment's foot does not match its checksum");
    let foot_at = Foot::length(&end).and_then(|foot| length.checked_sub(foot)).ok_or_else(damaged)?;
    let mut foot = vec![0; (length - foot_at) as usize];
    segment.read_at(&mut foot, foot_at)?;
    let foot = Foot::parse(&foot).ok_or_else(damaged)?;
    let extent = Extent { marks: foot.marks.clone(), end: foot_at as u32 };
    let file = disk.open(path, false).map_err(failed)?;
    Ok((Segment::new(base, path, file, extent), foot))
}

pub(super) fn check_head(
    path: &Path,
    head: &[u8],
    id: StoreId,
    base: u64,
    previous: u64,
) -> Result<(), Error> {
    match segment::parse_head(head) {
        None => Err(corrupt(path, 0, "a segment's head does not match its checksum")),
        Some((other, _, _)) if other != id => {
            Err(corrupt(path, 16, &format!("the segment belongs to the store {other}, not to {id}")))
        }
        Some((_, other, _)) if other != base => Err(corrupt(path, 32, "the segment's name is not its own")),
        Some((_, _, other)) if other != previous => {
            Err(corrupt(path, 40, "the segment does not follow the one before it"))
        }
        Some(_) => Ok(()),
    }
}

/// Opens the log of a store, cuts what a crash left half written, and takes away the mark of a clean close.
pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, id: StoreId, segment_bytes: u32) -> Result<Log, Error> {
    let folder = dir.join("log");
    let closed = Closed::read(dir)?;
    let mut bases = bases(&folder)?;
    if bases.is_empty() && closed.is_none() {
        Log::create_segment(&*disk, &folder, id, 0, first_chain(id))?;
        bases.push(0);
    }
    if bases.first() != Some(&0) {
        return Err(corrupt(&segment::path(&folder, 0), 0, "the first segment is missing"));
    }
    let mut list = Vec::with_capacity(bases.len());
    let (mut chain, mut last) = (first_chain(id), 0);
    for (base, next) in bases.iter().zip(bases.iter().skip(1)) {
        let (segment, foot) = sealed(&*disk, &segment::path(&folder, *base), *base, *next, id, chain)?;
        list.push(Arc::new(segment));
        chain = foot.chain;
        last = if foot.last > 0 { foot.last } else { last };
    }
    let base = bases.last().copied().unwrap_or_default();
    let tail = open_tail(&*disk, &segment::path(&folder, base), base, id, chain, closed.as_ref())?;
    list.push(Arc::clone(&tail.segment));
    if closed.is_some() {
        let path = Closed::path(dir);
        fs::remove_file(&path)
            .and_then(|()| disk::sync_dir(dir))
            .map_err(|error| unavailable("remove", &path, error))?;
    }
    let last = if tail.last > 0 { tail.last } else { last };
    Ok(Log::new(disk, folder, id, segment_bytes, Arc::new(Segments::new(list)), tail, last))
}

/// The segment that the log ends in.
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    pub(super) file: fs::File,
    pub(super) chain: u64,
    pub(super) last: u64,
    pub(super) sealed: bool,
    /// Where the last block begins.
    pub(super) last_block: Option<u32>,
}

fn open_tail(
    disk: &dyn Disk,
    path: &Path,
    base: u64,
    id: StoreId,
    previous: u64,
    closed: Option<&Closed>,
) -> Result<Tail, Error> {
    let failed = |error| unavailable("open", path, error);
    let file = disk.open(path, false).map_err(failed)?;
    let mut bytes = fs::read(path).map_err(failed)?;
    let head = segment::head(id, base, previous);
    let unfinished = (head.starts_with(&bytes) && bytes.len() < head.len()) || is_zero(&bytes);
    if unfinished && closed.is_none() {
        tracing::warn!(path = %path.display(), "a new segment was not finished: its head is written again");
        bytes = head;
        let again =
            disk.write_all_at(&file, &bytes, 0).and_then(|()| disk.set_len(&file, bytes.len() as u64));
        again.and_then(|()| disk.sync(&file)).map_err(failed)?;
    }
    check_head(path, bytes.get(..segment::HEAD).unwrap_or_default(), id, base, previous)?;
    let mut last_block = None;
    let scan = scan(&bytes, base, previous, |at, _| last_block = Some(at as u32));
    if let Some(fault) = &scan.fault {
        if !fault.torn || closed.is_some() || block_after(&bytes, fault.offset, base) {
            return Err(corrupt(path, fault.offset, fault.what));
        }
        let lost = bytes.len() as u64 - u64::from(scan.extent.end);
        tracing::warn!(path = %path.display(), at = scan.extent.end, bytes = lost, "an unfinished write was cut off");
        let cut = disk.set_len(&file, u64::from(scan.extent.end));
        cut.and_then(|()| disk.sync(&file)).map_err(|error| unavailable("cut", path, error))?;
    }
    let end = base + u64::from(scan.extent.end);
    if let Some(closed) = closed.filter(|closed| closed.end != end || closed.chain != scan.chain) {
        let what = format!("the log was closed at position {} and ends at {end}", closed.end);
        return Err(corrupt(path, u64::from(scan.extent.end), &what));
    }
    let reading = disk.open(path, false).map_err(failed)?;
    let segment = Arc::new(Segment::new(base, path, reading, scan.extent));
    Ok(Tail { segment, file, chain: scan.chain, last: scan.last, sealed: scan.foot.is_some(), last_block })
}
