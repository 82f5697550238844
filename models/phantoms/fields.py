"""Smooth random fields and distance drawing that the phantoms share."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage


def smooth_field(shape: Sequence[int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field, float32 of ``shape``, mean 0 and standard deviation 1.

    ``scale``: correlation length in pixels (standard deviation of the smoothing kernel). The noise is drawn on a grid
    of about a third of that length and interpolated, which costs little at any length.
    """
    step = max(1.0, scale / 3.0)
    coarse = tuple(int(np.ceil(n / step)) + 4 for n in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse).astype(np.float32), scale / step, mode="wrap")
    noise = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    if step == 1.0:
        return np.ascontiguousarray(noise[tuple(slice(0, n) for n in shape)])
    if len(shape) == 2:
        field = cv2.resize(noise, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    else:
        field = noise
        for axis, side in enumerate(shape):
            field = _stretched(field, axis, side, step)
    return np.ascontiguousarray(field[tuple(slice(0, n) for n in shape)], dtype=np.float32)


def _stretched(values: np.ndarray, axis: int, side: int, step: float) -> np.ndarray:
    """The first ``side`` elements of ``values`` stretched ``step``-fold along ``axis`` by linear interpolation."""
    count = values.shape[axis]
    at = np.arange(side) * ((count - 1) / (round(count * step) - 1))
    low = np.minimum(at.astype(int), count - 2)
    share = (at - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    return np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share


def warp(points: np.ndarray, shape: Sequence[int], amount: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Move points, float (N, d) in pixels, by a smooth random displacement of about ``amount`` pixels."""
    moved = points.astype(np.float32).copy()
    inside = [np.clip(points[:, k], 0, shape[k] - 1) for k in range(len(shape))]
    for axis in range(len(shape)):
        field = smooth_field(shape, scale, rng)
        moved[:, axis] += amount * ndimage.map_coordinates(field, inside, order=1, mode="nearest")
    return moved


def draw_segments(shape: Sequence[int], starts: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Rasterise capsules: bool mask of ``shape`` that is true within ``radii`` of each segment.

    ``starts``, ``ends``: float (N, d) in pixels, d = 2 or 3; ``radii``: float (N,) in pixels, or (N, 2) for a radius at
    each end, interpolated between.
    """
    mask = np.zeros(shape, bool)
    radii = np.broadcast_to(radii[:, None] if radii.ndim == 1 else radii, (len(starts), 2))
    size = np.array(shape)
    for start, end, (r0, r1) in zip(starts, ends, radii, strict=True):
        reach = max(r0, r1) + 1
        low = np.maximum(np.floor(np.minimum(start, end) - reach).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(start, end) + reach).astype(int) + 1, size)
        if np.any(high <= low):
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grids = np.ogrid[window]
        along = end - start
        length2 = float(along @ along)
        t = sum((g - s) * a for g, s, a in zip(grids, start, along, strict=True)) / max(length2, 1e-9)
        t = np.clip(t, 0.0, 1.0)
        distance2 = sum((g - s - t * a) ** 2 for g, s, a in zip(grids, start, along, strict=True))
        mask[window] |= distance2 <= (r0 + (r1 - r0) * t) ** 2
    return mask
