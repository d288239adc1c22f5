//! One thread that stops trials which do not end.
//!
//! Law: one for the whole process, started with the first trial and kept, however many trials there are; it stops what is late
//! and touches nothing else. Called by [`super::trial`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::onnx::Stopper;

/// A trial under way.
struct Watched {
    deadline: Instant,
    stopper: Stopper,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_done: AtomicBool,
    hangs: AtomicBool,
}

/// Held by a trial; tells at its end whether it was stopped.
#[derive(Debug, Default)]
pub(super) struct Watch(Arc<State>);

/// Stops a graph's runs once the limit is over, unless [`Watch::hangs`] is asked before.
pub(super) fn watch(stopper: Stopper, limit: Duration) -> Watch {
    static THREAD: OnceLock<Option<Sender<Watched>>> = OnceLock::new();
    let watch = Watch::default();
    let watched = Watched { deadline: Instant::now() + limit, stopper, state: Arc::clone(&watch.0) };
    let is_sent = THREAD.get_or_init(start).as_ref().is_some_and(|thread| thread.send(watched).is_ok());
    if !is_sent {
        tracing::warn!("nobody watches over a model's trial: there is no thread");
    }
    watch
}

impl Watch {
    /// The trial has ended: whether it was stopped.
    pub(super) fn hangs(self) -> bool {
        self.0.is_done.store(true, Ordering::Release);
        self.0.hangs.load(Ordering::Acquire)
    }
}

fn start() -> Option<Sender<Watched>> {
    let (sender, watched) = channel();
    let thread = thread::Builder::new().name("trials".to_owned()).spawn(move || look(&watched));
    thread.is_ok().then_some(sender)
}

fn look(coming: &Receiver<Watched>) {
    let mut trials: Vec<Watched> = Vec::new();
    loop {
        let next = trials.iter().map(|trial| trial.deadline).min();
        let come = match next {
            None => coming.recv().ok(),
            Some(next) => coming.recv_timeout(next.saturating_duration_since(Instant::now())).ok(),
        };
        trials.extend(come);
        trials.retain(|trial| {
            if trial.state.is_done.load(Ordering::Acquire) {
                return false;
            }
            let is_late = trial.deadline <= Instant::now();
            if is_late {
                trial.state.hangs.store(true, Ordering::Release);
                if let Err(error) = trial.stopper.stop() {
                    tracing::error!(%error, "a graph on trial hangs and cannot be stopped");
                }
            }
            !is_late
        });
    }
}
