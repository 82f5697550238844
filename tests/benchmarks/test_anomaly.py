"""The benchmark of the anomaly system: scores, intervals, phantoms, and the plain loop beside ours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.metrics.ranking import average_precision, best_dice
from tests.benchmarks.anomaly_scores import drawn_weights, interval, mean_of, score, truth_of


@pytest.fixture(scope="module")
def brain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three lesions of 27, 27 and 1000 voxels, a brain, and a heat-map that likes them a little; it has ties."""
    rng = np.random.default_rng(3)
    lesions = np.zeros((20, 40, 40), bool)
    lesions[2:5, 5:8, 5:8] = lesions[2:5, 30:33, 30:33] = lesions[8:18, 10:20, 20:30] = True
    inside = np.ones(lesions.shape, bool)
    inside[:, :2] = False
    heat = ndimage.gaussian_filter(rng.random(lesions.shape), 1) + 0.1 * lesions
    return np.round(heat, 2).astype(np.float32), lesions, inside


def test_scores_are_those_of_all_voxels_inside(brain: tuple[np.ndarray, ...]) -> None:
    heat, lesions, inside = brain
    truth = truth_of(lesions, inside, 0.001)
    found = score(heat, truth, resamples=50)
    assert found.ap == average_precision(heat[inside], lesions[inside])
    assert found.dice == best_dice(heat[inside], lesions[inside])
    assert truth.sizes == ("small", "small", "large")
    assert found.bins["small"].lesions == 2
    assert found.bins["small"].voxels == 54
    assert "medium" not in found.bins
    large = inside & ~(lesions & (np.arange(20) < 6)[:, None, None])
    assert found.bins["large"].ap == pytest.approx(average_precision(heat[large], lesions[large]))


def test_lesions_that_are_drawn_twice_count_twice(brain: tuple[np.ndarray, ...]) -> None:
    heat, lesions, inside = brain
    truth = truth_of(lesions, inside, 0.001)
    found = score(heat, truth, seed=5, resamples=30)
    for weight, ap, dice in zip(drawn_weights(3, 30, 5), found.ap_drawn, found.dice_drawn, strict=True):
        times = np.zeros(lesions.shape, int)
        times[truth.sought] = weight[truth.lesion]
        chosen = inside & (~lesions | (times > 0))
        repeats = np.where(lesions, times, 1)[chosen]
        heats, sought = np.repeat(heat[chosen], repeats), np.repeat(lesions[chosen], repeats)
        assert ap == pytest.approx(average_precision(heats, sought))
        assert dice == pytest.approx(best_dice(heats, sought))
    low, high = interval(found.ap_drawn)
    assert low <= found.ap <= high
    assert mean_of([found.ap_drawn, found.ap_drawn]) == pytest.approx(found.ap_drawn)


def test_a_perfect_map_and_the_recall_of_what_lies_above_healthy_voxels(brain: tuple[np.ndarray, ...]) -> None:
    _, lesions, inside = brain
    found = score(lesions.astype(np.float32), truth_of(lesions, inside, 0.001), resamples=20)
    assert found.ap == found.dice == found.auroc == 1
    assert [part.recall for part in found.bins.values()] == [1, 1]
    assert (found.ap_drawn == 1).all()
    assert score(0 * lesions, truth_of(lesions, inside, 0.001), resamples=5).bins["large"].recall == 0
    with pytest.raises(ValueError, match="no lesion"):
        truth_of(lesions, ~inside, 0.001)
