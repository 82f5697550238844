"""Smooth random fields and drawn tubes: what every procedural population here is made of. 2D and 3D."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


def smooth_field(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Array:
    """Gaussian random field, float32 of ``shape``, mean about 0, standard deviation 1, features of ``scale`` elements.

    White noise on a coarse grid, interpolated: cost does not grow with the scale. Normalised by its expected, not its
    own, deviation, so that a small window may be quiet.
    """
    if scale < 1.5:
        return rng.standard_normal(shape, dtype=np.float32)
    coarse = tuple(int(np.ceil(n / scale)) + 4 for n in shape)
    grid = rng.standard_normal(coarse, dtype=np.float32)
    offset = rng.random(len(shape)) + 1.0
    if len(shape) == 2:
        # Sampling with an offset keeps the lattice from showing at the same place in every draw.
        steps = np.array([[1 / scale, 0, offset[1]], [0, 1 / scale, offset[0]]], dtype=np.float32)
        field = cv2.warpAffine(
            grid, steps, shape[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
    else:
        field = ndimage.affine_transform(
            grid, np.full(len(shape), 1 / scale), offset=offset, output_shape=shape, order=1, mode="reflect"
        )
    # Interpolation averages lattice values, which lowers the deviation by a factor that depends on the kernel only.
    return (field * np.float32(_GAIN[len(shape)])).astype(np.float32, copy=False)


# 1 / standard deviation of unit lattice noise after cubic (2D) or linear (3D) interpolation, over random positions.
_GAIN = {2: 1.25, 3: 1.84}


def coordinates(shape: tuple[int, ...]) -> list[Array]:
    """One open float32 array an axis with the coordinate of every element's centre, in elements."""
    return list(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True))


def draw_tubes(
    shape: tuple[int, ...],
    starts: NDArray[np.floating],
    ends: NDArray[np.floating],
    start_radii: NDArray[np.floating],
    end_radii: NDArray[np.floating],
    *,
    margin: float = 3.0,
) -> Array:
    """Signed distance to a set of tapering tubes with round ends, float32, negative inside, in elements.

    ``starts``, ``ends``: [n, ndim] in array order; radii: [n]. Exact up to ``margin`` elements outside a tube and
    clipped to it beyond, which is all that thresholds with a rough edge need.
    """
    field = np.full(shape, margin, dtype=np.float32)
    limits = np.array(shape)
    for a, b, ra, rb in zip(starts, ends, start_radii, end_radii, strict=True):
        reach = max(ra, rb) + margin
        low = np.maximum(np.floor(np.minimum(a, b) - reach).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(a, b) + reach).astype(int) + 1, limits)
        if np.any(low >= high):
            continue
        box = tuple(slice(int(i), int(j)) for i, j in zip(low, high, strict=True))
        grid = [
            np.arange(i, j, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(len(shape))])
            for axis, (i, j) in enumerate(zip(low, high, strict=True))
        ]
        direction = b - a
        length2 = float(direction @ direction)
        along = sum((g - p) * d for g, p, d in zip(grid, a, direction, strict=True)) / max(length2, 1e-9)
        along = np.clip(along, 0.0, 1.0)
        distance2 = sum((g - p - along * d) ** 2 for g, p, d in zip(grid, a, direction, strict=True))
        np.minimum(field[box], np.sqrt(distance2) - (ra + along * (rb - ra)), out=field[box])
    return field
