"""What a scanner adds: uneven gain, slices of some thickness, ghosts and noise."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch

from models.phantoms.brain.atlas import sample
from models.phantoms.brain.subject import Subject
from models.phantoms.fields import smooth_field

BIAS_NODE_MM = 16


@dataclass(frozen=True)
class Scanner:
    """Setting of one acquisition.

    ``bias``: gain inside the brain runs over 1 ± this (0…0.9); ``noise``: standard deviation of each of the two
    channels, 1 = white matter's signal; ``blur_mm``: standard deviation of the point spread in the plane; ``ghost``:
    share of a copy half a field of view away (phase along y); ``head``: whether skull and scalp are drawn.
    """

    bias: float
    noise: float
    blur_mm: float
    ghost: float = 0.0
    head: bool = False

    def with_chosen(self, **chosen: float | bool | None) -> Scanner:
        """The same with what is not ``None`` put in place. Raises ``ValueError`` for a value out of range."""
        known = {field.name for field in fields(self)}
        made = replace(self, **{k: v for k, v in chosen.items() if v is not None and k in known})  # type: ignore[arg-type]
        if not 0 <= made.bias <= 0.9 or made.noise < 0 or made.blur_mm < 0 or not 0 <= made.ghost <= 1:
            raise ValueError(f"a scanner setting is out of range: {made}")
        return made


def scanner(sequence: str, rng: np.random.Generator) -> Scanner:
    """A random setting: gain ± 2–20 %, blur 0.25–0.6 mm, noise 1–5 % of white matter in T1 and 2–9 % in others.

    Ranges are our choice, around what differences of neighbours say about real scans.
    """
    low, high = (0.01, 0.05) if sequence == "t1" else (0.02, 0.09)
    noise = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return Scanner(float(rng.uniform(0.02, 0.2)), noise, float(rng.uniform(0.25, 0.6)))


def bias_field(subject: Subject, rng: np.random.Generator) -> torch.Tensor:
    """Smooth field, float32 [1, 1, x, y, z] at nodes of :data:`BIAS_NODE_MM`, −1…1 from end to end of the brain.

    Two scales, 60 and 120 mm; the gain is 1 + bias × field.
    """
    coarse = tuple(-(-(n - 1) // BIAS_NODE_MM) + 1 for n in subject.shape)
    field = smooth_field(coarse, 120 / BIAS_NODE_MM, rng) + 0.5 * smooth_field(coarse, 60 / BIAS_NODE_MM, rng)
    # Linear between nodes, so the ends lie at voxels of the brain next to a node; every fourth voxel finds them.
    axes = [np.arange(0, n, 4, dtype=np.float32) for n in subject.shape]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    found = sample(torch.from_numpy(field)[None, None], at / BIAS_NODE_MM)[0].numpy()
    depth = sample(subject.atlas.channels[:, 4:], sample(subject.mapped, at / 4).permute(1, 2, 3, 0))[0].numpy()
    low, high = found[depth > 0].min(), found[depth > 0].max()
    return torch.from_numpy(((field - low) / max(high - low, 1e-6) * 2 - 1).astype(np.float32))[None, None]


def through_plane(count: int, thickness: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """How slices of ``thickness`` mm are measured from ``count`` planes of 1 mm and put back on them.

    Gives ``measure`` float32 [slices, count] (averages over each slice) and ``resample`` float32 [count, slices]
    (linear between slice centres); rows of both add up to 1. Slices lie edge to edge; ``offset`` 0…1 shifts them by
    that share of a slice. A thickness of 1 changes nothing.
    """
    if thickness == 1.0:
        return np.eye(count, dtype=np.float32), np.eye(count, dtype=np.float32)
    centres = np.arange(offset * thickness, count - 0.5, thickness)
    planes = np.arange(count)
    low = np.maximum(centres[:, None] - thickness / 2, planes - 0.5)
    high = np.minimum(centres[:, None] + thickness / 2, planes + 0.5)
    measure = np.maximum(high - low, 0)
    measure /= measure.sum(1, keepdims=True)
    resample = np.stack([np.interp(planes, centres, row) for row in np.eye(len(centres))], 1)
    return measure.astype(np.float32), resample.astype(np.float32)


def blurred(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Each plane of float32 [X, Y, k] under a Gaussian of ``sigma`` voxels."""
    if sigma < 0.1 or planes.shape[2] == 0:
        return planes
    return np.stack(
        [cv2.GaussianBlur(np.ascontiguousarray(planes[:, :, k]), (0, 0), sigma) for k in range(planes.shape[2])], -1
    )


def rician(signal: np.ndarray, sigma: float, seed: tuple[int, ...], index: int) -> np.ndarray:
    """Magnitude of one slice float32 [X, Y] with Gaussian noise of ``sigma`` in both channels (Gudbjartsson 1995).

    The noise of slice ``index`` does not depend on which other slices are drawn.
    """
    rng = np.random.default_rng([*seed, index])
    real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * np.float32(sigma)
    return np.hypot(signal + real, imaginary)
