"""Statistics of the echo benchmark: Fréchet distances with their errors, and re-identification within clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import mannwhitneyu

from models.metrics.frechet import frechet_distance
from tests.benchmarks.harness import Interval

GROUPS = 10


def distance(first: np.ndarray, second: np.ndarray) -> Interval:
    """Fréchet distance of features [clips, …, d] with an interval by the jackknife over groups of clips.

    The bootstrap would repeat clips, which narrows covariances and pushes the distance up; leaving a tenth of the
    clips out on both sides does not. Source: Efron and Tibshirani 1993, chapter 11.
    """
    value = frechet_distance(_flat(first), _flat(second))
    left_out = [
        frechet_distance(_flat(_without(first, group)), _flat(_without(second, group))) for group in range(GROUPS)
    ]
    error = float(np.sqrt((GROUPS - 1) / GROUPS * np.square(np.array(left_out) - np.mean(left_out)).sum()))
    return Interval(value, max(0.0, value - 1.96 * error), value + 1.96 * error)


class Identity:
    """Likeness of two frames as cosine of features, in directions that tell patients apart.

    Fitted to real frames [clips, frames, d]: centred, and scaled so that the variance within clips is 1 in every
    direction, after which what is left between clips is what tells patients.
    """

    def __init__(self, real: np.ndarray) -> None:
        self._centre = real.mean((0, 1))
        within = _flat(real - real.mean(1, keepdims=True))
        values, vectors = np.linalg.eigh(np.cov(within, rowvar=False))
        self._map = vectors / np.sqrt(values + 1e-3 * values.max())

    def own(self, features: np.ndarray) -> np.ndarray:
        """Mean likeness of frame 0 of each clip to its later frames, [clips]."""
        return np.diagonal(self._likeness(features)).copy()

    def others(self, features: np.ndarray) -> np.ndarray:
        """Mean likeness of frame 0 of each clip to the later frames of the next clip, [clips]."""
        likeness = self._likeness(features)
        order = np.arange(len(likeness))
        return likeness[order, (order + 1) % len(order)]

    def auc(self, features: np.ndarray) -> float:
        """Probability that a later frame of the same clip is more alike than one of another clip."""
        likeness = self._likeness(features)
        same = np.eye(len(likeness), dtype=bool)
        wins = mannwhitneyu(likeness[same], likeness[~same]).statistic
        return float(wins / (same.sum() * (~same).sum()))

    def _likeness(self, features: np.ndarray) -> np.ndarray:
        mapped = (features - self._centre) @ self._map
        mapped /= np.linalg.norm(mapped, axis=-1, keepdims=True)
        return np.asarray(np.einsum("id,jfd->ijf", mapped[:, 0], mapped[:, 1:]).mean(-1))


def seam(clips: Sequence[np.ndarray], borders: Sequence[int]) -> np.ndarray:
    """Of each clip [T, H, W]: mean difference between frames across the borders over that between all others."""
    found = []
    for one in clips:
        steps = np.abs(np.diff(one.astype(np.float32), axis=0)).mean((1, 2))
        across = np.isin(np.arange(1, len(one)), borders)
        found.append(float(steps[across].mean() / steps[~across].mean()))
    return np.array(found)


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])


def _without(features: np.ndarray, group: int) -> np.ndarray:
    return features[np.arange(len(features)) % GROUPS != group]
