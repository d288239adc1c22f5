//! Feeds chunks of lines into a running daemon: parse off the async threads, append in order, a bounded number under way.
//!
//! Law: chunks become durable in their order, so that "everything up to line n is done" is one number. Used by `import`,
//! `demo` and the pipeline bench.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::clock;
use crate::commands::{Commands, Error};
use crate::domain::catalog::Catalog;
use crate::domain::codec::check_ingest;
use crate::domain::event::Ingest;
use crate::domain::event::Position;
use crate::import::lines::{Chunk, Chunks};
use crate::import::names::Names;

/// Chunks under way at once: one being parsed, some on their way to the disk.
const UNDER_WAY: usize = 4;
/// Faults that are told one by one; the rest is counted.
const FAULTS_SHOWN: usize = 10;
/// A common line's length.
const LINE_BYTES: usize = 128;

/// How lines are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What keys are called in the log.
    pub names: Names,
    /// Lines up to this one are left out: done before.
    pub skip_lines: u64,
    /// Whether a bad line is counted and left out instead of ending the import.
    pub skip_bad: bool,
    /// How far ahead of the wall clock an event may be.
    pub future_max: Duration,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// New events.
    pub accepted: u64,
    /// Events that the log held already.
    pub duplicates: u64,
    /// Lines left out because they are bad.
    pub bad: u64,
    /// The first bad lines, with their faults.
    pub faults: Vec<String>,
    /// Everything up to this line is durable.
    pub lines_done: u64,
    /// The largest position that an append answered.
    pub position: Option<Position>,
}

impl Fed {
    /// Takes in what a further part has done.
    pub fn add(&mut self, part: Self) {
        self.accepted += part.accepted;
        self.duplicates += part.duplicates;
        self.bad += part.bad;
        self.faults.extend(part.faults);
        self.faults.truncate(FAULTS_SHOWN);
        self.lines_done = self.lines_done.max(part.lines_done);
        self.position = self.position.max(part.position);
    }
}

/// Why feeding ended early. What stands in [`Fed::lines_done`] is durable.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file cannot be read on.
    #[error("the input cannot be read")]
    Read(#[source] std::io::Error),
    /// A line is no event.
    #[error("line {line}: {fault}")]
    Bad {
        /// Its number.
        line: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// The daemon does not take events.
    #[error("the events cannot be appended")]
    Append(#[from] Error),
}

/// A chunk, checked.
struct Parsed {
    events: Vec<Ingest>,
    last_line: u64,
    bad: u64,
    faults: Vec<(u64, String)>,
}

/// Feeds everything that `chunks` gives; `reached` is told after each durable chunk.
///
/// # Errors
/// The first thing that ends it, with what was done until then.
pub async fn feed(
    mut chunks: Chunks,
    commands: &impl Commands,
    catalog: &Arc<Catalog>,
    reading: Reading,
    mut reached: impl FnMut(&Fed),
) -> (Fed, Result<(), FeedError>) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Parsed, std::io::Error>>(1);
    let (parse_catalog, parse_reading) = (Arc::clone(catalog), reading.clone());
    let parser = tokio::task::spawn_blocking(move || {
        loop {
            let parsed = match chunks.next_chunk() {
                Ok(None) => return,
                Ok(Some(chunk)) => Ok(parse(&chunk, &parse_catalog, &parse_reading)),
                Err(error) => Err(error),
            };
            let failed = parsed.is_err();
            if sender.blocking_send(parsed).is_err() || failed {
                return;
            }
        }
    });
    let mut fed = Fed { lines_done: reading.skip_lines, ..Fed::default() };
    // Of several under way, one may fail before those in front of it are done: nothing more is sent then.
    let has_failed = AtomicBool::new(false);
    let appends = tokio_stream::wrappers::ReceiverStream::new(receiver)
        .map(async |parsed| {
            let mut parsed = parsed.map_err(FeedError::Read)?;
            if !reading.skip_bad
                && let Some((line, fault)) = parsed.faults.first()
            {
                return Err(FeedError::Bad { line: *line, fault: fault.clone() });
            }
            let events = std::mem::take(&mut parsed.events);
            if events.is_empty() {
                return Ok((parsed, None));
            }
            if has_failed.load(Ordering::Relaxed) {
                return Err(FeedError::Append(Error::Unavailable {
                    reason: "events before these were not taken".to_owned(),
                }));
            }
            let done = commands.ingest(events).await;
            has_failed.fetch_or(done.is_err(), Ordering::Relaxed);
            Ok((parsed, Some(done?)))
        })
        .buffered(UNDER_WAY);
    let mut appends = std::pin::pin!(appends);
    let mut result = Ok(());
    while let Some(appended) = appends.next().await {
        match appended {
            Ok((parsed, done)) => {
                fed.accepted += done.map_or(0, |done| done.accepted);
                fed.duplicates += done.map_or(0, |done| done.duplicates);
                fed.position = fed.position.max(done.map(|done| done.position));
                fed.bad += parsed.bad;
                fed.lines_done = fed.lines_done.max(parsed.last_line);
                let room = FAULTS_SHOWN.saturating_sub(fed.faults.len());
                let shown = parsed.faults.into_iter().take(room);
                fed.faults.extend(shown.map(|(line, fault)| format!("line {line}: {fault}")));
                reached(&fed);
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    parser.abort();
    (fed, result)
}

fn parse(chunk: &Chunk, catalog: &Catalog, reading: &Reading) -> Parsed {
    let now = clock::wall();
    let mut parsed = Parsed {
        events: Vec::with_capacity(chunk.text.len() / LINE_BYTES),
        last_line: 0,
        bad: 0,
        faults: Vec::new(),
    };
    for (number, line) in chunk.lines() {
        parsed.last_line = number;
        if number <= reading.skip_lines {
            continue;
        }
        let line = reading.names.apply(line);
        match check_ingest(catalog, &line, now, reading.future_max) {
            Ok(event) => parsed.events.push(event),
            Err(faults) => {
                parsed.bad += 1;
                if parsed.faults.len() < FAULTS_SHOWN {
                    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    parsed.faults.push((number, faults.join("; ")));
                }
            }
        }
    }
    parsed
}
