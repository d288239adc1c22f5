//! A segment file: its head, its blocks, and, once it is full, its foot; and the list of all of them.
//!
//! Law: positions are places in the files laid end to end: a segment's name is the position of its first byte, so a missing
//! or cut file leaves a gap that shows when the directory is listed. Called by `log` (writes), `reader`, `recover`.
//!
//! ```text
//! head:  magic u64 | format u32 | 0 u32 | store id 16 | base u64 | chain of the last block before u64 | sum u64
//! foot:  magic u32 | count u32 | marks u32 … | last record u64 | chain u64 | sum u64 | length u32 | magic u32
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::chunk::Chunk;
use super::disk::{corrupt, unavailable};
use super::le::Cut;
use super::record::{self, Record};
use crate::store::{Error, StoreId};

/// Bytes of the head.
pub(super) const HEAD: usize = 56;
const MAGIC: u64 = u64::from_le_bytes(*b"INTENTSG");
/// Opens a foot.
pub(super) const FOOT_MAGIC: u32 = u32::from_le_bytes(*b"IFOT");
const END_MAGIC: u32 = u32::from_le_bytes(*b"IEND");
const FORMAT: u32 = 1;
/// Bytes of a foot without marks.
const FOOT: usize = 40;
/// A mark at most every so many bytes: what is read in vain to find a place, and 4 KiB of marks in a full segment.
const MARK_EVERY: u32 = 64 << 10;
/// What a reader of `$all` takes at a time: large enough that calls do not count, small enough to hold many.
const CHUNK: u32 = 256 << 10;
/// What is read for one record at first; most are shorter.
const RECORD_GUESS: usize = 1024;

/// The file of the segment that begins at a position.
pub(super) fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.seg"))
}

/// A segment's head.
pub(super) fn head(id: StoreId, base: u64, previous: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(&MAGIC.to_le_bytes());
    head.extend_from_slice(&u64::from(FORMAT).to_le_bytes());
    head.extend_from_slice(id.0.as_bytes());
    head.extend_from_slice(&base.to_le_bytes());
    head.extend_from_slice(&previous.to_le_bytes());
    head.extend_from_slice(&xxh3_64(&head).to_le_bytes());
    head
}

/// The store, base and previous chain that a head names, if its sum holds.
pub(super) fn parse_head(bytes: &[u8]) -> Option<(StoreId, u64, u64)> {
    let mut cut = Cut(bytes);
    let known = cut.u64()? == MAGIC && cut.u64()? == u64::from(FORMAT);
    let id = StoreId(Uuid::from_bytes(cut.u128()?.to_le_bytes()));
    let (base, previous) = (cut.u64()?, cut.u64()?);
    (known && xxh3_64(bytes.get(..HEAD - 8)?) == cut.u64()?).then_some((id, base, previous))
}

/// What a full segment says at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Foot {
    pub(super) marks: Vec<u32>,
    /// Position of the last record; 0 when there is none.
    pub(super) last: u64,
    pub(super) chain: u64,
}

impl Foot {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut foot = Vec::with_capacity(FOOT + 4 * self.marks.len());
        foot.extend_from_slice(&FOOT_MAGIC.to_le_bytes());
        foot.extend_from_slice(&(self.marks.len() as u32).to_le_bytes());
        for mark in &self.marks {
            foot.extend_from_slice(&mark.to_le_bytes());
        }
        foot.extend_from_slice(&self.last.to_le_bytes());
        foot.extend_from_slice(&self.chain.to_le_bytes());
        foot.extend_from_slice(&xxh3_64(&foot).to_le_bytes());
        foot.extend_from_slice(&(foot.len() as u32 + 8).to_le_bytes());
        foot.extend_from_slice(&END_MAGIC.to_le_bytes());
        foot
    }

    /// The foot that these bytes are, exactly.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cut = Cut(bytes);
        let magic = cut.u32()?;
        let mut marks = Cut(cut.u32().and_then(|count| bytes.get(8..8 + 4 * count as usize))?);
        let marks: Vec<u32> = std::iter::from_fn(|| marks.u32()).collect();
        cut.bytes(4 * marks.len())?;
        let foot = Self { marks, last: cut.u64()?, chain: cut.u64()? };
        let summed = bytes.get(..bytes.len().checked_sub(16)?)?;
        (magic == FOOT_MAGIC
            && cut.u64()? == xxh3_64(summed)
            && cut.u32()? as usize == bytes.len()
            && cut.u32()? == END_MAGIC
            && cut.0.is_empty())
        .then_some(foot)
    }

    /// How long the foot is that ends with these 8 bytes.
    pub(super) fn length(end: &[u8]) -> Option<u64> {
        let mut cut = Cut(end);
        let length = cut.u32()?;
        (cut.u32()? == END_MAGIC && length as usize >= FOOT).then_some(u64::from(length))
    }
}

/// How far a segment goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    /// Where blocks begin, at most one for every 64 KiB.
    pub(super) marks: Vec<u32>,
    /// Where the last durable block ends.
    pub(super) end: u32,
}

impl Extent {
    /// Takes in a block of a length at the end.
    pub(super) fn grow(&mut self, length: usize) {
        if self.marks.last().is_none_or(|mark| self.end - mark >= MARK_EVERY) {
            self.marks.push(self.end);
        }
        self.end += length as u32;
    }

    /// The whole blocks to read for the record at or after `offset`, none when they all stand before it.
    fn around(&self, offset: u32) -> Option<(u32, u32)> {
        if offset >= self.end || self.marks.is_empty() {
            return None;
        }
        let at = self.marks.partition_point(|mark| *mark <= offset).saturating_sub(1);
        let start = *self.marks.get(at)?;
        let enough = self.marks.partition_point(|mark| *mark < start.saturating_add(CHUNK).max(offset + 1));
        Some((start, self.marks.get(enough).copied().unwrap_or(self.end)))
    }

    /// The last whole blocks of which some byte stands before `offset`.
    fn before(&self, offset: u32) -> Option<(u32, u32)> {
        let at = self.marks.partition_point(|mark| *mark < offset).checked_sub(1)?;
        Some((*self.marks.get(at)?, self.marks.get(at + 1).copied().unwrap_or(self.end)))
    }
}

/// A segment that can be read.
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) path: Arc<Path>,
    file: File,
    extent: RwLock<Extent>,
}

impl Segment {
    pub(super) fn new(base: u64, path: &Path, file: File, extent: Extent) -> Self {
        Self { base, path: path.into(), file, extent: RwLock::new(extent) }
    }

    /// Reads the extent, or changes it: the writer only, when a block is durable.
    pub(super) fn extent<T>(&self, look: impl FnOnce(&Extent) -> T) -> T {
        look(&self.extent.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn grow(&self, length: usize) {
        self.extent.write().unwrap_or_else(PoisonError::into_inner).grow(length);
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                corrupt(&self.path, offset, "the file is cut short")
            } else {
                unavailable("read", &self.path, error)
            }
        })
    }

    /// The blocks between two places that are block boundaries.
    pub(super) fn chunk(&self, (start, end): (u32, u32)) -> Result<Chunk, Error> {
        let mut bytes = vec![0; (end - start) as usize];
        self.read_at(&mut bytes, u64::from(start))?;
        Chunk::verified(bytes.into(), self.base + u64::from(start), u64::from(start), Arc::clone(&self.path))
    }

    fn offset(&self, position: u64) -> u32 {
        u32::try_from(position.saturating_sub(self.base)).unwrap_or(u32::MAX)
    }
}

/// All segments, oldest first.
#[derive(Default)]
pub(super) struct Segments(RwLock<Vec<Arc<Segment>>>);

impl Segments {
    pub(super) fn new(list: Vec<Arc<Segment>>) -> Self {
        Self(RwLock::new(list))
    }

    pub(super) fn push(&self, segment: Arc<Segment>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    pub(super) fn list(&self) -> Vec<Arc<Segment>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment that holds a position, and the one after it.
    fn find(&self, position: u64) -> (Option<Arc<Segment>>, Option<Arc<Segment>>) {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let at = list.partition_point(|segment| segment.base <= position);
        (at.checked_sub(1).and_then(|at| list.get(at)).cloned(), list.get(at).cloned())
    }

    /// Whole blocks with the first record at or after a position; none when there is no such record.
    pub(super) fn chunk_from(&self, position: u64) -> Result<Option<Chunk>, Error> {
        let (here, mut next) = self.find(position);
        let mut segment = here;
        let mut offset = segment.as_ref().map_or(0, |segment| segment.offset(position));
        loop {
            if let Some(segment) = &segment
                && let Some(range) = segment.extent(|extent| extent.around(offset))
            {
                return segment.chunk(range).map(Some);
            }
            let Some(following) = next else { return Ok(None) };
            next = self.find(following.base).1;
            (segment, offset) = (Some(following), 0);
        }
    }

    /// The last whole blocks of which some byte stands before a position.
    pub(super) fn chunk_before(&self, position: u64) -> Result<Option<Chunk>, Error> {
        let mut position = position;
        while let Some(last) = position.checked_sub(1)
            && let Some(segment) = self.find(last).0
        {
            let offset = segment.offset(position);
            if let Some(range) = segment.extent(|extent| extent.before(offset)) {
                return segment.chunk(range).map(Some);
            }
            position = segment.base;
        }
        Ok(None)
    }

    /// Reads the one record at a position to the end of `buffer`, and gives its length.
    pub(super) fn record(&self, position: u64, buffer: &mut Vec<u8>) -> Result<usize, Error> {
        let (Some(segment), _) = self.find(position) else {
            return Err(corrupt(Path::new("the index"), 0, "it names a place before the log"));
        };
        let offset = segment.offset(position);
        let room = segment.extent(|extent| extent.end).saturating_sub(offset) as usize;
        let damage = |what| corrupt(&segment.path, u64::from(offset), what);
        let at = buffer.len();
        let mut length = room.min(RECORD_GUESS);
        loop {
            buffer.resize(at + length, 0);
            let place = buffer.get_mut(at..).unwrap_or_default();
            segment.read_at(place, u64::from(offset))?;
            let needed = record::length_at(place).filter(|needed| *needed <= room);
            let needed = needed.ok_or_else(|| damage("a record's length makes no sense"))?;
            if needed <= length {
                buffer.truncate(at + needed);
                let whole = buffer.get(at..).and_then(|bytes| Record::verified(bytes, position));
                return whole.map(|_| needed).ok_or_else(|| damage("a record does not match its checksum"));
            }
            length = needed;
        }
    }
}
