"""Reads the truth that `intentd simulate --truth FILE` wrote: the true probability of each row of a training set.

Law: nothing is estimated here. src/simulate/truth.rs says what a line means; at a moment t with horizon H

    P(conversion in (t, t + H]) = 1 - exp(-sum over pieces of hazardPerDay * days of [from, to) within (t, t + H])

over the pieces of the user and model that are not void at t (`convertedAt` at or before t makes them so).

Used by train.py, which holds probabilities against it.
"""

import pathlib
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.compute as compute
import pyarrow.json as json

DAY_MS = 86_400_000.0
_TIME = pyarrow.timestamp("ms", tz="UTC")
_SCHEMA = pyarrow.schema([("userId", pyarrow.string()), ("model", pyarrow.string()), ("from", _TIME), ("to", _TIME),
                          ("hazardPerDay", pyarrow.float64()), ("convertedAt", _TIME)])
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pieces:
    """The pieces of one model, ordered by user; times in milliseconds since the epoch."""

    user: np.ndarray
    start: np.ndarray
    end: np.ndarray
    hazard_per_day: np.ndarray
    converted_at: np.ndarray


def read(path: pathlib.Path, model: str) -> Pieces:
    """The pieces of a model from a .jsonl or .jsonl.zst file."""
    path = pathlib.Path(path)
    compression = "zstd" if path.suffix == ".zst" else None
    with pyarrow.input_stream(str(path), compression=compression) as stream:
        table = json.read_json(stream, parse_options=json.ParseOptions(explicit_schema=_SCHEMA))
    table = table.filter(compute.equal(table["model"], model))

    def times(name: str) -> np.ndarray:
        return compute.fill_null(table[name].cast(pyarrow.int64()), _NEVER).to_numpy()

    user = np.array(table["userId"].to_pylist(), dtype=str)
    order = np.argsort(user, kind="stable")
    return Pieces(user[order], times("from")[order], times("to")[order],
                  table["hazardPerDay"].to_numpy()[order], times("convertedAt")[order])


def probability(path: pathlib.Path, users, as_of_ms, horizon_days: float, model: str) -> np.ndarray:
    """P(conversion within the horizon) for each row; windows must end within the log."""
    return of(read(path, model), users, as_of_ms, horizon_days)


def of(pieces: Pieces, users, as_of_ms, horizon_days: float) -> np.ndarray:
    """As `probability`, from pieces already read."""
    users, as_of = np.asarray(users).astype(str), np.asarray(as_of_ms, dtype=np.int64)
    if len(users) == 0 or len(pieces.user) == 0:
        return np.zeros(len(users))
    first = np.searchsorted(pieces.user, users, side="left")
    count = np.searchsorted(pieces.user, users, side="right") - first
    # A line per row and piece of its user.
    row = np.repeat(np.arange(len(users)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    piece = first[row] + within
    begin, finish = as_of[row], as_of[row] + int(round(horizon_days * DAY_MS))
    days = np.minimum(pieces.end[piece], finish) - np.maximum(pieces.start[piece], begin)
    counts = (days > 0) & (begin < pieces.converted_at[piece])
    hazard = np.where(counts, days / DAY_MS * pieces.hazard_per_day[piece], 0.0)
    return -np.expm1(-np.bincount(row, weights=hazard, minlength=len(users)))
