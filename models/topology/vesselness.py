"""A simple upstream for photographs: how much a place looks like a dark line, without any learning."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import sato, threshold_otsu

RIM = 12  # pixels inside the edge of the field of view where every filter sees a line


def vesselness(picture: np.ndarray, sigmas: tuple[float, ...] = (1.5, 2.5, 4.0)) -> np.ndarray:
    """Probability-like map of dark lines in a colour photograph, float32 (H, W), 0…1, one half at Otsu's threshold.

    ``picture``: (H, W, 3), any range; its green channel is used, in which vessels of the retina stand out most.
    ``sigmas``: half-widths of the lines in pixels. The ridge filter is Sato et al., Medical Image Analysis 1998.
    Raises ``ValueError`` for another shape.
    """
    if picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"a colour picture (H, W, 3) is needed, not {picture.shape}")
    green = picture[..., 1].astype(np.float32) / max(float(picture.max()), 1e-6)
    view = ndimage.binary_erosion(ndimage.gaussian_filter(green, 3) > 0.1, iterations=RIM)
    if not view.any():
        return np.zeros(green.shape, np.float32)
    lines = np.where(view, sato(green, sigmas=sigmas, black_ridges=True), 0.0)
    return np.clip(0.5 * lines / max(float(threshold_otsu(lines[view])), 1e-6), 0.0, 1.0).astype(np.float32)
