"""How well scores rank what is sought: average precision, area under the ROC curve, best Dice over all thresholds."""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean precision over what is found, each at the threshold that finds it; equal scores are found together.

    ``scores`` float and ``truth`` bool of one shape. In 0…1; a random order gives the share of ``truth``. Raises
    ``ValueError`` when shapes differ or nothing is sought.
    """
    hits, ranks = _curve(scores, truth)
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / ranks)))


def best_dice(scores: np.ndarray, truth: np.ndarray) -> float:
    """Largest Dice coefficient of any threshold. Arguments and errors as of :func:`average_precision`."""
    hits, ranks = _curve(scores, truth)
    return float((2 * hits / (ranks + hits[-1])).max())


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the receiver operating characteristic: 0.5 for a random order, 1 for a perfect one.

    Arguments and errors as of :func:`average_precision`; ``ValueError`` also when all is sought.
    """
    hits, ranks = _curve(scores, truth)
    misses = ranks - hits
    if not misses[-1]:
        raise ValueError("where all is sought there is nothing to tell it from")
    return float(np.trapezoid(np.r_[0, hits / hits[-1]], np.r_[0, misses / misses[-1]]))


def _curve(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Found and looked at, float64, at every threshold from the highest score down."""
    scores, truth = np.asarray(scores).ravel(), np.asarray(truth, bool).ravel()
    if scores.shape != truth.shape or not truth.any():
        raise ValueError("scores and truth have one shape, and something is sought")
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    last = np.r_[np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1]
    return np.cumsum(truth[order], dtype=np.float64)[last], last + 1.0
