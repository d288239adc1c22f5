//! Versions in shadow beside the scoring lanes: a lane of their own, so that they never hold one up.
//!
//! Law: what serves never waits for what runs in shadow but for `challenger_wait`, and not at all for one that has fallen
//! behind; a shadow that fails, hangs or is late goes unrecorded and is counted. Owned by the scorer.
//!
//! ```text
//!  batch ──→ lane ──Done──→ hold until the shadow has answered, at most challenger_wait ──→ users
//!    └─ rows of challenged models ─→ shadow lane (a thread) ──Shadowed──┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::ActorRef;
use tokio::time::Instant;

use super::options::Options;
use super::scorer::{Answer, Message, call};
use super::user;
use super::watch::Watch;
use crate::domain::entity::Ticket;
use crate::domain::score::{Row, Shadow};
use crate::metrics;
use crate::scoring::{Challengers, Interrupt, Scorer};

/// Batches that wait for the shadow lane; with more it has fallen behind, and the rest goes unrecorded. 4: a hiccup.
const WAITING_MAX: usize = 4;
/// Calls that hang for good before no more is begun: each holds a thread.
pub(super) const STUCK_MAX: usize = 4;

/// Rows of one batch that a version in shadow is to score, and their places in the batch.
struct Asked {
    batch: u64,
    places: Vec<usize>,
    rows: Vec<Row>,
}

/// The answers of a batch that waits for its shadow.
struct Held {
    batch: u64,
    jobs: Vec<(user::Handle, Ticket, usize)>,
    answers: Vec<Answer>,
}

/// What the shadow said of a batch: per row asked, its place and the answer.
pub(super) type Said = Vec<(usize, Answer)>;

struct Call {
    batch: u64,
    rows: usize,
    since: Instant,
    interrupt: Option<Interrupt>,
    /// The batch has gone out without it.
    nobody_waits: bool,
}

/// The shadow lane and what waits for it.
pub(super) struct Lane {
    challengers: Arc<dyn Challengers>,
    watch: Arc<Watch>,
    scorer: Option<Box<dyn Scorer>>,
    call: Option<Call>,
    /// Calls given up on that have not come back.
    stuck: usize,
    waiting: VecDeque<Asked>,
    /// What was said of batches whose own answers are not there yet.
    said: Vec<(u64, Said)>,
    held: Vec<Held>,
}

impl Lane {
    pub(super) fn new(challengers: Arc<dyn Challengers>, watch: Arc<Watch>) -> Self {
        let (waiting, said, held) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { challengers, watch, scorer: None, call: None, stuck: 0, waiting, said, held }
    }

    /// Takes the rows of a batch that a version in shadow scores too, if there are any.
    pub(super) fn ask(&mut self, myself: &ActorRef<Message>, batch: u64, rows: &[Row]) {
        if !self.challengers.is_any_on() {
            return;
        }
        let is_on = |(_, row): &(usize, &Row)| self.challengers.is_on(row.model);
        let (places, rows): (Vec<_>, Vec<_>) =
            rows.iter().enumerate().filter(is_on).map(|(place, row)| (place, row.clone())).unzip();
        if rows.is_empty() {
            return;
        }
        // One that has let a batch wait in vain lets no other wait until it is back.
        let is_late = self.call.as_ref().is_some_and(|call| call.nobody_waits);
        if is_late || self.waiting.len() >= WAITING_MAX || self.stuck >= STUCK_MAX {
            metrics::challenger_rows("behind", rows.len() as u64);
            return;
        }
        self.waiting.push_back(Asked { batch, places, rows });
        self.go(myself);
    }

    fn go(&mut self, myself: &ActorRef<Message>) {
        if self.call.is_some() {
            return;
        }
        let Some(Asked { batch, places, rows }) = self.waiting.pop_front() else { return };
        let scorer = self.scorer.take().unwrap_or_else(|| self.challengers.scorer());
        let (since, interrupt) = (Instant::now(), scorer.interrupt());
        self.call = Some(Call { batch, rows: rows.len(), since, interrupt, nobody_waits: false });
        let (myself, watch) = (myself.clone(), Arc::clone(&self.watch));
        drop(tokio::task::spawn_blocking(move || {
            let (scorer, answers) = call(scorer, &rows);
            watch.note_shadow(&rows, &answers);
            let said = places.into_iter().zip(answers).collect();
            if myself.send_message(Message::Shadowed { batch, scorer, said }).is_err() {
                tracing::debug!("a shadow's scores for a scorer that has ended");
            }
        }));
    }

    /// The shadow has answered.
    pub(super) fn shadowed(
        &mut self,
        myself: &ActorRef<Message>,
        batch: u64,
        scorer: Option<Box<dyn Scorer>>,
        said: Said,
    ) {
        match self.call.take_if(|call| call.batch == batch) {
            // One that was given up on and came back after all; its scorer is of no use.
            None => self.stuck = self.stuck.saturating_sub(1),
            Some(call) => {
                self.scorer = scorer;
                match self.held.iter().position(|held| held.batch == batch) {
                    Some(at) => release(self.held.swap_remove(at), said),
                    None if call.nobody_waits => {}
                    None => self.said.push((batch, said)),
                }
            }
        }
        self.go(myself);
    }

    /// The batch has its own answers: they go out when the shadow's are there too, at once when it was not asked.
    pub(super) fn done(
        &mut self,
        myself: &ActorRef<Message>,
        options: &Options,
        batch: u64,
        jobs: Vec<(user::Handle, Ticket, usize)>,
        answers: Vec<Answer>,
    ) {
        let held = Held { batch, jobs, answers };
        if let Some(at) = self.said.iter().position(|(said, _)| *said == batch) {
            let (_, said) = self.said.swap_remove(at);
            return release(held, said);
        }
        let is_asked = self.call.as_ref().is_some_and(|call| call.batch == batch)
            || self.waiting.iter().any(|asked| asked.batch == batch);
        if !is_asked {
            return release(held, Vec::new());
        }
        self.held.push(held);
        drop(myself.send_after(options.challenger_wait, move || Message::Late { batch }));
    }

    /// The wait for the shadow of a batch is over.
    pub(super) fn late(&mut self, batch: u64) {
        let Some(at) = self.held.iter().position(|held| held.batch == batch) else { return };
        let waiting = self.waiting.iter().find(|asked| asked.batch == batch).map(|asked| asked.rows.len());
        let under_way = self.call.as_ref().filter(|call| call.batch == batch).map(|call| call.rows);
        metrics::challenger_rows("late", waiting.or(under_way).unwrap_or_default() as u64);
        self.forget(batch);
        release(self.held.swap_remove(at), Vec::new());
    }

    /// The batch has gone out: nobody waits any more for what the shadow says of it.
    pub(super) fn forget(&mut self, batch: u64) {
        if let Some(call) = self.call.as_mut().filter(|call| call.batch == batch) {
            call.nobody_waits = true;
        }
        self.waiting.retain(|asked| asked.batch != batch);
        self.said.retain(|(said, _)| *said != batch);
    }

    /// Gives up on a call that lasts too long.
    pub(super) fn look(&mut self, options: &Options) {
        let Some(call) = self.call.take_if(|call| call.since.elapsed() > options.score_timeout) else {
            return;
        };
        tracing::warn!(timeout = ?options.score_timeout, "a version in shadow does not answer; its call is given up");
        self.stuck += 1;
        if let Some(interrupt) = call.interrupt {
            interrupt();
        }
    }
}

/// Sends the answers out, with what the shadow said where it said anything.
fn release(held: Held, said: Said) {
    let Held { jobs, mut answers, .. } = held;
    let (mut recorded, mut failed) = (0, 0);
    for (place, said) in said {
        match (answers.get_mut(place), said) {
            (Some(Ok(score)), Ok(said)) => {
                recorded += 1;
                let (raw, probability) = (said.raw, said.probability);
                score.shadow = Some(Box::new(Shadow { version: said.version, raw, probability }));
            }
            (_, Err(unscored)) => {
                failed += 1;
                tracing::debug!(%unscored, "a version in shadow does not score");
            }
            (_, Ok(_)) => {}
        }
    }
    for (result, count) in [("recorded", recorded), ("failed", failed)] {
        if count > 0 {
            metrics::challenger_rows(result, count);
        }
    }
    let mut answers = answers.into_iter();
    for (user, ticket, rows) in jobs {
        user.scored(ticket, answers.by_ref().take(rows).collect());
    }
}
