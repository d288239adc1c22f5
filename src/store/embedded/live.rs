//! The newest blocks, in memory, for those who follow the log.
//!
//! Law: bounded by bytes; who is slower than that reads from disk and comes back. Filled by `writer`, read by `subscribe`
//! and `reader`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::chunk::Chunk;

/// How far the log goes for its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The position after the last block.
    pub(super) end: u64,
    /// The position of the last event; 0 when there is none.
    pub(super) last: u64,
    /// No more blocks will come.
    pub(super) closed: bool,
}

/// The newest blocks and the end of the log.
pub(super) struct Live {
    ring: Mutex<Ring>,
    head: watch::Sender<Head>,
    bytes_max: usize,
}

#[derive(Default)]
struct Ring {
    blocks: VecDeque<Chunk>,
    bytes: usize,
    /// Every block from this position on is here.
    from: u64,
}

impl Live {
    pub(super) fn new(end: u64, last: u64, bytes_max: usize) -> Self {
        let head = watch::Sender::new(Head { end, last, closed: false });
        Self { ring: Mutex::new(Ring { from: end, ..Ring::default() }), head, bytes_max }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a block that is durable and indexed.
    pub(super) fn publish(&self, block: Chunk, last: u64) {
        let end = block.end();
        let mut ring = self.ring();
        ring.bytes += block.size();
        ring.blocks.push_back(block);
        while ring.bytes > self.bytes_max
            && let Some(oldest) = ring.blocks.pop_front()
        {
            ring.bytes -= oldest.size();
            ring.from = oldest.end();
        }
        drop(ring);
        self.head.send_replace(Head { end, last, closed: false });
    }

    /// Tells those who follow that nothing more will come.
    pub(super) fn close(&self) {
        self.head.send_modify(|head| head.closed = true);
        let mut ring = self.ring();
        *ring = Ring { from: u64::MAX, ..Ring::default() };
    }

    pub(super) fn head(&self) -> Head {
        *self.head.borrow()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// The block with the first record at or after a position, if that is in memory.
    pub(super) fn block_from(&self, position: u64) -> Option<Chunk> {
        let ring = self.ring();
        if position < ring.from {
            return None;
        }
        let at = ring.blocks.partition_point(|block| block.end() <= position);
        ring.blocks.get(at).cloned()
    }
}
