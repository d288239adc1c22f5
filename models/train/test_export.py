"""Tests of the training side: `.venv/bin/python -m unittest` in this folder."""

import dataclasses
import json
import os
import pathlib
import tempfile
import tomllib
import unittest
import xml.etree.ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

import calibration
import export
import fit
import folder
import rows
import train
from folder import onnxruntime
from additive import Additive, Binned, Linear

FEATURES = ["views_7d", "views_30d", "days_since_login", "rate_gap", "equity", "never_seen"]
DAY = 86_400_000


def synthetic(count: int = 6000, seed: int = 7) -> dict:
    """Columns of a training set whose labels follow from two features and one missing value."""
    draw = np.random.default_rng(seed)
    features = np.column_stack([
        draw.poisson(2.0, count), draw.poisson(9.0, count), draw.exponential(20.0, count),
        draw.normal(0.0, 0.01, count), draw.lognormal(12.0, 0.6, count), np.full(count, np.nan)]).astype(np.float32)
    features[draw.random(count) < 0.2, 3] = np.nan
    features[draw.random(count) < 0.1, 4] = np.nan
    z = -2.0 + 0.6 * features[:, 0] - 0.04 * features[:, 2] + np.where(np.isnan(features[:, 3]), 1.0, 0.0)
    label = draw.random(count) < 1.0 / (1.0 + np.exp(-z))
    split = np.where(np.arange(count) < count * 0.6, "train", np.where(np.arange(count) < count * 0.8, "valid", "test"))
    made = {"user": [f"user-{at % 977}" for at in range(count)], "model": ["SELL"] * count,
            "as_of": (1_700_000_000_123 + np.arange(count) * (DAY // 24)).astype(np.int64),
            "revision": np.arange(count, dtype=np.int64), "label": label.astype(np.int8),
            "weight": np.where(label, 1.0, 2.0).astype(np.float32), "split": split.tolist(),
            "event_id": [f"e-{at}" for at in range(count)]}
    return made | {name: features[:, at] for at, name in enumerate(FEATURES)}


def write_set(root: pathlib.Path, columns: dict, **changes) -> pathlib.Path:
    """Two files, as a daemon that writes in parts would."""
    root.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        parquet.write_table(part, root / f"part-{number}.parquet", compression="zstd")
    manifest = {"schema": 1, "model": "SELL", "catalogVersion": "0123456789abcdef", "features": FEATURES,
                "horizonDays": 90.0, "store": "s-1", "source": "synthetic, for a test"} | changes
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


class Terms(unittest.TestCase):
    def test_a_cut_in_float64_parts_float32_values_exactly(self):
        draw = np.random.default_rng(3)
        cuts = np.sort(draw.normal(size=40))
        values = np.arange(41, dtype=np.float32)
        term = Binned.of(cuts, values, -1.0)
        near = cuts.astype(np.float32)
        x = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])
        expected = np.searchsorted(cuts, x.astype(np.float64), side="right")
        np.testing.assert_array_equal(term.contribution(x), expected.astype(np.float64))

    def test_cuts_that_float32_cannot_part_become_one(self):
        term = Binned.of([1.0 + 1e-12, 1.0 + 2e-12, 2.0], [10, 20, 30, 40], 0.0)
        np.testing.assert_array_equal(term.contribution(np.float32([1.0, 1.5, 2.0])), [10, 30, 40])
        self.assertEqual(len(term.cuts), 2)

    def test_equal_neighbours_need_no_cut(self):
        term = Binned.of([1, 2, 3], [5, 5, 6, 6], 0.0)
        np.testing.assert_array_equal(term.cuts, np.float32([2]))

    def test_a_line_ends_at_its_edges(self):
        line = Linear(*map(np.float32, (0, 10, 5, 2, -3)))
        np.testing.assert_array_equal(line.contribution(np.float32([-1e30, 0, 7, 1e30, np.nan])), [-10, -10, 4, 10, -3])


class Parity(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as root:
            self.set = rows.read(write_set(pathlib.Path(root), synthetic()))
        self.train, self.valid = self.set.splits["train"], self.set.splits["valid"]

    def held(self, model: Additive) -> float:
        return folder.parity(model, export.to_onnx(model, {}), self.train.features)

    def test_logistic(self):
        model = fit.logistic(self.train)
        curve = calibration.platt(model.logit(self.valid.features), self.valid.label.astype(float), self.valid.weight)
        self.assertEqual(curve.kind, "platt")
        self.assertLessEqual(self.held(dataclasses.replace(model, calibration=curve)), 1e-6)

    def test_isotonic_knots_are_exact_to_the_last_bit(self):
        model = fit.logistic(self.train)
        curve = calibration.isotonic(model.logit(self.valid.features), self.valid.label.astype(float), self.valid.weight)
        model = dataclasses.replace(model, calibration=curve)
        self.assertGreater(len(curve.at), 3)
        self.assertLessEqual(self.held(model), 1e-6)
        # One feature from below the first knot to beyond the last: the answer rises all the way and never falls.
        rows_ = np.repeat(np.nanmedian(self.train.features, axis=0, keepdims=True), 4000, axis=0).astype(np.float32)
        rows_[:, 0] = np.linspace(-10, 25, 4000, dtype=np.float32)
        rows_[:, 5] = 0
        session = onnxruntime.InferenceSession(export.to_onnx(model, {}), providers=["CPUExecutionProvider"])
        said = session.run(["probability"], {"features": rows_})[0]
        self.assertTrue(np.all(np.diff(said) >= 0) and said[-1] > said[0])
        np.testing.assert_allclose(said, model.probability(rows_).astype(np.float32), rtol=0, atol=6e-8)

    def test_two_knots_have_no_inner_one(self):
        model = fit.logistic(self.train)
        curve = calibration.Isotonic(np.array([-2.0, 1.0]), np.array([-3.0, 0.5]))
        self.assertLessEqual(self.held(dataclasses.replace(model, calibration=curve)), 1e-6)

    def test_a_turned_curve_is_refused(self):
        model = dataclasses.replace(fit.logistic(self.train), calibration=calibration.Isotonic(
            np.array([-2.0, 0.0, 1.0]), np.array([-3.0, 0.0, 0.5])))
        other = dataclasses.replace(model, calibration=calibration.Isotonic(
            np.array([-2.0, 0.0, 1.0]), np.array([-3.0, 0.001, 0.5])))
        with self.assertRaises(folder.NotParity):
            folder.parity(model, export.to_onnx(other, {}), self.train.features)

    def test_boosted_and_the_library_that_fitted_it(self):
        from interpret.glassbox import ExplainableBoostingClassifier
        model = fit.boosted(self.train, FEATURES)
        self.assertLessEqual(self.held(model), 1e-6)
        again = ExplainableBoostingClassifier(
            feature_names=FEATURES, feature_types=["continuous"] * 6, interactions=0, max_bins=64, outer_bags=4,
            max_rounds=4000, random_state=fit.SEED, n_jobs=1)
        again.fit(self.train.features, self.train.label, sample_weight=self.train.weight, bags=fit.bags(self.train.user))
        difference = np.abs(again.predict_proba(self.valid.features)[:, 1] - model.raw(self.valid.features))
        self.assertLess(difference.max(), 1e-6)

    def test_a_graph_of_another_model_is_refused(self):
        model = fit.logistic(self.train)
        terms = list(model.terms)
        terms[0] = Linear(terms[0].low, terms[0].high, terms[0].mean, terms[0].weight * np.float32(1.01), terms[0].missing)
        other = Additive("logistic", model.bias, tuple(terms))
        with self.assertRaises(folder.NotParity):
            folder.parity(model, export.to_onnx(other, {}), self.train.features)

    def test_a_missing_value_has_its_own_weight(self):
        unknown = np.full((1, 6), np.nan, dtype=np.float32)
        for model in (fit.logistic(self.train), fit.boosted(self.train, FEATURES)):
            contributions = model.contributions(unknown)[0]
            np.testing.assert_array_equal(contributions, [float(term.missing) for term in model.terms])
            self.assertGreater(contributions[3], 0.3)


class Folder(unittest.TestCase):
    def test_whole_and_the_same_twice(self):
        with tempfile.TemporaryDirectory() as root:
            root = pathlib.Path(root)
            dataset = write_set(root / "set", synthetic())
            first = train.train(dataset, train.Chosen(root / "a", "1", threads=1))
            second = train.train(dataset, train.Chosen(root / "b", "1", threads=2))
            self.assertEqual(sorted(os.listdir(first)), [
                "CARD.md", "features.svg", "golden.jsonl", "lift.svg", "manifest.toml", "model.onnx", "reliability.svg"])
            for name in os.listdir(first):
                self.assertEqual((first / name).read_bytes(), (second / name).read_bytes(), name)
            manifest = tomllib.loads((first / "manifest.toml").read_text())
            self.assertEqual(manifest["features"], FEATURES)
            self.assertGreater(manifest["metrics"]["auc"], 0.7)
            self.assertLess(manifest["metrics"]["calibration_error"], 0.05)
            card = (first / "CARD.md").read_text()
            self.assertIn("within 90 days", card)
            self.assertIn("source: synthetic, for a test\n", card)
            for picture in ("reliability.svg", "lift.svg", "features.svg"):
                self.assertIn(f"({picture})", card)
                self.assertTrue(xml.etree.ElementTree.parse(first / picture).getroot().tag.endswith("svg"))
            self.assertEqual([feature["name"] for feature in manifest["drift"]["feature"]], FEATURES)
            self.assertEqual(len(manifest["drift"]["score"]["shares"]), 10)
            golden = [json.loads(line) for line in (first / "golden.jsonl").read_text().splitlines()]
            self.assertGreaterEqual(len(golden), 50)
            self.assertTrue(any(None in row["features"] for row in golden))

    def test_what_does_not_fit_is_refused(self):
        columns = synthetic(600)
        cases = [
            ({"features": FEATURES[::-1]}, columns, "has the columns"),
            ({"model": "BUY"}, columns, "expected BUY"),
            ({}, columns | {"label": np.zeros(600, dtype=np.int8)}, "both labels"),
            ({}, columns | {"split": ["later"] * 600}, "splits"),
            ({}, columns | {"equity": np.full(600, np.inf, dtype=np.float32)}, "infinite"),
        ]
        for changes, changed, message in cases:
            with self.subTest(message), tempfile.TemporaryDirectory() as root:
                write_set(pathlib.Path(root), changed, **changes)
                with self.assertRaisesRegex(rows.Unfit, message):
                    rows.read(pathlib.Path(root))


if __name__ == "__main__":
    unittest.main()
