"""CARD.md: what a model is, from what it learned, how good it is and where it ends. For people.

Used by train.py.
"""

from additive import Additive

SHAPES = {"logistic": "logistic regression, a line per feature", "boosted": "explainable boosting, a step function per feature"}
MEASURES = [("ROC AUC", "auc", "{:.4f}"), ("average precision", "average_precision", "{:.4f}"),
            ("Brier score", "brier", "{:.5f}"), ("log loss", "log_loss", "{:.5f}"),
            ("expected calibration error", "calibration_error", "{:.5f}"),
            ("lift at the top decile", "lift_top_decile", "{:.2f}")]


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def horizon(manifest: dict) -> str:
    days = manifest.get("horizonDays")
    return "the horizon" if days is None else f"{days:g} days"


def table(heads: list, rows: list) -> str:
    """A Markdown table, numbers to the right of the first column."""
    text = f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}\n"
    return text + "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)


def learned_from(manifest: dict, training: dict, features: list) -> str:
    return (
        f"- source: {manifest.get('source') or 'a log'}\n- rows: {manifest.get('rowsHash', 'not hashed')}\n"
        f"- moments: {training['rows']} for training ({training['positives']} positive, base rate "
        f"{percent(training['base_rate'])}), {training['rows_valid']} for validation, {training['rows_test']} for the test; "
        f"counts by weight where the set says so\n"
        f"- training from {training['from']} to {training['to']}; test until {training['test_to']}\n"
        f"- catalogue: {manifest['catalogVersion']}\n- features: {len(features)}, from the daemon's own fold\n")


def quality(measures: dict) -> str:
    rows = [[title] + [form.format(found[key]) for found in measures.values()] for title, key, form in MEASURES]
    rows.insert(0, ["base rate"] + [percent(found["base_rate"]) for found in measures.values()])
    return table(["measure", *measures], rows)


def calibration(model: Additive, losses: dict) -> str:
    curve = model.calibration
    kind = {"none": "none, so probability = raw", "platt": "Platt's line on the logit",
            "isotonic": "isotonic, a rising curve on the logit"}[curve.kind]
    text = f"Calibration: {kind}, fitted on the validation slice"
    if len(losses) > 1:
        text += "; cross-validated log loss there: " + ", ".join(f"{name} {loss:.5f}" for name, loss in losses.items())
    return text + ".\n"


def compared(table_of: dict, chosen: str) -> str:
    """`table_of`: kind -> its measures on the validation slice, and on the test slice where there is one."""
    rows = []
    for kind, found in table_of.items():
        test = found.get("test")
        rows.append([f"**{kind}**" if kind == chosen else kind, f"{found['chooser']['log_loss']:.5f}",
                     f"{found['chooser']['auc']:.4f}", f"{test['log_loss']:.5f}" if test else "", f"{test['auc']:.4f}" if test else ""])
    return table(["model, calibrated", "log loss, validation", "AUC, validation", "log loss, test", "AUC, test"], rows)


def alerting(alerts: dict) -> str:
    return (
        f"At the default threshold of {alerts['threshold']:g} on the test slice: precision {percent(alerts['precision'])}, "
        f"recall {percent(alerts['recall'])}, alert rate {percent(alerts['alert_rate'])} of the moments; "
        f"{alerts['users_alerted']} users would have had an alert ({percent(alerts['users_alerted_share'])} of the users with "
        f"a moment there), and {percent(alerts['first_alert_precision'])} of these converted after the first.\n")


def reliability(rows: list) -> str:
    return table(["said", "rows", "mean said", "happened"], [
        [f"{row['bin'] / 10:.1f} to {(row['bin'] + 1) / 10:.1f}", row["rows"], percent(row["mean_probability"]),
         percent(row["positive_share"])] for row in rows])


def lift(rows: list) -> str:
    return table(["tenth", "happened", "lift", "found so far"], [
        [row["tenth"], percent(row["positive_share"]), f"{row['lift']:.2f}", percent(row["found"])] for row in rows])


def strongest(model: Additive, features: list, mean_absolute, count: int = 12) -> str:
    order = sorted(range(len(features)), key=lambda at: (-mean_absolute[at], features[at]))[:count]
    return table(["feature", "mean absolute contribution", "largest possible"], [
        [f"`{features[at]}`", f"{mean_absolute[at]:.4f}", f"{model.terms[at].strongest():.4f}"] for at in order])


def limits(manifest: dict) -> str:
    text = (
        "- It is as good as its training moments are like today's users; watch drift and calibration.\n"
        "- Features act alone: what only two of them say together, it does not see. The boosted trees above do see it; the "
        "difference is what that would be worth.\n"
        "- A contribution says what moved this score, not what causes a conversion.\n"
        "- A value outside of the training range counts as the nearest one inside; an unknown value has a weight of its "
        "own.\n- Moments of one user are alike, so the measures are less sure than their number of rows suggests.\n")
    if "simulate" in (manifest.get("source") or ""):
        text += "- It learned from simulated people: train it again from a real log before anybody acts on it.\n"
    return text


def write(model: Additive, title: str, manifest: dict, training: dict, found: dict, features: list, mean_absolute) -> str:
    """The whole card. `found`: what train.py measured."""
    best = found["measures"][found["judged"]]
    truth = "" if found["truth_error"] is None else (
        f"Against the simulation's true probabilities on the test slice: calibration error {found['truth_error']:.5f}.\n")
    return "\n".join([
        f"# {title}\n",
        f"Probability that the user converts within {horizon(manifest)}: {SHAPES[model.kind]}, additive: the contributions of "
        "the features and a bias add up to the raw logit, exactly.\n",
        "## What it learned from\n", learned_from(manifest, training, features),
        "## How good it is\n", quality(found["measures"]), calibration(model, found["losses"]), truth,
        alerting(found["alerts"]),
        "Chosen by log loss on the validation slice, among the additive ones; nothing was fitted to or chosen by the test "
        "slice:\n", compared(found["compared"], model.kind),
        "## Said against happened\n", "![reliability](reliability.svg)\n", reliability(best["reliability"]),
        "## Lift\n", "![lift](lift.svg)\n", lift(best["lift"]),
        "## What weighs most\n", "![features](features.svg)\n", strongest(model, features, mean_absolute),
        "## Limits\n", limits(manifest)])
