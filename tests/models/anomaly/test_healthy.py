"""Thresholds from healthy scores."""

from __future__ import annotations

import numpy as np
import pytest

from models.anomaly.healthy import RATES, healthy_table, table_of, threshold_at


def test_the_threshold_lets_through_the_share_that_was_asked_for() -> None:
    scores = np.random.default_rng(0).exponential(size=400_000)
    table = healthy_table(scores)
    assert table == sorted(table)
    for rate in (0.1, 0.03, 0.01, 0.004):
        assert (scores > threshold_at(table, rate)).mean() == pytest.approx(rate, rel=0.06)
    assert threshold_at(table, 1e-9) == table[-1]
    assert threshold_at(table, 0.9) == table[0]


def test_tables_are_found_by_sequence_and_score() -> None:
    flair, unknown = [float(k) for k in range(len(RATES))], [1.0] * len(RATES)
    config = {"healthy": {"flair": {"absolute": flair}, "unknown": {"absolute": unknown, "brighter": [0.0]}}}
    assert table_of(config, "flair", "absolute") == flair
    assert table_of(config, "t1", "absolute") == unknown
    assert table_of(config, "t1", "brighter") is None
    assert table_of({}, "t1", "absolute") is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        threshold_at([0.1, 0.2], 0.01)
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_at([0.1] * len(RATES), 1.0)
