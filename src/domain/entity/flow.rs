//! What is under way between an event folded and its facts durable: a queue in order of arrival, and one append at a time.
//!
//! ```text
//! Deliver, Command, Sweep ─→ queue ─ front ready ─→ decided: batch ─ no append under way ─→ Append ─ durable ─→ Settled, Answer
//!                              ↑ answers of the models
//! ```
//!
//! Law: first in, first decided; nothing is settled or answered before the facts decided up to then are durable.

use std::collections::VecDeque;

use super::command::{Answer, Command, Refusal};
use super::decide::Turn;
use super::order::Clocks;
use super::{Ticket, Token};
use crate::domain::event::{Fact, Revision};
use crate::domain::score::{Score, Unscored};
use crate::domain::time::Timestamp;

/// Something that waits to be decided.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A revision of `user-<id>`.
    Turn { turn: Turn, answers: Answers },
    /// A command.
    Command { token: Token, command: Command, clocks: Clocks },
    /// Time has come to this point.
    Sweep { now: Timestamp },
}

/// The models' answers to a turn's rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answers {
    /// Under way.
    Awaited(Ticket),
    /// Here, or none was asked for.
    Given(Vec<Result<Score, Unscored>>),
}

/// What has been decided since the last append went out.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) facts: Vec<Fact>,
    pub(super) answers: Vec<(Token, Result<Answer, Refusal>)>,
    /// Up to which revision of `user-<id>` all is decided.
    pub(super) through: Option<Revision>,
    /// That the entity has to begin again from the whole log once this is durable, and why.
    pub(super) rebuild: Option<String>,
}

/// The append under way, and what its success releases.
#[derive(Clone, Debug)]
pub(super) struct Appending {
    pub(super) ticket: Ticket,
    /// The last revision of `intent-<id>` when it is durable.
    pub(super) last: Revision,
    pub(super) releases: Batch,
}

/// Everything under way; all empty while the user is quiescent.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    pub(super) queue: VecDeque<Item>,
    pub(super) batch: Batch,
    pub(super) appending: Option<Box<Appending>>,
    /// Who waits for a revision that is not decided yet.
    pub(super) waiting: Vec<(Token, Revision)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.answers.is_empty() && self.through.is_none() && self.rebuild.is_none()
    }
}

impl Flow {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.batch.is_empty() && self.appending.is_none() && self.waiting.is_empty()
    }

    /// The next item, when it has all that it needs to be decided.
    pub(super) fn next_ready(&mut self) -> Option<Item> {
        match self.queue.front()? {
            Item::Turn { answers: Answers::Awaited(_), .. } => None,
            Item::Turn { .. } | Item::Command { .. } | Item::Sweep { .. } => self.queue.pop_front(),
        }
    }

    /// Hands the answers of a ticket to the turns that asked, in order. A ticket that nobody waits for changes nothing.
    /// False when there are not as many answers as rows.
    pub(super) fn scored(&mut self, ticket: Ticket, answers: Vec<Result<Score, Unscored>>) -> bool {
        let mut given = answers.into_iter();
        let mut asked = false;
        for item in &mut self.queue {
            let Item::Turn { turn, answers } = item else { continue };
            if *answers != Answers::Awaited(ticket) {
                continue;
            }
            asked = true;
            let rows = turn.found.as_ref().map_or(0, |found| found.rows.len());
            let own: Vec<_> = given.by_ref().take(rows).collect();
            if own.len() < rows {
                return false;
            }
            *answers = Answers::Given(own);
        }
        !asked || given.next().is_none()
    }

    /// Lets the last turn in the queue decide a revision too that changes nothing, if there is one and time has not moved
    /// since.
    pub(super) fn extends(&mut self, revision: Revision, as_of: Timestamp) -> bool {
        match self.queue.back_mut() {
            Some(Item::Turn { turn, .. }) if as_of <= turn.as_of => {
                turn.through = revision;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Gives back memory once all is done: most users are quiet most of the time.
    pub(super) fn rest(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = Vec::new();
        }
    }
}
