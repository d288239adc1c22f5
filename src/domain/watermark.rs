//! Unsettled deliveries: what a checkpoint may say, and how much is in flight.
//!
//! Law: the checkpoint never passes a delivery that is not settled. Every call costs O(1), amortised: a ring of deliveries
//! in log order, threaded by one list for each user. Called by the registry, which keys users by their slot.
//!
//! ```text
//!  passed        ring (log order)                          considered
//!    ↓   ┌────┬────┬────┬────┬────┐
//!  ──●───│ a0 │ b7 │ a1 │ c2 │ a2 │───────────────────────────●──→ positions
//!        └─┬──┴────┴─┬──┴────┴─┬──┘
//!          └─────────┴─────────┘   the list of user a
//! ```

use std::collections::VecDeque;

use super::event::{Position, Revision};

/// End of a list.
const NONE: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Delivery {
    position: Position,
    revision: Revision,
    /// Sequence number of the user's next delivery.
    next: u64,
    settled: bool,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u64,
    tail: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Watermark {
    ring: VecDeque<Delivery>,
    /// Sequence number of the front of the ring.
    base: u64,
    /// By user key.
    lists: Vec<List>,
    unsettled: usize,
    passed: Option<Position>,
    considered: Option<Position>,
}

impl Watermark {
    /// Nothing in flight; everything up to `checkpoint` is settled.
    pub fn new(checkpoint: Option<Position>) -> Self {
        Self {
            ring: VecDeque::new(),
            base: 0,
            lists: Vec::new(),
            unsettled: 0,
            passed: checkpoint,
            considered: checkpoint,
        }
    }

    /// An event is given to the user of this key. Keys are small and reused; a key changes hands only when nothing of its
    /// user is unsettled. Positions ascend, and so do a user's revisions.
    pub fn delivered(&mut self, key: u32, revision: Revision, position: Position) {
        assert!(self.considered < Some(position), "deliveries come in log order");
        self.considered = Some(position);
        let sequence = self.base + self.ring.len() as u64;
        self.ring.push_back(Delivery { position, revision, next: NONE, settled: false });
        self.unsettled += 1;
        let at = key as usize;
        if self.lists.len() <= at {
            self.lists.resize(at + 1, List { head: NONE, tail: NONE });
        }
        let Some(list) = self.lists.get_mut(at) else { return };
        let tail = std::mem::replace(&mut list.tail, sequence);
        if list.head == NONE {
            list.head = sequence;
        } else if let Some(before) = self.delivery(tail) {
            before.next = sequence;
        }
    }

    /// Everything up to here was delivered, or needs no delivery.
    pub fn considered(&mut self, position: Position) {
        self.considered = self.considered.max(Some(position));
    }

    /// Everything of the user up to this revision is decided and durable. Answers how many deliveries that settles.
    pub fn settled(&mut self, key: u32, through: Revision) -> usize {
        let Some(list) = self.lists.get(key as usize) else { return 0 };
        let (mut head, mut settled) = (list.head, 0);
        while head != NONE {
            let Some(delivery) = self.delivery(head) else { break };
            if delivery.revision > through {
                break;
            }
            delivery.settled = true;
            head = delivery.next;
            settled += 1;
        }
        if let Some(list) = self.lists.get_mut(key as usize) {
            list.head = head;
        }
        self.unsettled -= settled;
        while let Some(front) = self.ring.front().filter(|front| front.settled) {
            self.passed = Some(front.position);
            self.base += 1;
            self.ring.pop_front();
        }
        settled
    }

    /// Whether nothing of the user is unsettled: its key may change hands.
    pub fn is_clear(&self, key: u32) -> bool {
        self.lists.get(key as usize).is_none_or(|list| list.head == NONE)
    }

    /// Where a reader that starts again must start: strictly after this, nothing unsettled stands before it.
    pub fn checkpoint(&self) -> Option<Position> {
        if self.ring.is_empty() { self.considered } else { self.passed }
    }

    /// How many deliveries are not settled.
    pub fn in_flight(&self) -> usize {
        self.unsettled
    }

    /// How many deliveries a restart would repeat: from the first unsettled one to the newest.
    pub fn span(&self) -> usize {
        self.ring.len()
    }

    fn delivery(&mut self, sequence: u64) -> Option<&mut Delivery> {
        self.ring.get_mut(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Deliver { key: u32 },
        Settle { key: u32, ahead: u64 },
        Consider,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..5_u32).prop_map(|key| Step::Deliver { key }),
            3 => (0..5_u32, 0..4_u64).prop_map(|(key, ahead)| Step::Settle { key, ahead }),
            1 => Just(Step::Consider),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn never_passes_an_unfinished_position_and_is_never_lazier_than_a_recount(steps in steps()) {
            let mut watermark = Watermark::new(None);
            // What a naive recount keeps: every delivery (key, revision, position, settled), and next revisions by key.
            let mut all: Vec<(u32, u64, u64, bool)> = Vec::new();
            let mut next = [0_u64; 5];
            let mut settled = [0_u64; 5];
            let mut position = 0;
            for step in steps {
                position += 2;
                match step {
                    Step::Deliver { key } => {
                        let revision = next[key as usize];
                        next[key as usize] += 1;
                        watermark.delivered(key, revision, Position(position));
                        all.push((key, revision, position, false));
                    }
                    Step::Settle { key, ahead } => {
                        let through = settled[key as usize] + ahead;
                        settled[key as usize] = (through + 1).min(next[key as usize]);
                        let mut count = 0;
                        for (_, _, _, done) in
                            all.iter_mut().filter(|(k, r, _, done)| *k == key && *r <= through && !done)
                        {
                            *done = true;
                            count += 1;
                        }
                        prop_assert_eq!(watermark.settled(key, through), count);
                    }
                    Step::Consider => watermark.considered(Position(position)),
                }
                let first_open = all.iter().find(|(_, _, _, done)| !done).map(|(_, _, at, _)| *at);
                let checkpoint = watermark.checkpoint().map_or(0, |at| at.0);
                if let Some(open) = first_open {
                    prop_assert!(checkpoint < open);
                    let before = all.iter().map(|(_, _, at, _)| *at).filter(|at| *at < open).max();
                    prop_assert_eq!(checkpoint, before.unwrap_or(0));
                }
                prop_assert_eq!(watermark.in_flight(), all.iter().filter(|(_, _, _, done)| !done).count());
                for key in 0..5 {
                    let open = all.iter().any(|(k, _, _, done)| *k == key && !done);
                    prop_assert_eq!(watermark.is_clear(key), !open);
                }
            }
        }
    }
}
