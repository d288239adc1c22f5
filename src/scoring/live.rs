//! The sessions of the running daemon: which loaded versions score, and their change under way.
//!
//! Law: a version's sessions are built beside those that score, off the scoring threads; a scoring thread takes them up between
//! two batches, whole or not at all. Nothing is lost and nothing waits.
//!
//! ```text
//!  prepare (a session for each scoring thread) ─→ install ─→ one inbox per scorer ─→ taken up at its next batch
//! ```
//! Called by the composition root ([`Live::scorer`]) and by the model registry ([`Live::prepare`], [`Live::install`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::folder::Loaded;
use super::onnx::{Graph, GraphFault, OnnxScorer, Serving, Slot};
use super::runtime::Runtime;
use super::{Challengers, Score, Scorer, Unscored};
use crate::domain::catalog::{Catalog, ModelIx};

/// What ties a scorer to the versions that are live: changes come in, failures go out.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Moves with each change: a scorer looks at this alone before each batch.
    changes: AtomicU64,
    waiting: Mutex<Vec<(usize, Option<Serving>)>>,
    health: Arc<[Health]>,
}

/// Whether a model's newest call brought any score.
#[derive(Debug, Default)]
struct Health {
    fails: AtomicBool,
    /// Why, in words; meant only while it fails.
    reason: Mutex<String>,
}

impl Inbox {
    /// What there is to take up, for one who has seen `seen` changes.
    pub(super) fn take(&self, seen: &mut u64) -> Vec<(usize, Option<Serving>)> {
        let changes = self.changes.load(Ordering::Acquire);
        if changes == *seen {
            return Vec::new();
        }
        *seen = changes;
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// Remembers whether a model fails: one that scores no row of a call does, until it scores one again.
    pub(super) fn heard(&self, model: usize, answers: &[Result<Score, Unscored>]) {
        let Some(health) = self.health.get(model) else { return };
        match answers.first() {
            Some(Err(first)) if !answers.iter().any(Result::is_ok) => health.failed(&first.to_string()),
            Some(_) if health.fails.load(Ordering::Relaxed) => health.fails.store(false, Ordering::Release),
            Some(_) | None => {}
        }
    }

    /// Remembers that a model does not answer.
    pub(super) fn hangs(&self, model: usize) {
        if let Some(health) = self.health.get(model) {
            health.failed(&Unscored::Timeout.to_string());
        }
    }

    fn put(&self, model: usize, serving: Option<Serving>) {
        let mut waiting = lock(&self.waiting);
        // Only the newest counts.
        waiting.retain(|(waits, _)| *waits != model);
        waiting.push((model, serving));
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl Health {
    fn failed(&self, reason: &str) {
        reason.clone_into(&mut lock(&self.reason));
        self.fails.store(true, Ordering::Release);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One set of versions that score: those that serve, or those in shadow. Clones are the same one.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    names: Vec<String>,
    /// Whether a version of the model scores: read for every row.
    on: Vec<AtomicBool>,
    health: Arc<[Health]>,
    state: Mutex<State>,
}

struct State {
    current: Vec<Option<Loaded>>,
    inboxes: Vec<Weak<Inbox>>,
    /// Known once anything is installed.
    runtime: Option<Runtime>,
}

/// A version ready to score: one session for each scorer there is.
#[derive(Debug)]
pub struct Prepared {
    loaded: Loaded,
    runtime: Runtime,
    sessions: Vec<Graph>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        let versions = state.current.iter().map(|loaded| loaded.as_ref().map(|loaded| &loaded.version));
        f.debug_map().entries(self.0.names.iter().zip(versions)).finish()
    }
}

impl Live {
    /// The models of a catalogue, none of which scores yet.
    pub fn new(catalog: &Catalog) -> Self {
        let names: Vec<String> = catalog.models.iter().map(|model| model.name.clone()).collect();
        let on = names.iter().map(|_| AtomicBool::new(false)).collect();
        let health = names.iter().map(|_| Health::default()).collect();
        let current = names.iter().map(|_| None).collect();
        let state = Mutex::new(State { current, inboxes: Vec::new(), runtime: None });
        Self(Arc::new(Inner { names, on, health, state }))
    }

    /// The version of a model that scores.
    pub fn current(&self, model: ModelIx) -> Option<Loaded> {
        lock(&self.0.state).current.get(usize::from(model.0)).cloned().flatten()
    }

    /// Why a model that has a version does not score, as of its newest call; none when it does.
    pub fn failing(&self, model: ModelIx) -> Option<String> {
        let health = self.0.health.get(usize::from(model.0))?;
        health.fails.load(Ordering::Acquire).then(|| lock(&health.reason).clone())
    }

    /// Builds the sessions of a version. Slow (some 20 ms for each scoring thread); never on a scoring or async thread.
    ///
    /// # Errors
    /// The runtime does not take the graph.
    pub fn prepare(&self, runtime: &Runtime, loaded: Loaded) -> Result<Prepared, GraphFault> {
        let count = living(&mut lock(&self.0.state).inboxes).len();
        let sessions = (0..count).map(|_| loaded.open(runtime)).collect::<Result<_, _>>()?;
        Ok(Prepared { loaded, runtime: runtime.clone(), sessions })
    }

    /// Lets a version score, from each scorer's next batch on.
    pub fn install(&self, model: ModelIx, prepared: Prepared) {
        let Prepared { loaded, runtime, mut sessions } = prepared;
        lock(&self.0.state).runtime = Some(runtime.clone());
        self.replace(model, Some(loaded.clone()), || {
            // A scorer that began after the sessions were prepared has none waiting.
            let graph = sessions.pop().map_or_else(|| loaded.open(&runtime), Ok);
            Some(loaded.serve(graph))
        });
    }

    /// Lets no version of a model score.
    pub fn remove(&self, model: ModelIx) {
        self.replace(model, None, || None);
    }

    fn replace(&self, model: ModelIx, loaded: Option<Loaded>, mut serving: impl FnMut() -> Option<Serving>) {
        let place = usize::from(model.0);
        let mut state = lock(&self.0.state);
        for inbox in living(&mut state.inboxes) {
            inbox.put(place, serving());
        }
        if let Some(on) = self.0.on.get(place) {
            on.store(loaded.is_some(), Ordering::Release);
        }
        if let Some(health) = self.0.health.get(place) {
            // What failed was the version before.
            health.fails.store(false, Ordering::Release);
        }
        if let Some(current) = state.current.get_mut(place) {
            *current = loaded;
        }
    }

    /// A scorer for one thread: of all that scores now, and of what is installed later.
    pub fn scorer(&self) -> OnnxScorer {
        let mut state = lock(&self.0.state);
        let slots = self.0.names.iter().zip(&state.current).map(|(name, loaded)| {
            let both = loaded.as_ref().zip(state.runtime.as_ref());
            let serving = both.map(|(loaded, runtime)| loaded.serve(loaded.open(runtime)));
            Slot { name: name.clone(), serving }
        });
        let health = Arc::clone(&self.0.health);
        let inbox = Arc::new(Inbox { changes: AtomicU64::new(0), waiting: Mutex::default(), health });
        let scorer = OnnxScorer::fed(slots.collect(), Arc::clone(&inbox));
        state.inboxes.push(Arc::downgrade(&inbox));
        scorer
    }
}

fn living(inboxes: &mut Vec<Weak<Inbox>>) -> Vec<Arc<Inbox>> {
    inboxes.retain(|inbox| inbox.strong_count() > 0);
    inboxes.iter().filter_map(Weak::upgrade).collect()
}

impl Challengers for Live {
    fn is_any_on(&self) -> bool {
        self.0.on.iter().any(|on| on.load(Ordering::Acquire))
    }

    fn is_on(&self, model: ModelIx) -> bool {
        self.0.on.get(usize::from(model.0)).is_some_and(|on| on.load(Ordering::Acquire))
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(Self::scorer(self))
    }
}
