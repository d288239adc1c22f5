//! A model's trial before it serves: its golden rows, run on this machine, and how long it takes.
//!
//! Law: a graph that answers otherwise than its trainer says, leaves the range of a probability, does not add up, lets rows
//! influence each other, hangs, or is too slow, does not serve. Called by [`super::folder`].

use std::time::{Duration, Instant};

use super::manifest::{Golden, Manifest};
use super::onnx::{Answer, Graph, GraphFault};
use super::refusal::{Refusal, Rows};
use super::{Options, watchdog};

/// What bias and contributions may be off from the raw logit (DESIGN 5).
const LOGIT_TOLERANCE: f64 = 1e-4;
/// Rows mixed from golden ones: range and additivity have to hold where the trainer did not look, too. Also the larger batch
/// whose time is taken.
const MIXED: usize = 256;
/// Calls whose best time counts: the least is the model's own, the rest is what else the machine does.
const CALLS_OF_ONE: usize = 32;
/// See [`CALLS_OF_ONE`]; each of these is a batch.
const CALLS_OF_BATCH: usize = 8;

/// Every reason that the trial gives, the first row of each kind.
pub(super) fn run(
    graph: &mut Graph,
    manifest: &Manifest,
    golden: &[Golden],
    options: &Options,
) -> Vec<Refusal> {
    // A graph may loop for ever; then its run is ended from outside, with an error.
    let watch = watchdog::watch(graph.stopper(), options.trial_max);
    let judged = judge(graph, manifest, golden, options);
    if watch.hangs() {
        return vec![Refusal::Hangs { limit: options.trial_max }];
    }
    judged.unwrap_or_else(|fault| vec![Refusal::Graph { reason: fault.to_string() }])
}

fn judge(
    graph: &mut Graph,
    manifest: &Manifest,
    golden: &[Golden],
    options: &Options,
) -> Result<Vec<Refusal>, GraphFault> {
    let mut together = Vec::with_capacity(golden.len());
    let (mut differs, mut range, mut sum, mut batch) = (None, None, None, None);
    let answers = graph.run(golden.iter().map(|row| &*row.features))?;
    for (at, (answer, expected)) in answers.rows().zip(golden).enumerate() {
        let row = at + 1;
        differs = differs.or_else(|| compare(row, answer, expected, manifest));
        range = range.or_else(|| in_range(Rows::Golden, row, answer, manifest));
        sum = sum.or_else(|| adds_up(Rows::Golden, row, answer, manifest.bias));
        together.push(bits(answer));
    }
    for (at, (row, together)) in golden.iter().zip(&together).enumerate() {
        let alone = graph.run([&*row.features].into_iter())?.rows().next().map(bits);
        if alone.as_ref() != Some(together) {
            batch = Some(Refusal::BatchDependent { row: at + 1 });
            break;
        }
    }
    let mixed = mixed(golden);
    let answers = graph.run(mixed.iter().map(Vec::as_slice))?;
    for (at, answer) in answers.rows().enumerate() {
        range = range.or_else(|| in_range(Rows::Mixed, at + 1, answer, manifest));
        sum = sum.or_else(|| adds_up(Rows::Mixed, at + 1, answer, manifest.bias));
    }
    let mut reasons: Vec<Refusal> = [differs, range, sum, batch].into_iter().flatten().collect();
    for (rows, calls, limit) in
        [(1, CALLS_OF_ONE, options.latency_one_max), (MIXED, CALLS_OF_BATCH, options.latency_batch_max)]
    {
        let took = best(graph, mixed.get(..rows).unwrap_or_default(), calls)?;
        if took > limit {
            reasons.push(Refusal::Slow { rows, took, limit });
        }
    }
    Ok(reasons)
}

/// Each feature from another golden row, so that combinations come up that no golden row has.
fn mixed(golden: &[Golden]) -> Vec<Vec<f32>> {
    let width = golden.first().map_or(0, |row| row.features.len());
    let value = |row: usize, feature: usize| {
        let from = golden.get((row * 7 + feature * (row + 13)) % golden.len().max(1));
        from.and_then(|golden| golden.features.get(feature)).copied().unwrap_or(f32::NAN)
    };
    (0..MIXED).map(|row| (0..width).map(|feature| value(row, feature)).collect()).collect()
}

fn best(graph: &mut Graph, rows: &[Vec<f32>], calls: usize) -> Result<Duration, GraphFault> {
    let mut best = Duration::MAX;
    for _ in 0..calls {
        let began = Instant::now();
        graph.run(rows.iter().map(Vec::as_slice))?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

fn bits(answer: Answer<'_>) -> Vec<u32> {
    let outputs = [answer.probability, answer.raw];
    outputs.iter().chain(answer.contributions).map(|value| value.to_bits()).collect()
}

fn output_name(output: &str, feature: Option<usize>, manifest: &Manifest) -> String {
    let feature = feature.and_then(|at| manifest.features.get(at));
    feature.map_or(output.to_owned(), |name| format!("the contribution of {name}"))
}

fn compare(row: usize, answer: Answer<'_>, expected: &Golden, manifest: &Manifest) -> Option<Refusal> {
    let tolerance = manifest.tolerance;
    let scalar = [
        ("probability", None, answer.probability, expected.probability),
        ("raw", None, answer.raw, expected.raw),
    ];
    let terms = answer.contributions.iter().zip(&expected.contributions).enumerate();
    let terms = terms.map(|(at, (&found, &expected))| ("contribution", Some(at), found, expected));
    // Written so that NaN is a difference. A contribution has no bound, so its tolerance grows with it.
    let differs = |found: f32, expected: f32| {
        let is_close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        !is_close
    };
    let (output, feature, found, expected) =
        scalar.into_iter().chain(terms).find(|&(_, _, found, expected)| differs(found, expected))?;
    let output = output_name(output, feature, manifest);
    Some(Refusal::Golden { row, output, found, expected, tolerance })
}

fn in_range(rows: Rows, row: usize, answer: Answer<'_>, manifest: &Manifest) -> Option<Refusal> {
    let (output, feature, found) = answer.out_of_range()?;
    Some(Refusal::OutOfRange { rows, row, output: output_name(output, feature, manifest), found })
}

/// Compares on the scale of `raw`: a logit tolerance of 1e-4 there, plus one step of float32 (near 1 that step alone is more
/// than 1e-4 of a logit).
fn adds_up(rows: Rows, row: usize, answer: Answer<'_>, bias: f32) -> Option<Refusal> {
    let logit = f64::from(bias) + answer.contributions.iter().copied().map(f64::from).sum::<f64>();
    let expected = 1.0 / (1.0 + (-logit).exp());
    let allowed = LOGIT_TOLERANCE * expected * (1.0 - expected) + f64::from(f32::EPSILON) * expected;
    let found = answer.raw;
    let holds = (f64::from(found) - expected).abs() <= allowed + f64::from(f32::MIN_POSITIVE);
    (!holds).then_some(Refusal::NotAdditive { rows, row, found, expected })
}
