"""Synthesis of topological errors: a clean mask in, a damaged one out, no image needed.

Two recipes, chosen by name:

- ``"polynomial"``: the published one (arXiv 2409.09796): a random field of an orthogonal family removes part of the
  mask inside a window on its skeleton, Gaussian blobs add false components and bridges.
- ``"clustered"``: ours. The signed distance of the mask is disturbed by noise of several scales whose strength is
  itself clustered in places, crossed by cracks, dotted with specks and merged by blots, then thresholded again. Some
  samples use the polynomial field instead, or both. Real segmenters fail in clusters and leave hard edges; on binary
  input the published recipe alone taught the network little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage, special
from skimage.morphology import skeletonize

from models.phantoms.fields import smooth_field
from models.topology.families import random_field

BLUR = 0.5  # pixels, of the published recipe's final smoothing


@dataclass(frozen=True)
class PerturbationConfig:
    """How to damage a mask. Lengths in pixels. Ranges are sampled uniformly for every mask.

    Polynomial: ``slope`` is how strongly the field h in 0…1 acts, H = max(0, 1 − slope · (1 − h)), 1.5 as published;
    ``deleted`` the accepted share of the window's foreground that it removes: a draw outside is rejected, up to
    ``attempts`` times; ``second_field`` and ``box`` are the shares of samples that get one. Clustered: ``orders`` is
    the range of the field's order, ``strength`` that of the noise; ``patches`` is the share of samples that get some,
    and ``soft_share`` of the samples stay probabilities, the rest are binary.
    """

    recipe: str = "clustered"
    family: str = "chebyshev"
    order: int = 6
    slope: float = 1.5
    window: int = 64
    deleted: tuple[float, float] = (0.05, 0.6)
    attempts: int = 20
    blobs: tuple[int, int] = (1, 9)
    second_field: float = 0.3
    box: float = 0.1
    orders: tuple[int, int] = (4, 12)
    strength: tuple[float, float] = (0.1, 1.2)
    soft_share: float = 0.45
    patches: float = 0.6


@dataclass(frozen=True)
class Perturbation:
    """A damaged mask. ``soft``: float32 of the mask's shape, 0…1. ``deleted``: share of foreground below one half.

    ``added``: share of background at or above it. ``field``: float32 of the shape, what disturbed the mask: H, by which
    it was multiplied (polynomial; 1 outside the window), or by how many pixels its edge was moved outwards (clustered).
    """

    soft: np.ndarray
    deleted: float
    added: float
    field: np.ndarray


def perturb(mask: np.ndarray, rng: np.random.Generator, config: PerturbationConfig | None = None) -> Perturbation:
    """Damage a mask, bool (H, W) or (D, H, W). Raises ``ValueError`` on an unknown recipe."""
    config = config or PerturbationConfig()
    if config.recipe not in RECIPES:
        raise ValueError(f"no recipe is called {config.recipe!r}; there are {', '.join(RECIPES)}")
    mask = np.asarray(mask, bool)
    soft, field = RECIPES[config.recipe](mask, rng, config)
    soft = np.clip(soft, 0.0, 1.0).astype(np.float32)
    foreground, background = int(np.count_nonzero(mask)), int(np.count_nonzero(~mask))
    return Perturbation(
        soft=soft,
        deleted=int(np.count_nonzero(mask & (soft < 0.5))) / max(foreground, 1),
        added=int(np.count_nonzero(~mask & (soft >= 0.5))) / max(background, 1),
        field=field,
    )


Recipe = Callable[[np.ndarray, np.random.Generator, PerturbationConfig], tuple[np.ndarray, np.ndarray]]
"""Mask, generator and settings in; the damaged map and the field that damaged it out."""


def polynomial(mask: np.ndarray, rng: np.random.Generator, config: PerturbationConfig) -> tuple[np.ndarray, np.ndarray]:
    """The published recipe. Departure: the deleted share is checked, and a draw outside the range is drawn again.

    Where no draw fits, the last one is shifted to delete a share drawn from the range.
    """
    soft = mask.astype(np.float32)
    acting = np.ones(mask.shape, np.float32)
    window = _window(mask, rng, config.window)
    inside = mask[window]
    if inside.any():
        for _ in range(max(1, config.attempts)):
            field = random_field(config.family, inside.shape, config.order, rng)
            keep = np.maximum(0.0, 1.0 - config.slope * (1.0 - field))
            if config.deleted[0] <= _deleted(inside, keep) <= config.deleted[1]:
                break
        else:
            keep = _shifted(field, inside, rng.uniform(*config.deleted))
        soft[window] *= keep
        acting[window] = keep
    for _ in range(int(rng.integers(config.blobs[0], config.blobs[1] + 1))):
        _add_blob(soft, rng, sigma=max(1.0, rng.normal(3.0, 0.5)), height=rng.uniform(0.0, 0.9))
    if rng.random() < config.second_field:
        extra = random_field(config.family, inside.shape, config.order, rng)
        soft[window] = np.maximum(soft[window], np.where(inside, 0.0, np.maximum(0.0, 2.5 * extra - 1.5)))
    if rng.random() < config.box:
        soft[_window(mask, rng, max(4, config.window // 8))] = 0.0
    return ndimage.gaussian_filter(soft, BLUR), acting


def _deleted(inside: np.ndarray, keep: np.ndarray) -> float:
    """Share of a window's foreground that falls below one half, after the blur, which takes most from thin lines."""
    return float(np.mean(ndimage.gaussian_filter(inside * keep, BLUR)[inside] < 0.5))


def _shifted(field: np.ndarray, inside: np.ndarray, share: float) -> np.ndarray:
    """The field shifted so that it deletes just that share of the foreground, by bisection."""
    low, high = -0.5, 1.5  # keeps everything, deletes everything
    for _ in range(10):
        middle = (low + high) / 2
        keep = np.clip(field - middle + 0.5, 0.0, 1.0)
        low, high = (low, middle) if _deleted(inside, keep) > share else (middle, high)
    return keep


def clustered(mask: np.ndarray, rng: np.random.Generator, config: PerturbationConfig) -> tuple[np.ndarray, np.ndarray]:
    """Our recipe: clustered noise on the signed distance, cracks, specks and blots, or a polynomial field, or both."""
    way = rng.random()
    inside, outside = _distances(mask)
    distance = inside - outside
    core = inside[inside > 0]
    width = float(np.clip(np.quantile(core, 0.9), 1.5, 40.0)) if core.size else 2.0
    changed = distance.copy()
    if way < 0.85:
        changed += width * rng.uniform(*config.strength) * _clustered_noise(mask.shape, width, rng)
        changed += rng.normal(0.0, 0.15) * width
        _cracks(changed, mask, width, rng)
        _specks(changed, width, rng)
        _blots(changed, width, rng)
        if rng.random() < config.patches:
            _patches(changed, width, outside, rng)
    if way >= 0.65:
        order = int(rng.integers(config.orders[0], config.orders[1] + 1))
        field = random_field(config.family, mask.shape, order, rng) - rng.uniform(0.25, 0.5)
        where = smooth_field(mask.shape, 6 * width, rng) > rng.uniform(-0.5, 1.0)
        changed = np.where(where & (field < 0), changed + 6 * width * field, changed)
    moved = (changed - distance).astype(np.float32)
    if rng.random() < config.soft_share:
        # A segmenter is unsure at edges, sure elsewhere only up to a point, and grainy all over.
        steep = rng.uniform(2.0, 6.0) * np.tanh(changed / max(0.7, width * rng.uniform(0.2, 1.0)))
        grain = rng.uniform(0.0, 1.5) * smooth_field(mask.shape, rng.uniform(0.8, 2.0), rng)
        return special.expit(steep + grain), moved
    return (changed > 0).astype(np.float32), moved


RECIPES: dict[str, Recipe] = {
    "polynomial": polynomial,
    "clustered": clustered,
}


def _distances(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in pixels to the other class, inside and outside the mask, each float32 and 0 on the other side."""
    limit = float(max(mask.shape))
    both: list[np.ndarray] = []
    for part in (mask, ~mask):
        if part.all():
            both.append(np.full(mask.shape, limit, np.float32))
        elif mask.ndim == 2:
            both.append(np.asarray(cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)))
        else:
            both.append(ndimage.distance_transform_edt(part).astype(np.float32))
    return both[0], both[1]


def _clustered_noise(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of three scales, stronger in some places than in others."""
    noise = np.zeros(shape, np.float32)
    for scale in (0.35, 0.9, 2.2):
        noise += rng.uniform(0.2, 1.0) * smooth_field(shape, max(1.0, scale * width * rng.uniform(0.7, 1.4)), rng)
    place = smooth_field(shape, width * rng.uniform(4.0, 12.0), rng)
    return noise * np.clip(0.25 + np.maximum(place - rng.uniform(-0.6, 1.2), 0.0), 0.0, 2.0)


def _random_points(where: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = np.argwhere(where)
    return chosen[rng.integers(len(chosen), size=count)] if len(chosen) else chosen


def _ball(changed: np.ndarray, centre: np.ndarray, radii: np.ndarray, height: float) -> None:
    """Add (or subtract) a smooth ellipsoidal bump of ``height`` in place."""
    reach = np.ceil(2.0 * radii).astype(int)
    low = np.maximum(centre - reach, 0)
    high = np.minimum(centre + reach + 1, changed.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grids = np.ogrid[window]
    squared = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True))
    changed[window] += (height * np.exp(-np.asarray(squared))).astype(np.float32)


def _cracks(changed: np.ndarray, mask: np.ndarray, width: float, rng: np.random.Generator) -> None:
    """Cut the structure at random places of its body: narrow, deep gaps."""
    count = rng.poisson(3.0 * mask.size ** (1 / mask.ndim) / 128)
    for centre in _random_points(mask, count, rng):
        _ball(changed, centre, width * rng.uniform(0.3, 1.3, mask.ndim) + 0.5, -width * rng.uniform(1.0, 4.0))


def _specks(changed: np.ndarray, width: float, rng: np.random.Generator) -> None:
    """Small false islands and small false holes."""
    for sign in (1.0, -1.0):
        for _ in range(rng.poisson(4.0)):
            centre = np.array([rng.integers(n) for n in changed.shape])
            radii = np.maximum(1.0, width * rng.uniform(0.2, 0.8, changed.ndim))
            value = float(changed[tuple(centre)])
            if sign * value < 0:
                _ball(changed, centre, radii, sign * (abs(value) + width * rng.uniform(0.2, 1.0)))


def _blots(changed: np.ndarray, width: float, rng: np.random.Generator) -> None:
    """A few large spots in which whole cells are filled, or whole stretches are lost."""
    for _ in range(rng.poisson(0.8)):
        centre = np.array([rng.integers(n) for n in changed.shape])
        radii = width * rng.uniform(1.5, 6.0, changed.ndim)
        _ball(changed, centre, radii, rng.choice([-1.0, 1.0]) * width * rng.uniform(1.0, 4.0))


def _patches(changed: np.ndarray, width: float, outside: np.ndarray, rng: np.random.Generator) -> None:
    """Ragged patches, up to several cells wide, in which everything is filled or everything is lost."""
    gaps = outside[outside > 0]
    gap = float(np.clip(np.quantile(gaps, 0.9), 1.5, 60.0)) if gaps.size else width
    for sign, depth in ((1.0, gap), (-1.0, width)):
        if rng.random() < 0.7:
            scale = (width + gap) * rng.uniform(0.3, 1.5)
            place = smooth_field(changed.shape, scale, rng)
            place += rng.uniform(0.1, 0.6) * smooth_field(changed.shape, max(1.0, scale * rng.uniform(0.1, 0.3)), rng)
            inside = np.clip((place - rng.uniform(1.2, 2.6)) * rng.uniform(1.0, 5.0), 0.0, 1.0)
            changed += sign * depth * rng.uniform(1.0, 3.0) * inside


def _add_blob(soft: np.ndarray, rng: np.random.Generator, *, sigma: float, height: float) -> None:
    background = soft < 0.5
    points = _random_points(background, 1, rng)
    if len(points):
        bump = np.zeros_like(soft)
        _ball(bump, points[0], np.full(soft.ndim, sigma * np.sqrt(2.0)), height)
        np.maximum(soft, bump, out=soft)


def _window(mask: np.ndarray, rng: np.random.Generator, side: int) -> tuple[slice, ...]:
    """A window of ``side`` pixels centred on a random point of the skeleton, cut at the border."""
    points = _random_points(skeletonize(mask), 1, rng) if mask.any() else np.zeros((0, mask.ndim), int)
    centre = points[0] if len(points) else np.array([n // 2 for n in mask.shape])
    low = [int(np.clip(c - side // 2, 0, max(0, n - side))) for c, n in zip(centre, mask.shape, strict=True)]
    return tuple(slice(a, min(a + side, n)) for a, n in zip(low, mask.shape, strict=True))
