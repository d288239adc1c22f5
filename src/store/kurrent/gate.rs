//! Keeps calls behind one that failed from being written in front of what its caller will ask for again.
//!
//! Law: a call made before its caller could hear of a failure fails too, whenever it was made: with those that were there at
//! the failure, or when it comes. Called by `append` and `flight`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::Error;

/// Between callers and the one who writes.
#[derive(Default)]
pub(super) struct Gate {
    /// Held while a call is made, and while all that were made fail.
    order: Mutex<()>,
    /// Failures of which the callers have not heard yet.
    unheard: AtomicUsize,
}

impl Gate {
    /// Held, no call comes between.
    pub(super) fn close(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has not heard of a failure. Asked behind the closed gate.
    pub(super) fn has_failed(&self) -> bool {
        self.unheard.load(Ordering::SeqCst) > 0
    }
}

/// The failure of a call, on its way to the caller; heard of when it is gone.
pub(super) struct Failed {
    error: Option<Error>,
    gate: Arc<Gate>,
}

impl Failed {
    pub(super) fn new(gate: &Arc<Gate>, error: Error) -> Self {
        gate.unheard.fetch_add(1, Ordering::SeqCst);
        Self { error: Some(error), gate: Arc::clone(gate) }
    }

    /// The caller hears of it.
    pub(super) fn heard(mut self) -> Option<Error> {
        self.error.take()
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        self.gate.unheard.fetch_sub(1, Ordering::SeqCst);
    }
}
