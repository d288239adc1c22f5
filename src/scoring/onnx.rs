//! Scoring with ONNX Runtime: a session per model and thread, one call per batch.
//!
//! Law: an answer that is no number, or no probability, never leaves here as a score. Called by the scoring threads; the
//! registry makes one [`OnnxScorer`] for each of them, since a session runs one batch at a time.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};

use super::live::Inbox;
use super::runtime::Runtime;
use super::{Interrupt, Score, Scorer, Unscored};
use crate::domain::catalog::ModelIx;

/// Rows in one call of the runtime. More gain nothing (a row costs the same from 256 on) and would let memory grow with the
/// largest batch ever seen.
pub const BATCH_MAX: usize = 1024;

const INPUT: &str = "features";
const PROBABILITY: &str = "probability";
const RAW: &str = "raw";
const CONTRIBUTIONS: &str = "contributions";

/// What the runtime said, or what is wrong with the graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GraphFault(String);

impl<R> From<ort::Error<R>> for GraphFault {
    fn from(error: ort::Error<R>) -> Self {
        Self(error.message().trim().to_owned())
    }
}

/// A graph that is ready to run, with its buffers.
#[derive(Debug)]
pub(super) struct Graph {
    session: Session,
    /// Through which a run under way can be made to give up.
    run: Stopper,
    width: usize,
    input: Vec<f32>,
    answers: Answers,
}

/// Makes a graph's run give up, from another thread; it never runs again.
#[derive(Clone)]
pub(super) struct Stopper(Arc<RunOptions>);

impl Stopper {
    pub(super) fn stop(&self) -> Result<(), GraphFault> {
        Ok(self.0.terminate()?)
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

/// What a graph said of the rows of one call, in their order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    width: usize,
    probability: Vec<f32>,
    raw: Vec<f32>,
    contributions: Vec<f32>,
}

/// What a graph said of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) probability: f32,
    pub(super) raw: f32,
    pub(super) contributions: &'a [f32],
}

impl Answers {
    /// Row by row.
    pub(super) fn rows(&self) -> impl Iterator<Item = Answer<'_>> {
        let outputs = self.probability.iter().zip(&self.raw).zip(self.contributions.chunks_exact(self.width));
        outputs.map(|((&probability, &raw), contributions)| Answer { probability, raw, contributions })
    }
}

impl Answer<'_> {
    /// The output that is out of range, if one is; the place is that of the contribution.
    pub(super) fn out_of_range(&self) -> Option<(&'static str, Option<usize>, f32)> {
        for (name, value) in [(PROBABILITY, self.probability), (RAW, self.raw)] {
            // Written so that NaN is out of range.
            if !(0.0..=1.0).contains(&value) {
                return Some((name, None, value));
            }
        }
        let odd = self.contributions.iter().position(|value| !value.is_finite())?;
        Some((CONTRIBUTIONS, Some(odd), *self.contributions.get(odd)?))
    }
}

impl Graph {
    /// Opens a session and checks that inputs and outputs are what DESIGN 5 says.
    pub(super) fn open(runtime: &Runtime, graph: &[u8], width: usize) -> Result<Self, GraphFault> {
        let session = Session::builder(&runtime.environment)?
            // One core per scoring thread: the threads are the parallelism, and answers do not depend on the machine.
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_deterministic_compute(true)?
            // Batches differ in size; a pattern per size would be planned and kept.
            .with_memory_pattern(false)?
            .commit_from_memory(graph)?;
        expect_tensor("input", INPUT, &outlets(session.inputs()), &[None, Some(width)])?;
        let outputs = outlets(session.outputs());
        if session.inputs().len() != 1 {
            return Err(GraphFault(format!("it has {} inputs, expected one", session.inputs().len())));
        }
        for name in [PROBABILITY, RAW] {
            expect_tensor("output", name, &outputs, &[None])?;
        }
        expect_tensor("output", CONTRIBUTIONS, &outputs, &[None, Some(width)])?;
        let run = Stopper(Arc::new(RunOptions::new()?));
        Ok(Self { session, run, width, input: Vec::new(), answers: Answers { width, ..Answers::default() } })
    }

    /// What makes a run give up, this one and all after it.
    pub(super) fn stopper(&self) -> Stopper {
        self.run.clone()
    }

    /// Runs the rows in one call. A row of another length must not come here.
    pub(super) fn run<'r>(
        &mut self,
        rows: impl ExactSizeIterator<Item = &'r [f32]>,
    ) -> Result<&Answers, GraphFault> {
        let count = rows.len();
        self.input.clear();
        for row in rows {
            self.input.extend_from_slice(row);
        }
        assert_eq!(self.input.len(), count * self.width, "every row has the model's features");
        let input = TensorRef::from_array_view(([count, self.width], self.input.as_slice()))?;
        let outputs = self.session.run_with_options(ort::inputs![input], &*self.run.0)?;
        let answers = &mut self.answers;
        take(PROBABILITY, outputs.get(PROBABILITY), count, &mut answers.probability)?;
        take(RAW, outputs.get(RAW), count, &mut answers.raw)?;
        take(CONTRIBUTIONS, outputs.get(CONTRIBUTIONS), count * self.width, &mut answers.contributions)?;
        Ok(answers)
    }
}

fn outlets(outlets: &[ort::value::Outlet]) -> Vec<(&str, &ValueType)> {
    outlets.iter().map(|outlet| (outlet.name(), outlet.dtype())).collect()
}

/// A float32 tensor of that shape; a dimension of none is open.
fn expect_tensor(
    side: &str,
    name: &str,
    outlets: &[(&str, &ValueType)],
    shape: &[Option<usize>],
) -> Result<(), GraphFault> {
    let Some((_, kind)) = outlets.iter().find(|(found, _)| *found == name) else {
        let found: Vec<&str> = outlets.iter().map(|(found, _)| *found).collect();
        return Err(GraphFault(format!("it has no {side} {name}, only {}", found.join(", "))));
    };
    let dimension = |size: &Option<usize>| size.map_or(Some(-1), |size| i64::try_from(size).ok());
    let fits = match kind {
        ValueType::Tensor { ty: TensorElementType::Float32, shape: found, .. } => {
            found.iter().copied().map(Some).eq(shape.iter().map(dimension))
        }
        ValueType::Tensor { .. }
        | ValueType::Sequence(_)
        | ValueType::Map { .. }
        | ValueType::Optional(_) => false,
    };
    let wanted: Vec<String> =
        shape.iter().map(|size| size.map_or("batch".to_owned(), |size| size.to_string())).collect();
    let wanted = wanted.join(", ");
    if fits {
        Ok(())
    } else {
        Err(GraphFault(format!("{side} {name} is {kind}, expected float32 [{wanted}]")))
    }
}

fn take(name: &str, output: Option<&DynValue>, count: usize, into: &mut Vec<f32>) -> Result<(), GraphFault> {
    let output = output.ok_or_else(|| GraphFault(format!("it gave no {name}")))?;
    let (_, values) = output.try_extract_tensor::<f32>()?;
    if values.len() != count {
        return Err(GraphFault(format!("it gave {} values of {name}, expected {count}", values.len())));
    }
    into.clear();
    into.extend_from_slice(values);
    Ok(())
}

/// One model as a scoring thread has it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) serving: Option<Serving>,
}

/// A model that answers.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) version: Arc<str>,
    pub(super) bias: f32,
    pub(super) graph: Result<Graph, GraphFault>,
}

/// Scores rows of every model of a catalogue, on one thread. Made by [`super::registry::Registry::scorer`], which never
/// changes, and by [`super::live::Live::scorer`], which takes up new versions between two batches.
#[derive(Debug)]
pub struct OnnxScorer {
    slots: Vec<Slot>,
    live: Option<Fed>,
}

/// What ties a scorer to versions that change.
#[derive(Debug)]
struct Fed {
    inbox: Arc<Inbox>,
    /// How many changes of the inbox have been looked at.
    seen: u64,
    /// What another thread needs to stop a call.
    stop: Arc<Stop>,
}

#[derive(Debug)]
struct Stop {
    inbox: Arc<Inbox>,
    /// The model whose call is under way, or was last.
    model: AtomicUsize,
    sessions: Mutex<Vec<Stopper>>,
}

impl OnnxScorer {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        Self { slots, live: None }
    }

    /// A scorer that takes up what comes into its inbox.
    pub(super) fn fed(slots: Vec<Slot>, inbox: Arc<Inbox>) -> Self {
        let sessions = Mutex::new(stoppers(&slots));
        let stop = Arc::new(Stop { inbox: Arc::clone(&inbox), model: AtomicUsize::new(0), sessions });
        Self { slots, live: Some(Fed { inbox, seen: 0, stop }) }
    }

    /// Takes up what is new; says which model is asked.
    fn begin(&mut self, model: usize) {
        let Some(live) = &mut self.live else { return };
        live.stop.model.store(model, Ordering::Relaxed);
        let new = live.inbox.take(&mut live.seen);
        if new.is_empty() {
            return;
        }
        for (place, serving) in new {
            if let Some(slot) = self.slots.get_mut(place) {
                slot.serving = serving;
            }
        }
        *live.stop.sessions.lock().unwrap_or_else(PoisonError::into_inner) = stoppers(&self.slots);
    }
}

fn stoppers(slots: &[Slot]) -> Vec<Stopper> {
    slots.iter().filter_map(|slot| slot.serving.as_ref()?.graph.as_ref().ok()).map(Graph::stopper).collect()
}

impl Stop {
    /// Makes the run under way give up; a session that is stopped never runs again.
    fn stop(&self) {
        self.inbox.hangs(self.model.load(Ordering::Relaxed));
        for session in &*self.sessions.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Err(error) = session.stop() {
                tracing::warn!(%error, "a model that hangs cannot be stopped");
            }
        }
    }
}

impl Scorer for OnnxScorer {
    fn score(&mut self, model: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let place = usize::from(model.0);
        self.begin(place);
        let Some(slot) = self.slots.get_mut(place) else {
            let unscored = Unscored::NoModel { model_type: format!("number {}", model.0) };
            return vec![Err(unscored); rows.len()];
        };
        let mut answers = Vec::with_capacity(rows.len());
        for batch in rows.chunks(BATCH_MAX) {
            score_batch(slot, batch, &mut answers);
        }
        if let Some(live) = self.live.as_ref().filter(|_| slot.serving.is_some()) {
            live.inbox.heard(place, &answers);
        }
        answers
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = Arc::clone(&self.live.as_ref()?.stop);
        Some(Arc::new(move || stop.stop()))
    }
}

fn score_batch(slot: &mut Slot, rows: &[&[f32]], into: &mut Vec<Result<Score, Unscored>>) {
    let Slot { name, serving } = slot;
    let Some(Serving { version, bias, graph }) = serving else {
        let unscored = Unscored::NoModel { model_type: name.clone() };
        return into.extend(vec![Err(unscored); rows.len()]);
    };
    let failed =
        |reason: String| Unscored::Failed { model_type: name.clone(), version: version.to_string(), reason };
    let graph = match graph {
        Ok(graph) => graph,
        Err(fault) => return into.extend(vec![Err(failed(fault.to_string())); rows.len()]),
    };
    let width = graph.width;
    let unknown = vec![f32::NAN; if rows.iter().all(|row| row.len() == width) { 0 } else { width }];
    // A row of another length keeps its place, and gets an error for an answer.
    let run = graph.run(rows.iter().map(|row| if row.len() == width { *row } else { &unknown }));
    let answers = match run {
        Ok(answers) => answers,
        Err(fault) => return into.extend(vec![Err(failed(fault.to_string())); rows.len()]),
    };
    into.extend(rows.iter().zip(answers.rows()).map(|(row, answer)| {
        if row.len() != width {
            return Err(failed(format!("a row has {} features, the model has {width}", row.len())));
        }
        if let Some((output, _, value)) = answer.out_of_range() {
            return Err(failed(format!("{output} is {value}")));
        }
        Ok(Score {
            version: Arc::clone(version),
            raw: answer.raw,
            probability: answer.probability,
            bias: *bias,
            contributions: answer.contributions.into(),
            shadow: None,
        })
    }));
}
