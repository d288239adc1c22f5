//! The roster itself: seats for users, found by id, and the moves between their states.
//!
//! Law: every change of a seat's state goes through one of the few private moves at the end, which keep the counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashTable;

use super::{Action, End, Incarnation, Limits, Parked, Route, Slot, Start, Tail};
use crate::domain::event::Revision;
use crate::domain::id::{BadId, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Running,
    Asked,
    Draining,
    BackingOff,
}

#[derive(Clone, Debug, Default)]
struct Failing {
    failures: u32,
    suspect: Option<Parked>,
    /// When the wait after the last failure is over.
    until: Duration,
}

#[derive(Debug)]
struct Seat<K> {
    user: UserId,
    hash: u64,
    state: State,
    incarnation: Incarnation,
    delivered: Option<Revision>,
    settled: Option<Revision>,
    /// Somebody waits for the next incarnation.
    wanted: bool,
    used_at: Duration,
    /// Used since the search for room last passed.
    used: bool,
    failing: Option<Box<Failing>>,
    kept: K,
}

/// See the module. `K` is what the shell keeps with each slot.
#[derive(Debug)]
pub struct Roster<K> {
    limits: Limits,
    seats: Vec<Seat<K>>,
    free: Vec<u32>,
    by_user: HashTable<u32>,
    /// Slots that wait out a failure, the first one due on top.
    waiting: BinaryHeap<Reverse<(Duration, u32, Incarnation)>>,
    incarnations: u64,
    /// Incarnations in memory, and how many of them are on their way out.
    resident: usize,
    leaving: usize,
    /// Where the search for idle users goes on.
    hand: usize,
    stopping: bool,
    actions: Vec<Action>,
}

impl<K> Seat<K> {
    fn has_work(&self) -> bool {
        self.wanted || self.delivered > self.settled
    }
}

impl<K: Default> Roster<K> {
    /// Nobody is in memory.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            seats: Vec::new(),
            free: Vec::new(),
            by_user: HashTable::new(),
            waiting: BinaryHeap::new(),
            incarnations: 0,
            resident: 0,
            leaving: 0,
            hand: 0,
            stopping: false,
            actions: Vec::new(),
        }
    }

    /// The feed has the next event of a user. `hash` is any hash of the user's id, always the same.
    ///
    /// # Errors
    /// The text is no user id.
    pub fn deliver(
        &mut self,
        hash: u64,
        user: &str,
        revision: Revision,
        now: Duration,
    ) -> Result<Route, BadId> {
        let (at, new) = self.seat_of(hash, user)?;
        let Some(seat) = self.seats.get_mut(at as usize) else { return Ok(Route::Hold(Slot(at))) };
        if seat.delivered.max(seat.settled) >= Some(revision) {
            return Ok(Route::Duplicate(Slot(at)));
        }
        seat.delivered = Some(revision);
        if new {
            let before = revision.checked_sub(1);
            seat.settled = before;
            self.start(at, Tail::Through(before));
        }
        Ok(self.mail(at, now))
    }

    /// Somebody wants something of a user.
    ///
    /// # Errors
    /// The text is no user id.
    pub fn want(&mut self, hash: u64, user: &str, now: Duration) -> Result<Route, BadId> {
        let (at, new) = self.seat_of(hash, user)?;
        if new {
            self.start(at, Tail::Unknown);
        }
        let route = self.mail(at, now);
        if let (Route::Hold(_), Some(seat)) = (route, self.seats.get_mut(at as usize)) {
            seat.wanted = true;
        }
        Ok(route)
    }

    /// Everything of the user up to this revision is decided and durable. Answers whether the one who says so still
    /// lives: a slot may have changed hands, and a successor says it again.
    pub fn settled(&mut self, slot: Slot, incarnation: Incarnation, through: Revision) -> bool {
        let Some(seat) = self.live(slot, incarnation) else { return false };
        if seat.settled >= Some(through) {
            return true;
        }
        seat.settled = Some(through);
        let over =
            |failing: &mut Box<Failing>| failing.suspect.as_ref().is_none_or(|it| it.revision <= through);
        seat.failing.take_if(over);
        true
    }

    /// An incarnation that was asked has nothing left to do: it has seen and settled everything up to here.
    pub fn idle(&mut self, slot: Slot, incarnation: Incarnation, through: Option<Revision>) {
        let Some(seat) = self.live(slot, incarnation) else { return };
        if seat.state != State::Asked {
            return;
        }
        // Mail that is on its way withdraws the question; the shell's queue to the actor is in order, so an actor that
        // answers for everything delivered has nothing in its mailbox.
        if through >= seat.delivered {
            seat.settled = seat.settled.max(through);
            seat.state = State::Draining;
            self.actions.push(Action::Drain(slot));
        } else {
            seat.state = State::Running;
            self.leaving -= 1;
        }
    }

    /// An incarnation is gone.
    pub fn ended(&mut self, slot: Slot, incarnation: Incarnation, end: End, now: Duration) {
        let Some(seat) = self.live(slot, incarnation) else { return };
        let leaving = usize::from(seat.state != State::Running);
        seat.wanted |= end == End::Again;
        self.resident -= 1;
        self.leaving -= leaving;
        if self.stopping {
            return self.vacate(slot.0);
        }
        match end {
            End::Drained | End::Again => self.again(slot.0),
            End::Failed { revision, reason } => self.back_off(slot.0, revision, reason, now),
        }
    }

    /// Time passes: waits end, and up to `budget` slots are looked at for idle users.
    pub fn tick(&mut self, now: Duration, budget: usize) {
        while let Some(Reverse((_, at, incarnation))) =
            self.waiting.peek().copied().filter(|due| due.0.0 <= now)
        {
            self.waiting.pop();
            let waits = |seat: &Seat<K>| seat.state == State::BackingOff && seat.incarnation == incarnation;
            if self.seats.get(at as usize).is_some_and(waits) {
                self.again(at);
            }
        }
        for _ in 0..budget.min(self.seats.len()) {
            let at = self.turn();
            let idle_after = self.limits.idle_after;
            let idle = |seat: &Seat<K>| now.saturating_sub(seat.used_at) >= idle_after;
            if self.seats.get(at as usize).is_some_and(idle) {
                self.ask(at);
            }
        }
    }

    /// Asks users to leave while there are too many: those not used since the search last passed.
    pub fn make_room(&mut self) {
        let mut steps = 2 * self.seats.len();
        while self.resident - self.leaving > self.limits.resident_max && steps > 0 {
            steps -= 1;
            let at = self.turn();
            if self.seats.get_mut(at as usize).is_some_and(|seat| !std::mem::take(&mut seat.used)) {
                self.ask(at);
            }
        }
    }

    /// Asks everybody to leave; nobody begins any more.
    pub fn stop(&mut self) {
        self.stopping = true;
        for at in 0..u32::try_from(self.seats.len()).unwrap_or(u32::MAX) {
            if self.seats.get(at as usize).is_some_and(|seat| seat.state == State::BackingOff) {
                self.vacate(at);
            }
            self.ask(at);
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When a user that waits out a failure begins again; none when it does not wait.
    pub fn begins_at(&self, slot: Slot) -> Option<Duration> {
        let seat = self.seats.get(slot.0 as usize).filter(|seat| seat.state == State::BackingOff)?;
        seat.failing.as_ref().map(|failing| failing.until)
    }

    /// How many incarnations are in memory.
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// Whether there is nobody in memory, and nobody waits to be.
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    /// How many slots there are, in use or not: what a whole round of [`Self::tick`] looks at.
    pub fn slots(&self) -> usize {
        self.seats.len()
    }

    /// What the shell keeps with a slot.
    pub fn kept(&mut self, slot: Slot) -> Option<&mut K> {
        self.seats.get_mut(slot.0 as usize).map(|seat| &mut seat.kept)
    }

    fn seat_of(&mut self, hash: u64, user: &str) -> Result<(u32, bool), BadId> {
        let seats = &self.seats;
        let is =
            |at: &u32| seats.get(*at as usize).is_some_and(|it| it.hash == hash && it.user.as_str() == user);
        if let Some(at) = self.by_user.find(hash, is) {
            return Ok((*at, false));
        }
        // The id's own copy: the text may be part of a large block that must not live as long as the user.
        let user: UserId = user.parse()?;
        let seat = Seat {
            user,
            hash,
            state: State::Free,
            incarnation: Incarnation(0),
            delivered: None,
            settled: None,
            wanted: false,
            used_at: Duration::ZERO,
            used: true,
            failing: None,
            kept: K::default(),
        };
        let at = self.free.pop().unwrap_or(u32::try_from(self.seats.len()).unwrap_or(u32::MAX));
        match self.seats.get_mut(at as usize) {
            Some(free) => *free = seat,
            None => self.seats.push(seat),
        }
        let seats = &self.seats;
        self.by_user.insert_unique(hash, at, |at| seats.get(*at as usize).map_or(0, |seat| seat.hash));
        Ok((at, true))
    }

    fn live(&mut self, slot: Slot, incarnation: Incarnation) -> Option<&mut Seat<K>> {
        let lives = |seat: &&mut Seat<K>| {
            seat.incarnation == incarnation && !matches!(seat.state, State::Free | State::BackingOff)
        };
        self.seats.get_mut(slot.0 as usize).filter(lives)
    }

    fn mail(&mut self, at: u32, now: Duration) -> Route {
        let Some(seat) = self.seats.get_mut(at as usize) else { return Route::Hold(Slot(at)) };
        (seat.used, seat.used_at) = (true, now);
        match seat.state {
            State::Running => Route::Forward(Slot(at)),
            State::Asked => {
                seat.state = State::Running;
                self.leaving -= 1;
                Route::Forward(Slot(at))
            }
            State::Draining | State::BackingOff | State::Free => Route::Hold(Slot(at)),
        }
    }

    fn start(&mut self, at: u32, tail: Tail) {
        let Some(seat) = self.seats.get_mut(at as usize) else { return };
        self.incarnations += 1;
        self.resident += 1;
        seat.incarnation = Incarnation(self.incarnations);
        seat.state = State::Running;
        seat.wanted = false;
        let attempts_max = self.limits.attempts_max;
        let suspect = seat.failing.as_ref().and_then(|failing| failing.suspect.clone());
        self.actions.push(Action::Start(Start {
            slot: Slot(at),
            incarnation: seat.incarnation,
            user: seat.user.clone(),
            tail,
            careful: seat.failing.is_some(),
            park: suspect.filter(|suspect| suspect.attempts >= attempts_max),
        }));
    }

    /// A seat without an incarnation gets a new one when there is work for it.
    fn again(&mut self, at: u32) {
        let Some(seat) = self.seats.get(at as usize) else { return };
        if seat.has_work() {
            let tail = seat.delivered.map_or(Tail::Unknown, |delivered| Tail::Through(Some(delivered)));
            self.start(at, tail);
        } else {
            self.vacate(at);
        }
    }

    fn back_off(&mut self, at: u32, revision: Option<Revision>, reason: String, now: Duration) {
        let Some(seat) = self.seats.get_mut(at as usize) else { return };
        let failing = seat.failing.get_or_insert_default();
        failing.failures = failing.failures.saturating_add(1);
        if let Some(revision) = revision {
            let before = failing.suspect.take().filter(|before| before.revision == revision);
            let attempts = before.map_or(1, |before| before.attempts.saturating_add(1));
            failing.suspect = Some(Parked { revision, attempts, reason });
        }
        seat.state = State::BackingOff;
        let until = now + self.limits.backoff.delay(failing.failures, seat.hash);
        failing.until = until;
        self.waiting.push(Reverse((until, at, seat.incarnation)));
    }

    fn vacate(&mut self, at: u32) {
        let Some(seat) = self.seats.get_mut(at as usize) else { return };
        seat.state = State::Free;
        seat.kept = K::default();
        if let Ok(found) = self.by_user.find_entry(seat.hash, |it| *it == at) {
            found.remove();
        }
        self.free.push(at);
    }

    fn ask(&mut self, at: u32) {
        let Some(seat) = self.seats.get_mut(at as usize).filter(|seat| seat.state == State::Running) else {
            return;
        };
        seat.state = State::Asked;
        self.leaving += 1;
        self.actions.push(Action::Ask(Slot(at)));
    }

    fn turn(&mut self) -> u32 {
        let at = self.hand;
        self.hand = if at + 1 < self.seats.len() { at + 1 } else { 0 };
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}
