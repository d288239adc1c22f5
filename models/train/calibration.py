"""Calibration: from a raw logit to one whose sigmoid can be believed. Curves, how they are fitted, and which one is taken.

Law: every curve rises, so that calibration never turns the order of two users; what is fitted here, on the validation
slice, is what export.py writes as nodes, number by number.

Used by additive.py (holds a curve), export.py (writes it), train.py (fits it).
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import isotonic_regression
from threadpoolctl import threadpool_limits

# With fewer positives or negatives than this, two parameters would be fitted to noise.
PLATT_MIN = 20
# The same for a curve with a height per block.
ISOTONIC_MIN = 200
# Rows in a block, at least: below, a block's share of positives is noise.
BLOCK_ROWS_MIN = 50
# Blocks, at most: each is a knot that the graph compares with, and no reliability picture has more to say.
BLOCKS_MAX = 32
FOLDS = 5


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow."""
    z = np.asarray(z, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


@dataclass(frozen=True)
class Platt:
    """A line on the logit; slope 1 and intercept 0 change nothing."""

    slope: float = 1.0
    intercept: float = 0.0

    @property
    def kind(self) -> str:
        """`platt`, or `none` for the line that changes nothing."""
        return "none" if self.slope == 1.0 and self.intercept == 0.0 else "platt"

    def logit(self, z: np.ndarray) -> np.ndarray:
        """The calibrated logit."""
        return self.slope * z + self.intercept

    def table(self) -> dict:
        """For the manifest."""
        return {"kind": self.kind, "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Isotonic:
    """Straight between knots (`at` -> `to`, both logits, both ascending), flat beyond the first and the last."""

    at: np.ndarray
    to: np.ndarray
    kind: str = field(default="isotonic", init=False)

    def __post_init__(self):
        assert len(self.at) == len(self.to) >= 2, "two knots at least"
        assert np.all(np.diff(self.at) > 0) and np.all(np.diff(self.to) > 0), "knots ascend"

    @property
    def slopes(self) -> np.ndarray:
        """Of each piece."""
        return np.diff(self.to) / np.diff(self.at)

    def logit(self, z: np.ndarray) -> np.ndarray:
        """The calibrated logit, step by step as the graph computes it."""
        held = np.minimum(np.maximum(z, self.at[0]), self.at[-1])
        piece = (held[:, None] >= self.at[None, 1:-1]).sum(axis=1)
        line = self.to[:-1][piece] + (held - self.at[:-1][piece]) * self.slopes[piece]
        # Rounding may lift a piece's end over the next one's start: held down, the curve never falls.
        return np.minimum(line, self.to[1:][piece])

    def table(self) -> dict:
        """For the manifest."""
        return {"kind": self.kind, "at": [float(value) for value in self.at], "to": [float(value) for value in self.to]}


def log_loss(z: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """Of logits, by weight."""
    return float(np.sum(weight * (np.logaddexp(0.0, z) - label * z)) / weight.sum())


def platt(z: np.ndarray, label: np.ndarray, weight: np.ndarray):
    """The line with the least log loss; nothing if that falls or is no line."""
    def loss(at):
        calibrated = at[0] * z + at[1]
        gradient = weight * (sigmoid(calibrated) - label)
        return log_loss(calibrated, label, weight), np.array([gradient @ z, gradient.sum()]) / weight.sum()

    with threadpool_limits(1):
        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8})
    slope, intercept = (float(part) for part in found.x)
    return Platt(slope, intercept) if np.isfinite(found.x).all() and slope > 0 else None


def isotonic(z: np.ndarray, label: np.ndarray, weight: np.ndarray):
    """Blocks of neighbouring logits, pooled until their shares of positives rise; nothing if one block is left.

    A block's share is drawn towards the base rate by one row's weight: it is never 0 or 1, which no logit could say.
    """
    order = np.argsort(z, kind="stable")
    z, label, weight = z[order], label[order], weight[order] / weight.mean()
    blocks = int(np.clip(len(z) // BLOCK_ROWS_MIN, 2, BLOCKS_MAX))
    starts = np.unique(np.searchsorted(z, z[np.linspace(0, len(z), blocks, endpoint=False).astype(int)], side="left"))
    rows, positives = np.add.reduceat(weight, starts), np.add.reduceat(weight * label, starts)
    sums = np.add.reduceat(weight * z, starts)
    drawn = rows + 1.0
    shares = isotonic_regression((positives + label @ weight / weight.sum()) / drawn, sample_weight=drawn)
    # Rounding may part a pooled block by a last bit.
    pooled = np.flatnonzero(np.append(True, np.diff(shares) > 1e-9))
    at = np.add.reduceat(sums, pooled) / np.add.reduceat(rows, pooled)
    share = shares[pooled]
    return Isotonic(at, np.log(share / (1.0 - share))) if len(pooled) >= 2 else None


METHODS = {"platt": (platt, PLATT_MIN), "isotonic": (isotonic, ISOTONIC_MIN)}


def folds(users) -> np.ndarray:
    """A fold per row; all rows of a user are in one."""
    return np.array([zlib.crc32(str(user).encode()) % FOLDS for user in users])


def choose(z: np.ndarray, label: np.ndarray, weight: np.ndarray, users) -> tuple:
    """The curve of the method with the least cross-validated log loss, and those losses by method.

    Rows are parted by user, since rows of one user are alike. The line that changes nothing takes part, as the simplest one.
    """
    label = label.astype(np.float64)
    fewer = min(label.sum(), len(label) - label.sum())
    fold = folds(users)
    losses = {"none": log_loss(z, label, weight)} if len(label) else {}
    for name, (method, least) in METHODS.items():
        if fewer < least or len(np.unique(fold)) < FOLDS:
            continue
        calibrated = np.full(len(z), np.nan)
        for number in range(FOLDS):
            out = fold == number
            curve = method(z[~out], label[~out], weight[~out])
            if curve is not None:
                calibrated[out] = curve.logit(z[out])
        if not np.isnan(calibrated).any():
            losses[name] = log_loss(calibrated, label, weight)
    best = min(losses, key=losses.get, default="none")
    curve = METHODS[best][0](z, label, weight) if best != "none" else None
    return (Platt() if curve is None else curve), losses
