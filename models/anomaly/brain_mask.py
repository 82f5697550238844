"""Which voxels are brain: of a scan that is stripped already, or of a whole head with the help of an atlas.

Our choice. A head is registered to an atlas; its brain, a little grown, bounds the search. Inside, tissue is what is
brighter than half of the middle's grey; an opening cuts the bridges to scalp and eyes, the largest piece is kept and
closed. Scalp and bone pull a first registration outwards, so it is done again on what was found, a few times. The
result is tight, like that of stripping programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from models.anomaly.preprocess import Grid, resample

if TYPE_CHECKING:
    from models.anomaly.register import Registration

EMPTY_SHARE = 0.15
"""Share of voxels of exactly one dark value from which on a scan counts as stripped (its corners are empty)."""
STRIPPED_MAX_ML = 2300.0
WORK_MM = 2.0
"""Voxels that the mask of a head is searched in."""
BAND_MM = 8.0
CORE_MM = 8.0
OPEN_MM = 3.0
CLOSE_MM = 6.0
ROUNDS = 5
SETTLED = 0.99
"""Dice of two rounds from which on no further one is made."""
GROWN_MM = 4.0
"""How much of what lies around the brain that was found is registered with it."""
PLAUSIBLE_ML = (800.0, 2200.0)
"""Volumes inside the skull of grown people lie within; tight masks of small and shrunken brains too. Our choice."""


def stripped_mask(image: np.ndarray, grid: Grid) -> np.ndarray | None:
    """Brain mask, bool [X, Y, Z], of a scan that holds nothing but brain; ``None`` where there is more, or nothing.

    Such a scan has one exact value outside (0 as a rule), at all corners and in a good share of its voxels, and what
    is left has no more than a skull can hold.
    """
    corners = image[:: max(image.shape[0] - 1, 1), :: max(image.shape[1] - 1, 1), :: max(image.shape[2] - 1, 1)]
    outside = image == corners.ravel()[0]
    if (corners != corners.ravel()[0]).any() or outside.mean() < EMPTY_SHARE:
        return None
    found = largest(~outside)
    if found is None:
        return None
    solid = np.stack([ndimage.binary_fill_holes(found[:, :, index]) for index in range(found.shape[2])], axis=2)
    flat = min(image.shape) == 1
    return solid if flat or solid.sum() * grid.voxel_ml <= STRIPPED_MAX_ML else None


def extract(
    image: np.ndarray, grid: Grid, atlas: np.ndarray, atlas_mask: np.ndarray, atlas_grid: Grid, *, threads: int = 1
) -> tuple[np.ndarray, Registration]:
    """Brain mask, bool [X, Y, Z], of a head ``image``, float ≥ 0 on ``grid``, and where it lies in the atlas.

    Arguments and errors are those of :func:`models.anomaly.register.register`.
    """
    from models.anomaly.register import register

    around, before = image, np.zeros(image.shape, bool)
    for turn in range(ROUNDS):
        found = register(around, grid, atlas, atlas_mask, atlas_grid, threads=threads)
        mask = head_mask(image, grid, atlas_mask, atlas_grid, found.to_atlas)
        alike = 2 * (mask & before).sum() / max(mask.sum() + before.sum(), 1)
        if alike >= SETTLED or turn == ROUNDS - 1 or not mask.any():
            break
        rounds = max(1, round(GROWN_MM / min(grid.spacing_mm)))
        around, before = np.where(ndimage.binary_dilation(mask, iterations=rounds), image, 0), mask
    return mask, found


def head_mask(
    image: np.ndarray, grid: Grid, atlas_mask: np.ndarray, atlas_grid: Grid, to_atlas: np.ndarray
) -> np.ndarray:
    """Brain mask, bool [X, Y, Z], of a head ``image``, float ≥ 0 on ``grid``.

    ``atlas_mask``: brain of the atlas, bool on ``atlas_grid``; ``to_atlas`` float [4, 4]: mm of the scan → mm of the
    atlas. Where no tissue stands out, it is the atlas's brain alone.
    """
    sides = tuple(max(1, round(n * edge / WORK_MM)) for n, edge in zip(grid.shape, grid.spacing_mm, strict=True))
    affine = grid.affine.copy()
    ratio = np.array(grid.shape) / np.array(sides)
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    affine[:3, 3] = grid.mm((ratio - 1) / 2)
    coarse = Grid((sides[0], sides[1], sides[2]), affine)
    edge = np.array(coarse.spacing_mm)
    values = resample(image, grid, coarse)
    placed = Grid(atlas_grid.shape, np.linalg.inv(to_atlas) @ atlas_grid.affine)
    prior = resample(_framed(atlas_mask), placed, coarse) > 0.5
    made = _tissue(values, prior, edge)
    return resample(made.astype(np.float32), coarse, grid) >= 0.5


def plausible(mask: np.ndarray, voxel_ml: float) -> bool:
    """Whether the volume of a mask, bool, lies within :data:`PLAUSIBLE_ML`."""
    return bool(PLAUSIBLE_ML[0] <= mask.sum() * voxel_ml <= PLAUSIBLE_ML[1])


def largest(mask: np.ndarray) -> np.ndarray | None:
    """The largest piece of a mask, bool; pieces share faces. ``None`` for an empty one."""
    pieces, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _tissue(values: np.ndarray, prior: np.ndarray, edge: np.ndarray) -> np.ndarray:
    if not prior.any():
        return prior
    inside = ndimage.distance_transform_edt(prior, edge)
    outside = ndimage.distance_transform_edt(~prior, edge)
    core = inside > min(CORE_MM, float(inside.max()) / 2)
    bright = (values > 0.5 * np.median(values[core])) & (outside < BAND_MM)
    main = largest(_depth(bright, edge) > OPEN_MM)
    if main is None:
        return prior
    grown = ndimage.distance_transform_edt(~main, edge) <= OPEN_MM + 0.5 * float(edge.max())
    found = (grown & bright) | core
    rim = int(np.ceil(2 * CLOSE_MM / edge.min()))
    padded = ndimage.distance_transform_edt(~np.pad(found, rim), edge) <= CLOSE_MM
    closed = ndimage.distance_transform_edt(padded, edge) > CLOSE_MM
    whole = ndimage.binary_fill_holes(closed[rim:-rim, rim:-rim, rim:-rim])
    return np.asarray(whole if whole is not None else found)


def _depth(mask: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Distance in mm to what is outside, the border of the picture included."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1), edge)[1:-1, 1:-1, 1:-1])


def _framed(mask: np.ndarray) -> np.ndarray:
    """The mask with an empty border: beyond it the nearest voxel counts."""
    framed = np.zeros(mask.shape, np.float32)
    framed[1:-1, 1:-1, 1:-1] = mask[1:-1, 1:-1, 1:-1]
    return framed
