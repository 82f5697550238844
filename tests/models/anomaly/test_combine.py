"""Brightness and restoration in one heat-map: what the rule says, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.anomaly.combine import RULES, Rule, combine, smoothed
from models.anomaly.network import SEQUENCES


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image, healthy = rng.random((2, 6, 20, 22), np.float32)
    inside = np.ones(image.shape, bool)
    inside[:, :3] = False
    change = (image - healthy) * inside
    return image * inside, np.abs(change), np.maximum(change, 0), inside


def test_a_rule_is_the_average_of_what_is_smoothed(maps: tuple[np.ndarray, ...]) -> None:
    image, absolute, brighter, inside = maps
    found = combine(image, absolute, brighter, inside, "flair", rule=Rule(0.25, "brighter", 2.0))
    wanted = 0.75 * ndimage.gaussian_filter(image, 2.0) + 0.25 * ndimage.gaussian_filter(brighter, 2.0)
    assert np.allclose(found[inside], wanted[inside], atol=1e-6)
    assert not found[~inside].any()
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    assert np.allclose(combine(image, absolute, brighter, inside, "t1", rule=Rule(0, sigma_mm=0)), image)
    assert np.allclose(combine(image, absolute, brighter, inside, "t1", rule=Rule(1, "absolute", 0)), absolute)


def test_every_sequence_has_a_rule_and_others_that_of_the_unknown(maps: tuple[np.ndarray, ...]) -> None:
    assert set(RULES) == set(SEQUENCES)
    image, absolute, brighter, inside = maps
    other = combine(image, absolute, brighter, inside, "pd")
    assert np.array_equal(other, combine(image, absolute, brighter, inside, "unknown"))


def test_the_width_is_in_mm(maps: tuple[np.ndarray, ...]) -> None:
    image = maps[0]
    assert np.allclose(smoothed(image, (4.0, 1.0, 0.5), 2.0), ndimage.gaussian_filter(image, (0.5, 2, 4)), atol=1e-6)
    assert np.allclose(smoothed(image[:1], (4, 1, 1))[0], ndimage.gaussian_filter(image[0], 1), atol=1e-6)


def test_what_cannot_be_combined_is_refused(maps: tuple[np.ndarray, ...]) -> None:
    image, absolute, brighter, inside = maps
    with pytest.raises(ValueError, match="one shape"):
        combine(image[:2], absolute, brighter, inside, "flair")
    for wrong in ({"share": 1.1}, {"share": 0.5, "sigma_mm": -1}, {"share": 0.5, "residual": "darker"}):
        with pytest.raises(ValueError, match="share"):
            Rule(**wrong)  # type: ignore[arg-type]
