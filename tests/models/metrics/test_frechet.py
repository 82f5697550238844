"""Fréchet distance against closed forms and against a matrix square root by another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from models.metrics.frechet import frechet_distance


def whitened(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Rows of exactly zero mean and unit covariance."""
    rows = rng.standard_normal((count, dimensions))
    rows -= rows.mean(0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T


def test_closed_forms_of_shift_and_scale():
    rows = whitened(np.random.default_rng(0), 200, 5)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + np.arange(5)) == pytest.approx(0 + 1 + 4 + 9 + 16)
    assert frechet_distance(rows, 3 * rows) == pytest.approx(5 * (3 - 1) ** 2)


def test_equals_the_general_matrix_root():
    rng = np.random.default_rng(1)
    first = rng.standard_normal((300, 8)) @ rng.standard_normal((8, 8))
    second = rng.standard_normal((250, 8)) @ rng.standard_normal((8, 8)) + 0.3
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    wanted = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(wanted, rel=1e-8)


def test_fewer_rows_than_dimensions_stay_real():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((6, 40))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, rng.standard_normal((6, 40))) > 1


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros((5, 2)), np.zeros(5), np.full((5, 3), np.nan)])
def test_what_is_no_set_of_features_is_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="features"):
        frechet_distance(np.ones((5, 3)), bad)
