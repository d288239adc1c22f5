//! Whether the decisions of the replay are the recorded ones, fact by fact.
//!
//! Law: equal means the same facts with the same ids and the same content in the same order, for every user. Only when an
//! event was put aside again does not count: after a restart it is written whenever the user comes to it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::report::EXAMPLES;
use super::witness::Trace;
use crate::domain::id::{EventId, UserId};

const EVENT_PARKED: &str = "EventParked";

/// How far they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Equality {
    /// Whether all of it is the same.
    pub is_equal: bool,
    /// Facts compared, as recorded.
    pub facts: u64,
    /// Users with any.
    pub users: u64,
    /// By kind of fact, what differs.
    pub differing: BTreeMap<String, Differing>,
    /// Users whose facts are the same in another order.
    pub reordered: u64,
    /// The first differences, in words.
    pub examples: Vec<String>,
}

/// Facts that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// Recorded, and not decided in the replay.
    pub only_live: u64,
    /// Decided in the replay, and not recorded.
    pub only_new: u64,
    /// In both, with another content.
    pub changed: u64,
}

impl Equality {
    /// Compares one user's facts.
    pub(super) fn compare(&mut self, user: &UserId, live: &[Trace], new: &[Trace]) {
        self.facts += live.len() as u64;
        self.users += u64::from(!live.is_empty() || !new.is_empty());
        if live == new {
            return;
        }
        let before = self.differing.clone();
        let mut rest: HashMap<EventId, &Trace> = new.iter().map(|trace| (trace.id, trace)).collect();
        for trace in live {
            match rest.remove(&trace.id) {
                Some(same) if same.content == trace.content => {}
                Some(_) => self.note(user, trace, "changed", |kind| &mut kind.changed),
                None => self.note(user, trace, "only recorded", |kind| &mut kind.only_live),
            }
        }
        for trace in new.iter().filter(|trace| rest.contains_key(&trace.id)) {
            self.note(user, trace, "only in the replay", |kind| &mut kind.only_new);
        }
        let decided = |traces: &[Trace]| -> Vec<EventId> {
            traces.iter().filter(|trace| trace.kind != EVENT_PARKED).map(|trace| trace.id).collect()
        };
        if self.differing == before && decided(live) != decided(new) {
            self.reordered += 1;
        }
    }

    fn note(
        &mut self,
        user: &UserId,
        trace: &Trace,
        words: &str,
        count: impl Fn(&mut Differing) -> &mut u64,
    ) {
        *count(self.differing.entry(trace.kind.to_owned()).or_default()) += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{user}: {} {} {words}", trace.kind, trace.id));
        }
    }

    /// Says whether all is equal.
    pub(super) fn closed(mut self) -> Self {
        self.is_equal = self.differing.is_empty() && self.reordered == 0;
        self
    }
}
