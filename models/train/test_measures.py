"""Tests of what a card and a manifest say: calibration's choice, drift bins, lift, alerts, truth, goals."""

import contextlib
import io
import pathlib
import tempfile
import tomllib
import types
import unittest
from unittest import mock

import numpy as np

import calibration
import drift
import fit
import folder
import goals
import quality
import rows
import train
from calibration import Isotonic, Platt, sigmoid

DRAW = 20260105


def moments(count: int, truth, seed: int = DRAW):
    """Logits, labels drawn from `truth` of the logit, equal weights, and four moments a user."""
    draw = np.random.default_rng(seed)
    z = draw.normal(0.0, 2.0, count)
    label = (draw.random(count) < truth(z)).astype(np.float64)
    return z, label, np.ones(count), [f"user-{at // 4}" for at in range(count)]


class Calibration(unittest.TestCase):
    def test_a_line_is_found_and_taken(self):
        curve, losses = calibration.choose(*moments(8000, lambda z: sigmoid(0.5 * z - 1.0)))
        self.assertEqual(curve.kind, "platt", losses)
        self.assertAlmostEqual(curve.slope, 0.5, delta=0.05)
        self.assertAlmostEqual(curve.intercept, -1.0, delta=0.1)

    def test_what_no_line_says_is_left_to_the_isotonic_curve(self):
        z, label, weight, users = moments(20000, lambda z: 0.15 + 0.7 * sigmoid(4.0 * z))
        curve, losses = calibration.choose(z, label, weight, users)
        self.assertEqual(curve.kind, "isotonic")
        self.assertLess(losses["isotonic"], losses["platt"])
        probability = sigmoid(curve.logit(z))
        self.assertLess(quality.measure(label, probability, weight)["calibration_error"], 0.02)
        self.assertTrue(np.all(np.diff(curve.logit(np.sort(z))) >= 0))

    def test_noise_holds_the_weights_back_and_a_signal_frees_them(self):
        draw = np.random.default_rng(DRAW)
        features = draw.normal(size=(4000, 12)).astype(np.float32)
        users, columns = np.array([f"u{at}" for at in range(4000)]), fit.design_of(features).columns
        found = []
        for z in (np.zeros(4000), 2.0 * features[:, 0]):
            label = (draw.random(4000) < sigmoid(z)).astype(np.int8)
            found.append(fit.strength_of(columns, rows.Rows(users, features, label, np.ones(4000), np.zeros(4000))))
        self.assertEqual(found[0], fit.STRENGTHS[0])
        self.assertGreater(found[1], found[0])

    def test_shares_of_nothing_and_all_stay_inside(self):
        curve = calibration.isotonic(np.arange(800.0), (np.arange(800) >= 400).astype(float), np.ones(800))
        self.assertTrue(np.all(np.isfinite(curve.to)))

    def test_few_positives_change_nothing(self):
        z = np.linspace(-1, 1, 500)
        curve, losses = calibration.choose(z, (np.arange(500) < 19).astype(float), np.ones(500), range(500))
        self.assertEqual((curve, list(losses)), (Platt(), ["none"]))

    def test_weights_count_like_rows(self):
        z, label, _, users = moments(3000, lambda z: sigmoid(z - 0.5))
        weight = np.where(label > 0, 1.0, 3.0)
        again = np.concatenate([np.arange(3000), np.flatnonzero(label == 0), np.flatnonzero(label == 0)])
        one, other = calibration.platt(z, label, weight), calibration.platt(z[again], label[again], np.ones(len(again)))
        self.assertAlmostEqual(one.slope, other.slope, places=4)
        self.assertAlmostEqual(one.intercept, other.intercept, places=4)

    def test_a_users_rows_share_a_fold_and_a_side_of_every_bag(self):
        users = np.array([f"user-{at % 50}" for at in range(400)])
        for parted in (calibration.folds(users), *fit.bags(users).T):
            for user in np.unique(users):
                self.assertEqual(len(set(parted[users == user])), 1)


class Measures(unittest.TestCase):
    def test_lift_and_first_alerts(self):
        label = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=np.int8)
        probability = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
        users = np.array(list("abbcdefghi"))
        table = quality.lift(label, probability, np.ones(10))
        self.assertEqual((table[0]["lift"], table[1]["lift"], table[-1]["found"]), (5.0, 0.0, 1.0))
        found = quality.alerts(label, probability, np.ones(10), users, 0.5)
        self.assertEqual((found["precision"], found["alert_rate"], found["users_alerted"]), (0.5, 0.4, 3))
        self.assertAlmostEqual(found["first_alert_precision"], 1 / 3)
        heavy = quality.alerts(label, probability, np.where(label > 0, 1.0, 3.0), users, 0.5)
        self.assertEqual((heavy["precision"], heavy["recall"]), (2 / 8, 1.0))

    def test_truth_error_is_of_bins(self):
        said = np.array([0.12, 0.18, 0.95, 0.95])
        self.assertAlmostEqual(quality.truth_error(np.array([0.1, 0.1, 0.9, 0.9]), said, np.array([1, 1, 1, 1.0])), 0.05)
        self.assertAlmostEqual(quality.truth_error(np.array([0.1, 0.1, 0.9, 0.9]), said, np.array([3, 3, 1, 1.0])), 0.05)

    def test_truth_is_asked_for_each_row(self):
        asked = []
        fake = types.SimpleNamespace(probability=lambda *what: asked.append(what) or [0.2, 0.4])
        split = rows.Rows(np.array(["a", "b"]), np.zeros((2, 1), np.float32), np.zeros(2), np.ones(2), np.array([5, 6]))
        model = types.SimpleNamespace(probability=lambda features: np.array([0.25, 0.45]))
        with mock.patch.dict("sys.modules", truth=fake):
            error = train.against_truth(model, split, {"horizonDays": 90.0, "model": "SELL"}, pathlib.Path("t"))
        self.assertAlmostEqual(error, 0.05)
        path, users, as_of, days, name = asked[0]
        self.assertEqual((list(users), list(as_of), days, name), (["a", "b"], [5, 6], 90.0, "SELL"))


class Drift(unittest.TestCase):
    def test_a_bin_holds_its_lower_edge_and_weight_counts(self):
        values = np.float32([0, 0, 0, 0, 0, 0, 1, 1, 2, np.nan])
        found = drift.feature("views", values, np.array([1, 1, 1, 1, 1, 1, 2, 2, 4, 2.0]))
        self.assertEqual([float(edge) for edge in found["edges"]], [1.0, 2.0])
        self.assertEqual(found["shares"], [round(6 / 14, 6), round(4 / 14, 6), round(4 / 14, 6)])
        self.assertEqual(found["missing"], 0.125)

    def test_nothing_known_is_one_bin(self):
        found = drift.feature("never", np.full(3, np.nan, np.float32), np.ones(3))
        self.assertEqual((found["edges"], found["shares"], found["missing"]), ([], [1.0], 1.0))

    def test_it_reads_back(self):
        made = {"score": {"edges": [0.1], "shares": [0.25, 0.75]},
                "feature": [{"name": "a", "edges": [np.float32(0.3)], "shares": [1.0, 0.0], "missing": 0.0},
                            {"name": "b", "edges": [], "shares": [1.0], "missing": 1.0}]}
        text = folder.table("[drift.score]", made["score"])
        text += "".join(folder.table("[[drift.feature]]", feature) for feature in made["feature"])
        read = tomllib.loads(text)["drift"]
        self.assertEqual(read["score"], made["score"])
        self.assertEqual(read["feature"][0]["edges"], [0.3])
        self.assertEqual(read["feature"][1], made["feature"][1])


class Goals(unittest.TestCase):
    def check(self, *arguments: str, **metrics) -> tuple:
        with tempfile.TemporaryDirectory() as root:
            metrics = {"split": "test", "rows": 10, "base_rate": 0.1, "auc": 0.8, "average_precision": 0.5,
                       "calibration_error": 0.02, "truth_error": 0.03, "precision": 0.7, "alert_rate": 0.1} | metrics
            (pathlib.Path(root) / "1").mkdir()
            (pathlib.Path(root) / "1/manifest.toml").write_text(
                'model = "SELL"\nversion = "1"\n' + folder.table("[metrics]", metrics))
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = goals.main([root, *arguments])
            return code, out.getvalue()

    def test_reached_missed_and_never_measured(self):
        wanted = ("--calibration", "0.02", "--truth", "0.03", "--precision", "0.7", "--auc", "0.8")
        self.assertEqual(self.check(*wanted)[0], 0)
        for changed in ({"calibration_error": 0.0201}, {"truth_error": 0.031}, {"precision": 0.69}, {"auc": 0.79},
                        {"split": "valid"}):
            with self.subTest(changed):
                code, text = self.check(*wanted, **changed)
                self.assertEqual(code, 1)
                self.assertIn("missed: SELL 1", text)


if __name__ == "__main__":
    unittest.main()
