"""The table of a batch as CSV, and its means with bootstrap intervals.

Intervals: percentiles of 2000 means of files drawn with replacement (Efron 1979), seeded by the request. Differences
are paired: input and result of the same file are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backend.services.topology.batch import BatchRow, Mean, MeasureMeans

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2000
PERCENTILES = (2.5, 97.5)
MEASURES = {
    "dice": "Dice",
    "cldice": "clDice",
    "b0": "|Δβ₀|",
    "b1": "|Δβ₁|",
    "b2": "|Δβ₂|",
    "matching": "Betti matching error",
}
SMALLER_IS_BETTER = ("b0", "b1", "b2", "matching")


def measure_means(rows: Sequence[BatchRow], seed: int) -> tuple[MeasureMeans, ...]:
    """Means over the rows that have a truth; measures that no row has are left out."""
    import numpy as np

    found = []
    for name in MEASURES:
        pairs = np.array(
            [
                (getattr(row.errors_before, name), getattr(row.errors, name))
                for row in rows
                if row.errors is not None and row.errors_before is not None and getattr(row.errors, name) is not None
            ],
            np.float64,
        )
        if not len(pairs):
            continue
        drawn = np.random.default_rng(seed).integers(0, len(pairs), (DRAWS, len(pairs)))
        columns = (pairs[:, 0], pairs[:, 1], pairs[:, 1] - pairs[:, 0])
        before, after, difference = (_mean(values, drawn) for values in columns)
        found.append(MeasureMeans(name, len(pairs), before, after, difference))
    return tuple(found)


def _mean(values: np.ndarray, drawn: np.ndarray) -> Mean:
    import numpy as np

    if len(values) < 2:
        return Mean(float(values.mean()), None, None)
    low, high = np.percentile(values[drawn].mean(axis=1), PERCENTILES)
    return Mean(float(values.mean()), float(low), float(high))


def summary_columns(rows: Sequence[BatchRow]) -> tuple[str, ...]:
    """Titles of the summary's columns; those of the truth only where a file has one, β₂ only where one is a volume."""
    columns = ["file", "size", "content", "classes"]
    for name in _numbers(rows):
        columns += [f"{name} before", f"{name} after"]
    columns += ["places changed", "of these topological", "pixels changed", "Dice with input"]
    if _measured(rows):
        columns += [f"{MEASURES[name]} {when}" for name in _measures(rows) for when in ("before", "after")]
    return (*columns, "problem")


def summary_row(row: BatchRow, rows: Sequence[BatchRow]) -> tuple[object, ...]:
    """The cells of one file under the titles of :func:`summary_columns` for all ``rows``."""
    size = " × ".join(map(str, row.shape[::-1] if len(row.shape) == 2 else row.shape))
    told: list[object] = [row.number, size, row.content, row.classes or None]
    for name in _numbers(rows):
        told += [None if item is None else getattr(item, name) for item in (row.before, row.after)]
    done = bool(row.mask)
    told += [row.places, row.topological, row.changed] if done else [None] * 3
    told.append(row.dice)
    if _measured(rows):
        for name in _measures(rows):
            told += [None if item is None else getattr(item, name) for item in (row.errors_before, row.errors)]
    problem = row.problem
    told.append(" ".join(filter(None, (problem.what, problem.why, problem.what_to_do))) if problem else None)
    return tuple(told)


def _numbers(rows: Sequence[BatchRow]) -> tuple[str, ...]:
    solid = any(row.before is not None and row.before.b2 is not None for row in rows)
    return ("b0", "b1", "b2") if solid else ("b0", "b1")


def _measured(rows: Sequence[BatchRow]) -> bool:
    return any(row.errors is not None for row in rows)


def _measures(rows: Sequence[BatchRow]) -> tuple[str, ...]:
    numbers = _numbers(rows)
    return tuple(name for name in MEASURES if name in numbers or not name.startswith("b"))
