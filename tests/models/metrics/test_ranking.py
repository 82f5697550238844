"""Average precision, ROC area and best Dice against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.ranking import auroc, average_precision, best_dice


def test_by_hand() -> None:
    scores, truth = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], bool)
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    assert auroc(scores, truth) == pytest.approx(3 / 4)
    assert best_dice(scores, truth) == pytest.approx(4 / 5)


def test_a_perfect_order_and_one_that_knows_nothing() -> None:
    truth = np.arange(100) < 20
    assert average_precision(-np.arange(100), truth) == auroc(-np.arange(100), truth) == 1
    assert best_dice(-np.arange(100), truth) == 1
    assert average_precision(np.zeros(100), truth) == pytest.approx(0.2)
    assert auroc(np.zeros(100), truth) == pytest.approx(0.5)


def test_equal_scores_do_not_depend_on_their_order() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 5, 400), rng.random(400) < 0.3
    mixed = rng.permutation(400)
    for measure in (average_precision, auroc, best_dice):
        assert measure(scores, truth) == pytest.approx(measure(scores[mixed], truth[mixed]))


def test_refused() -> None:
    with pytest.raises(ValueError, match="sought"):
        average_precision(np.ones(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match="one shape"):
        average_precision(np.ones(3), np.ones(4, bool))
    with pytest.raises(ValueError, match="nothing to tell"):
        auroc(np.ones(3), np.ones(3, bool))
