"""Findings: components of a heat-map, their volumes and places."""

from __future__ import annotations

import numpy as np
import pytest

from models.anomaly.findings import find, size_bin, threshold_for

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


@pytest.fixture
def heat() -> np.ndarray:
    """Two places that do not touch, one voxel beside the foreground, and one that touches by a corner."""
    found = np.zeros((20, 20, 20), np.float32)
    found[2:6, 3:6, 4:6] = 0.5
    found[3, 4, 5] = 0.9
    found[6, 6, 6] = 0.6
    found[15, 15, 15] = 0.7
    found[19, 19, 19] = 0.8
    return found


def test_places_volumes_and_coordinates(heat: np.ndarray) -> None:
    inside = np.ones(heat.shape, bool)
    inside[19] = False
    labels, (first, second) = find(heat, inside, 0.4, AFFINE)
    assert labels.dtype == np.uint16
    assert sorted(np.unique(labels)) == [0, 1, 2]
    assert (labels == 1).sum() == 25, "a corner joins"
    assert first.ml == pytest.approx(25 * 6 / 1000)
    assert first.size == "medium"
    assert first.peak == pytest.approx(0.9)
    assert first.peak_voxel == (3, 4, 5)
    assert first.peak_mm == (84, -122, -57)
    assert first.mean == pytest.approx((23 * 0.5 + 0.9 + 0.6) / 25)
    centre = np.argwhere(labels == 1).mean(0)
    assert first.centroid_mm == pytest.approx(tuple(AFFINE[:3, :3] @ centre + AFFINE[:3, 3]))
    assert (second.ml, second.size) == (pytest.approx(0.006), "small")


def test_small_places_and_too_many_are_left_out(heat: np.ndarray) -> None:
    inside = np.ones(heat.shape, bool)
    assert [one.label for one in find(heat, inside, 0.4, AFFINE, least_ml=0.01)[1]] == [1]
    labels, found = find(heat, inside, 0.4, AFFINE, most=2)
    assert len(found) == 2
    assert labels.max() == 2
    assert find(heat, inside, 1.0, AFFINE)[1] == ()


def test_the_threshold_leaves_the_share_that_was_asked_for() -> None:
    scores = np.random.default_rng(0).permutation(10_000) / 10_000
    for rate in (0.5, 0.05, 0.001):
        assert (scores > threshold_for(scores, rate)).mean() <= rate
        assert (scores > threshold_for(scores, rate)).mean() > rate - 3e-4


def test_bins() -> None:
    assert [size_bin(ml) for ml in (0.001, 0.0499, 0.05, 0.49, 0.5, 80)] == [
        "small", "small", "medium", "medium", "large", "large",
    ]  # fmt: skip


def test_what_cannot_be_measured_is_refused(heat: np.ndarray) -> None:
    with pytest.raises(ValueError, match="dimensions"):
        find(heat[0], heat[0] > 0, 0.5, AFFINE)
    for scores, rate in ((np.array([]), 0.1), (np.array([np.nan]), 0.1), (np.ones(3), 0.0), (np.ones(3), 1.0)):
        with pytest.raises(ValueError, match=r"healthy scores|rate"):
            threshold_for(scores, rate)
