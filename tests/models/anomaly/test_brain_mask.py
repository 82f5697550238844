"""Brain masks of stripped scans and of drawn heads, and where a scan lies in an atlas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.anomaly.brain_mask import extract, head_mask, largest, plausible, stripped_mask
from models.anomaly.preprocess import Grid
from models.anomaly.register import register
from tests.models.phantoms.brain_atlas import ball_atlas


def _head() -> tuple[np.ndarray, np.ndarray, Grid]:
    """A ball of brain in fluid, dark bone and bright scalp; its tissue; the grid of 2 mm."""
    atlas = ball_atlas()
    inside = ndimage.distance_transform_edt(np.pad(atlas.mask, 8))
    outside = ndimage.distance_transform_edt(~np.pad(atlas.mask, 8))
    image = np.pad(atlas.t1, 8).astype(np.float32)
    image[(outside > 0) & (outside <= 3)] = 15
    image[outside > 3] = 230
    image[outside > 6] = 0
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = 2 * atlas.affine[:3, 3] - 16
    x, y, z = image.shape
    return image, inside > 4, Grid((x, y, z), affine)


def test_a_stripped_scan_is_its_own_mask() -> None:
    atlas = ball_atlas()
    grid = Grid(atlas.shape, atlas.affine)
    image = np.where(atlas.mask, atlas.t1 + 1, 0)
    np.testing.assert_array_equal(stripped_mask(image, grid), atlas.mask)
    # Any one value may stand for nothing, and holes belong to the brain.
    image[30:34, 36, 36] = 0
    np.testing.assert_array_equal(stripped_mask(image - 7, grid), atlas.mask)
    noisy = image + np.random.default_rng(0).random(image.shape)
    assert stripped_mask(noisy, grid) is None
    assert stripped_mask(np.zeros((8, 8, 8)), Grid((8, 8, 8), np.eye(4))) is None


def test_scalp_is_left_out_of_a_head() -> None:
    image, tissue, grid = _head()
    atlas = ball_atlas()
    stretched = Grid(atlas.shape, np.diag([2.0, 2.0, 2.0, 1.0]) @ atlas.affine)
    found = head_mask(image, grid, atlas.mask, stretched, np.eye(4))
    brain = np.pad(atlas.mask, 8)
    assert not found[~brain].any()
    assert found[tissue].mean() > 0.99
    assert not found[image == 230].any()


def test_a_head_that_lies_elsewhere_is_stripped_too() -> None:
    image, tissue, grid = _head()
    atlas = ball_atlas()
    stretched = Grid(atlas.shape, np.diag([2.0, 2.0, 2.0, 1.0]) @ atlas.affine)
    moved = np.eye(4)
    moved[:3, 3] = (9, -7, 12)
    found, placed = extract(image, Grid(grid.shape, moved @ grid.affine), atlas.t1, atlas.mask, stretched)
    assert found[tissue].mean() > 0.97
    assert found[~np.pad(atlas.mask, 8)].mean() < 0.02
    assert np.linalg.norm(placed.mm((9, -7, 12))) < 4


def test_a_moved_scan_is_found_again() -> None:
    atlas = ball_atlas()
    grid = Grid(atlas.shape, np.diag([2.0, 2.0, 2.0, 1.0]) @ atlas.affine)
    marks = np.array([[40.0, 10, -6], [-14, 34, 20], [4, -30, 36], [-30, -20, -20]])
    picture = atlas.t1.copy()
    index = np.stack(np.indices(atlas.shape), -1)
    for mark in marks:  # a ball alone looks the same from everywhere
        picture[np.linalg.norm(index - grid.voxel(mark), axis=-1) < 5] = 20
    turn = np.deg2rad(7)
    moved = np.eye(4)
    moved[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    moved[:3, 3] = (6, -4, 9)
    scan = Grid(atlas.shape, moved @ grid.affine)
    # Another contrast: what was bright is dark.
    image = np.where(atlas.mask, 300 - picture, 0)
    found = register(image, scan, picture, atlas.mask, grid)
    there = np.c_[marks, np.ones(len(marks))] @ moved.T
    assert np.linalg.norm(found.mm(there[:, :3]) - marks, axis=1).max() < 4
    assert found.similarity > 0


def test_nothing_to_register_is_refused() -> None:
    atlas = ball_atlas()
    grid = Grid(atlas.shape, atlas.affine)
    with pytest.raises(ValueError, match="nothing to register"):
        register(np.zeros(atlas.shape), grid, atlas.t1, atlas.mask, grid)


def test_pieces_and_volumes() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[:2, :2, :2] = mask[5:8, 5:8, 5:8] = True
    found = largest(mask)
    assert found is not None
    assert found.sum() == 27
    assert largest(np.zeros_like(mask)) is None
    assert plausible(np.ones((100, 100, 120), bool), 0.001)
    assert not plausible(mask, 0.001)
