#!/usr/bin/env python3
"""Writes the small models that the daemon's tests load: LINES/1, LINES/2 and STEPS/1, with parameters from a seed.

Nothing is trained: they test the way of a model, not its worth.
Usage: fixture.py [--out tests/fixtures/models] [--features 5] [--bins 6]
"""

import argparse
import pathlib

import numpy as np

import folder
from additive import Additive, Binned, Linear
from calibration import Platt

SEED = 20260103


def lines(draw, count: int) -> tuple:
    return tuple(Linear(*map(np.float32, (-40.0, 60.0, draw.normal(5, 2), draw.normal(0, 0.1), draw.normal(0, 0.5))))
                 for _ in range(count))


def steps(draw, count: int, bins: int) -> tuple:
    return tuple(Binned.of(np.sort(draw.normal(5, 15, bins - 1)), draw.normal(0, 0.5, bins), draw.normal(0, 0.5))
                 for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/models")
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--bins", type=int, default=6)
    chosen = parser.parse_args()
    draw = np.random.default_rng(SEED)
    rows = draw.normal(5, 20, (200, chosen.features)).astype(np.float32)
    rows[draw.random(rows.shape) < 0.1] = np.nan
    names = [f"f{at}" for at in range(chosen.features)]
    made = [
        ("LINES", "1", Additive("logistic", np.float32(-1.5), lines(draw, chosen.features), Platt(0.9, -0.2))),
        ("LINES", "2", Additive("logistic", np.float32(-1.0), lines(draw, chosen.features), Platt(1.1, 0.1))),
        ("STEPS", "1", Additive("boosted", np.float32(-0.5), steps(draw, chosen.features, chosen.bins))),
    ]
    training = {"from": folder.utc(0), "to": folder.utc(0), "rows": 0, "positives": 0, "base_rate": 0.1}
    for name, version, model in made:
        about = folder.About(name, version, "0123456789abcdef", names, training, {"split": "none"})
        card = f"# {name} {version}\n\nA fixture for tests; not trained.\n"
        print(folder.write(chosen.out, model, about, rows, {"CARD.md": card}))


if __name__ == "__main__":
    main()
