//! One user as a sans-IO machine: inputs in, effects out. Folds events, detects signals, asks for scores, decides, and
//! names what to append. It never waits, never reads a clock and cannot fail: what is wrong ends as an effect.
//!
//! Law: the facts in `intent-<id>` follow from the events in `user-<id>`, the catalogue, the market and the models' answers,
//! whatever the batching, the crashes and the retries between.

use std::sync::Arc;

use super::event::{ExpectedRevision, Fact, Recorded, Revision};
use super::market::Market;
use super::score::{Row, Score, Unscored};
use super::time::Timestamp;

mod command;
mod decide;
mod flow;
mod machine;
mod order;
mod record;
mod rules;
mod scores;
mod snapshot;
mod watch;

pub use command::{Answer, Command, Description, LastScore, Refusal};
pub use machine::UserEntity;
pub use rules::Rules;
pub use snapshot::Snapshot;

/// Names a question that an effect asks, so that its answer finds it. Unique within one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names who waits for an answer; chosen by the shell, handed back unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What an entity is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next facts of `intent-<id>`: all of them (from the snapshot on), before the first [`Input::Deliver`].
    Facts(Vec<Recorded>),
    /// Events of `user-<id>` in revision order. Ones seen already are dropped; a gap is answered by [`Effect::Restart`].
    Deliver {
        /// The events.
        events: Vec<Recorded>,
        /// The market, complete at least up to the last of them.
        market: Arc<Market>,
    },
    /// The answer to [`Effect::Score`], one per row.
    Scored {
        /// Which question.
        ticket: Ticket,
        /// The answers, in the order of the rows.
        answers: Vec<Result<Score, Unscored>>,
    },
    /// The answer to [`Effect::Append`].
    Appended {
        /// Which append.
        ticket: Ticket,
        /// The last revision of the intent stream now; an error when the stream ended elsewhere.
        answer: Result<Revision, Fenced>,
    },
    /// Somebody wants something done. Told after the facts; answered in the order of arrival, when durable.
    Command {
        /// Who waits.
        token: Token,
        /// What.
        command: Command,
        /// The wall clock, written into the fact.
        now: Timestamp,
        /// The log's clock, from which cooldowns count.
        as_of: Timestamp,
    },
    /// Time has come to this point (the log's clock): alerts expire, snoozes end.
    Sweep {
        /// The log's clock.
        now: Timestamp,
    },
    /// An event has failed too often and is put aside; told before the first [`Input::Deliver`].
    Park {
        /// Which.
        revision: Revision,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed.
        reason: String,
        /// The wall clock, written into the fact.
        at: Timestamp,
    },
}

/// Another writer has written to the intent stream: this incarnation no longer follows the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the intent stream ends at {actual:?}, not at {expected:?}: another daemon may be running")]
pub struct Fenced {
    /// What was expected.
    pub expected: ExpectedRevision,
    /// Where it ends.
    pub actual: Option<Revision>,
}

/// What an entity wants done. The shell performs effects in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Score these rows; answer with [`Input::Scored`].
    Score {
        /// The question's name.
        ticket: Ticket,
        /// The rows.
        rows: Vec<Row>,
    },
    /// Append these facts to `intent-<id>`; answer with [`Input::Appended`]. At most one is under way.
    Append {
        /// The append's name.
        ticket: Ticket,
        /// Where the stream must end.
        expected: ExpectedRevision,
        /// The facts, in order.
        facts: Vec<Fact>,
    },
    /// Everything up to this revision of `user-<id>` is decided and durable.
    Settled {
        /// The revision.
        through: Revision,
    },
    /// Tell who waits.
    Answer {
        /// Who.
        token: Token,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// This incarnation must end and a new one recover from the log.
    Restart {
        /// Why.
        reason: String,
        /// Whether the snapshot no longer fits the log: it is to be deleted, and the whole log to be read.
        forget_snapshot: bool,
    },
    /// Nothing is wrong: what was asked for changes what stands behind, so that a new incarnation must begin at once from
    /// the whole log. The snapshot is to be deleted.
    Rebuild {
        /// What was asked for.
        reason: String,
    },
}
