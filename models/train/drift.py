"""How scores and features were distributed in training: what the daemon compares live ones with (PSI).

Law: a bin holds its lower edge (edges[i-1] <= x < edges[i]); shares count by weight, so that sampled negatives weigh what
they stand for. Features without a known value have one bin.

Used by train.py; read by src/scoring/manifest.rs.
"""

import numpy as np

SCORE_EDGES = [at / 10 for at in range(1, 10)]
DECILES = np.arange(0.1, 0.95, 0.1)
# Digits of a share: a PSI does not see more, and another processor's last bit is no new file.
DIGITS = 6


def shares(values: np.ndarray, edges, weight: np.ndarray) -> list:
    """The share of the weight in each bin, one more than edges."""
    at = np.searchsorted(np.asarray(edges), values, side="right")
    found = np.bincount(at, weights=weight, minlength=len(edges) + 1)
    return [round(float(share), DIGITS) for share in found / found.sum()]


def feature(name: str, values: np.ndarray, weight: np.ndarray) -> dict:
    """One feature's bins at the deciles of its known values; an edge with nothing below it parts nothing."""
    unknown = np.isnan(values)
    missing = round(float(weight[unknown].sum() / weight.sum()), DIGITS)
    known = values[~unknown]
    if len(known) == 0:
        return {"name": name, "edges": [], "shares": [1.0], "missing": missing}
    # An observed value, not one between two: counts stay counts.
    edges = np.unique(np.quantile(known, DECILES, method="inverted_cdf"))
    edges = edges[edges > known.min()]
    return {"name": name, "edges": list(edges), "shares": shares(known, edges, weight[~unknown]), "missing": missing}


def training(probability: np.ndarray, rows, names: list) -> dict:
    """[drift] of the manifest, from the training rows."""
    return {
        "score": {"edges": SCORE_EDGES, "shares": shares(probability.astype(np.float32), np.float32(SCORE_EDGES), rows.weight)},
        "feature": [feature(name, rows.features[:, at], rows.weight) for at, name in enumerate(names)],
    }
