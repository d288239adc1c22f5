#!/usr/bin/env python3
"""Prints what trained models reach on their test slice, and fails when a goal is missed.

Law: only a measure of the test slice reaches a goal; one that was not taken misses it.

Called by make.sh and by tests/real.
"""

import argparse
import pathlib
import sys
import tomllib

COLUMNS = [("rows", "rows", "{:d}"), ("base_rate", "base", "{:.3f}"), ("auc", "AUC", "{:.4f}"),
           ("average_precision", "AP", "{:.4f}"), ("calibration_error", "calibration error", "{:.4f}"),
           ("truth_error", "against truth", "{:.4f}"), ("precision", "precision", "{:.3f}"),
           ("alert_rate", "alert rate", "{:.3f}"), ("users_alerted_share", "users alerted", "{:.3f}")]
# Goal, measure, whether more is better.
GOALS = [("calibration", "calibration_error", False), ("truth", "truth_error", False), ("precision", "precision", True),
         ("auc", "auc", True)]


def missed(metrics: dict, given: argparse.Namespace) -> list:
    """The goals that are not reached, in words."""
    found = []
    for goal, key, more in GOALS:
        wanted = getattr(given, goal)
        if wanted is None:
            continue
        value = metrics.get(key) if metrics["split"] == "test" else None
        if value is None:
            found.append(f"{key} was not measured on the test slice")
        elif (value < wanted) if more else (value > wanted):
            found.append(f"{key} {value:.4f}, wanted {'at least' if more else 'at most'} {wanted:g}")
    return found


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="folders of models: <MODEL>")
    parser.add_argument("--version", default="1", help="the version in each of them (default: 1)")
    for goal, key, more in GOALS:
        parser.add_argument(f"--{goal}", type=float, help=f"{'least' if more else 'greatest'} {key}")
    given = parser.parse_args(arguments)
    lines, failures = [["model", *(title for _, title, _ in COLUMNS)]], []
    for folder in given.folders:
        manifest = tomllib.loads((folder / given.version / "manifest.toml").read_text())
        name, metrics = f"{manifest['model']} {manifest['version']}", manifest["metrics"]
        lines.append([name, *(form.format(metrics[key]) if key in metrics else "-" for key, _, form in COLUMNS)])
        failures += [f"missed: {name}: {reason}" for reason in missed(metrics, given)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths))))
    print("\n".join(failures) if failures else "every goal reached")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
