#!/usr/bin/env python3
"""Prints what the cases of tests/real reached, and fails when a goal of goals.toml is missed.

Law: a case that ran has a measure for each of its goals; one that was skipped, since its log is not there, has none.
Called by tests/real/run.sh with the folder of the cases' results.
"""

import json
import pathlib
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
HEAD = ["model", "rows", "base", "AUC", "AP", "calibration error", "alert rate", "precision"]


def model_line(name: str, goals: dict, metrics: dict) -> tuple:
    """A line of the table, and the goals that are missed."""
    line = [name, str(metrics["rows"]), f"{metrics['base_rate']:.3f}", f"{metrics['auc']:.4f}",
            f"{metrics['average_precision']:.4f}", f"{metrics['calibration_error']:.4f}", f"{metrics['alert_rate']:.3f}",
            f"{metrics['precision']:.3f}" if "precision" in metrics else "-"]
    missed = [] if metrics["split"] == "test" else [f"{name}: no test slice"]
    if metrics["auc"] < goals["auc"]:
        missed.append(f"{name}: AUC {metrics['auc']:.4f}, wanted at least {goals['auc']}")
    if metrics["calibration_error"] > goals["calibration_error"]:
        missed.append(f"{name}: calibration error {metrics['calibration_error']:.4f}, wanted at most "
                      f"{goals['calibration_error']}")
    return line, missed


def case_line(folder: pathlib.Path) -> tuple:
    """What the replay of a case said, in a sentence, and what is missed."""
    file = folder / "backtest.json"
    if not file.is_file():
        return f"{folder.name}: no replay", [f"{folder.name}: the replay gave no report"]
    report = json.loads(file.read_text())
    features, equal = report["features"], report["decisions"]["isEqual"]
    text = (f"{folder.name}: {features['alerts']} alerts; skew: {features['differing']} differing features over "
            f"{features['scores']} recorded scores; replay {'gives' if equal else 'does not give'} the same decisions")
    missed = [f"{folder.name}: {features['differing']} features differ"] if features["differing"] else []
    if features["alerts"] == 0:
        missed.append(f"{folder.name}: no alert at all")
    return text, missed + ([] if equal else [f"{folder.name}: the replay decides otherwise"])


def main(folder: pathlib.Path) -> int:
    lines, sentences, missed = [HEAD], [], []
    goals = tomllib.loads((HERE / "goals.toml").read_text())
    ran = {path.name for path in folder.iterdir() if path.is_dir()}
    for name, wanted in goals.items():
        if wanted["case"] not in ran:
            continue
        manifest = tomllib.loads((folder / wanted["case"] / "models" / name / "1/manifest.toml").read_text())
        line, failures = model_line(name, wanted, manifest["metrics"])
        lines.append(line)
        missed += failures
    for case in sorted(ran):
        sentence, failures = case_line(folder / case)
        sentences.append(sentence)
        missed += failures
    if not ran:
        print("nothing measured")
        return 0
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    print("\n== on the test slices")
    for line in lines:
        print("  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths))))
    print("\n".join(sentences))
    print("\n".join(f"missed: {reason}" for reason in missed) if missed else "every goal reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
