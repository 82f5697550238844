"""How high healthy brains score: quantiles that go with weights, and the threshold for a false-positive rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.anomaly.findings import threshold_for

RATES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
"""False-positive rates of a table, descending."""


def healthy_table(scores: np.ndarray) -> list[float]:
    """The thresholds that shares :data:`RATES` of healthy ``scores``, any shape, lie above.

    In the configuration of weights such tables stand as ``healthy[sequence][score]``. Raises ``ValueError`` without
    finite scores.
    """
    return [threshold_for(scores, rate) for rate in RATES]


def threshold_at(table: Sequence[float], rate: float) -> float:
    """The threshold for ``rate`` from a :func:`healthy_table`, linear in the logarithm of the rate, held at its ends.

    Raises ``ValueError`` for another length, or a rate that is not between 0 and 1.
    """
    if len(table) != len(RATES):
        raise ValueError(f"a table has {len(RATES)} thresholds, not {len(table)}")
    if not 0 < rate < 1:
        raise ValueError(f"a false-positive rate lies between 0 and 1, not at {rate}")
    return float(np.interp(-np.log(rate), -np.log(RATES), np.asarray(table, np.float64)))


def table_of(config: Mapping[str, Any], sequence: str, score: str) -> list[float] | None:
    """The table in the configuration of weights; that of an unknown sequence where there is none for this one."""
    tables = config.get("healthy")
    if not isinstance(tables, Mapping):
        return None
    for name in (sequence, "unknown"):
        found = tables.get(name)
        if isinstance(found, Mapping) and isinstance(found.get(score), list) and len(found[score]) == len(RATES):
            return [float(value) for value in found[score]]
    return None
