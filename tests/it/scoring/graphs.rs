//! Model folders made to order: a small additive graph written as ONNX by hand, right or wrong in one way.
//!
//! `contributions = weights * known(features)`, `raw = sigmoid(bias + sum)`, `probability = raw`, over five features; the
//! protobuf of `onnx.proto3` in the few fields that it needs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

const FLOAT: u64 = 1;
const INT64: u64 = 7;
const BOOL: u64 = 9;
const DOUBLE: u64 = 11;
const WEIGHTS: [f32; 5] = [0.5, -0.25, 0.125, -0.5, 0.25];

/// How long a graph takes.
#[derive(Clone, Copy, PartialEq)]
pub enum Spin {
    None,
    /// So many rounds of a loop.
    Rounds(i64),
    /// For ever when a fifth feature is 3 or more.
    ByRow,
}

/// A graph and what its folder says of it.
#[derive(Clone)]
pub struct Recipe {
    pub bias: f32,
    /// Added to the probability.
    pub lift: f32,
    /// Adds the product of the first two features to the logit, and tells nobody.
    pub crosses: bool,
    /// A fourth feature of 3 or more makes the probability NaN.
    pub breaks: bool,
    pub spin: Spin,
    /// The probability comes as float64.
    pub double: bool,
    /// The probability comes as [batch, 1].
    pub column: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        let (crosses, breaks, double, column) = (false, false, false, false);
        Self { bias: -0.5, lift: 0.0, crosses, breaks, spin: Spin::None, double, column }
    }
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[derive(Default, Clone)]
struct Proto(Vec<u8>);

impl Proto {
    fn int(mut self, field: u64, value: u64) -> Self {
        varint(field << 3, &mut self.0);
        varint(value, &mut self.0);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        varint(field << 3 | 2, &mut self.0);
        varint(value.len() as u64, &mut self.0);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn inner(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Proto {
    let with =
        |field, names: &[&str], node: Proto| names.iter().fold(node, |node, name| node.text(field, name));
    with(2, outputs, with(1, inputs, Proto::default())).text(4, op)
}

fn attribute(name: &str, value: u64) -> Proto {
    Proto::default().text(1, name).int(3, value).int(20, 2)
}

fn tensor(name: &str, kind: u64, dims: &[u64], raw: &[u8]) -> Proto {
    let shaped = dims.iter().fold(Proto::default(), |tensor, dim| tensor.int(1, *dim));
    shaped.int(2, kind).text(8, name).bytes(9, raw)
}

fn floats(name: &str, dims: &[u64], values: &[f32]) -> Proto {
    tensor(name, FLOAT, dims, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

/// A value's type; a dimension of none is the batch.
fn value(name: &str, kind: u64, shape: &[Option<u64>]) -> Proto {
    let dim = |size: &Option<u64>| match size {
        Some(size) => Proto::default().int(1, *size),
        None => Proto::default().text(2, "batch"),
    };
    let shape = shape.iter().fold(Proto::default(), |shape, size| shape.inner(1, &dim(size)));
    let tensor = Proto::default().int(1, kind).inner(2, &shape);
    Proto::default().text(1, name).inner(2, &Proto::default().inner(1, &tensor))
}

/// `rounds` times nothing; the result is `spun`, a zero that depends on the features.
fn spin(spin: Spin) -> (Vec<Proto>, Vec<Proto>) {
    let body = Proto::default()
        .inner(1, &node("Identity", &["go"], &["go_on"]))
        .inner(1, &node("Abs", &["sum_in"], &["sum_out"]))
        .text(2, "body")
        .inner(11, &value("round", INT64, &[]))
        .inner(11, &value("go", BOOL, &[]))
        .inner(11, &value("sum_in", FLOAT, &[]))
        .inner(12, &value("go_on", BOOL, &[]))
        .inner(12, &value("sum_out", FLOAT, &[]));
    let body = Proto::default().text(1, "body").inner(6, &body).int(20, 5);
    let whole = attribute("keepdims", 0);
    let mut nodes = vec![node("ReduceMax", &["known"], &["most"]).inner(5, &whole)];
    let mut constants = vec![tensor("true", BOOL, &[], &[1])];
    match spin {
        Spin::Rounds(rounds) => constants.push(tensor("rounds", INT64, &[], &rounds.to_le_bytes())),
        Spin::ByRow | Spin::None => {
            constants.push(tensor("fifth", INT64, &[], &4_i64.to_le_bytes()));
            nodes.push(node("Gather", &["known", "fifth"], &["column"]).inner(5, &attribute("axis", 1)));
            nodes.push(node("ReduceMax", &["column"], &["largest"]).inner(5, &whole));
            constants.push(floats("two", &[], &[2.0]));
            constants.push(floats("ages", &[], &[1e18]));
            nodes.push(node("Sub", &["largest", "two"], &["over_two"]));
            nodes.push(node("Relu", &["over_two"], &["beyond"]));
            nodes.push(node("Mul", &["beyond", "ages"], &["length"]));
            nodes.push(node("Cast", &["length"], &["rounds"]).inner(5, &attribute("to", INT64)));
        }
    }
    nodes.push(node("Loop", &["rounds", "true", "most"], &["end"]).inner(5, &body));
    nodes.push(node("Mul", &["end", "zero"], &["spun"]));
    (nodes, constants)
}

fn graph(recipe: &Recipe) -> Vec<u8> {
    let mut nodes = vec![
        node("IsNaN", &["features"], &["is_nan"]),
        node("Where", &["is_nan", "zero", "features"], &["known"]),
        node("Mul", &["known", "weights"], &["contributions"]),
        node("ReduceSum", &["contributions", "axis"], &["sum"]).inner(5, &attribute("keepdims", 0)),
        node("Add", &["sum", "bias"], &["logit"]),
    ];
    let mut constants = vec![
        floats("zero", &[], &[0.0]),
        floats("weights", &[5], &WEIGHTS),
        floats("bias", &[], &[recipe.bias]),
        floats("lift", &[], &[recipe.lift]),
        tensor("axis", INT64, &[1], &1_i64.to_le_bytes()),
    ];
    let mut logit = "logit";
    let mut add = |what: &'static str, sum: &'static str, nodes: &mut Vec<Proto>| {
        nodes.push(node("Add", &[logit, what], &[sum]));
        logit = sum;
    };
    if recipe.crosses {
        for (name, place) in [("first", 0_i64), ("second", 1)] {
            constants.push(tensor(&format!("{name}_at"), INT64, &[], &place.to_le_bytes()));
            nodes.push(
                node("Gather", &["known", &format!("{name}_at")], &[name]).inner(5, &attribute("axis", 1)),
            );
        }
        nodes.push(node("Mul", &["first", "second"], &["crossed"]));
        add("crossed", "with_crossed", &mut nodes);
    }
    if recipe.spin != Spin::None {
        let (more, also) = spin(recipe.spin);
        nodes.extend(more);
        constants.extend(also);
        add("spun", "with_spun", &mut nodes);
    }
    nodes.push(node("Sigmoid", &[logit], &["raw"]));
    let mut end = "raw";
    if recipe.breaks {
        // The logarithm of zero, times zero.
        constants.push(floats("three", &[], &[3.0]));
        constants.push(tensor("fourth_at", INT64, &[], &3_i64.to_le_bytes()));
        nodes.push(node("Gather", &["known", "fourth_at"], &["fourth"]).inner(5, &attribute("axis", 1)));
        nodes.push(node("Sub", &["three", "fourth"], &["below_three"]));
        nodes.push(node("Relu", &["below_three"], &["left"]));
        nodes.push(node("Log", &["left"], &["log"]));
        nodes.push(node("Mul", &["log", "zero"], &["nothing"]));
        nodes.push(node("Add", &["raw", "nothing"], &["broken"]));
        end = "broken";
    }
    nodes.push(node("Add", &[end, "lift"], &["lifted"]));
    let (mut kind, mut shape) = (FLOAT, vec![None]);
    if recipe.column {
        nodes.push(node("Unsqueeze", &["lifted", "axis"], &["probability"]));
        shape.push(Some(1));
    } else if recipe.double {
        nodes.push(node("Cast", &["lifted"], &["probability"]).inner(5, &attribute("to", DOUBLE)));
        kind = DOUBLE;
    } else {
        nodes.push(node("Identity", &["lifted"], &["probability"]));
    }
    let graph =
        nodes.iter().fold(Proto::default(), |graph, node| graph.inner(1, node)).text(2, "made to order");
    let graph = constants.iter().fold(graph, |graph, constant| graph.inner(5, constant));
    let graph = graph
        .inner(11, &value("features", FLOAT, &[None, Some(5)]))
        .inner(12, &value("probability", kind, &shape))
        .inner(12, &value("raw", FLOAT, &[None]))
        .inner(12, &value("contributions", FLOAT, &[None, Some(5)]));
    let opset = Proto::default().text(1, "").int(2, 17);
    Proto::default().int(1, 8).inner(7, &graph).inner(8, &opset).0
}

/// Golden rows: in no row are both the first and the second feature there; the fourth and the fifth stay below 3.
fn golden(recipe: &Recipe) -> String {
    let mut text = String::new();
    for row in 0..60 {
        let known = |at: usize| match at {
            0 | 1 => (row % 2 == at).then_some(1.0 + (row % 7) as f32),
            3 => Some((row % 7) as f32 - 5.0),
            4 => Some((row % 2) as f32),
            _ => (row % 5 != at).then_some((row % 11) as f32 - 5.0),
        };
        let features: Vec<Option<f32>> = (0..5).map(known).collect();
        let terms: Vec<f32> =
            features.iter().zip(WEIGHTS).map(|(value, weight)| value.unwrap_or(0.0) * weight).collect();
        let raw = 1.0 / (1.0 + (-(terms.iter().sum::<f32>() + recipe.bias)).exp());
        let line = serde_json::json!({
            "features": features, "probability": raw + recipe.lift, "raw": raw, "contributions": terms,
        });
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `<root>/<model>/<version>/` for the features f0 to f4.
pub fn write(root: &Path, model: &str, version: &str, recipe: &Recipe) {
    let folder = root.join(model).join(version);
    fs::create_dir_all(&folder).unwrap();
    let (graph, golden) = (graph(recipe), golden(recipe));
    let manifest = format!(
        "schema = 1\nmodel = \"{model}\"\nversion = \"{version}\"\nkind = \"logistic\"\ncatalog_version = \"c\"\n\
         features = [\"f0\", \"f1\", \"f2\", \"f3\", \"f4\"]\nbias = {:?}\ntolerance = 1e-5\n\
         model_sha256 = \"{}\"\ngolden_sha256 = \"{}\"\n[training]\nfrom = \"2026-01-01T00:00:00Z\"\n\
         to = \"2026-06-01T00:00:00Z\"\nrows = 100\npositives = 10\nbase_rate = 0.1\n",
        recipe.bias,
        sha256(&graph),
        sha256(golden.as_bytes())
    );
    fs::write(folder.join("model.onnx"), graph).unwrap();
    fs::write(folder.join("golden.jsonl"), golden).unwrap();
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
    fs::write(folder.join("CARD.md"), "# Made to order\n").unwrap();
}
