"""Writes an additive model as an ONNX graph, byte for byte the same for the same model.

    features [batch, F] -> terms -> contributions [batch, F] -> sum + bias -> sigmoid -> raw [batch]
                                                                          \\-> calibration -> probability [batch]

Law: a row's answer does not depend on the rows beside it. So nothing here sums in an order of the runtime's choice:
trees have one target per term, and the sum over terms is a CumSum in float64. Common exporters were off by up to 0.47
(float64 thresholds, lost calibration), hence our own.

Used by folder.py.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from additive import Additive, Binned, Linear
from calibration import Isotonic, Platt

OPSET = 18
ML_OPSET = 3
# The oldest intermediate representation that carries opset 18.
IR_VERSION = 8


class Graph:
    """Nodes and constants in the order they were made."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def constant(self, name: str, values) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, inputs, output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output


def linear_terms(graph: Graph, terms) -> None:
    """features -> contributions, for lines."""
    column = {
        name: graph.constant(name, np.array([getattr(term, name) for term in terms], dtype=np.float32))
        for name in ("low", "high", "mean", "weight", "missing")
    }
    unknown = graph.node("IsNaN", ["features"], "unknown")
    above = graph.node("Max", ["features", column["low"]], "above")
    held = graph.node("Min", [above, column["high"]], "held")
    centred = graph.node("Sub", [held, column["mean"]], "centred")
    line = graph.node("Mul", [centred, column["weight"]], "line")
    graph.node("Where", [unknown, column["missing"], line], "contributions")


class Trees:
    """The attributes of a TreeEnsembleRegressor, filled tree by tree."""

    def __init__(self):
        self.nodes = {name: [] for name in (
            "treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
            "missing_value_tracks_true")}
        self.targets = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def _node(self, tree: int, number: int, mode: str, value: float, yes: int, no: int, missing: int) -> None:
        row = (tree, number, tree, mode, value, yes, no, missing)
        for name, item in zip(self.nodes, row):
            self.nodes[name].append(item)

    def _leaf(self, tree: int, number: int, weight: float) -> int:
        self._node(tree, number, "LEAF", 0.0, 0, 0, 0)
        for name, item in zip(self.targets, (tree, number, tree, weight)):
            self.targets[name].append(item)
        return number + 1

    def _search(self, tree: int, number: int, term: Binned, low: int, high: int) -> int:
        """A balanced search for the bin among values[low..=high]; returns the next free node number."""
        if low == high:
            return self._leaf(tree, number, float(term.values[low]))
        middle = (low + high) // 2
        at = len(self.nodes["treeids"])
        self._node(tree, number, "BRANCH_LT", float(term.cuts[middle]), number + 1, 0, 0)
        right = self._search(tree, number + 1, term, low, middle)
        self.nodes["falsenodeids"][at] = right
        return self._search(tree, right, term, middle + 1, high)

    def add(self, tree: int, term: Binned) -> None:
        """The root sends only NaN to its left: nothing is below minus infinity."""
        self._node(tree, 0, "BRANCH_LT", float("-inf"), 1, 2, 1)
        self._leaf(tree, 1, float(term.missing))
        self._search(tree, 2, term, 0, len(term.values) - 1)


def binned_terms(graph: Graph, terms) -> None:
    """features -> contributions, for steps: one tree and one target per feature."""
    trees = Trees()
    for at, term in enumerate(terms):
        trees.add(at, term)
    attributes = {f"nodes_{name}": column for name, column in trees.nodes.items()}
    attributes |= {f"target_{name}": column for name, column in trees.targets.items()}
    graph.node("TreeEnsembleRegressor", ["features"], "contributions", domain="ai.onnx.ml", n_targets=len(terms),
               aggregate_function="SUM", post_transform="NONE", **attributes)


def calibrated_by_line(graph: Graph, curve: Platt, logit: str) -> str:
    """logit -> calibrated logit, for Platt's line."""
    scaled = graph.node("Mul", [logit, graph.constant("slope", np.float64(curve.slope))], "scaled")
    return graph.node("Add", [scaled, graph.constant("intercept", np.float64(curve.intercept))], "calibrated")


def calibrated_by_knots(graph: Graph, curve: Isotonic, logit: str) -> str:
    """logit -> calibrated logit, for an isotonic curve: which piece, then the line of that piece."""
    table = {"knots_inner": curve.at[1:-1], "piece_at": curve.at[:-1], "piece_to": curve.to[:-1],
             "piece_end": curve.to[1:], "piece_slope": curve.slopes}
    constant = {name: graph.constant(name, values.astype(np.float64)) for name, values in table.items()}
    above = graph.node("Max", [logit, graph.constant("knot_first", np.float64(curve.at[0]))], "logit_above")
    held = graph.node("Min", [above, graph.constant("knot_last", np.float64(curve.at[-1]))], "logit_held")
    column = graph.node("Unsqueeze", [held, "axis"], "logit_column")
    passed = graph.node("GreaterOrEqual", [column, constant["knots_inner"]], "knots_passed")
    counted = graph.node("Cast", [passed], "knots_counted", to=TensorProto.INT64)
    piece = graph.node("ReduceSum", [counted, graph.constant("axes", np.array([1], dtype=np.int64))], "piece", keepdims=0)
    start, to, end, slope = (graph.node("Gather", [constant[name], piece], f"{name}_here") for name in (
        "piece_at", "piece_to", "piece_end", "piece_slope"))
    beyond = graph.node("Sub", [held, start], "beyond_knot")
    risen = graph.node("Add", [to, graph.node("Mul", [beyond, slope], "rise")], "risen")
    return graph.node("Min", [risen, end], "calibrated")


def answers(graph: Graph, model: Additive) -> None:
    """contributions -> raw and probability, in float64 inside."""
    wide = graph.node("Cast", ["contributions"], "wide", to=TensorProto.DOUBLE)
    axis = graph.constant("axis", np.array(1, dtype=np.int64))
    running = graph.node("CumSum", [wide, axis], "running")
    last = graph.constant("last", np.array(len(model.terms) - 1, dtype=np.int64))
    total = graph.node("Gather", [running, last], "total", axis=1)
    logit = graph.node("Add", [total, graph.constant("bias", np.float64(model.bias))], "logit")
    graph.node("Cast", [graph.node("Sigmoid", [logit], "raw_wide")], "raw", to=TensorProto.FLOAT)
    line = calibrated_by_line if isinstance(model.calibration, Platt) else calibrated_by_knots
    graph.node("Cast", [graph.node("Sigmoid", [line(graph, model.calibration, logit)], "probability_wide")],
               "probability", to=TensorProto.FLOAT)


def to_onnx(model: Additive, about: dict) -> bytes:
    """The graph's bytes; `about` goes into its metadata."""
    graph = Graph()
    if all(isinstance(term, Linear) for term in model.terms):
        linear_terms(graph, model.terms)
    elif all(isinstance(term, Binned) for term in model.terms):
        binned_terms(graph, model.terms)
    else:
        raise TypeError("terms are all linear or all binned")
    answers(graph, model)
    count = len(model.terms)
    value = helper.make_tensor_value_info
    made = helper.make_model(
        helper.make_graph(
            graph.nodes, "additive", [value("features", TensorProto.FLOAT, ["batch", count])],
            [value("probability", TensorProto.FLOAT, ["batch"]), value("raw", TensorProto.FLOAT, ["batch"]),
             value("contributions", TensorProto.FLOAT, ["batch", count])], graph.constants),
        producer_name="intentd", producer_version="1", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    helper.set_model_props(made, {name: str(about[name]) for name in sorted(about)})
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)
