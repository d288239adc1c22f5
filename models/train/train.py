#!/usr/bin/env python3
"""Trains one model from a set that `intentd dataset` wrote, and writes its folder.

Law: the same set and arguments give the same bytes.
"""

import argparse
import dataclasses
import math
import pathlib
import sys
import tomllib

import numpy as np

import calibration
import card
import drift
import fit
import folder
import plots
import quality
import rows

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What the command line says."""

    out: pathlib.Path
    version: str
    kind: str = "auto"
    threads: int = 1
    threshold: float = 0.5
    truth: pathlib.Path | None = None
    live: pathlib.Path | None = None


def additive(training_set: rows.TrainingSet, chosen: Chosen) -> list:
    """The models asked for, uncalibrated."""
    train = training_set.splits["train"]
    made = []
    if chosen.kind in ("logistic", "auto"):
        made.append(fit.logistic(train))
    if chosen.kind in ("boosted", "auto"):
        made.append(fit.boosted(train, training_set.features, threads=chosen.threads))
    return made


def curve_of(logit, valid: rows.Rows) -> tuple:
    """A model's calibration on the validation slice, and the cross-validated losses it was chosen by."""
    return calibration.choose(logit(valid.features), valid.label, valid.weight, valid.user)


def measure(probability, split: rows.Rows):
    """Quality on a split, or nothing where it has one label only. `probability` takes features."""
    if not 0 < split.positives < len(split):
        return None
    return quality.measure(split.label, probability(split.features), split.weight)


def compare(training_set: rows.TrainingSet, probabilities: dict) -> dict:
    """Kind -> measures on the validation slice (the training one where that cannot be measured) and on the test slice."""
    chooser = training_set.splits["valid"]
    if not 0 < chooser.positives < len(chooser):
        chooser = training_set.splits["train"]
    return {kind: {"chooser": measure(probability, chooser), "test": measure(probability, training_set.splits["test"])}
            for kind, probability in probabilities.items()}


def describe(training_set: rows.TrainingSet) -> dict:
    """[training] of the manifest."""
    train, test = training_set.splits["train"], training_set.splits["test"]
    last = test if len(test) else train
    return {
        "from": folder.utc(int(train.as_of.min())), "to": folder.utc(int(train.as_of.max())), "rows": len(train),
        "positives": train.positives, "base_rate": rounded(float((train.label * train.weight).sum() / train.weight.sum())),
        "rows_valid": len(training_set.splits["valid"]), "rows_test": len(test), "test_to": folder.utc(int(last.as_of.max())),
    }


def against_truth(model, split: rows.Rows, manifest: dict, file: pathlib.Path | None):
    """The calibration error against the simulation's true probabilities; nothing where they are not known."""
    if file is None:
        return None
    import truth
    known = truth.probability(file, split.user, split.as_of, manifest["horizonDays"], manifest["model"])
    return quality.truth_error(np.asarray(known, dtype=np.float64), model.probability(split.features), split.weight)


def rounded(value):
    """Six digits say all there is, and another processor's last bit makes no other file."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def metrics(found: dict) -> dict:
    """[metrics] of the manifest: numbers of the slice that judges."""
    flat = {key: value for key, value in found["measures"][found["judged"]].items() if not isinstance(value, list)}
    flat |= found["alerts"]
    if found["truth_error"] is not None:
        flat["truth_error"] = found["truth_error"]
    return {"split": found["judged"]} | {
        key: rounded(value) for key, value in flat.items() if not (isinstance(value, float) and math.isnan(value))}


def fitted(training_set: rows.TrainingSet, chosen: Chosen) -> tuple:
    """The best additive model, calibrated, and what was compared on the way."""
    valid = training_set.splits["valid"]
    models, losses = {}, {}
    for model in additive(training_set, chosen):
        curve, losses[model.kind] = curve_of(model.logit, valid)
        models[model.kind] = dataclasses.replace(model, calibration=curve)
    trees = fit.trees(training_set.splits["train"])
    curve, _ = curve_of(trees, valid)
    probabilities = {kind: model.probability for kind, model in models.items()}
    probabilities["boosted trees, for comparison"] = lambda features: calibration.sigmoid(curve.logit(trees(features)))
    compared = compare(training_set, probabilities)
    best = min(models, key=lambda kind: compared[kind]["chooser"]["log_loss"])
    return models[best], {"compared": compared, "losses": losses[best]}


def train(dataset: pathlib.Path, chosen: Chosen) -> pathlib.Path:
    """Reads, fits, chooses by log loss on the validation slice, measures, writes."""
    training_set = rows.read(dataset)
    manifest, features, splits = training_set.manifest, training_set.features, training_set.splits
    model, found = fitted(training_set, chosen)
    found["measures"] = {name: made for name in rows.SPLITS if (made := measure(model.probability, splits[name]))}
    found["judged"] = next(name for name in ("test", "valid", "train") if name in found["measures"])
    judged = splits[found["judged"]]
    probability = model.probability(judged.features)
    found["alerts"] = quality.alerts(judged.label, probability, judged.weight, judged.user, chosen.threshold)
    found["truth_error"] = against_truth(model, judged, manifest, chosen.truth)
    lived = rows.read(chosen.live).splits["train"] if chosen.live else splits["train"]
    training, known = describe(training_set), splits["train"]
    mean_absolute = np.average(np.abs(model.contributions(known.features)), axis=0, weights=known.weight)
    best = found["measures"][found["judged"]]
    texts = {
        "CARD.md": card.write(model, f"{manifest['model']} {chosen.version}", manifest, training, found, features,
                              mean_absolute),
        "reliability.svg": plots.reliability(best["reliability"]), "lift.svg": plots.lift(best["lift"]),
        "features.svg": plots.features(features, mean_absolute)}
    about = folder.About(
        manifest["model"], chosen.version, manifest["catalogVersion"], features, training, metrics(found),
        {f"loss_{name}": rounded(loss) for name, loss in found["losses"].items()},
        drift.training(model.probability(lived.features), lived, features))
    return folder.write(chosen.out, model, about, judged.features, texts)


def threshold_of(catalog: pathlib.Path, dataset: pathlib.Path) -> float:
    """The model's threshold in the catalogue."""
    model = rows.read_manifest(dataset)["model"]
    policy = tomllib.loads(catalog.read_text()).get("model", {}).get(model)
    if policy is None:
        raise rows.Unfit(f"{catalog} has no model {model}")
    return float(policy.get("threshold", 0.5))


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=pathlib.Path, help="folder with manifest.json and Parquet files of one model")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "models",
                        help="where <MODEL>/<version>/ goes (default: models/)")
    parser.add_argument("--version", default="1", help="the version's name; the highest one serves (default: 1)")
    parser.add_argument("--kind", choices=("auto", "logistic", "boosted"), default="auto",
                        help="auto: both, the better one by log loss on the validation slice")
    parser.add_argument("--threads", type=int, default=2, help="for boosting; the result is the same")
    parser.add_argument("--catalog", type=pathlib.Path, default=ROOT / "config/catalog.toml",
                        help="where the model's threshold stands (default: config/catalog.toml)")
    parser.add_argument("--truth", type=pathlib.Path, help="what `intentd simulate --truth` wrote: the true probabilities")
    parser.add_argument("--live", type=pathlib.Path,
                        help="a set with every moment that is scored, for drift's bins, where DATASET holds only some")
    given = parser.parse_args(arguments)
    try:
        written = train(given.dataset, Chosen(given.out, given.version, given.kind, given.threads,
                                              threshold_of(given.catalog, given.dataset), given.truth, given.live))
    except (rows.Unfit, folder.NotParity, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
