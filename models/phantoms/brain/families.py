"""Lesion families a detector may learn from: multiple sclerosis, tumour, infarct and artefacts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from models.phantoms.brain.deformation import Push
from models.phantoms.brain.lesion import Block, Layer, Lesion, blob, block, place, seated, soft
from models.phantoms.brain.subject import Subject
from models.phantoms.fields import smooth_field

SMALLEST_MM3, LARGEST_MM3 = 12, 8000
_LEAST_DEGREE = 0.55
"""Inside a given mask, so that single voxels of it stay changed after smoothing."""


def multiple_sclerosis(
    subject: Subject, seed: int, *, count: int | None = None, shapes: Sequence[np.ndarray] = ()
) -> tuple[Lesion, ...]:
    """Lesions like those of multiple sclerosis: at the ventricles, under the cortex and deep in white matter.

    ``count``: 1…40 when ``None``; volumes are log-normal, median 70 mm³, 12…8000. ``shapes``: binary masks bool
    [x, y, z] at 1 mm, for instance :func:`~models.phantoms.brain.lesion.pieces` of real ones; half of the lesions take
    one of them, turned at random. Bright in T2 and FLAIR, dark in T1. They do not overlap fluid.
    """
    rng = np.random.default_rng([subject.seed, 20, seed])
    if count is None:
        count = int(np.clip(np.exp(rng.normal(np.log(9), 0.8)), 1, 40))
    at = subject.landmarks
    places = (
        at.white & (at.to_ventricles > 1) & (at.to_ventricles < 8),
        at.white & (at.to_cortex < 4),
        at.white & (at.to_ventricles >= 8) & (at.to_cortex >= 4),
    )
    signal = {
        "t1": float(rng.uniform(0.5, 0.85)),
        "t2": float(rng.uniform(1.7, 2.4)),
        "flair": float(rng.uniform(1.35, 1.9)),
        "random": _unlike_white(rng),
    }
    made: list[Lesion] = []
    while len(made) < count:
        where = places[rng.choice(3, p=[0.45, 0.2, 0.35])]
        centre = place(subject, where if where.any() else at.brain, rng)
        own = {name: 1 + (value - 1) * float(rng.uniform(0.7, 1.2)) for name, value in signal.items()}
        if len(shapes) and rng.random() < 0.5:
            made.append(_taken(subject, centre, shapes[int(rng.integers(len(shapes)))], own, rng))
        else:
            volume = int(np.clip(np.exp(rng.normal(np.log(70), 1.1)), SMALLEST_MM3, LARGEST_MM3))
            made.append(_grown(subject, centre, volume, own, rng))
    return tuple(made)


def tumour(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """One mass: dead centre, solid rim, swelling of the white matter around it, and tissue pushed away."""
    rng = np.random.default_rng([subject.seed, 21, seed])
    at = subject.landmarks
    radius = float(rng.uniform(6, 16))
    centre = place(subject, at.brain & (at.depth > 0.8 * radius), rng)
    around = block(subject, centre, 2.6 * radius)
    x, y, z = (float(value) for value in centre)
    push = Push((x, y, z), 1.2 * radius, float(rng.uniform(0.3, 0.7)))
    found = around.anatomy(subject, push)
    distance = blob(around, radius, rng, rough=0.18)
    core = soft(distance, radius, 0.7)
    dead = soft(distance / float(rng.uniform(0.45, 0.7)), radius, 1.0)
    swelling = soft(blob(around, radius * float(rng.uniform(1.3, 1.8)), rng, rough=0.3), radius, 1.5)
    swelling *= np.clip(found.white * 1.3, 0, 1)
    other = _unlike_white(rng)
    layers = (
        Layer("tissue", swelling, _signals(rng, (0.72, 0.85), (1.7, 2.2), (1.4, 1.8), other)),
        Layer("tissue", core, _signals(rng, (0.5, 0.75), (1.5, 2.0), (1.2, 1.7), other)),
        Layer("tissue", dead, _signals(rng, (0.3, 0.45), (2.2, 3.0), (0.4, 1.0), _unlike_white(rng))),
    )
    truth = seated(np.maximum(core, swelling), found)
    return (Lesion("tumour", around.origin, truth, layers, push),)


def infarct(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """One wedge with its point in white matter and its base at the cortex, with all tissue in it changed."""
    rng = np.random.default_rng([subject.seed, 22, seed])
    at = subject.landmarks
    length = float(rng.uniform(18, 38))
    tip = place(subject, at.white & (at.depth > 0.6 * length) & (at.depth < length), rng)
    around = block(subject, tip, length + 6)
    found = around.anatomy(subject)
    outward = np.array([np.gradient(found.depth, axis=k).mean() for k in range(3)])
    outward = -outward / max(float(np.linalg.norm(outward)), 1e-6) + rng.normal(0, 0.15, 3)
    outward = (outward / np.linalg.norm(outward)).astype(np.float32)
    along = np.einsum("k,k...->...", outward, around.mm)
    across = np.sqrt(np.maximum(around.radius**2 - along**2, 0))
    half = np.tan(np.deg2rad(float(rng.uniform(20, 36))))
    outside = np.maximum(across - half * np.maximum(along, 0), np.maximum(-along, around.radius - length))
    outside = outside + _wobble(around, 1.5, rng)
    degree = soft(1 + outside / length, length, 0.8)
    signal = _signals(rng, (0.55, 0.8), (1.7, 2.4), (1.4, 1.9), _unlike_white(rng))
    return (Lesion("infarct", around.origin, seated(degree, found), (Layer("tissue", degree, signal),)),)


def spike(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A spike in k-space: a plane wave over one to three slices. Its mask is the brain on these slices."""
    rng = np.random.default_rng([subject.seed, 23, seed])
    around, truth = _whole_slices(subject, rng)
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 12)
    way = np.cos(angle) * around.mm[0] + np.sin(angle) * around.mm[1]
    wave = np.cos(2 * np.pi / period * way + rng.uniform(0, 6))
    signal = _everywhere(float(rng.uniform(0.1, 0.3)))
    return (Lesion("spike", around.origin, truth, (Layer("add", wave.astype(np.float32), signal),)),)


def ghost(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A ghost on one to three slices: their copy a quarter to half a brain away. Its mask: brain on brain."""
    rng = np.random.default_rng([subject.seed, 24, seed])
    around, brain = _whole_slices(subject, rng)
    rows = np.flatnonzero(brain.any((0, 2)))
    shift = round(float(rng.uniform(0.25, 0.5)) * (int(rows[-1]) - int(rows[0]) + 1)) if len(rows) else 0
    truth = brain & np.roll(brain, shift, 1)
    layer = Layer("ghost", np.ones(around.shape, np.float32), _everywhere(float(rng.uniform(0.15, 0.4))), shift)
    return (Lesion("ghost", around.origin, truth, (layer,)),)


def bias_island(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A smooth island of other gain, ± 20–60 % at its top; its mask is where half of that is reached."""
    rng = np.random.default_rng([subject.seed, 25, seed])
    width = float(rng.uniform(5, 14))
    centre = place(subject, subject.landmarks.brain, rng)
    around = block(subject, centre, 3 * width)
    degree = np.exp(-0.5 * blob(around, width, rng, rough=0.1) ** 2).astype(np.float32)
    found = around.anatomy(subject)
    gain = float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.6))
    layer = Layer("scale", degree, _everywhere(gain))
    return (Lesion("bias_island", around.origin, (degree >= 0.5) & (found.depth > 0), (layer,)),)


def _grown(
    subject: Subject, centre: np.ndarray, volume: int, signal: dict[str, float], rng: np.random.Generator
) -> Lesion:
    """A lumpy lesion of exactly ``volume`` mm³ where there is that much tissue about ``centre``."""
    radius = (volume * 3 / (4 * np.pi)) ** (1 / 3)
    around = block(subject, centre, 2 * radius + 4)
    found = around.anatomy(subject)
    distance = blob(around, radius, rng, rough=0.3)
    tissue = found.labels > 1
    ranked = np.sort(distance[tissue])
    limit = ranked[min(volume, len(ranked)) - 1] if len(ranked) else 0.0
    degree = soft(distance / max(limit, 1e-3), limit * radius, 0.45)
    layer = Layer("tissue", degree, signal)
    return Lesion("multiple_sclerosis", around.origin, (distance <= limit) & tissue, (layer,))


def _taken(
    subject: Subject, centre: np.ndarray, shape: np.ndarray, signal: dict[str, float], rng: np.random.Generator
) -> Lesion:
    """A lesion of a given shape about ``centre``, turned and mirrored at random; what falls on fluid is cut off."""
    turned = np.transpose(shape, rng.permutation(3))
    turned = turned[tuple(slice(None, None, int(step)) for step in rng.choice([-1, 1], 3))]
    around = block(subject, centre, max(shape.shape) / 2 + 4)
    mask = np.zeros(around.shape, bool)
    middle = np.rint(centre - np.array(around.origin)).astype(int)
    low = middle - np.array(turned.shape) // 2
    at = [slice(max(0, a), min(n, a + k)) for a, n, k in zip(low, mask.shape, turned.shape, strict=True)]
    own = tuple(slice(s.start - a, s.stop - a) for s, a in zip(at, low, strict=True))
    mask[tuple(at)] = turned[own]
    degree = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), 0.6), mask * np.float32(_LEAST_DEGREE))
    found = around.anatomy(subject)
    return Lesion("multiple_sclerosis", around.origin, mask & (found.labels > 1), (Layer("tissue", degree, signal),))


def _whole_slices(subject: Subject, rng: np.random.Generator) -> tuple[Block, np.ndarray]:
    z = subject.window[2]
    thick = int(rng.integers(1, 4))
    first = int(rng.integers(z.start + (z.stop - z.start) // 4, z.stop - (z.stop - z.start) // 4))
    axes = [np.arange(subject.shape[0]), np.arange(subject.shape[1]), np.arange(first, first + thick)]
    mm = np.stack(np.meshgrid(*[axis.astype(np.float32) for axis in axes], indexing="ij"))
    around = Block((0, 0, first), mm)
    return around, around.anatomy(subject).depth > 0


def _wobble(around: Block, amount: float, rng: np.random.Generator) -> np.ndarray:
    return np.float32(amount) * smooth_field(around.shape, 4.0, rng)


def _signals(
    rng: np.random.Generator,
    t1: tuple[float, float],
    t2: tuple[float, float],
    flair: tuple[float, float],
    other: float,
) -> dict[str, float]:
    made = {name: float(rng.uniform(*span)) for name, span in (("t1", t1), ("t2", t2), ("flair", flair))}
    return {**made, "random": other}


def _everywhere(value: float) -> dict[str, float]:
    return dict.fromkeys(("t1", "t2", "flair", "random"), value)


def _unlike_white(rng: np.random.Generator) -> float:
    """A signal at least a quarter from white matter's."""
    return float(rng.choice([rng.uniform(0.3, 0.75), rng.uniform(1.25, 2.2)]))
