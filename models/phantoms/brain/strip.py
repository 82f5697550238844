"""The tight mask that skull-stripping programs leave."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage


def stripped(tissues: np.ndarray, gap_mm: float = 3.0) -> np.ndarray:
    """Brain without the fluid around it, bool like ``tissues`` uint8 [X, Y, Z] (0 background, 1 fluid, 2, 3 tissue).

    Plane by plane across the last axis: tissue, with gaps up to about twice ``gap_mm`` closed and holes filled, so that
    ventricles and most sulci stay inside. Real masks of stripped scans are like this; the phantom's own mask is all
    the space that the skull leaves.
    """
    side = 2 * round(gap_mm) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    made = np.zeros(tissues.shape, bool)
    for k in range(tissues.shape[-1]):
        solid = np.ascontiguousarray(tissues[..., k] > 1, dtype=np.uint8)
        if solid.any():
            padded = np.pad(solid, side)  # closing would stick to the border of the picture
            closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[side:-side, side:-side]
            made[..., k] = ndimage.binary_fill_holes(closed)
    return made & (tissues > 0)
