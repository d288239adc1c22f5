"""An additive model: a bias and one term per feature. The only thing that is exported.

Law: `contributions` here is the reference that the ONNX graph is held to; parameters are float32 from the start, so that
the graph and the reference compute with the same numbers.

Used by fit.py (makes one), export.py (writes it as a graph), folder.py (parity, golden rows).
"""

from dataclasses import dataclass

import numpy as np

from calibration import Isotonic, Platt, sigmoid


@dataclass(frozen=True)
class Linear:
    """clip(x, low, high) - mean, times weight; `missing` where x is NaN.

    Outside of what training saw, the term stays at its edge: a line knows nothing out there.
    """

    low: np.float32
    high: np.float32
    mean: np.float32
    weight: np.float32
    missing: np.float32

    def contribution(self, x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64)
        held = np.minimum(np.maximum(x, float(self.low)), float(self.high))
        return np.where(np.isnan(x), float(self.missing), (held - float(self.mean)) * float(self.weight))

    def strongest(self) -> float:
        """The largest contribution that the term can make, as an absolute value."""
        edges = [(float(edge) - float(self.mean)) * float(self.weight) for edge in (self.low, self.high)]
        return max(abs(edges[0]), abs(edges[1]), abs(float(self.missing)))


@dataclass(frozen=True)
class Binned:
    """values[i] where cuts[i-1] <= x < cuts[i]; `missing` where x is NaN."""

    cuts: np.ndarray
    values: np.ndarray
    missing: np.float32

    def __post_init__(self):
        assert self.cuts.dtype == np.float32 and self.values.dtype == np.float32
        assert len(self.values) == len(self.cuts) + 1, "one more value than cuts"
        assert np.all(self.cuts[1:] > self.cuts[:-1]), "cuts ascend"

    @staticmethod
    def of(cuts, values, missing) -> "Binned":
        """From float64 cuts: x < cut holds for a float32 x exactly when x < (the cut rounded up to float32)."""
        cuts = np.asarray(cuts, dtype=np.float64)
        values = np.asarray(values, dtype=np.float32)
        rounded = cuts.astype(np.float32)
        low = rounded.astype(np.float64) < cuts
        rounded[low] = np.nextafter(rounded[low], np.float32(np.inf))
        # Two cuts that become one leave a bin that no float32 falls into; equal neighbours need no cut between them.
        keep = np.ones(len(rounded), dtype=bool)
        keep[1:] = rounded[1:] > rounded[:-1]
        rounded, values = rounded[keep], np.append(values[:-1][keep], values[-1:])
        differ = values[:-1] != values[1:]
        return Binned(rounded[differ], np.append(values[:-1][differ], values[-1:]), np.float32(missing))

    def contribution(self, x: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self.cuts, x, side="right")
        at = np.minimum(at, len(self.cuts))
        return np.where(np.isnan(x), float(self.missing), self.values.astype(np.float64)[at])

    def strongest(self) -> float:
        """The largest contribution that the term can make, as an absolute value."""
        return float(max(np.max(np.abs(self.values)), abs(self.missing)))


@dataclass(frozen=True)
class Additive:
    """raw = sigmoid(bias + sum of terms); probability = sigmoid(calibration of that sum)."""

    kind: str
    bias: np.float32
    terms: tuple
    calibration: Platt | Isotonic = Platt()

    def contributions(self, rows: np.ndarray) -> np.ndarray:
        """Per row and feature, in float64."""
        assert rows.dtype == np.float32 and rows.shape[1] == len(self.terms)
        return np.column_stack([term.contribution(rows[:, at]) for at, term in enumerate(self.terms)])

    def logit(self, rows: np.ndarray) -> np.ndarray:
        """The raw logit, in float64."""
        return float(self.bias) + self.contributions(rows).sum(axis=1)

    def raw(self, rows: np.ndarray) -> np.ndarray:
        """The probability before calibration."""
        return sigmoid(self.logit(rows))

    def probability(self, rows: np.ndarray) -> np.ndarray:
        """The calibrated probability."""
        return sigmoid(self.calibration.logit(self.logit(rows)))
