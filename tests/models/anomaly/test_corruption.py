"""Corruptions by DAG: each component does what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from models.anomaly.corruption import SHAPES, DagConfig, blend_texture, corrupt, draw_shape, shift_intensity


@pytest.fixture(scope="module")
def slice_() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth slice with a round foreground, and a foreign one."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:128, :128] - 63.5
    foreground = np.hypot(rows, columns * 1.2) < 52
    image, foreign = (
        np.clip(0.5 + 2.5 * ndimage.gaussian_filter(rng.standard_normal((128, 128)), 4), 0.02, 0.98) * foreground
        for _ in range(2)
    )
    return image.astype(np.float32), foreground, foreign.astype(np.float32)


def test_nothing_changes_outside_the_mask_and_the_foreground(slice_: tuple[np.ndarray, ...]) -> None:
    image, foreground, foreign = slice_
    for seed in range(40):
        made = corrupt(image, foreground, foreign, np.random.default_rng(seed), library=[np.ones((20, 9), bool)])
        assert made.image.dtype == made.mask.dtype == np.float32
        assert np.array_equal(made.image[made.mask == 0], image[made.mask == 0])
        assert not made.mask[~foreground].any()
        assert made.image.min() >= 0
        assert made.image.max() <= 1
        assert 0 <= made.severity <= 1


def test_all_shapes_come_at_equal_odds_and_of_their_sizes(slice_: tuple[np.ndarray, ...]) -> None:
    foreground = np.zeros((256, 256), bool)
    foreground[120:136, 120:136] = True  # in the middle, so that no shape leaves the slice
    rng = np.random.default_rng(1)
    areas: dict[str, list[int]] = {name: [] for name in SHAPES}
    for _ in range(800):
        name, mask = draw_shape(foreground, rng, DagConfig(), [np.ones((30, 12), bool)])
        areas[name].append(int(mask.sum()))
    assert all(150 < len(found) < 250 for found in areas.values())
    assert min(areas["ball"]) > 0.9 * np.pi * 5**2
    assert max(areas["ball"]) < 1.1 * np.pi * 22**2
    assert min(areas["box"]) > 80
    assert max(areas["box"]) < 1.1 * 44**2
    assert max(areas["blob"]) <= np.pi * 3.5**2
    assert min(areas["blob"]) >= 1
    assert max(areas["library"]) < 44**2


def test_texture_stays_in_the_range_of_its_host_and_grows_with_strength(slice_: tuple[np.ndarray, ...]) -> None:
    image, _, foreign = slice_
    mask = np.zeros_like(image)
    mask[50:80, 40:70] = 1
    inside = mask > 0
    changes = []
    for strength in (0.0, 0.3, 1.0):
        made = blend_texture(image, foreign, mask, strength)
        assert made[inside].min() >= image[inside].min() - 1e-6
        assert made[inside].max() <= image[inside].max() + 1e-6
        changes.append(float(np.abs(made - image)[inside].mean()))
    assert changes[0] == pytest.approx(0, abs=1e-6)
    assert changes[1] == pytest.approx(0.3 * changes[2], rel=1e-3)
    full = blend_texture(image, foreign, mask, 1.0)[inside]
    assert np.corrcoef(full, foreign[inside])[0, 1] > 0.999, "at full strength the foreign patch, rescaled"


def test_the_bias_is_the_change_that_was_made_and_goes_both_ways(slice_: tuple[np.ndarray, ...]) -> None:
    image, _, _ = slice_
    mask = np.zeros_like(image)
    mask[50:80, 40:70] = 1
    found = []
    for seed in range(60):
        made, bias = shift_intensity(image, mask, np.random.default_rng(seed), DagConfig())
        change = made - image
        assert np.abs(change).max() == pytest.approx(abs(bias), abs=1e-6)
        assert not change[mask == 0].any()
        found.append(bias)
    assert min(found) < -0.3
    assert max(found) > 0.3


def test_components_can_be_left_out_and_severity_is_the_larger_strength(slice_: tuple[np.ndarray, ...]) -> None:
    image, foreground, foreign = slice_
    ball = DagConfig(shapes=("ball",))
    for seed in range(20):
        both = corrupt(image, foreground, foreign, np.random.default_rng(seed), ball)
        assert both.severity == max(both.texture, abs(both.bias))
        alone = corrupt(image, foreground, foreign, np.random.default_rng(seed), replace(ball, bias=False))
        assert alone.bias == 0
        assert alone.severity == alone.texture
        nothing = corrupt(
            image, foreground, foreign, np.random.default_rng(seed), replace(ball, bias=False, texture=False)
        )
        assert nothing.severity == 0
        assert np.array_equal(nothing.image, image)


def test_what_cannot_be_corrupted_is_refused(slice_: tuple[np.ndarray, ...]) -> None:
    image, foreground, foreign = slice_
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="foreground"):
        corrupt(image, np.zeros_like(foreground), foreign, rng)
    with pytest.raises(ValueError, match="one size"):
        corrupt(image, foreground, foreign[:64], rng)
    with pytest.raises(ValueError, match="library"):
        corrupt(image, foreground, foreign, rng, DagConfig(shapes=("library",)))
    for wrong in ({"shapes": ("star",)}, {"sides": (5.0, 2.0)}, {"strongest": 0.0}):
        with pytest.raises(ValueError, match=r"shapes|sizes?|strengths"):
            DagConfig(**wrong)  # type: ignore[arg-type]
