//! Following the log, or one stream of it.
//!
//! Law: every event once, in order, none left out, however slow the caller; what a subscription holds is one chunk. Made by
//! `mod`; a subscription that falls behind the blocks in memory reads from disk until it has caught up again.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::chunk::Chunk;
use super::live::Head;
use super::writer::stopping;
use super::{Shared, off_thread};
use crate::domain::event::{Position, Recorded, Revision};
use crate::store::{BoxFuture, Direction, Error, Filter, Message, Subscription};

/// Most events of one message.
const TOLD_MAX: usize = 1024;

/// A common record's size: how many there may be in a chunk.
const RECORD_BYTES: usize = 256;

/// Waits for the log to grow.
async fn grown(head: &mut watch::Receiver<Head>) -> Result<(), Error> {
    if head.borrow_and_update().closed {
        return Err(stopping());
    }
    head.changed().await.map_err(|_| stopping())
}

/// A subscription to `$all`.
pub(super) struct All {
    shared: Arc<Shared>,
    head: watch::Receiver<Head>,
    filter: Filter,
    /// The next position to look at.
    at: u64,
    /// The last position told, in whatever message; 0 for none.
    told: u64,
    /// The last position looked at; 0 for none.
    considered: u64,
    /// How many were looked at since something was told.
    untold: usize,
    live: bool,
    chunk: Option<Chunk>,
    waiting: VecDeque<Message>,
}

impl All {
    pub(super) fn new(shared: &Arc<Shared>, after: Option<Position>, filter: &Filter) -> Self {
        Self {
            shared: Arc::clone(shared),
            head: shared.live.follow(),
            filter: filter.clone(),
            at: after.map_or(0, |after| after.0.saturating_add(1)),
            told: after.map_or(0, |after| after.0),
            considered: 0,
            untold: 0,
            live: false,
            chunk: None,
            waiting: VecDeque::new(),
        }
    }

    /// Takes the next events from the chunk at hand.
    fn walk(&mut self, chunk: Chunk) -> Result<(), Error> {
        let mut events: Vec<Recorded> = Vec::new();
        let mut through = true;
        for found in chunk.records(self.at) {
            let found = found?;
            if found.record.passes(&self.filter) {
                if events.len() == TOLD_MAX {
                    through = false;
                    break;
                }
                if events.is_empty() {
                    events.reserve(TOLD_MAX.min(chunk.size() / RECORD_BYTES + 1));
                }
                events.push(chunk.event(&found)?);
            }
            (self.considered, self.at) = (found.position, found.position + 1);
            self.untold += 1;
        }
        if let Some(last) = events.last() {
            self.told = last.position.0;
            self.waiting.push_back(Message::Events(events));
        }
        if through {
            self.at = self.at.max(chunk.end());
        } else {
            self.chunk = Some(chunk);
        }
        if self.untold >= self.shared.options.checkpoint_events {
            self.checkpoint();
        }
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.untold = 0;
        if self.considered > self.told {
            self.told = self.considered;
            self.waiting.push_back(Message::Checkpoint(Position(self.considered)));
        }
    }

    async fn step(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            if let Some(chunk) = self.chunk.take() {
                self.walk(chunk)?;
                continue;
            }
            let head = *self.head.borrow_and_update();
            if head.last > 0 && self.at <= head.last {
                let at = self.at;
                let chunk = match self.shared.live.block_from(at) {
                    Some(block) => Some(block),
                    None => {
                        self.live = false;
                        let shared = Arc::clone(&self.shared);
                        off_thread(move || shared.segments.chunk_from(at)).await?
                    }
                };
                match chunk {
                    Some(chunk) => self.chunk = Some(chunk),
                    None => self.at = head.end,
                }
            } else if self.live {
                self.at = self.at.max(head.end);
                if self.considered > self.told {
                    // Who waits for the end of the log must hear of it, even when what stands there did not pass.
                    self.checkpoint();
                } else {
                    grown(&mut self.head).await?;
                }
            } else {
                self.live = true;
                self.at = self.at.max(head.end);
                self.checkpoint();
                self.waiting.push_back(Message::CaughtUp((head.last > 0).then_some(Position(head.last))));
            }
        }
    }
}

impl Subscription for All {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(self.step())
    }
}

/// A subscription to a stream.
pub(super) struct One {
    shared: Arc<Shared>,
    head: watch::Receiver<Head>,
    stream: Arc<str>,
    /// The next revision to tell.
    next: Revision,
    /// The next position to look at when live; none while reading through the index.
    at: Option<u64>,
    waiting: VecDeque<Message>,
}

impl One {
    pub(super) fn new(shared: &Arc<Shared>, stream: &str, after: Option<Revision>) -> Self {
        Self {
            shared: Arc::clone(shared),
            head: shared.live.follow(),
            stream: stream.into(),
            next: after.map_or(0, |after| after.saturating_add(1)),
            at: None,
            waiting: VecDeque::new(),
        }
    }

    fn tell(&mut self, events: Vec<Recorded>) {
        if let Some(last) = events.last() {
            self.next = last.revision + 1;
            self.waiting.push_back(Message::Events(events));
        }
    }

    /// Reads on through the index; at its end the subscription is live.
    async fn catch_up(&mut self) -> Result<(), Error> {
        // Looked at before the read: what comes between is found by both ways, and told once.
        let head = *self.head.borrow_and_update();
        let (shared, stream, next) = (Arc::clone(&self.shared), Arc::clone(&self.stream), self.next);
        let read = move || shared.stream_page(&stream, Some(next), Direction::Forwards, TOLD_MAX);
        let page = off_thread(read).await?;
        self.tell(page.events);
        if page.next.is_none() {
            self.at = Some(head.end);
            self.waiting.push_back(Message::CaughtUp((head.last > 0).then_some(Position(head.last))));
        }
        Ok(())
    }

    fn walk(&mut self, chunk: &Chunk, from: u64) -> Result<(), Error> {
        let mut events = Vec::new();
        for found in chunk.records(from) {
            let found = found?;
            if found.record.stream == self.stream.as_bytes() && found.record.revision >= self.next {
                events.push(chunk.event(&found)?);
                if events.len() == TOLD_MAX {
                    self.tell(std::mem::take(&mut events));
                }
            }
        }
        self.tell(events);
        self.at = Some(chunk.end());
        Ok(())
    }

    async fn step(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let Some(at) = self.at else {
                self.catch_up().await?;
                continue;
            };
            let head = *self.head.borrow_and_update();
            if head.last == 0 || at > head.last {
                grown(&mut self.head).await?;
            } else if let Some(block) = self.shared.live.block_from(at) {
                self.walk(&block, at)?;
            } else {
                self.at = None;
            }
        }
    }
}

impl Subscription for One {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, Error>> {
        Box::pin(self.step())
    }
}
