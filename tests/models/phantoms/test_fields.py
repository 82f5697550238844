"""Random fields and drawing: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.betti import betti_numbers
from models.phantoms.fields import draw_segments, smooth_field, warp


def correlation(field: np.ndarray, lag: int) -> float:
    return float(np.mean(field[lag:] * field[:-lag]) / np.mean(field**2))


@pytest.mark.parametrize(("shape", "scale"), [((200, 200), 2.0), ((200, 200), 6.0), ((70, 70, 70), 4.0)])
def test_a_smooth_field_has_the_correlation_of_smoothed_noise(shape: tuple[int, ...], scale: float) -> None:
    fields = [smooth_field(shape, scale, np.random.default_rng(seed)) for seed in range(5)]
    assert fields[0].shape == shape
    assert fields[0].dtype == np.float32
    assert abs(np.mean([field.mean() for field in fields])) < 0.05
    assert np.mean([field.std() for field in fields]) == pytest.approx(1.0, abs=0.05)
    for times in (1, 2):  # white noise smoothed by a Gaussian: exp(-lag² / 4 scale²)
        lag = int(times * scale)
        found = np.mean([correlation(field, lag) for field in fields])
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * scale**2)), abs=0.08)


@pytest.mark.parametrize("shape", [(30, 50), (12, 20, 9)])
def test_the_generator_decides_the_field(shape: tuple[int, ...]) -> None:
    a, b, c = (smooth_field(shape, 5.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert smooth_field(shape, 500.0, np.random.default_rng(0)).shape == shape


def test_warping_moves_points_by_about_the_amount_and_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 200, (500, 2))
    assert np.allclose(warp(points, (200, 200), 0.0, 20.0, np.random.default_rng(1)), points, atol=1e-4)
    moved = warp(points, (200, 200), 5.0, 20.0, np.random.default_rng(1)) - points
    assert np.sqrt((moved**2).mean()) == pytest.approx(5.0, rel=0.3)
    near = warp(points + 0.5, (200, 200), 5.0, 20.0, np.random.default_rng(1)) - points - 0.5
    assert np.abs(near - moved).max() < 1.0


def test_a_capsule_has_its_area_and_volume() -> None:
    start, end = np.array([[30.5, 20.5]]), np.array([[30.5, 80.5]])
    area = draw_segments((60, 100), start, end, np.array([6.0])).sum()
    assert area == pytest.approx(2 * 6 * 60 + np.pi * 36, rel=0.05)
    solid = draw_segments(
        (40, 40, 60), np.array([[19.5, 19.5, 15]]), np.array([[19.5, 19.5, 45]]), np.array([6.0])
    ).sum()
    assert solid == pytest.approx(np.pi * 36 * 30 + 4 / 3 * np.pi * 216, rel=0.05)


def test_a_capsule_is_what_lies_within_its_radius() -> None:
    rng = np.random.default_rng(2)
    start, end = rng.uniform(0, 40, (2, 1, 2))
    mask = draw_segments((40, 40), start, end, np.array([4.5]))
    along = np.linspace(0, 1, 2001)[:, None]
    points = start[0] + along * (end[0] - start[0])
    for y, x in np.argwhere(np.ones_like(mask)):
        distance = np.sqrt(((points - (y, x)) ** 2).sum(1).min())
        if abs(distance - 4.5) > 1e-3:
            assert mask[y, x] == (distance < 4.5)


def test_a_taper_has_its_radius_at_each_end() -> None:
    mask = draw_segments((41, 101), np.array([[20.0, 10]]), np.array([[20.0, 90]]), np.array([[10.0, 2.0]]))
    assert mask[:, 10].sum() == 21
    assert mask[:, 50].sum() == 13
    assert mask[:, 90].sum() == 5


def test_a_segment_of_no_length_is_a_ball_and_one_outside_is_nothing() -> None:
    at = np.array([[10.0, 10.0]])
    assert betti_numbers(draw_segments((21, 21), at, at, np.array([5.0]))) == (1, 0)
    assert not draw_segments((21, 21), at + 100, at + 120, np.array([5.0])).any()
    assert not draw_segments((21, 21), at[:0], at[:0], np.zeros(0)).any()
