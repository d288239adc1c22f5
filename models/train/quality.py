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


def lift(label, probability, weight) -> list:
    """Per tenth of the weight, highest probabilities first: its share of positives, lift over the base rate, and the share
    of all positives found so far; equal probabilities keep the rows' order."""
    order = np.argsort(-probability, kind="stable")
    label, weight = label[order].astype(np.float64), weight[order]
    tenth = np.minimum((np.cumsum(weight) - weight / 2) / weight.sum() * BINS, BINS - 1).astype(int)
    positives = (label * weight).sum()
    base, found, table = positives / weight.sum(), 0.0, []
    for number in range(BINS):
        inside = tenth == number
        if not inside.any():
            continue
        here = (label * weight)[inside].sum()
        found += here
        share = here / weight[inside].sum()
        table.append({"tenth": number + 1, "positive_share": float(share), "lift": float(share / base),
                      "found": float(found / positives)})
    return table


def alerts(label, probability, weight, users, threshold: float) -> dict:
    """What alerting at a threshold would give. A user's first moment over it is the alert; later ones are the same alert.

    `precision` and `alert_rate` count moments by weight, the others the first moment per user.
    """
    over = probability >= np.float32(threshold)
    said = (weight * over).sum()
    first = np.unique(users[over], return_index=True)[1]
    first = np.flatnonzero(over)[first]
    return {
        "threshold": float(threshold),
        "precision": float((weight * over * label).sum() / said) if said > 0 else float("nan"),
        "recall": float((weight * over * label).sum() / (weight * label).sum()),
        "alert_rate": float(said / weight.sum()),
        "users_alerted": int(len(first)),
        "users_alerted_share": float(len(first) / len(np.unique(users))),
        "first_alert_precision": float(label[first].mean()) if len(first) else float("nan"),
    }


def truth_error(truth, probability, weight) -> float:
    """Like the calibration error, with the true probability in the place of what happened."""
    table = reliability(truth, probability, weight)
    return float(sum(row["share_of_rows"] * abs(row["mean_probability"] - row["positive_share"]) for row in table))


def measure(label, probability, weight) -> dict:
    """All measures; needs both labels."""
    label = label.astype(np.float64)
    table = reliability(label, probability, weight)
    tenths = lift(label, probability, weight)
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
        "lift_top_decile": tenths[0]["lift"],
        "reliability": table,
        "lift": tenths,
    }
