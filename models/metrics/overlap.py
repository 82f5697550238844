"""Overlap of two binary masks: Dice and centreline Dice."""

from __future__ import annotations

import numpy as np
from skimage.morphology import skeletonize


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient 2|A∩B| / (|A|+|B|) of two masks of one shape, 0 to 1; two empty masks agree (1)."""
    predicted, truth = _both(predicted, truth)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
    return 2.0 * int(np.count_nonzero(predicted & truth)) / total if total else 1.0


def cldice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Centreline Dice of two masks of one shape (2D or 3D), 0 to 1; two empty masks agree (1).

    Harmonic mean of the share of the prediction's skeleton inside the truth and of the truth's skeleton inside the
    prediction. Source: Shit et al., "clDice", CVPR 2021. Skeletons by thinning (Zhang–Suen in 2D, Lee in 3D).
    """
    predicted, truth = _both(predicted, truth)
    if not predicted.any() and not truth.any():
        return 1.0
    if not predicted.any() or not truth.any():
        return 0.0
    skeleton_p, skeleton_t = skeletonize(predicted), skeletonize(truth)
    precision = np.count_nonzero(skeleton_p & truth) / np.count_nonzero(skeleton_p)
    sensitivity = np.count_nonzero(skeleton_t & predicted) / np.count_nonzero(skeleton_t)
    return 2.0 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _both(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.shape(predicted) != np.shape(truth):
        raise ValueError(f"masks of different shapes cannot be compared: {np.shape(predicted)} and {np.shape(truth)}")
    return np.asarray(predicted, bool), np.asarray(truth, bool)
