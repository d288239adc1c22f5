//! A model's trial before it serves: its golden rows, run on this machine.
//!
//! Law: a graph that answers otherwise than its trainer says, leaves the range of a probability, does not add up, or lets
//! rows influence each other, does not serve. Called by the registry.

use super::manifest::{Golden, Manifest};
use super::onnx::{Answer, Graph, GraphFault};
use super::refusal::Refusal;

/// What bias and contributions may be off from the raw logit (DESIGN 5).
const LOGIT_TOLERANCE: f64 = 1e-4;

/// Every reason that the golden rows give, the first row of each kind.
pub(super) fn run(graph: &mut Graph, manifest: &Manifest, golden: &[Golden]) -> Vec<Refusal> {
    let judged = judge(graph, manifest, golden);
    judged.unwrap_or_else(|fault| vec![Refusal::Graph { reason: fault.to_string() }])
}

fn judge(graph: &mut Graph, manifest: &Manifest, golden: &[Golden]) -> Result<Vec<Refusal>, GraphFault> {
    let mut together = Vec::with_capacity(golden.len());
    let (mut differs, mut range, mut sum, mut batch) = (None, None, None, None);
    let answers = graph.run(golden.iter().map(|row| &*row.features))?;
    for (at, (answer, expected)) in answers.rows().zip(golden).enumerate() {
        differs = differs.or_else(|| compare(at + 1, answer, expected, manifest));
        range = range.or_else(|| in_range(at + 1, answer, manifest));
        sum = sum.or_else(|| adds_up(at + 1, answer, manifest.bias));
        together.push(bits(answer));
    }
    for (at, (row, together)) in golden.iter().zip(&together).enumerate() {
        let alone = graph.run([&*row.features].into_iter())?.rows().next().map(bits);
        if alone.as_ref() != Some(together) {
            batch = Some(Refusal::BatchDependent { row: at + 1 });
            break;
        }
    }
    Ok([differs, range, sum, batch].into_iter().flatten().collect())
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

fn in_range(row: usize, answer: Answer<'_>, manifest: &Manifest) -> Option<Refusal> {
    let (output, feature, found) = answer.out_of_range()?;
    Some(Refusal::OutOfRange { row, output: output_name(output, feature, manifest), found })
}

/// Compares on the scale of `raw`: a logit tolerance of 1e-4 there, plus one step of float32 (near 1 that step alone is more
/// than 1e-4 of a logit).
fn adds_up(row: usize, answer: Answer<'_>, bias: f32) -> Option<Refusal> {
    let logit = f64::from(bias) + answer.contributions.iter().copied().map(f64::from).sum::<f64>();
    let expected = 1.0 / (1.0 + (-logit).exp());
    let allowed = LOGIT_TOLERANCE * expected * (1.0 - expected) + f64::from(f32::EPSILON) * expected;
    let found = answer.raw;
    let holds = (f64::from(found) - expected).abs() <= allowed + f64::from(f32::MIN_POSITIVE);
    (!holds).then_some(Refusal::NotAdditive { row, found, expected })
}
