"""How well heat-maps find lesions: one number over all voxels, by size of lesion, and how far chance could move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.anomaly.findings import SIZE_BINS, size_bin
from models.metrics.ranking import auroc, average_precision, best_dice

RESAMPLES = 400
RATE = 0.01
"""Share of healthy voxels of the same brain above the threshold that recall is told for."""
BINS = tuple(name for name, _ in SIZE_BINS)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is sought in one brain.

    ``inside`` and ``sought`` (lesions inside) bool [Z, H, W]; ``lesion`` int32 [P]: which lesion each of the P sought
    voxels belongs to, 0…K − 1, in the order of ``np.flatnonzero``; ``sizes`` [K]: names of size bins.
    """

    inside: np.ndarray
    sought: np.ndarray
    lesion: np.ndarray
    sizes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Bin:
    """Lesions of one size.

    ``ap``: their voxels against all that is healthy; ``recall``: mean share of a lesion above the threshold of
    :data:`RATE`; ``*_drawn`` float64 [R]: the same of resampled lesions.
    """

    ap: float
    recall: float
    ap_drawn: np.ndarray
    recall_drawn: np.ndarray
    lesions: int
    voxels: int


@dataclass(frozen=True, eq=False)
class Score:
    """One heat-map of one brain: over all voxels inside, and by size of lesion."""

    ap: float
    dice: float
    auroc: float
    ap_drawn: np.ndarray
    dice_drawn: np.ndarray
    bins: dict[str, Bin]


def truth_of(lesions: np.ndarray, inside: np.ndarray, voxel_ml: float) -> Truth:
    """``lesions`` and ``inside``, bool [Z, H, W]; lesions are pieces that share a face, an edge or a corner.

    What of a lesion lies outside is left out, and its size is that of what is inside. Raises ``ValueError`` where
    nothing is sought.
    """
    sought = lesions & inside
    pieces, count = ndimage.label(sought, np.ones((3, 3, 3)))
    if not count:
        raise ValueError("no lesion lies inside the brain")
    sizes = np.bincount(pieces.ravel())[1:] * voxel_ml
    return Truth(inside, sought, (pieces[sought] - 1).astype(np.int32), tuple(size_bin(float(ml)) for ml in sizes))


def score(heat: np.ndarray, truth: Truth, *, seed: int = 0, resamples: int = RESAMPLES) -> Score:
    """Measure ``heat``, float [Z, H, W]. The same ``seed`` draws the same lesions for every heat-map of a brain."""
    found = heat[truth.sought].astype(np.float64)
    healthy = np.sort(heat[truth.inside & ~truth.sought].astype(np.float64))
    # Healthy voxels that score at least as high: equal scores are found together.
    above = (len(healthy) - np.searchsorted(healthy, found, "left")).astype(np.float64)
    order = np.argsort(-found, kind="stable")
    ordered = found[order]
    last = np.searchsorted(-ordered, -ordered, "right") - 1
    ranked = _Ranked(above[order], last, truth.lesion[order])
    weights = drawn_weights(len(truth.sizes), resamples, seed)
    curves = [ranked.curve(weight) for weight in weights]
    inside, sought = heat[truth.inside], truth.sought[truth.inside]
    threshold = np.quantile(healthy, 1 - RATE, method="higher")
    shares = np.bincount(truth.lesion, found > threshold) / np.bincount(truth.lesion)
    bins = {}
    for name in BINS:
        chosen = np.array([size == name for size in truth.sizes])
        if not chosen.any():
            continue
        own = drawn_weights(int(chosen.sum()), resamples, seed)
        spread = np.zeros((len(own) + 1, len(chosen)))
        spread[0, chosen], spread[1:, chosen] = 1, own
        values = [ranked.curve(weight)[0] for weight in spread]
        recalls = spread @ np.where(chosen, shares, 0) / spread.sum(1)
        bins[name] = Bin(
            values[0],
            float(recalls[0]),
            np.array(values[1:]),
            recalls[1:],
            int(chosen.sum()),
            int(chosen[truth.lesion].sum()),
        )
    return Score(
        average_precision(inside, sought),
        best_dice(inside, sought),
        auroc(inside, sought),
        np.array([ap for ap, _ in curves]),
        np.array([dice for _, dice in curves]),
        bins,
    )


def drawn_weights(count: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of ``count`` lesions is drawn in a bootstrap, float64 [R, count]."""
    rng = np.random.default_rng([47, seed, count])
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values [R]; those that could not be told (NaN) are left out."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def mean_of(drawn: Sequence[np.ndarray]) -> np.ndarray:
    """Resampled values of several brains as those of their mean, float64 [R]: each brain is drawn for itself."""
    return np.mean(np.stack(list(drawn)), axis=0)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Lesion voxels from the highest score down: healthy voxels that score as high, end of ties, and their lesion."""

    above: np.ndarray
    last: np.ndarray
    lesion: np.ndarray

    def curve(self, weight: np.ndarray) -> tuple[float, float]:
        """Average precision and best Dice where lesion k counts ``weight[k]`` times."""
        by_voxel = weight[self.lesion]
        hits = np.cumsum(by_voxel)[self.last]
        total = float(by_voxel.sum())
        if not total:
            return float("nan"), float("nan")
        ranks = hits + self.above
        precision = hits / np.maximum(ranks, 1e-12)
        return float((by_voxel * precision).sum() / total), float((2 * hits / (ranks + total)).max())
