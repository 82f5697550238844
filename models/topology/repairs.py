"""Trivial repairs: what a refiner must beat, shown beside it. All take and give bool masks (2D or 3D)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold

from models.metrics.betti import Connectivity, dual, label


def copy_border(probability: np.ndarray) -> np.ndarray:
    """Replace a zeroed one-pixel frame, which some segmenters leave, by its inner neighbours; a copy."""
    mended = np.array(probability)
    for axis in range(mended.ndim):
        for edge, inner in ((0, 1), (-1, -2)):
            rim = np.take(mended, edge, axis)
            if mended.shape[axis] > 2 and not rim.any():
                index: list[slice | int] = [slice(None)] * mended.ndim
                index[axis] = edge
                mended[tuple(index)] = np.take(mended, inner, axis)
    return mended


def remove_small(mask: np.ndarray, size: float, connectivity: Connectivity = "full") -> np.ndarray:
    """Remove components of fewer than ``size`` pixels."""
    labels, count = label(mask, connectivity)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= size
    keep[0] = False
    return keep[labels]


def fill_small_holes(
    mask: np.ndarray, share: float = 0.15, connectivity: Connectivity = "full", *, least: float = 0
) -> np.ndarray:
    """Fill holes (bounded background components) that are out of scale.

    Those of fewer than ``least`` pixels go whatever the others are like: a crowd of pinholes would pull the median
    down to itself. Then those smaller than ``share`` × the median of the rest, where more than one is left.
    """
    mask = np.asarray(mask, bool)
    labels, count = label(~np.pad(mask, 1), dual(connectivity))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = sizes < least
    small[:2] = False
    rest = sizes[2:][~small[2:]]
    if len(rest) > 1:
        small[2:] |= sizes[2:] < share * np.median(rest)
    inner = (slice(1, -1),) * mask.ndim
    return mask | small[labels[inner]]


def tidy(
    mask: np.ndarray, size: float, share: float = 0.15, connectivity: Connectivity = "full", *, least: float = 0
) -> np.ndarray:
    """:func:`remove_small`, then :func:`fill_small_holes`: the strongest trivial repair, and our post-processing."""
    return fill_small_holes(remove_small(mask, size, connectivity), share, connectivity, least=least)


def closing(mask: np.ndarray, radius: int) -> np.ndarray:
    """Morphological closing by a ball of ``radius`` pixels; the border is continued, not eroded."""
    grid = np.ogrid[tuple(slice(-radius, radius + 1) for _ in range(mask.ndim))]
    ball = sum(g**2 for g in grid) <= radius**2
    padded = np.pad(mask, radius + 1, mode="edge")
    closed = ndimage.binary_closing(padded, ball)
    return closed[(slice(radius + 1, -radius - 1),) * mask.ndim] | mask


def hysteresis(probability: np.ndarray, low: float, high: float, blur: float = 0.0) -> np.ndarray:
    """Keep what is above ``low`` and joined to something above ``high``; ``blur`` (pixels) softens it first."""
    soft = ndimage.gaussian_filter(np.asarray(probability, np.float32), blur) if blur else probability
    return apply_hysteresis_threshold(soft, low, high)
