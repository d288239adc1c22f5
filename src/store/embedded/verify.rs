//! Looking at every byte of a store.
//!
//! Law: a flipped byte anywhere is found and named, in the log and in the index. Called by `intentd check --store`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::chunk::Chunk;
use super::disk::{corrupt, unavailable};
use super::index::print_of;
use super::memtable::ByStream;
use super::recover;
use super::segment::{self, Segment};
use super::{Embedded, Options, Shared};
use crate::store::Error;

/// What a store holds, all of it looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segment files.
    pub segments: u64,
    /// Blocks in them.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Streams they stand in.
    pub streams: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
}

/// A stream as seen so far: how many events, and a sum over their places.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    events: u64,
    places: u64,
}

impl Sum {
    fn add(&mut self, position: u64, print: u32) {
        let place = position.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(print);
        self.places = self.places.rotate_left(5) ^ place.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.events += 1;
    }
}

impl Embedded {
    /// Reads and checks everything: each segment, block, record, and that the index says the same. Appends meanwhile are not
    /// looked at. Blocking, and as slow as the disk.
    ///
    /// # Errors
    /// `Corrupt` names the first damage found.
    pub fn verify(&self) -> Result<Report, Error> {
        self.shared.verify()
    }

    /// Opens a store that no daemon holds, as a daemon would, and checks everything.
    ///
    /// # Errors
    /// As [`Embedded::open`] and [`Embedded::verify`].
    pub fn check_dir(dir: &Path, options: &Options) -> Result<Report, Error> {
        let store = Self::open(dir, options)?;
        let report = store.verify()?;
        store.close()?;
        Ok(report)
    }
}

impl Shared {
    fn verify(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut streams: ByStream<Sum> = ByStream::default();
        let mut previous = recover::first_chain(self.id);
        let mut log_end = 0;
        let list = self.segments.list();
        for (nth, segment) in list.iter().enumerate() {
            // The active segment may grow meanwhile: what is beyond is not looked at.
            let end = segment.extent(|extent| extent.end) as usize;
            let mut bytes =
                fs::read(&segment.path).map_err(|error| unavailable("read", &segment.path, error))?;
            if nth + 1 == list.len() {
                bytes.truncate(end);
            }
            let head = bytes.get(..segment::HEAD).unwrap_or_default();
            recover::check_head(&segment.path, head, self.id, segment.base, previous)?;
            let scan = recover::scan(&bytes, segment.base, previous, |_, _| report.blocks += 1);
            if let Some(fault) = scan.fault {
                return Err(corrupt(&segment.path, fault.offset, fault.what));
            }
            if (nth + 1 < list.len() && scan.foot.is_none()) || scan.extent.end as usize != end {
                return Err(corrupt(&segment.path, u64::from(scan.extent.end), "the segment ends too early"));
            }
            report.segments += 1;
            report.bytes += bytes.len() as u64;
            let blocks = bytes::Bytes::from(bytes).slice(segment::HEAD..end);
            report.events += self.records(segment, blocks, &mut streams)?;
            previous = scan.chain;
            log_end = segment.base + end as u64;
        }
        report.streams = streams.len() as u64;
        self.compare(&streams, log_end)?;
        Ok(report)
    }

    /// Checks the records of a segment's blocks one by one.
    fn records(
        &self,
        segment: &Segment,
        blocks: bytes::Bytes,
        streams: &mut ByStream<Sum>,
    ) -> Result<u64, Error> {
        let base = segment.base + segment::HEAD as u64;
        let chunk = Chunk::trusted(blocks, base, segment::HEAD as u64, 0, Arc::clone(&segment.path));
        let mut events = 0;
        for found in chunk.records(0) {
            let found = found?;
            let offset = found.position - segment.base;
            if !chunk.is_whole(&found) {
                return Err(corrupt(&segment.path, offset, "a record does not match its checksum"));
            }
            let stream = std::str::from_utf8(found.record.stream).unwrap_or_default();
            let sum = streams.entry(self.index.key(stream)).or_default();
            if found.record.revision != sum.events {
                return Err(corrupt(&segment.path, offset, "a stream's revisions have a gap"));
            }
            sum.add(found.position, print_of(found.record.id));
            events += 1;
        }
        Ok(events)
    }

    /// Checks that the index says what the log said.
    fn compare(&self, streams: &ByStream<Sum>, end: u64) -> Result<(), Error> {
        self.index.with_rows(|rows| {
            for row in rows.all() {
                let (key, row) = row?;
                let beyond = row.slots.iter().all(|slot| slot.position() >= end);
                if !beyond && !streams.contains_key(&key) {
                    return Err(rows.damage("the index holds a stream that the log does not"));
                }
            }
            Ok(())
        })?;
        for (key, sum) in streams {
            let mut indexed = Sum::default();
            for slot in self.index.load(*key)?.slots.iter().take_while(|slot| slot.position() < end) {
                indexed.add(slot.position(), slot.print);
            }
            if indexed != *sum {
                return self.index.with_rows(|rows| Err(rows.damage("the index differs from the log")));
            }
        }
        Ok(())
    }
}
