"""Reads a training set that `intentd dataset` wrote: Parquet files and a manifest.json in one folder.

Law: nothing is computed from events here. Features come from the daemon's own fold, so that training sees what serving
sees; this only splits them into arrays and refuses what does not fit the manifest.

Used by train.py.
"""

import json
import pathlib
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as compute
import pyarrow.parquet as parquet

SPLITS = ("train", "valid", "test")
COLUMNS = ("user", "model", "as_of", "revision", "label", "weight", "split", "event_id")


class Unfit(Exception):
    """The training set cannot be used; says why."""


@dataclass(frozen=True)
class Rows:
    """One split: a row per moment."""

    user: np.ndarray
    features: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    as_of: np.ndarray

    def __len__(self):
        return len(self.label)

    @property
    def positives(self) -> int:
        return int(self.label.sum())


@dataclass(frozen=True)
class TrainingSet:
    """What the manifest says, and the rows by split."""

    manifest: dict
    features: list
    splits: dict


def read_manifest(folder: pathlib.Path) -> dict:
    """The manifest, with every key that training needs."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise Unfit(f"{path} does not exist")
    manifest = json.loads(path.read_text())
    missing = [key for key in ("model", "catalogVersion", "features") if key not in manifest]
    if missing:
        raise Unfit(f"{path} lacks {', '.join(missing)}")
    return manifest


def read_columns(files: list, names: list) -> dict:
    """The columns that training needs, of all files: COLUMNS in front, the features in the manifest's order at the end.

    Columns between them are the daemon's notes on a row; of these only `immature` matters: such rows are left out.
    """
    tables = []
    for file in files:
        table = parquet.read_table(file, partitioning=None)
        front = table.column_names[: len(table.column_names) - len(names)]
        if table.column_names[len(front):] != names or not set(COLUMNS) <= set(front):
            raise Unfit(f"{file} has the columns {table.column_names}, expected {list(COLUMNS) + names}")
        if "immature" in front:
            table = table.filter(compute.invert(compute.cast(table["immature"], "bool")))
        tables.append(table.select(list(COLUMNS) + names))
    return {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in list(COLUMNS) + names}


def read(folder: pathlib.Path) -> TrainingSet:
    """Reads and checks the whole set, rows ordered by (as_of, user, revision) whatever the order of the files."""
    manifest = read_manifest(folder)
    names = list(manifest["features"])
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise Unfit(f"no Parquet file in {folder}")
    column = read_columns(files, names)
    if set(column["model"]) - {manifest["model"]}:
        raise Unfit(f"rows of {sorted(set(column['model']))}, expected {manifest['model']}")
    if set(column["label"]) - {0, 1}:
        raise Unfit(f"labels {sorted(set(column['label']))}, expected 0 and 1")
    order = np.lexsort((column["revision"], column["user"].astype(str), column["as_of"]))
    features = np.column_stack([column[name].astype(np.float32) for name in names])[order]
    if np.isinf(features).any():
        raise Unfit("a feature is infinite")
    split = column["split"][order].astype(str)
    if set(split) - set(SPLITS):
        raise Unfit(f"splits {sorted(set(split))}, expected {SPLITS}")
    splits = {}
    for name in SPLITS:
        at = split == name
        splits[name] = Rows(column["user"][order][at].astype(str), features[at], column["label"][order][at].astype(np.int8),
                            column["weight"][order][at].astype(np.float64), column["as_of"][order][at].astype(np.int64))
    train = splits["train"]
    if not 0 < train.positives < len(train):
        raise Unfit(f"the training split has {train.positives} positives in {len(train)} rows: both labels are needed")
    return TrainingSet(manifest, names, splits)
