"""Overlap of two binary masks: Dice, and clDice for thin structures. 2D and 3D."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient of two bool masks of equal shape, 0 to 1; two empty masks agree (1)."""
    _check(predicted, truth)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
    return 2.0 * int(np.count_nonzero(predicted & truth)) / total if total else 1.0


def cldice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Centreline Dice of two bool masks (2D or 3D), 0 to 1 (Shit et al. 2021, equation 1).

    Harmonic mean of topology precision (share of the prediction's skeleton inside the truth) and topology sensitivity
    (share of the truth's skeleton inside the prediction). Hard skeletons (Zhang-Suen in 2D, Lee in 3D), not the soft
    ones of the loss. Two empty masks agree (1); one empty mask gives 0.
    """
    _check(predicted, truth)
    if not predicted.any() and not truth.any():
        return 1.0
    precision = _share(skeletonize(predicted), truth)
    sensitivity = _share(skeletonize(truth), predicted)
    return 2.0 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _share(skeleton: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    skeleton = skeleton.astype(bool)
    length = int(np.count_nonzero(skeleton))
    return int(np.count_nonzero(skeleton & mask)) / length if length else 0.0


def _check(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
    if np.shape(predicted) != np.shape(truth):
        raise ValueError(f"masks differ in shape: {np.shape(predicted)} and {np.shape(truth)}")
    if predicted.dtype != np.bool_ or truth.dtype != np.bool_:
        raise TypeError("masks are arrays of bool")
