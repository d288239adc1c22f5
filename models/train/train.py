#!/usr/bin/env python3
"""Trains one model from a set that `intentd dataset` wrote, and writes its folder.

Law: the same set and arguments give the same bytes.
"""

import argparse
import math
import pathlib
import sys

import numpy as np

import card
import fit
import folder
import quality
import rows


def candidates(training_set: rows.TrainingSet, kind: str, threads: int) -> list:
    """The models asked for, calibrated."""
    train, valid = training_set.splits["train"], training_set.splits["valid"]
    made = []
    if kind in ("logistic", "auto"):
        made.append(fit.logistic(train))
    if kind in ("boosted", "auto"):
        made.append(fit.boosted(train, training_set.features, threads=threads))
    return [fit.calibrate(model, valid) for model in made]


def measure(model, split: rows.Rows):
    """Quality on a split, or nothing where it has one label only."""
    if not 0 < split.positives < len(split):
        return None
    return quality.measure(split.label, model.probability(split.features), split.weight)


def describe(training_set: rows.TrainingSet) -> dict:
    """[training] of the manifest."""
    train = training_set.splits["train"]
    return {
        "from": folder.utc(int(train.as_of.min())), "to": folder.utc(int(train.as_of.max())), "rows": len(train),
        "positives": train.positives, "base_rate": float((train.label * train.weight).sum() / train.weight.sum()),
        "rows_valid": len(training_set.splits["valid"]), "rows_test": len(training_set.splits["test"]),
    }


def train(dataset: pathlib.Path, out: pathlib.Path, version: str, kind: str, threads: int = 1) -> pathlib.Path:
    """Reads, fits, chooses by log loss on the validation split, writes."""
    training_set = rows.read(dataset)
    manifest, features = training_set.manifest, training_set.features
    made = candidates(training_set, kind, threads)
    chooser = "valid" if measure(made[0], training_set.splits["valid"]) else "train"
    compared = {model.kind: measure(model, training_set.splits[chooser])["log_loss"] for model in made}
    model = min(made, key=lambda candidate: compared[candidate.kind])
    measures = {name: found for name in rows.SPLITS if (found := measure(model, training_set.splits[name]))}
    judged = next(name for name in ("test", "valid", "train") if name in measures)
    metrics = {"split": judged} | {
        key: value for key, value in measures[judged].items()
        if key != "reliability" and not (isinstance(value, float) and math.isnan(value))}
    training = describe(training_set)
    known = training_set.splits["train"].features
    mean_absolute = np.abs(model.contributions(known)).mean(axis=0)
    text = card.write(model, manifest["model"], version, manifest, training, measures, compared, features, mean_absolute)
    about = folder.About(manifest["model"], version, manifest["catalogVersion"], features, training, metrics)
    golden_from = training_set.splits[judged].features
    return folder.write(out, model, about, golden_from, text)


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=pathlib.Path, help="folder with manifest.json and Parquet files of one model")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help="where <MODEL>/<version>/ goes (default: models/)")
    parser.add_argument("--version", default="1", help="the version's name; the highest one serves (default: 1)")
    parser.add_argument("--kind", choices=("auto", "logistic", "boosted"), default="auto",
                        help="auto: both, the better one by log loss on the validation split")
    parser.add_argument("--threads", type=int, default=2, help="for boosting; the result is the same")
    chosen = parser.parse_args(arguments)
    try:
        written = train(chosen.dataset, chosen.out, chosen.version, chosen.kind, chosen.threads)
    except (rows.Unfit, folder.NotParity, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
