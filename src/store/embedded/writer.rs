//! The writer: takes all appends that wait, makes one block of them, one durable write, and then answers.
//!
//! Law: an answer is given after the sync and never before; a block that failed leaves nothing behind, neither in the log nor
//! in what the writer knows of the streams. One thread; `mod` sends it requests through a queue bounded by bytes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::block::Builder;
use super::cache::Cache;
use super::decide::{Sight, Verdict, decide};
use super::index::{Index, print_of};
use super::live::Live;
use super::log::Log;
use super::memtable::{Entry, Slot};
use super::{Options, record};
use crate::domain::time::Timestamp;
use crate::store::{Append, AppendAnswer, Appended, Error, Position};

/// An `append` call on its way.
pub(super) struct Request {
    pub(super) appends: Vec<Append>,
    pub(super) answer: oneshot::Sender<Result<Vec<AppendAnswer>, Error>>,
    /// Its share of the bytes that may wait; given back with the answer.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Why the store takes no appends; none when it does. Read by `writable`.
pub(super) type Refusal = Arc<Mutex<Option<String>>>;

/// The writer thread's state.
pub(super) struct Writer {
    pub(super) options: Options,
    pub(super) log: Log,
    pub(super) index: Arc<Index>,
    pub(super) live: Arc<Live>,
    pub(super) cache: Cache,
    pub(super) refusal: Refusal,
    block: Option<Builder>,
    entries: Vec<Entry>,
    last: u64,
    scratch: Vec<u8>,
}

/// Requests that the block being built answers.
type Waiting = Vec<(Request, Vec<AppendAnswer>)>;

impl Writer {
    pub(super) fn new(
        options: &Options,
        log: Log,
        index: Arc<Index>,
        live: Arc<Live>,
        refusal: Refusal,
    ) -> Self {
        let cache = Cache::new(options.stream_cache_bytes, log.last() == 0);
        Self {
            options: options.clone(),
            log,
            index,
            live,
            cache,
            refusal,
            block: None,
            entries: Vec::new(),
            last: 0,
            scratch: Vec::new(),
        }
    }

    /// Works until all senders are gone; gives the log back.
    pub(super) fn run(mut self, requests: &Receiver<Option<Request>>) -> Log {
        loop {
            let next = if self.refuses() {
                requests.recv_timeout(self.options.retry_after)
            } else {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(Some(request)) => {
                    if !self.group(request, requests) {
                        return self.log;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.probe(),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return self.log,
            }
        }
    }

    fn refuses(&self) -> bool {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set_refusal(&self, error: Option<&Error>) {
        let reason = error.map(|error| crate::error::Chain(error).to_string());
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        match (&reason, &*refusal) {
            (Some(reason), None) => tracing::error!(reason, "the store takes no appends"),
            (None, Some(_)) => tracing::info!("the store takes appends again"),
            _ => {}
        }
        crate::metrics::store_available(if reason.is_none() { 1.0 } else { 0.0 });
        *refusal = reason;
    }

    fn probe(&mut self) {
        let tried = self.index.wait_for_room().and_then(|()| self.log.probe());
        self.set_refusal(tried.as_ref().err());
    }

    /// Serves a request and all that wait behind it; false when told to stop.
    fn group(&mut self, first: Request, requests: &Receiver<Option<Request>>) -> bool {
        let mut waiting = Waiting::new();
        let mut next = Some(first);
        let mut going_on = true;
        while let Some(request) = next.take() {
            self.take(request, &mut waiting);
            if self.is_full() {
                break;
            }
            match requests.try_recv() {
                Ok(Some(request)) => next = Some(request),
                Ok(None) => going_on = false,
                Err(_) => {}
            }
        }
        let result = self.commit();
        self.answer(waiting, result);
        going_on
    }

    fn is_full(&self) -> bool {
        self.block.as_ref().is_some_and(|block| {
            block.bytes().len() >= self.options.block_bytes
                || block.records() as usize >= self.options.block_events
        })
    }

    /// Decides on the appends of a request and writes them into the block; full blocks are made durable on the way.
    fn take(&mut self, request: Request, waiting: &mut Waiting) {
        let now = crate::clock::wall();
        let mut answers = Vec::with_capacity(request.appends.len());
        let mut failure = None;
        for append in &request.appends {
            if self.is_full() {
                let result = self.commit();
                let failed = result.is_err();
                failure = result.as_ref().err().map(copy);
                self.answer(std::mem::take(waiting), result);
                if failed {
                    break;
                }
            }
            match self.append(append, now) {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        match failure {
            None => waiting.push((request, answers)),
            Some(error) => {
                if error.is_transient() {
                    self.set_refusal(Some(&error));
                }
                send(request, Err(error));
            }
        }
    }

    fn append(&mut self, append: &Append, now: Timestamp) -> Result<AppendAnswer, Error> {
        let key = self.index.key(&append.stream);
        let stream = self.cache.stream(key, &self.index)?;
        let mut sight =
            Sight { segments: self.log.segments(), builder: self.block.as_ref(), scratch: &mut self.scratch };
        let held = match decide(append, stream, &mut sight)? {
            Verdict::Refuse(conflict) => return Ok(Err(conflict)),
            Verdict::Again(revision) => {
                let position = stream.slot(revision).map_or(0, Slot::position);
                let duplicates = append.events.len() as u32;
                let position = Position(position);
                return Ok(Ok(Appended { revision, position, appended: 0, duplicates }));
            }
            Verdict::Write => Vec::new(),
            Verdict::WriteWithout(held) => held,
        };
        if self.block.is_none() {
            self.index.wait_for_room()?;
            self.block = Some(self.log.begin(Vec::with_capacity(self.options.block_bytes))?);
        }
        let Some(block) = &mut self.block else { return Err(stopping()) };
        let mut held_at = held.iter().map(|(at, _)| *at).peekable();
        let mut appended = 0;
        for (at, event) in append.events.iter().enumerate() {
            if held_at.next_if_eq(&at).is_some() {
                continue;
            }
            let revision = stream.end();
            let slot = Slot::new(block.position(), print_of(event.id));
            block.record(|bytes, position| {
                record::write(bytes, position, &append.stream, revision, now, event)
            });
            stream.push(slot);
            self.entries.push(Entry { key, revision, slot });
            self.last = slot.position();
            appended += 1;
        }
        let answer = Appended {
            revision: stream.end().saturating_sub(1),
            position: Position(self.last),
            appended,
            duplicates: held.len() as u32,
        };
        self.cache.grown(appended as usize);
        Ok(Ok(answer))
    }

    /// Makes the block durable, then visible.
    fn commit(&mut self) -> Result<(), Error> {
        let Some(block) = self.block.take() else {
            self.cache.trim();
            return Ok(());
        };
        match self.log.commit(block, self.last) {
            Ok(chunk) => {
                crate::metrics::store_bytes(chunk.size() as u64);
                if self.refuses() {
                    self.set_refusal(None);
                }
                self.index.add(&self.entries, chunk.end(), chunk.chain);
                self.entries.clear();
                self.cache.trim();
                self.live.publish(chunk, self.last);
                Ok(())
            }
            Err(error) => {
                for entry in self.entries.drain(..) {
                    self.cache.forget(entry.key);
                }
                self.set_refusal(Some(&error));
                Err(error)
            }
        }
    }

    fn answer(&self, waiting: Waiting, result: Result<(), Error>) {
        for (request, answers) in waiting {
            let answer = match &result {
                Ok(()) => Ok(answers),
                Err(error) => Err(copy(error)),
            };
            send(request, answer);
        }
    }
}

fn send(request: Request, answer: Result<Vec<AppendAnswer>, Error>) {
    let Request { answer: to, permit, .. } = request;
    drop(permit);
    // A caller that went away does not want its answer; the events are durable all the same.
    drop(to.send(answer));
}

/// The same error for each of those who wait for one block.
fn copy(error: &Error) -> Error {
    match error {
        Error::Unavailable { reason, source } => Error::Unavailable {
            reason: reason.clone(),
            source: source.as_ref().map(|source| std::io::Error::new(source.kind(), source.to_string())),
        },
        Error::Corrupt { what, path, offset } => {
            Error::Corrupt { what: what.clone(), path: path.clone(), offset: *offset }
        }
        Error::TooBig { stream, event, bytes, most } => {
            Error::TooBig { stream: stream.clone(), event: *event, bytes: *bytes, most: *most }
        }
        Error::Invalid { reason } => Error::Invalid { reason: reason.clone() },
    }
}

/// What a caller hears when the store is closing.
pub(super) fn stopping() -> Error {
    Error::Unavailable { reason: "the store is closing".to_owned(), source: None }
}
