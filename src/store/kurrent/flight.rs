//! Appends under way: sent one behind the other without waiting, answered in order.
//!
//! Law: appends take their places in the log in the order in which they were asked for, over breaks too: what is not answered
//! is sent again first, at its exact revision and with its ids, which changes nothing if it stands already. In streams that
//! others write to as well, an append may find its place taken while those sent behind it found theirs, and these stand: it
//! then stands behind them. Within one stream that happens only when others are first met there; from then on one append at
//! a time is under way to it. When an append is late or overrun, all that were asked for until then fail too; one that the
//! server refuses (it denies it, or the stream is closed) fails alone. One task per store, run by [`super`].
//!
//! ```text
//!  call ─→ queued ─→ decided (on what is known of the stream) ─→ flying ─→ done ─→ answered, when all before it are
//!                       ↑           conflict: read the stream again │ break: send again
//!                       └───────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::convert::unavailable;
use super::gate::{Failed, Gate};
use super::job::{Done, Job, Stage};
use super::known::{Slot, lock};
use super::session::{Flying, Heard, Session};
use crate::error::Chain;
use crate::store::{Append, Error, kind};

/// How often an append is decided anew because somebody else wrote to its stream.
const ROUNDS_MAX: u32 = 8;
/// So often what is certain of a stream is believed: then it is read from its start.
const ROUNDS_BELIEVED: u32 = 4;

/// Appends with what is known of their streams.
pub(super) type Learnt = Result<Vec<(Append, Slot)>, String>;

/// A call, in its place from the moment when it was made.
pub(super) struct Call {
    /// Dropped, nobody need learn for it any more.
    pub(super) learnt: oneshot::Receiver<Learnt>,
    pub(super) answer: Answer,
    /// Made before its caller could hear that what it had asked for before has failed.
    pub(super) is_late: bool,
}

/// To a caller.
type Answer = oneshot::Sender<Result<Vec<Done>, Failed>>;

/// A call whose appends are under way.
struct Open {
    count: usize,
    done: Vec<Done>,
    answer: Answer,
}

/// All that is under way.
struct Flight {
    shared: Arc<Shared>,
    session: Option<Arc<Session>>,
    calls: VecDeque<Open>,
    jobs: VecDeque<Job>,
    /// The number of the first job.
    first: u64,
    /// Jobs before this one were sent, or need not be.
    sent: usize,
    answers: FuturesUnordered<Flying>,
    /// Nothing more goes out before everything under way is answered.
    is_broken: bool,
    /// Others were faster all the time.
    is_overrun: bool,
    failures: u32,
    /// What the server said last when it did not do an append.
    trouble: String,
    /// When something was last answered.
    progress: Instant,
}

/// Runs until nobody can call any more.
pub(super) async fn run(shared: Arc<Shared>, mut calls: UnboundedReceiver<Call>) {
    let gate = Arc::clone(&shared.gate);
    let mut flight = Flight::new(shared);
    let mut waiting: Option<Call> = None;
    let mut waits_since = Instant::now();
    loop {
        if let Err(error) = flight.advance().await {
            flight.fail(&error, &mut calls, waiting.take());
        }
        flight.settle();
        let has_room = flight.has_room();
        let is_idle = flight.jobs.is_empty();
        let call_timeout = flight.shared.options.call_timeout;
        tokio::select! {
            Some((number, heard)) = flight.answers.next() => flight.hear(number, heard).await,
            learnt = learnt(&mut waiting), if has_room && waiting.is_some() => {
                if let Some(call) = waiting.take() {
                    match learnt {
                        Ok(appends) => flight.take(appends, call.answer),
                        // What was asked for before goes on.
                        Err(reason) => turn_away(&gate, &unavailable(reason), &mut calls, Some(call)),
                    }
                }
            }
            call = calls.recv(), if waiting.is_none() => match call {
                Some(call) if call.is_late => {
                    let reason = "what was asked for before has failed; ask again";
                    turn_away(&gate, &unavailable(reason), &mut calls, Some(call));
                }
                Some(call) => (waiting, waits_since) = (Some(call), Instant::now()),
                None => return,
            },
            () = sleep_until(flight.progress + call_timeout), if !is_idle => {
                let trouble = flight.late();
                if let Some(session) = flight.session.take() {
                    flight.shared.link.lost(session.generation, &trouble).await;
                }
                flight.fail(&unavailable(trouble), &mut calls, waiting.take());
            }
            () = sleep_until(waits_since.max(flight.progress) + call_timeout), if is_idle && waiting.is_some() => {
                let reason = format!("what its streams hold is not read within {call_timeout:?}; ask again");
                turn_away(&gate, &unavailable(reason), &mut calls, waiting.take());
            }
        }
    }
}

/// What a waiting call has learnt, whether its caller waits or not.
async fn learnt(waiting: &mut Option<Call>) -> Learnt {
    let gone = || "what its streams hold was not read to the end".to_owned();
    match waiting {
        Some(call) => (&mut call.learnt).await.unwrap_or_else(|_| Err(gone())),
        None => Err(gone()),
    }
}

impl Flight {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: None,
            calls: VecDeque::new(),
            jobs: VecDeque::new(),
            first: 0,
            sent: 0,
            answers: FuturesUnordered::new(),
            is_broken: false,
            is_overrun: false,
            failures: 0,
            trouble: String::new(),
            progress: Instant::now(),
        }
    }

    fn late(&mut self) -> String {
        let late = format!("no answer within {:?}", self.shared.options.call_timeout);
        match std::mem::take(&mut self.trouble) {
            said if said.is_empty() => late,
            said => format!("{late}: {said}"),
        }
    }

    fn has_room(&self) -> bool {
        !self.is_broken
            && self.sent == self.jobs.len()
            && self.answers.len() < self.shared.options.appends_max
    }

    fn take(&mut self, appends: Vec<(Append, Slot)>, answer: Answer) {
        if self.jobs.is_empty() {
            self.progress = Instant::now();
        }
        self.calls.push_back(Open { count: appends.len(), done: Vec::with_capacity(appends.len()), answer });
        self.jobs.extend(appends.into_iter().map(Job::new));
    }

    /// Answers what is done, in order.
    fn settle(&mut self) {
        while let Some(Job { stage: Stage::Done(_), .. }) = self.jobs.front()
            && let (Some(job), Some(call)) = (self.jobs.pop_front(), self.calls.front_mut())
        {
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
            if let Stage::Done(done) = job.stage {
                call.done.push(done);
            }
            if call.done.len() == call.count
                && let Some(call) = self.calls.pop_front()
            {
                // Who has gone does not need it.
                drop(call.answer.send(Ok(call.done)));
            }
        }
    }

    /// Mends what is broken when everything under way is answered, and sends what there is room for.
    async fn advance(&mut self) -> Result<(), Error> {
        while let Err(error) = self.go_on().await {
            let is_over = self.progress.elapsed() >= self.shared.options.call_timeout;
            // What may stand already is worth waiting for; what was never sent is not.
            if !error.is_transient()
                || is_over
                || self.is_overrun
                || !self.jobs.iter().any(|job| job.was_sent)
            {
                return Err(error);
            }
            (self.is_broken, self.failures) = (true, self.failures + 1);
        }
        Ok(())
    }

    async fn go_on(&mut self) -> Result<(), Error> {
        loop {
            if self.is_broken {
                if !self.answers.is_empty() {
                    return Ok(());
                }
                self.mend().await?;
            }
            self.send().await?;
            // What was sent may have failed at once: then nobody is left whose answer would bring us here again.
            if !self.is_broken {
                return Ok(());
            }
            if self.progress.elapsed() >= self.shared.options.call_timeout {
                return Err(unavailable(self.late()));
            }
        }
    }

    async fn send(&mut self) -> Result<(), Error> {
        while !self.is_broken && self.answers.len() < self.shared.options.appends_max {
            let Some(job) = self.jobs.get_mut(self.sent) else { return Ok(()) };
            if matches!(job.stage, Stage::Queued) {
                job.decide();
            }
            if matches!(job.stage, Stage::Queued) && !job.disagrees {
                return Ok(());
            }
            if job.disagrees {
                self.is_broken = true;
                return Ok(());
            }
            if let Stage::Decided(_) = job.stage {
                self.send_one().await?;
            }
            self.sent += 1;
        }
        Ok(())
    }

    /// Sends the job that is next.
    async fn send_one(&mut self) -> Result<(), Error> {
        let session = match &self.session {
            Some(session) => Arc::clone(session),
            None => Arc::clone(self.session.insert(Session::open(&self.shared).await?)),
        };
        let number = self.first + self.sent as u64;
        let Some(job) = self.jobs.get_mut(self.sent) else { return Ok(()) };
        if let Stage::Decided(writing) = std::mem::replace(&mut job.stage, Stage::Queued) {
            self.shared.streams.learnt(writing.events.len());
            let stream = job.append.stream.clone();
            let mut flying = session.send(number, stream, writing.expected, &writing.events);
            job.stage = Stage::Flying(writing);
            job.was_sent = true;
            match poll_fn(|context| Poll::Ready(flying.as_mut().poll(context))).await {
                Poll::Pending => self.answers.push(flying),
                Poll::Ready((number, heard)) => self.hear(number, heard).await,
            }
        }
        Ok(())
    }

    async fn hear(&mut self, number: u64, heard: Heard) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(job) = index.and_then(|index| self.jobs.get_mut(index)) else { return };
        match heard {
            Heard::Written(at) => {
                job.written(at);
                (self.progress, self.failures) = (Instant::now(), 0);
                self.trouble.clear();
                return;
            }
            Heard::Conflict => {
                lock(&job.slot).met_others();
                job.disagrees = true;
                self.progress = Instant::now();
            }
            Heard::Refused(error) => {
                // What was taken for written is not, and so is what was decided on it.
                lock(&job.slot).doubt();
                job.stage = Stage::Done(Done::Failed(error));
                let slot = Arc::clone(&job.slot);
                self.jobs.iter_mut().filter(|job| Arc::ptr_eq(&slot, &job.slot)).for_each(Job::reconsider);
            }
            Heard::Broken => {}
            Heard::NotNow(trouble) => (self.failures, self.trouble) = (self.failures + 1, trouble),
            Heard::Lost(trouble) => {
                if let Some(session) = &self.session {
                    self.shared.link.lost(session.generation, &trouble).await;
                }
            }
        }
        // The client ends its session after any failure.
        (self.session, self.is_broken) = (None, true);
    }

    /// Nothing is under way: what is not done goes out again, in order; where a stream is other than was thought, it is read
    /// and decided again.
    async fn mend(&mut self) -> Result<(), Error> {
        if self.failures > 0 {
            sleep(self.shared.link.pause(self.failures)).await;
        }
        let mut wrong: Vec<(String, Slot)> = Vec::new();
        for job in self.jobs.iter().filter(|job| job.disagrees) {
            if job.rounds >= ROUNDS_BELIEVED {
                lock(&job.slot).forget();
            }
            if !wrong.iter().any(|(_, slot)| Arc::ptr_eq(slot, &job.slot)) {
                lock(&job.slot).doubt();
                wrong.push((job.append.stream.clone(), Arc::clone(&job.slot)));
            }
        }
        self.shared.learn(&wrong).await?;
        for job in &mut self.jobs {
            let is_wrong = wrong.iter().any(|(_, slot)| Arc::ptr_eq(slot, &job.slot));
            job.rounds += u32::from(std::mem::take(&mut job.disagrees));
            job.stage = match std::mem::replace(&mut job.stage, Stage::Queued) {
                Stage::Done(Done::Stands { .. } | Done::Refused(_)) if is_wrong => Stage::Queued,
                done @ Stage::Done(_) => done,
                _ if is_wrong => Stage::Queued,
                Stage::Flying(writing) | Stage::Decided(writing) => Stage::Decided(writing),
                Stage::Queued => Stage::Queued,
            };
        }
        (self.sent, self.is_broken) = (0, false);
        let Some(job) = self.jobs.iter().find(|job| job.rounds > ROUNDS_MAX) else { return Ok(()) };
        self.is_overrun = true;
        Err(unavailable(format!("others write to a stream of {} all the time", kind(&job.append.stream))))
    }

    /// Everything under way fails, and all that was asked for behind it.
    fn fail(&mut self, error: &Error, calls: &mut UnboundedReceiver<Call>, waiting: Option<Call>) {
        let gate = Arc::clone(&self.shared.gate);
        let closed = gate.close();
        for job in self.jobs.drain(..) {
            // It may have been written all the same.
            lock(&job.slot).doubt();
            self.first += 1;
        }
        self.answers.clear();
        (self.sent, self.session, self.failures) = (0, None, 0);
        (self.is_broken, self.is_overrun) = (false, false);
        for call in self.calls.drain(..) {
            // Who has gone does not need it.
            drop(call.answer.send(Err(Failed::new(&gate, again(error)))));
        }
        drop(closed);
        turn_away(&gate, error, calls, waiting);
    }
}

/// The same once more, for another caller.
fn again(error: &Error) -> Error {
    unavailable(Chain(error).to_string())
}

/// A call and all that were made behind it fail.
fn turn_away(gate: &Arc<Gate>, error: &Error, calls: &mut UnboundedReceiver<Call>, first: Option<Call>) {
    let _closed = gate.close();
    let mut next = first.or_else(|| calls.try_recv().ok());
    while let Some(call) = next {
        // Who has gone does not need it.
        drop(call.answer.send(Err(Failed::new(gate, again(error)))));
        next = calls.try_recv().ok();
    }
}
