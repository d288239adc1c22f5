"""CARD.md: what a model is, from what it learned, how good it is and where it ends. For people.

Used by train.py.
"""

from additive import Additive


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _horizon(manifest: dict) -> str:
    days = manifest.get("horizonDays")
    return "the horizon" if days is None else f"{days:g} days"


def _quality(measures: dict) -> str:
    rows = [("ROC AUC", "auc", "{:.4f}"), ("average precision", "average_precision", "{:.4f}"),
            ("Brier score", "brier", "{:.5f}"), ("log loss", "log_loss", "{:.5f}"),
            ("expected calibration error", "calibration_error", "{:.5f}"),
            ("lift at the top decile", "lift_top_decile", "{:.2f}")]
    names = list(measures)
    text = f"| measure | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n"
    for title, key, form in rows:
        text += f"| {title} | {' | '.join(form.format(measures[name][key]) for name in names)} |\n"
    return text


def _reliability(table: list) -> str:
    text = "| said | rows | mean said | happened |\n|---|---:|---:|---:|\n"
    for row in table:
        text += (f"| {row['bin'] / 10:.1f} to {(row['bin'] + 1) / 10:.1f} | {row['rows']} "
                 f"| {_percent(row['mean_probability'])} | {_percent(row['positive_share'])} |\n")
    return text


def _strongest(model: Additive, features: list, mean_absolute, count: int = 12) -> str:
    order = sorted(range(len(features)), key=lambda at: (-mean_absolute[at], features[at]))[:count]
    text = "| feature | mean absolute contribution | largest possible |\n|---|---:|---:|\n"
    for at in order:
        text += f"| `{features[at]}` | {mean_absolute[at]:.4f} | {model.terms[at].strongest():.4f} |\n"
    return text


def write(model: Additive, name: str, version: str, manifest: dict, training: dict, measures: dict, compared: dict,
          features: list, mean_absolute) -> str:
    """The whole card. `measures`: split -> quality; `compared`: kind -> log loss on the validation split."""
    shape = {"logistic": "logistic regression, a line per feature",
             "boosted": "explainable boosting, a step function per feature"}[model.kind]
    identity = model.slope == 1.0 and model.intercept == 0.0
    calibration = ("none: too few positives in the validation split, so probability = raw" if identity else
                   f"logit = {model.slope:.4f} × raw logit + {model.intercept:.4f} (Platt, fitted on the validation split)")
    best = measures.get("test") or measures.get("valid") or measures["train"]
    lines = [
        f"# {name} {version}\n",
        f"Probability that the user converts within {_horizon(manifest)}: {shape}, additive: the "
        "contributions of the features and a bias add up to the raw logit, exactly.\n",
        "## What it learned from\n",
        f"- source: {manifest.get('source') or 'a log'}, rows {manifest.get('rowsHash', 'not hashed')}\n- moments: {training['rows']} for training "
        f"({training['positives']} positive, base rate {_percent(training['base_rate'])}), {training['rows_valid']} for "
        f"validation, {training['rows_test']} for the test\n- from {training['from']} to {training['to']}\n"
        f"- catalogue: {manifest['catalogVersion']}\n- features: {len(features)}, from the daemon's own fold\n",
        "## How good it is\n", _quality(measures),
        f"\nThe test split was used for nothing else.\nCalibration: {calibration}.\n",
        "Chosen by log loss on the validation split: " + ", ".join(
            f"{kind} {loss:.5f}" for kind, loss in sorted(compared.items())) + ".\n",
        "## Said against happened\n", _reliability(best["reliability"]),
        "\n## What weighs most\n", _strongest(model, features, mean_absolute),
        "\n## Limits\n",
        "- It is as good as its training moments are like today's users; watch drift and calibration.\n"
        "- Features act alone: what only two of them say together, it does not see.\n"
        "- A contribution says what moved this score, not what causes a conversion.\n"
        "- A value outside of the training range counts as the nearest one inside; an unknown value has a weight of its "
        "own.\n",
    ]
    return "\n".join(lines)
