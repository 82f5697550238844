"""How a refiner is measured on pairs of a clean mask and what an upstream segmenter made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from models.topology.refiner import Refiner


def validate(model: Refiner, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Means of :func:`validate_each` over the pairs."""
    return {key: float(np.mean(values)) for key, values in validate_each(model, pairs).items()}


def validate_each(
    model: Refiner,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    callback: Callable[[float], None] | None = None,
) -> dict[str, list[float]]:
    """Measures of the upstream, a trivial repair, and the refiner, for each (clean, upstream probability) pair.

    ``callback(fraction)`` is called before every pair and may raise to stop.

    Keys ``<method>.<measure>``: Dice, clDice, |Δβ₀|, |Δβ₁| and Betti matching error (8- or 26-connected foreground).
    """
    from models.topology.inference import refine
    from models.topology.repairs import tidy

    found: dict[str, list[float]] = {}
    for index, (clean, upstream) in enumerate(pairs):
        if callback:
            callback(index / len(pairs))
        methods = {
            "upstream": upstream > 0.5,
            "fillholes": tidy(upstream > 0.5, **TIDY),
            "refiner": tidy(refine(model, upstream) > 0.5, **TIDY),
        }
        for method, mask in methods.items():
            for measure, value in measures(mask, clean).items():
                found.setdefault(f"{method}.{measure}", []).append(value)
    return found


TIDY: dict[str, Any] = {"size": 40, "share": 0.15, "least": 32}
"""Pixels below which a piece goes, share of the median hole and pixels below which a hole is filled: after refinement
of a phantom, and by the trivial repair that stands beside it."""


def measures(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice, clDice, |Δβ₀|, |Δβ₁| and Betti matching error of one mask against its truth."""
    from models.metrics.betti import betti_errors
    from models.metrics.matching import betti_matching_error
    from models.metrics.overlap import cldice, dice

    b0, b1 = betti_errors(predicted, truth)[:2]
    return {
        "dice": dice(predicted, truth),
        "cldice": cldice(predicted, truth),
        "b0": float(b0),
        "b1": float(b1),
        "matching": float(betti_matching_error(predicted, truth)),
    }


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % percentile bootstrap interval over the masks."""
    drawn = np.random.default_rng(0).choice(values, size=(2000, len(values))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)
