"""Tests of the reader of the truth, against what a few pieces say by hand."""

import json
import math
import pathlib
import tempfile
import time
import unittest

import numpy as np
import pyarrow

import truth

DAY = 86_400_000
START = 1_760_000_000_000


def at(day: float) -> str:
    """A day after START, as the simulation writes it."""
    moment = np.datetime64(START + int(day * DAY), "ms")
    return f"{np.datetime_as_string(moment, unit='ms')}Z"


def line(user: str, start: float, end: float, hazard: float, model: str = "SELL", converted: float | None = None) -> str:
    piece = {"userId": user, "model": model, "from": at(start), "to": at(end), "hazardPerDay": hazard}
    if converted is not None:
        piece["convertedAt"] = at(converted)
    return json.dumps(piece) + "\n"


LINES = [
    line("user-2", 0, 100, 0.001),
    line("user-10", 0, 100, 0.002, converted=25),
    line("user-10", 20, 30, 0.1, converted=25),
    line("user-2", 40, 50, 0.05),
    line("user-2", 0, 100, 9.0, model="BUY"),
]
# user, day, hazard summed over the next 10 days
CASES = [
    ("user-2", 0, 0.01),
    ("user-2", 35, 0.01 + 0.25),
    ("user-2", 42, 0.01 + 0.4),
    ("user-2", 50, 0.01),
    ("user-10", 5, 0.02),
    ("user-10", 15, 0.02 + 0.5),
    # Before the conversion everything counts, as if it were not known; from then on nothing.
    ("user-10", 24.5, 0.02 + 0.55),
    ("user-10", 25, 0.0),
    ("user-3", 5, 0.0),
]


def ask(path: pathlib.Path, cases) -> np.ndarray:
    users = [user for user, _, _ in cases]
    return truth.probability(path, users, [START + int(day * DAY) for _, day, _ in cases], 10.0, "SELL")


class Truth(unittest.TestCase):
    def test_probabilities_by_hand_plain_and_compressed(self):
        with tempfile.TemporaryDirectory() as folder:
            plain, small = pathlib.Path(folder, "truth.jsonl"), pathlib.Path(folder, "truth.jsonl.zst")
            plain.write_text("".join(LINES))
            with pyarrow.output_stream(str(small), compression="zstd") as out:
                out.write(plain.read_bytes())
            for path in (plain, small):
                for (user, day, hazard), found in zip(CASES, ask(path, CASES)):
                    self.assertAlmostEqual(found, -math.expm1(-hazard), 12, f"{path.name}: {user} at {day}")
            # The order of rows is the caller's.
            np.testing.assert_array_equal(ask(plain, CASES[::-1]), ask(plain, CASES)[::-1])

    def test_nobody_converts_without_pieces(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "truth.jsonl")
            path.write_text(LINES[-1])
            np.testing.assert_array_equal(ask(path, CASES), np.zeros(len(CASES)))

    def test_a_hundred_thousand_rows_take_a_moment(self):
        rng = np.random.default_rng(1)
        user = np.sort(np.char.add("user-", rng.integers(0, 60_000, 400_000).astype(str)))
        start = START + rng.integers(0, 500 * DAY, len(user))
        pieces = truth.Pieces(user, start, start + 14 * DAY, np.full(len(user), 0.01), np.full(len(user), 2**62))
        began = time.process_time()
        found = truth.of(pieces, user[:100_000], np.full(100_000, START + 250 * DAY), 90.0)
        self.assertLess(time.process_time() - began, 5.0)
        self.assertTrue(((found >= 0) & (found < 1)).all() and found.std() > 0)


if __name__ == "__main__":
    unittest.main()
