"""What the topology benchmark compares: trivial repairs, refiners, and how the parameters of both are chosen.

Every parameter is chosen on masks other than those tested, by the mean Betti matching error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch

from backend.training.topology import WIDTHS
from models.metrics.matching import betti_matching_error
from models.topology.fit import FitConfig, fit
from models.topology.inference import refine
from models.topology.perturb import PerturbationConfig
from models.topology.refiner import Refiner
from models.topology.repairs import closing, copy_border, hysteresis, remove_small, tidy

METHODS = ("upstream", "small", "closing", "hysteresis", "fillholes", "paper", "shipped", "fitted")
TRIVIAL = METHODS[:5]
SIZES, SHARES, LEAST = (50, 100, 200, 400, 800), (0.0, 0.05, 0.15, 0.3), (0, 16, 32, 64)

Chosen = TypeVar("Chosen")
Repair = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """One mask: bool truth and what an upstream segmenter made of it, float32 0…1, both (H, W) or (D, H, W)."""

    name: str
    truth: np.ndarray
    upstream: np.ndarray


@dataclass(frozen=True)
class Cleaning:
    """Parameters of ``tidy``: smallest piece (pixels), share of the median hole, smallest hole (pixels)."""

    size: int
    share: float
    least: int

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        """The tidied mask."""
        return tidy(mask, self.size, self.share, least=self.least)


def read_pairs(case: Path) -> list[Pair]:
    """All pairs of a folder whose names occur under both ``truth`` and ``prediction``, sorted by name."""
    pairs = []
    for path in sorted((case / "truth").glob("*.png")):
        other = case / "prediction" / path.name
        if other.is_file():
            truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            upstream = cv2.imread(str(other), cv2.IMREAD_GRAYSCALE).astype(np.float32)
            pairs.append(Pair(path.stem, truth > truth.max() / 2, upstream / max(float(upstream.max()), 1.0)))
    return pairs


def trivial(training: Sequence[Pair]) -> dict[str, Repair]:
    """The trivial repairs with parameters chosen on ``training``. All but ``upstream`` get the border copied first."""
    masks = [(copy_border(pair.upstream), pair.truth) for pair in training]
    small = _best(SIZES, lambda m, size: remove_small(m > 0.5, size), masks)
    radius = _best((1, 2, 3, 5), lambda m, radius: closing(m > 0.5, radius), masks)
    levels = [(b, low, high) for b in (1.0, 2.0) for low in (0.3, 0.4, 0.5) for high in (0.6, 0.8, 0.9)]
    blur, low, high = _best(levels, lambda m, p: hysteresis(m, p[1], p[2], p[0]), masks)
    clean = _best(
        [Cleaning(*values) for values in product(SIZES, SHARES, LEAST)], lambda m, clean: clean(m > 0.5), masks
    )
    return {
        "upstream": lambda upstream: upstream > 0.5,
        "small": lambda upstream: remove_small(copy_border(upstream) > 0.5, small),
        "closing": lambda upstream: closing(copy_border(upstream) > 0.5, radius),
        "hysteresis": lambda upstream: hysteresis(copy_border(upstream), low, high, blur),
        "fillholes": lambda upstream: clean(copy_border(upstream) > 0.5),
    }


def refined(model: Refiner, training: Sequence[Pair]) -> Repair:
    """A refiner with ``tidy`` after it; its threshold and the parameters of ``tidy`` chosen on half of ``training``.

    The trivial repair ``fillholes`` is the same ``tidy``, chosen in the same way, without the refiner before it.
    """
    masks = [(refine(model, copy_border(pair.upstream)), pair.truth) for pair in training[::2]]
    choices = product(
        (0.3, 0.4, 0.5), (Cleaning(*values) for values in product(SIZES[::2], SHARES[::2] + SHARES[3:], LEAST[::2]))
    )
    threshold, clean = _best(list(choices), lambda m, choice: choice[1](m > choice[0]), masks)
    return lambda upstream: clean(refine(model, copy_border(upstream)) > threshold)


def fitted(truths: Sequence[np.ndarray], recipe: str, minutes: float, seed: int, start: Refiner | None) -> Refiner:
    """A refiner trained for ``minutes`` on clean (H, W) masks; it starts from ``start`` or from chance."""
    torch.manual_seed(seed)
    model = Refiner(**start.arguments) if start is not None else Refiner(2, WIDTHS[2])
    rate = FitConfig().learning_rate
    if start is not None:
        model.load_state_dict(start.state_dict())
        rate /= 2
    config = FitConfig(learning_rate=rate, zoom=(0.4, 1.4), perturbation=PerturbationConfig(recipe=recipe))
    fit(model, truths, config, minutes=minutes, seed=seed)
    return model


def _best(
    candidates: Sequence[Chosen],
    repair: Callable[[np.ndarray, Chosen], np.ndarray],
    masks: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Chosen:
    """The candidate whose repair has the least mean Betti matching error over (upstream, truth) pairs."""
    scores = [np.mean([betti_matching_error(repair(m, c), truth) for m, truth in masks]) for c in candidates]
    return candidates[int(np.argmin(scores))]
