"""Lesion families for validation: no detector is to be trained on them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.phantoms.brain.lesion import SEAT_SHARE, Layer, Lesion, blob, block, place, seated, soft
from models.phantoms.brain.subject import Subject
from models.phantoms.fields import draw_segments, smooth_field


def rings(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A hollow shell, 5–13 mm in radius and about 3 mm thick, brighter or darker than its host."""
    rng = np.random.default_rng([subject.seed, 30, seed])
    radius, wall = float(rng.uniform(5, 13)), float(rng.uniform(1.1, 1.8))
    around = block(subject, place(subject, subject.landmarks.brain & (subject.landmarks.depth > 4), rng), radius * 1.8)
    distance = (blob(around, radius, rng, rough=0.05) - 1) * radius
    degree = np.exp(-0.5 * (distance / wall) ** 2).astype(np.float32)
    layer = Layer("scale", degree, _change(rng))
    return (Lesion("rings", around.origin, seated(degree, around.anatomy(subject)), (layer,)),)


def lines(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A thin winding thread, about 2 mm thick and 25–60 mm long, brighter or darker than its host."""
    rng = np.random.default_rng([subject.seed, 31, seed])
    around = block(subject, place(subject, subject.landmarks.brain & (subject.landmarks.depth > 8), rng), 26)
    steps = np.cumsum(rng.normal(0, 0.35, (12, 3)), 0) + rng.normal(0, 1, 3)
    steps *= rng.uniform(2, 5) / np.linalg.norm(steps, axis=1, keepdims=True)
    path = np.cumsum(steps, 0)
    path += np.array(around.shape) / 2 - path.mean(0)
    thread = draw_segments(around.shape, path[:-1], path[1:], np.full(len(path) - 1, float(rng.uniform(0.9, 1.3))))
    degree = np.maximum(ndimage.gaussian_filter(thread.astype(np.float32), 0.5), 0.6 * thread).astype(np.float32)
    truth = thread & seated(degree, around.anatomy(subject))
    return (Lesion("lines", around.origin, truth, (Layer("scale", degree, _change(rng)),)),)


def textures(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A region whose grain is coarse and strong; its mean does not change."""
    rng = np.random.default_rng([subject.seed, 32, seed])
    radius = float(rng.uniform(6, 14))
    around = block(subject, place(subject, subject.landmarks.brain & (subject.landmarks.depth > 4), rng), 1.8 * radius)
    region = soft(blob(around, radius, rng, rough=0.2), radius, 0.8)
    grain = smooth_field(around.shape, float(rng.uniform(0.7, 1.6)), rng)
    layer = Layer("scale", (region * np.clip(grain / 2, -1, 1)).astype(np.float32), _same(float(rng.uniform(0.3, 0.6))))
    return (Lesion("textures", around.origin, seated(region, around.anatomy(subject)), (layer,)),)


def atrophy(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """Wider sulci or ventricles in one place; its mask is the tissue that has become fluid."""
    rng = np.random.default_rng([subject.seed, 33, seed])
    reach = float(rng.uniform(10, 18))
    at = subject.landmarks
    place_of = at.brain & ((at.to_cortex < 4) if rng.random() < 0.7 else (at.to_ventricles < 4))
    around = block(subject, place(subject, place_of if place_of.any() else at.brain, rng), 2.2 * reach)
    widening = (rng.uniform(1.4, 2.6) * np.exp(-0.5 * (around.radius / reach) ** 2)).astype(np.float32)
    widening *= around.radius < 2.2 * reach
    before, after = around.anatomy(subject).labels, around.anatomy(subject, widening=widening).labels
    return (Lesion("atrophy", around.origin, (before > 1) & (after == 1), widening=widening),)


def gradient(subject: Subject, seed: int) -> tuple[Lesion, ...]:
    """A region whose signal climbs or falls from one side to the other; its mask is the half that changes most."""
    rng = np.random.default_rng([subject.seed, 34, seed])
    radius = float(rng.uniform(7, 16))
    around = block(subject, place(subject, subject.landmarks.brain & (subject.landmarks.depth > 4), rng), 1.8 * radius)
    way = rng.standard_normal(3)
    way = (way / np.linalg.norm(way)).astype(np.float32)
    ramp = np.clip(0.5 + 0.5 * np.einsum("k,k...->...", way, around.mm) / radius, 0, 1)
    degree = (ramp * soft(blob(around, radius, rng, rough=0.15), radius, 1.0)).astype(np.float32)
    truth = seated(np.where(degree >= SEAT_SHARE, 1.0, 0.0), around.anatomy(subject))
    return (Lesion("gradient", around.origin, truth, (Layer("scale", degree, _change(rng, 0.35, 0.7)),)),)


def _change(rng: np.random.Generator, low: float = 0.25, high: float = 0.6) -> dict[str, float]:
    return _same(float(rng.choice([-1, 1]) * rng.uniform(low, high)))


def _same(value: float) -> dict[str, float]:
    return dict.fromkeys(("t1", "t2", "flair", "random"), value)
