"""Held-out phantoms with a planted lesion each, and how well heat-maps find them beside plain intensity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from backend.training.anomaly_slices import (
    HELD_OUT,
    SIDES,
    Progress,
    cut,
    in_processes,
    key_of,
    load_kept,
    number_of,
    save,
    with_neighbours,
)

if TYPE_CHECKING:
    from models.anomaly.network import Restorer
    from models.phantoms.brain import Atlas, Lesion

MEASURED = ("t1", "t2", "flair")
WITH, WITHOUT = 3, 1
"""Slices through a lesion and beside it that are kept of each."""
SMOOTH_MM = 1.0
"""Standard deviation of the smoothing of the hard baseline."""
SEVERITIES = {"restorer": (0.005, 0.051, 0.27, 0.73), "ddpm": (0.27,), "autoencoder": (1.0,)}
"""What each network is asked for: the ensemble of the paper; one noise level; the autoencoder is told none."""
STRIDE = 32
SCORES = ("absolute", "brighter", "combined")
"""Heat-maps: mean |x − f|, mean of what is brighter than its restoration, and that of ``models.anomaly.combine``, here
smoothed within slices only, so that thresholds for a volume are rather too high."""


@dataclass(frozen=True)
class PlantedPlan:
    """``patients`` with one lesion of every family in turn, seen in T1, T2 and FLAIR."""

    patients: int = 4
    families: tuple[str, ...] = ()
    neighbours: int = 0
    sides: tuple[int, int] = SIDES


@dataclass(frozen=True)
class Planted:
    """``images`` uint8 [M, 1 + 2·neighbours, H, W] as of :class:`Slices`; ``truth`` bool [M, H, W] of their middles.

    ``sequence`` uint8 [M] as the network takes it; ``family`` uint8 [M]: index into the phantoms' ``FAMILIES``;
    ``patient`` int32 [M].
    """

    images: np.ndarray
    truth: np.ndarray
    sequence: np.ndarray
    family: np.ndarray
    patient: np.ndarray


def draw_planted(
    path: Path,
    plan: PlantedPlan,
    *,
    atlas: Atlas | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Planted:
    """Lesions in persons that no training sees, from ``path`` if kept there. Arguments as of ``draw_slices``."""
    key = key_of("planted", plan, atlas)
    if (kept := load_kept(path, Planted, key)) is not None:
        return kept
    drawn: list[tuple[np.ndarray, ...]] = []
    seeds = range(HELD_OUT, HELD_OUT + plan.patients)
    for one in in_processes(partial(plant, plan=plan), seeds, atlas, workers):
        drawn.append(one)
        if progress:
            progress(len(drawn) / plan.patients, f"planted lesions in person {len(drawn)} of {plan.patients}")
    images, truth, sequence, family = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    patient = np.repeat(np.arange(len(drawn), dtype=np.int32), [len(one[0]) for one in drawn])
    return save(path, key, Planted(images, truth, sequence, family, patient))


def plant(seed: int, plan: PlantedPlan, atlas: Atlas | None = None) -> tuple[np.ndarray, ...]:
    """Images, truths, sequences and families of the person ``seed`` with one family after the other."""
    from backend.brain_atlas import brain_atlas
    from models.phantoms.brain import FAMILIES, lesions, slices, stripped, subject

    who = subject(atlas or brain_atlas(), seed)
    rng = np.random.default_rng([43, seed])
    found: list[tuple[np.ndarray, ...]] = []
    for family in plan.families or FAMILIES:
        some = lesions(who, family, 1)
        positions = _through(some, who.window[2], who.shape[2], rng)
        around = with_neighbours(positions, plan.neighbours, who.shape[2])
        for sequence in MEASURED:
            made = slices(who, sequence=sequence, positions=around.ravel().tolist(), lesions=some)
            mask = np.moveaxis(stripped(np.moveaxis(made.tissues, 0, -1)), -1, 0)
            images, truth = cut(made.image, mask, around.shape, plan.sides, made.lesions & mask)
            count = len(images)
            numbers = np.full(count, number_of(sequence), np.uint8), np.full(count, FAMILIES.index(family), np.uint8)
            found.append((images, truth[:, plan.neighbours], *numbers))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _through(some: Sequence[Lesion], z: slice, count: int, rng: np.random.Generator) -> list[int]:
    """Voxels along z: :data:`WITH` that cut lesions, spread over what they cut, and :data:`WITHOUT` that cut none."""
    area = np.zeros(count)
    for lesion in some:
        area[lesion.origin[2] : lesion.origin[2] + lesion.truth.shape[2]] += lesion.truth.sum((0, 1))
    share = np.cumsum(area) / max(area.sum(), 1)
    with_it = {int(np.searchsorted(share, at)) for at in (np.arange(WITH) + 0.5) / WITH} if area.any() else set()
    middle = np.arange(z.start + (z.stop - z.start) // 4, z.stop - (z.stop - z.start) // 4)
    free = middle[area[middle] == 0]
    without = rng.permutation(free)[:WITHOUT]
    return sorted(with_it | {int(position) for position in without})


def measure(
    model: Restorer, planted: Planted, *, callback: Callable[[float], None] | None = None
) -> tuple[dict[str, list[float]], dict[str, dict[str, list[float]]]]:
    """Average precision inside the brain, and how high healthy slices score.

    The first: ``<method>, <families>.<sequence>`` → one value for each patient and family, over the slices of both
    together; families are those that a training may see and those that it may not (``unseen``). Methods: intensity,
    the same smoothed, the restoration's |x − f|, the same smoothed, what is brighter than restored, and the two
    together. The second: sequence, or unknown for all of them, → :data:`SCORES` →
    :func:`models.anomaly.healthy.healthy_table` of slices without a lesion. ``callback(fraction)`` before every
    slice may raise to stop.
    """
    from models.anomaly.healthy import healthy_table
    from models.anomaly.network import SEQUENCES
    from models.metrics.ranking import average_precision
    from models.phantoms.brain import FAMILIES, UNSEEN

    heats = []
    for index, (image, number) in enumerate(zip(planted.images, planted.sequence, strict=True)):
        if callback:
            callback(index / len(planted.images))
        heats.append(heats_of(model, image, SEQUENCES[number]))
    each: dict[str, list[float]] = {}
    middles = planted.images[:, planted.images.shape[1] // 2]
    for number in np.unique(planted.sequence):
        sequence = SEQUENCES[number]
        for patient in np.unique(planted.patient):
            for family in np.unique(planted.family):
                chosen = (planted.sequence == number) & (planted.patient == patient) & (planted.family == family)
                indices = np.flatnonzero(chosen)
                truth = np.concatenate([planted.truth[i][middles[i] > 0] for i in indices]) if len(indices) else None
                if truth is None or not truth.any() or truth.all():
                    continue
                kind = "unseen" if FAMILIES[family] in UNSEEN else "training"
                for method, maps in _methods(middles, heats, indices).items():
                    scores = np.concatenate([scored[middles[i] > 0] for scored, i in zip(maps, indices, strict=True)])
                    each.setdefault(f"{method}, {kind}.{sequence}", []).append(average_precision(scores, truth))
    healthy = ~planted.truth.any((1, 2))
    tables: dict[str, dict[str, list[float]]] = {}
    for sequence, chosen in (
        *((SEQUENCES[number], healthy & (planted.sequence == number)) for number in np.unique(planted.sequence)),
        ("unknown", healthy),
    ):
        if chosen.any():
            indices = np.flatnonzero(chosen)
            tables[sequence] = {
                score: healthy_table(np.concatenate([heats[i][which][middles[i] > 0] for i in indices]))
                for which, score in enumerate(SCORES)
            }
    return each, tables


def heats_of(model: Restorer, image: np.ndarray, sequence: str) -> np.ndarray:
    """:data:`SCORES` of the middle of a stack uint8 [1 + 2·neighbours, H, W], float32 [3, H, W]."""
    from models.anomaly.combine import combine
    from models.anomaly.network import restoring
    from models.anomaly.restore import RestoreConfig, restore_volume

    foreground = image > 0
    middle = len(image) // 2
    foreground[np.arange(len(image)) != middle] = False
    side = min(128, *image.shape[1:])
    config = RestoreConfig(SEVERITIES[model.kind], window=side, stride=min(STRIDE, side), neighbours=model.neighbours)
    values = grey(image)
    made = restore_volume(restoring(model, sequence), values, foreground, config)
    absolute, brighter = made.absolute[middle], made.brighter[middle]
    together = combine(values[middle], absolute, brighter, foreground[middle], sequence, (1.0, 1.0))
    return np.stack([absolute, brighter, together])


def grey(image: np.ndarray) -> np.ndarray:
    """Kept 8-bit values as float32 in 0…1."""
    return np.maximum(image.astype(np.float32) - 1, 0) / 254


def _methods(middles: np.ndarray, heats: list[np.ndarray], indices: np.ndarray) -> dict[str, list[np.ndarray]]:
    plain = [grey(middles[i]) for i in indices]
    heat = [heats[i][0] for i in indices]
    return {
        "intensity": plain,
        "smoothed intensity": [ndimage.gaussian_filter(image, SMOOTH_MM) for image in plain],
        "restoration": heat,
        "smoothed restoration": [ndimage.gaussian_filter(image, SMOOTH_MM) for image in heat],
        "brighter than restored": [heats[i][1] for i in indices],
        "combined": [heats[i][2] for i in indices],
    }
