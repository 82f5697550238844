"""Changes of look and place: they keep the anatomy, the range and the randomness they are given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.echo.augment import AugmentConfig, augment, change_look, move
from tests.models.echo.hearts import beating


@pytest.fixture(scope="module")
def heart() -> tuple[np.ndarray, np.ndarray]:
    return beating(60, 3, 4)


def test_range_shape_and_repeatability(heart: tuple[np.ndarray, np.ndarray]) -> None:
    frames, labels = heart
    for seed in range(60):
        changed, truth = augment(frames, labels, np.random.default_rng(seed))
        assert changed.shape == frames.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert 0 <= changed.min() <= changed.max() <= 1
        assert truth is not None
        assert truth.dtype == np.uint8
        assert set(np.unique(truth)) <= {0, 1, 2, 3}
        again, _ = augment(frames, None, np.random.default_rng(seed))
        assert np.array_equal(changed, again), "the look does not depend on whether there are labels"


def test_all_frames_move_alike_and_volumes_keep_their_ratio(heart: tuple[np.ndarray, np.ndarray]) -> None:
    frames, labels = heart
    before = (labels == 1).sum((1, 2))
    for seed in range(20):
        _, truth = move(frames, labels, np.random.default_rng(seed), AugmentConfig(shift=0.0, zoom=0.1))
        assert truth is not None
        after = (truth == 1).sum((1, 2))
        assert after / after[0] == pytest.approx(before / before[0], rel=0.04)


def test_frames_and_labels_move_together(heart: tuple[np.ndarray, np.ndarray]) -> None:
    _, labels = heart
    for seed in range(20):
        bright = np.where(labels == 1, 255, 0).astype(np.uint8)
        moved, truth = move(bright, labels, np.random.default_rng(seed), AugmentConfig())
        assert truth is not None
        rim = ndimage.binary_dilation(truth[0] == 1) ^ ndimage.binary_erosion(truth[0] == 1)
        assert np.array_equal((moved[0] > 127)[~rim], (truth[0] == 1)[~rim])


def test_no_strength_no_change_of_look(heart: tuple[np.ndarray, np.ndarray]) -> None:
    frames = heart[0].astype(np.float32) / 255
    assert np.array_equal(change_look(frames, np.random.default_rng(0), AugmentConfig(strength=0)), frames)
    looks = [change_look(frames, np.random.default_rng(seed), AugmentConfig()) for seed in range(5)]
    assert all(np.abs(look - frames).mean() > 1e-3 for look in looks)
