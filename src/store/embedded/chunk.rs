//! A run of whole blocks in memory, checked, and a walk over its records.
//!
//! Law: what a chunk gives out has passed its checksums. Made by `segment` (read back) and `log` (just written); walked by
//! `reader`, `subscribe`, `index` and `verify`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{self, Head};
use super::disk::corrupt;
use super::record::{self, Record};
use crate::domain::event::Recorded;
use crate::store::Error;

/// Whole blocks that follow each other in one segment.
#[derive(Clone)]
pub(super) struct Chunk {
    bytes: Bytes,
    /// Position of the first byte.
    pub(super) base: u64,
    /// Place of the first byte in its file.
    offset: u64,
    /// The chain after the last block.
    pub(super) chain: u64,
    path: Arc<Path>,
}

/// A record in a chunk.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) position: u64,
    at: usize,
    pub(super) record: Record<'a>,
}

impl Chunk {
    /// A chunk of bytes that are known to be whole.
    pub(super) fn trusted(bytes: Bytes, base: u64, offset: u64, chain: u64, path: Arc<Path>) -> Self {
        Self { bytes, base, offset, chain, path }
    }

    /// A chunk of bytes that were read back: every block is checked, and that it follows the one before.
    pub(super) fn verified(bytes: Bytes, base: u64, offset: u64, path: Arc<Path>) -> Result<Self, Error> {
        let mut at = 0;
        let mut chain = None;
        while at < bytes.len() {
            let here = at as u64;
            let rest = bytes.get(at..).unwrap_or_default();
            let whole = block::check(rest, base + here, offset + here)
                .map_err(|fault| corrupt(&path, fault.offset, fault.what))?;
            if chain.is_some_and(|chain| chain != whole.previous) {
                return Err(corrupt(&path, offset + here, "a block does not follow the one before it"));
            }
            chain = Some(whole.chain);
            at += whole.length;
        }
        Ok(Self { bytes, base, offset, chain: chain.unwrap_or_default(), path })
    }

    /// The position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The chain that the block at a position continues; none when no block begins there.
    pub(super) fn previous_at(&self, position: u64) -> Option<u64> {
        let at = usize::try_from(position.checked_sub(self.base)?).ok()?;
        Head::parse(self.bytes.get(at..)?).map(|head| head.previous)
    }

    /// The records at or after a position, in order.
    pub(super) fn records(&self, from: u64) -> Records<'_> {
        Records { chunk: self, from, at: 0, body_end: 0, block_end: 0 }
    }

    /// The record as an event that shares this chunk's memory.
    pub(super) fn event(&self, found: &Found<'_>) -> Result<Recorded, Error> {
        found
            .record
            .to_recorded(&self.bytes, found.at, found.position)
            .ok_or_else(|| self.damage(found.at, "a record's names are not UTF-8"))
    }

    /// Whether the record matches its own checksum, beside that of its block.
    pub(super) fn is_whole(&self, found: &Found<'_>) -> bool {
        let bytes = self.bytes.get(found.at..).unwrap_or_default();
        Record::verified(bytes, found.position).is_some()
    }

    fn damage(&self, at: usize, what: &str) -> Error {
        corrupt(&self.path, self.offset + at as u64, what)
    }
}

/// A walk over the records of a chunk.
pub(super) struct Records<'a> {
    chunk: &'a Chunk,
    from: u64,
    at: usize,
    body_end: usize,
    block_end: usize,
}

impl<'a> Records<'a> {
    /// Goes into the next block that ends after `from`; false at the end of the chunk.
    fn enter_block(&mut self) -> Option<bool> {
        loop {
            if self.block_end >= self.chunk.bytes.len() {
                return Some(false);
            }
            let head = Head::parse(self.chunk.bytes.get(self.block_end..)?)?;
            self.at = self.block_end + block::HEAD;
            self.body_end = self.at + head.body;
            self.block_end += head.length();
            if self.chunk.base + self.block_end as u64 > self.from {
                return Some(true);
            }
        }
    }

    /// The next record; none inside when the chunk ends, none outside when its bytes make no sense.
    fn step(&mut self) -> Option<Option<Found<'a>>> {
        loop {
            if self.at == self.body_end && !self.enter_block()? {
                return Some(None);
            }
            let at = self.at;
            let rest = self.chunk.bytes.get(at..self.body_end)?;
            let position = self.chunk.base + at as u64;
            if position < self.from {
                self.at += record::length_at(rest)?;
                continue;
            }
            let record = Record::parse(rest)?;
            self.at += record.length;
            return Some(Some(Found { position, at, record }));
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Found<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Some(found) => found.map(Ok),
            None => {
                let at = self.at;
                (self.at, self.body_end, self.block_end) = (0, 0, usize::MAX);
                Some(Err(self.chunk.damage(at, "a record's lengths make no sense")))
            }
        }
    }
}
