"""A made-up atlas for tests: a ball of white matter in a grey shell in fluid, with a ventricle."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from models.phantoms.brain import Atlas


@cache
def ball_atlas(side: int = 72) -> Atlas:
    """Atlas of ``side`` voxels with a brain of 0.42 × side in radius."""
    axes = np.arange(side) - (side - 1) / 2
    x, y, z = np.meshgrid(axes, axes, axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    outer = 0.42 * side
    # Grooves in the shell stand for sulci.
    wavy = radius + 1.5 * np.sin(np.arctan2(y, x) * 9) * (radius > 0.5 * outer)
    ventricle = (np.abs(x) < 4) & (np.hypot(y, z) < 7)
    mask = radius < outer
    white = (wavy < outer - 9) & ~ventricle
    csf = mask & ((wavy > outer - 3) | ventricle)
    shares = np.stack(
        [ndimage.gaussian_filter(part.astype(np.float32), 0.8) for part in (csf, mask & ~white & ~csf, white)]
    )
    shares = np.where(mask, shares / np.maximum(shares.sum(0), 1e-6), 0).astype(np.float32)
    t1 = (60 * shares[0] + 160 * shares[1] + 220 * shares[2]).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 3] = -(side - 1) / 2
    return Atlas(shares[1], shares[2], shares[0], t1, mask, affine)
