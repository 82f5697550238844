"""The simulated upstream segmenter: probabilities, and mistakes of every kind."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.metrics.overlap import dice
from models.phantoms import curvilinear
from models.phantoms.segmenter import picture, segment, simulate
from tests.models.kinds_of_error import kinds_of_error


@pytest.mark.parametrize(("kind", "shape"), [("mortar", (90, 64)), ("capillaries", (24, 32, 28))])
def test_gives_a_probability_that_the_seed_decides(kind: str, shape: tuple[int, ...]) -> None:
    mask = curvilinear.sample(kind, shape, 1)
    untouched = mask.copy()
    a, b, c = (simulate(mask, seed) for seed in (3, 3, 4))
    assert a.shape == shape
    assert a.dtype == np.float32
    assert a.min() >= 0
    assert a.max() <= 1
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.array_equal(mask, untouched)
    assert a[mask].mean() > a[~mask].mean() + 0.2, "it sees the structure"


def test_it_is_a_segmentation_of_the_picture() -> None:
    mask = curvilinear.sample("roads", 96, 0)
    image = picture(mask, 5, difficulty=0.7)
    assert image.dtype == np.float32
    assert np.array_equal(segment(image), simulate(mask, 5, difficulty=0.7))
    # Twice as bright a picture is the same picture to a filter that sets its own threshold.
    assert np.array_equal(segment(image) > 0.5, segment(2 * image) > 0.5)


def test_every_kind_of_error_occurs() -> None:
    seen: Counter[str] = Counter()
    for kind in ("crossing_vessels", "roads"):
        for seed in range(8):
            mask = curvilinear.sample(kind, 256, seed)
            seen.update(kinds_of_error(mask, simulate(mask, seed, difficulty=0.8) > 0.5))
    assert seen["break"] >= 14
    assert seen["island"] >= 10
    assert seen["bridge"] >= 5
    assert seen["hole"] >= 3


def test_harder_pictures_give_worse_masks() -> None:
    masks = [(curvilinear.sample(kind, 96, seed), seed) for kind in curvilinear.KINDS for seed in range(2)]
    overlap = [
        np.mean([dice(mask, simulate(mask, seed, difficulty=difficulty) > 0.5) for mask, seed in masks])
        for difficulty in (0.0, 0.8, 2.0)
    ]
    assert overlap[0] > overlap[1] > overlap[2]
    assert overlap[0] > 0.8


def test_nothing_in_nothing_out() -> None:
    empty = np.zeros((64, 64), bool)
    assert np.isfinite(simulate(empty, 0)).all()
    assert np.isfinite(simulate(~empty, 0)).all()
