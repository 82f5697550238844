"""One heat-map of two: how bright a place is, and how much of it a restoration takes away. Our choice.

On FLAIR the brightest places are often lesions, and smoothing alone makes that a hard baseline; restorations know
what is bright in healthy brains too. Both are smoothed and averaged. The rules are set by hand; ``python -m
tests.benchmarks.anomaly_choice`` chooses rules for given weights by lesions planted in phantoms, never by patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

Residual = Literal["absolute", "brighter"]


@dataclass(frozen=True)
class Rule:
    """(1 − ``share``) · smoothed grey values + ``share`` · smoothed ``residual``; ``sigma_mm`` of the Gaussian.

    Raises ``ValueError`` for a share outside of 0…1, a negative width or another residual.
    """

    share: float
    residual: Residual = "brighter"
    sigma_mm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.sigma_mm < 0 or self.residual not in ("absolute", "brighter"):
            raise ValueError("a share lies in 0…1, a width is not negative, a residual is absolute or brighter")


RULES: dict[str, Rule] = {
    "flair": Rule(0.75),
    "t2": Rule(0.75),
    "t1": Rule(1.0, "absolute"),
    "unknown": Rule(1.0, "absolute"),
}
"""By sequence. What is T1 or not known may hide lesions that are darker than their surroundings."""


def combine(
    image: np.ndarray,
    absolute: np.ndarray,
    brighter: np.ndarray,
    foreground: np.ndarray,
    sequence: str,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    rule: Rule | None = None,
) -> np.ndarray:
    """Heat-map float32 ≥ 0, to 1 where residuals are, of the shape of all, and 0 outside of ``foreground``, bool.

    ``image``: grey values in 0…1; ``absolute`` and ``brighter``: as of :class:`models.anomaly.restore.Restored`;
    ``spacing_mm``: edges of a voxel, axis by axis; ``rule``: another than that of ``sequence`` in :data:`RULES` (that
    of ``unknown`` for a sequence without one). Raises ``ValueError`` for unequal shapes.
    """
    chosen = rule or RULES.get(sequence, RULES["unknown"])
    residual = np.asarray(absolute if chosen.residual == "absolute" else brighter, np.float32)
    if not np.shape(image) == residual.shape == np.shape(foreground) or len(spacing_mm) != residual.ndim:
        raise ValueError("image, residual and foreground are of one shape, with a spacing for every axis")
    mixed = (1 - chosen.share) * np.asarray(image, np.float32) + chosen.share * residual
    return np.where(foreground, smoothed(mixed, spacing_mm, chosen.sigma_mm), 0).astype(np.float32)


def smoothed(image: np.ndarray, spacing_mm: Sequence[float], sigma_mm: float = 1.0) -> np.ndarray:
    """``image``, float, after a Gaussian of standard deviation ``sigma_mm``, float32; a single slice only within it."""
    width = [0.0 if side == 1 else sigma_mm / edge for side, edge in zip(image.shape, spacing_mm, strict=True)]
    return np.asarray(ndimage.gaussian_filter(np.asarray(image, np.float32), width), np.float32)
