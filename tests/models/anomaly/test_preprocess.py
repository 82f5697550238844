"""Grids there and back, and grey values."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from models.anomaly.preprocess import HIGH, LOW, TOP, Grid, as_slices, from_slices, resample, scaled, working_grid


def _turned(degrees: float, axis: int) -> np.ndarray:
    angle = np.deg2rad(degrees)
    a, b = [k for k in range(3) if k != axis]
    made = np.eye(3)
    made[a, a] = made[b, b] = np.cos(angle)
    made[a, b], made[b, a] = -np.sin(angle), np.sin(angle)
    return made


def _grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], codes: str, tilt: float = 0.0) -> Grid:
    """Axes that point as ``codes`` say, tilted by ``tilt`` degrees about two axes, at an odd place."""
    turn = nib.orientations.axcodes2ornt(codes)
    axes = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(turn):
        axes[int(axis), column] = sign
    affine = np.eye(4)
    affine[:3, :3] = _turned(tilt, 0) @ _turned(tilt / 2, 2) @ axes @ np.diag(spacing)
    affine[:3, 3] = (-31.5, 12.25, 40)
    return Grid(shape, affine)


CASES = [
    _grid((40, 50, 30), (1, 1, 1), "LAS"),
    _grid((40, 50, 16), (1, 1, 3), "LPS", 12),
    _grid((16, 60, 60), (3, 0.7, 0.7), "IPR", 20),
    _grid((64, 64, 20), (0.5, 0.5, 2.2), "ARS", -15),
]


@pytest.mark.parametrize("source", CASES, ids=lambda grid: "".join(nib.aff2axcodes(grid.affine)))
def test_a_landmark_survives_there_and_back_within_one_voxel(source: Grid) -> None:
    landmark = np.array([side // 3 for side in source.shape])
    image = np.zeros(source.shape, np.float32)
    image[tuple(landmark)] = 1
    work = working_grid(source)
    assert "".join(nib.aff2axcodes(work.affine)) == "RAS"
    there = resample(image, source, work)
    hottest = np.array(np.unravel_index(there.argmax(), there.shape))
    edges = np.maximum(source.spacing_mm, 1)
    assert np.linalg.norm(work.mm(hottest) - source.mm(landmark)) <= np.linalg.norm(edges) / 2
    back = resample(there, work, source)
    assert back.shape == source.shape
    found = np.array(np.unravel_index(back.argmax(), back.shape))
    assert np.abs(found - landmark).max() <= 1
    # What was hot stays in its place as a whole, not only at its top.
    centre = np.array([(back * index).sum() / back.sum() for index in np.indices(back.shape)])
    assert np.abs(centre - landmark).max() < 0.5


def test_the_field_of_view_stays_where_it_was() -> None:
    for source in CASES:
        work = working_grid(source)
        there, here = (grid.mm((np.array(grid.shape) - 1) / 2) for grid in (source, work))
        np.testing.assert_allclose(there, here, atol=1e-6)
        np.testing.assert_allclose(work.spacing_mm, 1)
        assert abs(np.prod(source.shape) * source.voxel_ml / (np.prod(work.shape) * work.voxel_ml) - 1) < 0.06


def test_axes_that_are_only_flipped_and_swapped_change_no_value() -> None:
    rng = np.random.default_rng(0)
    source = _grid((11, 8, 9), (1, 1, 1), "PIL")
    image = rng.random(source.shape).astype(np.float32)
    work = working_grid(source)
    there = resample(image, source, work)
    assert sorted(there.ravel()) == sorted(image.ravel())
    for voxel in ((0, 0, 0), (3, 7, 2), (10, 4, 8)):
        place = tuple(np.rint(work.voxel(source.mm(voxel))).astype(int))
        assert there[place] == image[voxel]
    np.testing.assert_array_equal(resample(there, work, source), image)


def test_a_single_slice_stays_one() -> None:
    source = _grid((64, 48, 1), (0.8, 0.8, 5), "LPS")
    work = working_grid(source)
    assert work.shape == (51, 38, 1)
    assert work.spacing_mm == pytest.approx((1, 1, 5))


def test_a_coarser_grid_keeps_the_mean_of_noise() -> None:
    rng = np.random.default_rng(1)
    source = _grid((64, 64, 64), (0.5, 0.5, 0.5), "RAS")
    noise = rng.random(source.shape).astype(np.float32)
    coarse = resample(noise, source, working_grid(source))
    assert coarse.mean() == pytest.approx(noise.mean(), abs=0.01)
    assert coarse.std() < 0.5 * noise.std()


def test_values_are_scaled_inside_the_mask() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(500, 50, (20, 20, 20))
    mask = rng.random(image.shape) < 0.6
    image[~mask] = 9999
    found = scaled(image, mask)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert found.max() <= 1
    assert not found[~mask].any()
    low, high = np.percentile(image[mask], (LOW, HIGH))
    at_high = found[mask][np.abs(image[mask] - high).argmin()]
    assert at_high == pytest.approx(TOP, abs=0.01)
    assert found[mask][np.abs(image[mask] - low).argmin()] == pytest.approx(0, abs=0.01)
    # Gain and offset of the scanner are gone.
    np.testing.assert_allclose(scaled(image * 3 - 70, mask), found, atol=1e-5)
    assert not scaled(np.ones((3, 3)), np.ones((3, 3), bool)).any()


def test_slices_are_axial() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    slices = as_slices(volume)
    assert slices.shape == (4, 2, 3)
    np.testing.assert_array_equal(slices[1], volume[:, :, 1])
    np.testing.assert_array_equal(from_slices(slices), volume)


def test_what_does_not_fit_is_refused() -> None:
    grid = _grid((4, 5, 6), (1, 1, 1), "RAS")
    with pytest.raises(ValueError, match="does not lie"):
        resample(np.zeros((4, 5, 5)), grid, grid)
    with pytest.raises(ValueError, match="inverted"):
        Grid((4, 5, 6), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="three sides"):
        Grid((4, 0, 6), np.eye(4))
    with pytest.raises(ValueError, match="mask"):
        scaled(np.zeros((3, 3)), np.zeros((3, 3), bool))
