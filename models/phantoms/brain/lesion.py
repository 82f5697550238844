"""What is wrong in a brain, and what shapes it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from models.phantoms.brain.deformation import Push
from models.phantoms.brain.subject import LANDMARK_MM, Anatomy, Subject
from models.phantoms.fields import smooth_field

Kind = Literal["tissue", "add", "scale", "ghost"]
SEAT_SHARE = 0.5
"""Degree from which a voxel belongs to a lesion."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One change of the image over a lesion's block.

    ``degree`` float32 [x, y, z]: 0…1 (−1…1 for ``add`` and ``scale``); ``signal``: per sequence. ``tissue`` turns
    tissue into one of that signal (white matter is 1) and spares fluid; ``add`` adds degree × signal inside the brain;
    ``scale`` multiplies by 1 + degree × signal; ``ghost`` adds degree × signal × the slice moved by ``shift``
    voxels along y, wrapping around.
    """

    kind: Kind
    degree: np.ndarray
    signal: Mapping[str, float]
    shift: int = 0


@dataclass(frozen=True, eq=False)
class Lesion:
    """One finding with its truth.

    ``origin``: first voxel of the block; ``truth`` bool [x, y, z]: the exact mask; ``layers``: changes of the
    image over the block; ``push``: mass effect; ``widening`` float32 [x, y, z]: log-odds of more fluid over the block.
    """

    family: str
    origin: tuple[int, int, int]
    truth: np.ndarray
    layers: tuple[Layer, ...] = ()
    push: Push | None = None
    widening: np.ndarray | None = None

    @property
    def volume_mm3(self) -> int:
        """Volume of the exact mask."""
        return int(self.truth.sum())


@dataclass(frozen=True, eq=False)
class Block:
    """A box of voxels about a point. ``mm`` float32 [3, x, y, z]: offsets from the point."""

    origin: tuple[int, int, int]
    mm: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        x, y, z = self.mm.shape[1:]
        return x, y, z

    @property
    def radius(self) -> np.ndarray:
        """Distance from the point in mm, float32 [x, y, z]."""
        return np.sqrt((self.mm**2).sum(0))

    def anatomy(self, subject: Subject, push: Push | None = None, widening: np.ndarray | None = None) -> Anatomy:
        """Tissues in the block."""
        box = tuple(np.arange(low, low + n) for low, n in zip(self.origin, self.shape, strict=True))
        return subject.anatomy(box, (push,) if push else (), widening)  # type: ignore[arg-type]


def block(subject: Subject, centre: np.ndarray, reach: float) -> Block:
    """Voxels within ``reach`` mm of ``centre`` (voxels) along each axis, cut at the grid."""
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, subject.shape)
    axes = [np.arange(a, b, dtype=np.float32) - np.float32(c) for a, b, c in zip(low, high, centre, strict=True)]
    x, y, z = (int(value) for value in low)
    return Block((x, y, z), np.stack(np.meshgrid(*axes, indexing="ij")))


def place(subject: Subject, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random point in voxels, float [3], of a landmark mask ``where`` bool [x, y, z].

    Raises ``ValueError`` when the mask is empty: the atlas has no such place.
    """
    found = np.flatnonzero(where)
    if not len(found):
        raise ValueError("this brain has no place for such a lesion")
    node = np.array(np.unravel_index(found[rng.integers(len(found))], where.shape))
    return np.clip((node + rng.uniform(-0.4, 0.4, 3)) * LANDMARK_MM, 0, np.array(subject.shape) - 1)


def blob(around: Block, radius: float, rng: np.random.Generator, *, rough: float = 0.25) -> np.ndarray:
    """Distance from the point in units of a lumpy ellipsoid's radius, float32 [x, y, z]: below 1 inside.

    ``radius``: geometric mean of its half axes in mm; ``rough``: standard deviation of the lumps, 1 = the radius.
    """
    axes, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    halves = np.exp(rng.normal(0, 0.22, 3))
    halves *= radius / np.prod(halves) ** (1 / 3)
    turned = np.einsum("ij,j...->i...", (axes / halves[:, None]).astype(np.float32), around.mm)
    lumps = smooth_field(around.shape, max(1.0, radius / 2), rng)
    return np.sqrt((turned**2).sum(0)) + np.float32(rough) * lumps


def soft(distance: np.ndarray, radius: float, edge_mm: float) -> np.ndarray:
    """Degree float32 that falls from 1 to 0 where ``distance`` (in units of ``radius`` mm) passes 1."""
    return (1 / (1 + np.exp(np.clip((distance - 1) * radius / edge_mm, -30, 30)))).astype(np.float32)


def seated(degree: np.ndarray, found: Anatomy) -> np.ndarray:
    """Exact mask: at least half changed, in the brain and more tissue than fluid."""
    return (degree >= SEAT_SHARE) & (found.labels > 1)


def pieces(mask: np.ndarray, smallest_mm3: int = 12) -> list[np.ndarray]:
    """Connected pieces of a lesion mask bool [X, Y, Z] of 1 mm, each bool in its own box; smaller ones are left out."""
    numbered, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(numbered)
    found = [numbered[box] == number for number, box in enumerate(boxes, 1) if box is not None]
    return [piece for piece in found if piece.sum() >= smallest_mm3]
