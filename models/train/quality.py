"""How good probabilities are, against what happened. The same measures as `GET /alerts/models/performance`.

Used by train.py and card.py.
"""

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

BINS = 10


def reliability(label, probability, weight) -> list:
    """Per tenth of the probability scale: rows, mean probability, share of positives."""
    at = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = []
    for bin_ in range(BINS):
        inside = at == bin_
        total = weight[inside].sum()
        if total > 0:
            table.append({"bin": bin_, "rows": int(inside.sum()),
                          "mean_probability": float((probability[inside] * weight[inside]).sum() / total),
                          "positive_share": float((label[inside] * weight[inside]).sum() / total),
                          "share_of_rows": float(total / weight.sum())})
    return table


def lift_at_top_decile(label, probability, weight) -> float:
    """How many times the base rate the tenth with the highest probabilities has; equal ones keep the rows' order."""
    order = np.argsort(-probability, kind="stable")
    top = np.cumsum(weight[order]) <= weight.sum() / 10
    if not top.any():
        return float("nan")
    top = order[top]
    base = (label * weight).sum() / weight.sum()
    return float((label[top] * weight[top]).sum() / weight[top].sum() / base)


def measure(label, probability, weight) -> dict:
    """All measures; needs both labels."""
    label = label.astype(np.float64)
    table = reliability(label, probability, weight)
    return {
        "rows": int(len(label)),
        "positives": int(label.sum()),
        "base_rate": float((label * weight).sum() / weight.sum()),
        "auc": float(roc_auc_score(label, probability, sample_weight=weight)),
        "average_precision": float(average_precision_score(label, probability, sample_weight=weight)),
        "brier": float(brier_score_loss(label, probability, sample_weight=weight)),
        "log_loss": float(log_loss(label, np.clip(probability, 1e-15, 1 - 1e-15), sample_weight=weight)),
        "calibration_error": float(sum(row["share_of_rows"] * abs(row["mean_probability"] - row["positive_share"])
                                       for row in table)),
        "lift_top_decile": lift_at_top_decile(label, probability, weight),
        "reliability": table,
    }
