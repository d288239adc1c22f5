//! The writing end of the log: blocks go in at the end, whole and durable, or not at all.
//!
//! Law: nothing counts as written before its sync came back; after any failure the file is brought back to the last durable
//! block and looked at before it is written again. Called by `writer` only.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{self, Builder};
use super::chunk::Chunk;
use super::disk::{self, Disk, corrupt, unavailable};
use super::recover::Tail;
use super::segment::{self, Extent, Foot, Segment, Segments};
use crate::store::{Error, StoreId};

/// What a probe writes: more than a small append, so that a store that says it can write is of some use.
const PROBE_BYTES: usize = 64 << 10;

/// The log, for its one writer.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    id: StoreId,
    segment_bytes: u32,
    segments: Arc<Segments>,
    segment: Arc<Segment>,
    file: File,
    chain: u64,
    /// Position of the last record; 0 when there is none.
    last: u64,
    /// Where in the segment its last block begins.
    last_block: Option<u32>,
    /// The segment has its foot: the next block goes into a new one.
    sealed: bool,
    /// A write failed: what stands after the last durable block is unknown.
    unknown_tail: bool,
}

impl Log {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        id: StoreId,
        segment_bytes: u32,
        segments: Arc<Segments>,
        tail: Tail,
        last: u64,
    ) -> Self {
        Self {
            disk,
            folder,
            id,
            segment_bytes,
            segments,
            segment: tail.segment,
            file: tail.file,
            chain: tail.chain,
            last,
            last_block: tail.last_block,
            sealed: tail.sealed,
            unknown_tail: false,
        }
    }

    pub(super) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// The position after the last durable block, and the chain there.
    pub(super) fn end(&self) -> (u64, u64) {
        (self.segment.base + u64::from(self.segment.extent(|extent| extent.end)), self.chain)
    }

    /// The position of the last record; 0 when there is none.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Makes a file for the positions from `base` on.
    pub(super) fn create_segment(
        disk: &dyn Disk,
        folder: &Path,
        id: StoreId,
        base: u64,
        previous: u64,
    ) -> Result<File, Error> {
        let path = segment::path(folder, base);
        let create = || {
            let file = disk.open(&path, true)?;
            disk.set_len(&file, 0)?;
            disk.write_all_at(&file, &segment::head(id, base, previous), 0)?;
            disk.sync(&file)?;
            disk::sync_dir(folder)?;
            Ok(file)
        };
        create().map_err(|error| {
            // Best effort: a file without a whole head is taken for an unfinished one when the log is opened.
            drop(std::fs::remove_file(&path));
            unavailable("create", &path, error)
        })
    }

    /// Begins the next block, in a new segment when this one is full.
    pub(super) fn begin(&mut self, spare: Vec<u8>) -> Result<Builder, Error> {
        self.mend()?;
        if self.sealed || self.segment.extent(|extent| extent.end) >= self.segment_bytes {
            self.roll()?;
        }
        let offset = u64::from(self.segment.extent(|extent| extent.end));
        Ok(Builder::new(self.segment.base + offset, offset, spare))
    }

    /// Makes a block durable and readable. After an error nothing of it is in the log.
    pub(super) fn commit(&mut self, builder: Builder, last: u64) -> Result<Chunk, Error> {
        let base = builder.base();
        let offset = self.segment.extent(|extent| extent.end);
        let (mut bytes, chain) = builder.finish(self.chain);
        self.unknown_tail = true;
        self.disk
            .write_all_at(&self.file, &bytes, u64::from(offset))
            .and_then(|()| self.disk.sync(&self.file))
            .map_err(|error| unavailable("write", &self.segment.path, error))?;
        self.unknown_tail = false;
        self.segment.grow(bytes.len());
        (self.chain, self.last, self.last_block) = (chain, last, Some(offset));
        // The newest blocks stay in memory, bounded by what they hold: one of few events must not keep room for many.
        if bytes.capacity() > 2 * bytes.len() {
            bytes.shrink_to_fit();
        }
        Ok(Chunk::trusted(bytes.into(), base, u64::from(offset), chain, Arc::clone(&self.segment.path)))
    }

    /// Brings the file back to its last durable block after a failure.
    ///
    /// A failed sync leaves pages that look written and are not, so the file is opened anew and its last block read.
    pub(super) fn mend(&mut self) -> Result<(), Error> {
        if !self.unknown_tail {
            return Ok(());
        }
        let path = Arc::clone(&self.segment.path);
        let end = self.segment.extent(|extent| extent.end);
        let cut = || -> io::Result<File> {
            let file = self.disk.open(&path, false)?;
            self.disk.set_len(&file, u64::from(end))?;
            self.disk.sync(&file)?;
            Ok(file)
        };
        let file = cut().map_err(|error| unavailable("bring back", &path, error))?;
        if let Some(at) = self.last_block {
            let mut bytes = vec![0; (end - at) as usize];
            self.segment.read_at(&mut bytes, u64::from(at))?;
            let whole = block::check(&bytes, self.segment.base + u64::from(at), u64::from(at))
                .map_err(|fault| corrupt(&path, fault.offset, fault.what))?;
            if whole.chain != self.chain {
                return Err(corrupt(
                    &path,
                    u64::from(at),
                    "the last block is another one after a failed write",
                ));
            }
        }
        self.file = file;
        self.unknown_tail = false;
        tracing::warn!(path = %path.display(), at = end, "the log was brought back to its last durable block");
        Ok(())
    }

    /// Mends, and tries whether there is room to write.
    pub(super) fn probe(&mut self) -> Result<(), Error> {
        self.mend()?;
        let end = u64::from(self.segment.extent(|extent| extent.end));
        if self.sealed {
            return Ok(());
        }
        self.unknown_tail = true;
        self.disk
            .write_all_at(&self.file, &[0; PROBE_BYTES], end)
            .and_then(|()| self.disk.sync(&self.file))
            .and_then(|()| self.disk.set_len(&self.file, end))
            .and_then(|()| self.disk.sync(&self.file))
            .map_err(|error| unavailable("write", &self.segment.path, error))?;
        self.unknown_tail = false;
        Ok(())
    }

    /// Writes this segment's foot, and opens the next segment.
    fn roll(&mut self) -> Result<(), Error> {
        let failed = |error| unavailable("close", &self.segment.path, error);
        let (marks, end) = self.segment.extent(|extent| (extent.marks.clone(), extent.end));
        let last = if self.last > self.segment.base { self.last } else { 0 };
        let foot = Foot { marks, last, chain: self.chain }.to_bytes();
        if !self.sealed {
            self.unknown_tail = true;
            self.disk.write_all_at(&self.file, &foot, u64::from(end)).map_err(failed)?;
            self.disk.sync(&self.file).map_err(failed)?;
            self.unknown_tail = false;
            self.sealed = true;
        }
        let base = self.segment.base + u64::from(end) + foot.len() as u64;
        let path = segment::path(&self.folder, base);
        let file = Self::create_segment(&*self.disk, &self.folder, self.id, base, self.chain)?;
        let reading = self.disk.open(&path, false).map_err(|error| unavailable("open", &path, error))?;
        let extent = Extent { marks: Vec::new(), end: segment::HEAD as u32 };
        self.segment = Arc::new(Segment::new(base, &path, reading, extent));
        self.segments.push(Arc::clone(&self.segment));
        (self.file, self.sealed, self.last_block) = (file, false, None);
        Ok(())
    }
}
