"""Families of orthogonal functions, as data in one table, and random fields made of their products.

Source: "Universal Topology Refinement for Medical Image Segmentation with Polynomial Feature Synthesis"
(arXiv 2409.09796): a field h = Σ aᵢⱼₖ φᵢ(x) φⱼ(y) φₖ(z) with aᵢⱼₖ ~ N(0, 1) and φ an orthogonal family. Any complete
family will do; the ones below are the classical ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev, hermite, laguerre, legendre


@dataclass(frozen=True)
class Family:
    """Orthogonal functions φ₀…φₙ on ``interval`` with respect to ``weight``.

    ``basis(order, x)`` returns float64 (order + 1, len(x)). ``window`` is the part of the interval that an image side
    is mapped to: for functions on an infinite interval, the part in which they are not yet negligible.
    """

    name: str
    interval: tuple[float, float]
    window: tuple[float, float]
    basis: Callable[[int, np.ndarray], np.ndarray]
    weight: Callable[[np.ndarray], np.ndarray]


def _ones(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def _legendre(order: int, x: np.ndarray) -> np.ndarray:
    return legendre.legvander(x, order).T


def _chebyshev(order: int, x: np.ndarray) -> np.ndarray:
    return chebyshev.chebvander(x, order).T


def _hermite(order: int, x: np.ndarray) -> np.ndarray:
    """Hermite functions: polynomial × exp(−x²/2), normalised, so that they are orthogonal without a weight."""
    values = hermite.hermvander(x, order).T * np.exp(-(x**2) / 2)
    log_norm = np.cumsum([0.0] + [np.log(2.0 * n) for n in range(1, order + 1)])
    return values * np.exp(-0.5 * (log_norm + 0.5 * np.log(np.pi)))[:, None]


def _laguerre(order: int, x: np.ndarray) -> np.ndarray:
    """Laguerre functions: polynomial × exp(−x/2), orthonormal on the half line."""
    return laguerre.lagvander(x, order).T * np.exp(-x / 2)


def _fourier(order: int, x: np.ndarray) -> np.ndarray:
    """1, cos x, sin x, cos 2x, sin 2x, … on [−π, π]."""
    rows = [np.ones_like(x)]
    for n in range(1, order + 1):
        k = (n + 1) // 2
        rows.append(np.cos(k * x) if n % 2 else np.sin(k * x))
    return np.stack(rows)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("legendre", (-1.0, 1.0), (-1.0, 1.0), _legendre, _ones),
        Family("chebyshev", (-1.0, 1.0), (-1.0, 1.0), _chebyshev, lambda x: 1.0 / np.sqrt(1.0 - x**2)),
        Family("hermite", (-np.inf, np.inf), (-4.0, 4.0), _hermite, _ones),
        Family("laguerre", (0.0, np.inf), (0.0, 12.0), _laguerre, _ones),
        Family("fourier", (-np.pi, np.pi), (-np.pi, np.pi), _fourier, _ones),
    )
}
MIXTURE = "mixture"


def random_field(family: str, shape: Sequence[int], order: int, rng: np.random.Generator) -> np.ndarray:
    """A random field float32 of ``shape`` (two or three sides), scaled to 0…1.

    ``family``: a name in :data:`FAMILIES`, or ``"mixture"`` for a random one on each axis. ``order`` ≥ 0: highest order
    on each axis. Raises ``ValueError`` on an unknown family, a negative order or another number of sides.
    """
    if family != MIXTURE and family not in FAMILIES:
        raise ValueError(f"no family is called {family!r}; there are {', '.join([*FAMILIES, MIXTURE])}")
    if order < 0 or len(shape) not in (2, 3):
        raise ValueError("a field needs an order of at least 0 and two or three sides")
    axes = []
    for side in shape:
        chosen = FAMILIES[str(rng.choice(list(FAMILIES)))] if family == MIXTURE else FAMILIES[family]
        axes.append(chosen.basis(order, np.linspace(*chosen.window, side)))
    coefficients = rng.standard_normal((order + 1,) * len(shape))
    letters, sides = "ijk"[: len(shape)], "xyz"[: len(shape)]
    inputs = ",".join(f"{a}{b}" for a, b in zip(letters, sides, strict=True))
    field = np.einsum(f"{letters},{inputs}->{sides}", coefficients, *axes, optimize=True)
    low, high = float(field.min()), float(field.max())
    return ((field - low) / (high - low) if high > low else np.zeros(shape)).astype(np.float32)
