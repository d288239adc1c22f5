"""Writes a model folder: model.onnx, golden.jsonl, manifest.toml, CARD.md and its pictures. The daemon serves from nothing
else.

Law: nothing is written before the graph, run by ONNX Runtime, has been held to the reference on 20,000 rows with unknown
values; and the same model and rows give the same bytes (no clock, no machine's name).

Used by train.py and fixture.py.
"""

import datetime
import hashlib
import json
import os
import pathlib
import shutil
from dataclasses import dataclass, field

import numpy as np

from additive import Additive
from export import to_onnx

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime  # noqa: E402  (after the variable above: it is read when the library loads)

PARITY_ROWS = 20_000
# Of a probability: outputs are float32, so 6e-8 is the least that can be asked.
PARITY_MAX = 1e-6
# What the daemon allows against golden.jsonl, so that another processor's last bit is not a fault.
TOLERANCE = 1e-5
GOLDEN_ROWS = 64
SEED = 20260102


class NotParity(Exception):
    """The graph does not answer what the model says."""


@dataclass(frozen=True)
class About:
    """What a model folder says of its model beside the graph."""

    model: str
    version: str
    catalog_version: str
    features: list
    # Keys of [training], [calibration] (beside the curve), [metrics] and [drift] in the manifest.
    training: dict
    metrics: dict
    calibration: dict = field(default_factory=dict)
    drift: dict = field(default_factory=dict)


def utc(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    at = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def probe(rows: np.ndarray, count: int) -> np.ndarray:
    """Rows for parity: real ones with values swapped between rows, a tenth unknown, and some far outside."""
    draw = np.random.default_rng(SEED)
    width = rows.shape[1]
    taken = np.column_stack([rows[draw.integers(0, len(rows), count), at] for at in range(width)])
    taken[draw.random(taken.shape) < 0.1] = np.nan
    far = draw.random(taken.shape) < 0.01
    taken[far] = draw.choice(np.array([-1e30, -1.0, 0.0, 1.0, 1e9, 1e30], dtype=np.float32), int(far.sum()))
    return taken.astype(np.float32)


def parity(model: Additive, graph: bytes, rows: np.ndarray) -> float:
    """The largest difference of a probability between graph and reference; raises when it or another is too large."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    taken = probe(rows, PARITY_ROWS)
    probability, raw, contributions = session.run(["probability", "raw", "contributions"], {"features": taken})
    expected = model.contributions(taken)
    worst = {
        "probability": float(np.max(np.abs(probability - model.probability(taken)))),
        "raw": float(np.max(np.abs(raw - model.raw(taken)))),
        "contributions": float(np.max(np.abs(contributions - expected) / (1.0 + np.abs(expected)))),
    }
    over = {name: value for name, value in worst.items() if not value <= PARITY_MAX}
    if over:
        raise NotParity(f"graph and model differ by {over}, at most {PARITY_MAX}")
    alone = session.run(["probability"], {"features": taken[:1]})[0]
    if alone.tobytes() != probability[:1].tobytes():
        raise NotParity("a row alone is answered differently than in a batch")
    return worst["probability"]


def golden_rows(rows: np.ndarray) -> np.ndarray:
    """Evenly taken real rows, then what breaks exporters: all unknown, each a little, zeros, and far outside."""
    width = rows.shape[1]
    real = rows[np.linspace(0, len(rows) - 1, GOLDEN_ROWS - 14).astype(int)]
    holed = real[:10].copy()
    for at, row in enumerate(holed):
        row[at::10] = np.nan
    odd = np.array([np.full(width, value) for value in (np.nan, 0.0, -1e30, 1e30)], dtype=np.float32)
    return np.concatenate([real, holed, odd]).astype(np.float32)


def number(value) -> str:
    """The shortest text that reads back as the same float32; unknown is null."""
    value = np.float32(value)
    return "null" if np.isnan(value) else str(value)


def golden(model: Additive, rows: np.ndarray) -> str:
    """golden.jsonl, from the reference and not from the graph."""
    taken = golden_rows(rows)
    columns = zip(taken, model.probability(taken), model.raw(taken), model.contributions(taken))
    lines = []
    for features, probability, raw, contributions in columns:
        lines.append('{"features": [%s], "probability": %s, "raw": %s, "contributions": [%s]}\n' % (
            ", ".join(map(number, features)), number(probability), number(raw), ", ".join(map(number, contributions))))
    return "".join(lines)


def toml_value(value) -> str:
    """The few kinds of value that a manifest has; float32 as the shortest text that reads back as the same."""
    if isinstance(value, (str, bool, int)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        items = [toml_value(item) for item in value]
        if not any(isinstance(item, str) for item in value):
            return "[" + ", ".join(items) + "]"
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    text = str(value) if isinstance(value, np.float32) else repr(float(value))
    return text if any(mark in text for mark in ".en") else text + ".0"


def table(name: str, keys: dict) -> str:
    """One table of a manifest, with its heading."""
    return f"\n{name}\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in keys.items())


def manifest(model: Additive, about: About, graph: bytes, golden_text: str, difference: float) -> str:
    """manifest.toml."""
    top = {
        "schema": 1, "model": about.model, "version": about.version, "kind": model.kind,
        "catalog_version": about.catalog_version, "features": list(about.features), "bias": float(model.bias),
        "tolerance": TOLERANCE, "model_sha256": hashlib.sha256(graph).hexdigest(),
        "golden_sha256": hashlib.sha256(golden_text.encode()).hexdigest(),
    }
    text = "# Written by models/train; checked by the daemon before it serves this model.\n"
    text += "".join(f"{key} = {toml_value(value)}\n" for key, value in top.items())
    text += table("[training]", about.training)
    text += table("[calibration]", model.calibration.table() | about.calibration)
    text += table("[parity]", {"rows": PARITY_ROWS, "difference_max": float(f"{difference:.1e}")})
    text += table("[metrics]", about.metrics)
    if about.drift:
        text += "\n# What training saw, for drift: a bin holds its lower edge, and shares count by weight."
        text += table("[drift.score]", about.drift["score"])
        text += "".join(table("[[drift.feature]]", feature) for feature in about.drift["feature"])
    return text


def write(root: pathlib.Path, model: Additive, about: About, rows: np.ndarray, texts: dict) -> pathlib.Path:
    """Writes `root/<model>/<version>`, with `texts` by file name; an existing folder of that version is replaced whole."""
    graph = to_onnx(model, {"model": about.model, "version": about.version, "catalog_version": about.catalog_version,
                            "bias": number(model.bias)})
    difference = parity(model, graph, rows)
    golden_text = golden(model, rows)
    target = root / about.model / about.version
    # A leading dot: the daemon never takes a half-written folder for a version.
    partial = target.with_name(f".{about.version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "model.onnx").write_bytes(graph)
    (partial / "golden.jsonl").write_text(golden_text)
    (partial / "manifest.toml").write_text(manifest(model, about, graph, golden_text, difference))
    for name, text in texts.items():
        (partial / name).write_text(text)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    return target
