"""One person who does not exist: the shape of a brain, its folds, ventricles and texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage

from models.phantoms.brain.atlas import DEEP_MM, Atlas, sample
from models.phantoms.brain.deformation import (
    NODE_MM,
    Push,
    exponential,
    jacobian,
    nodes,
    random_velocity,
    ventricle_velocity,
)
from models.phantoms.fields import smooth_field

LATTICE_MM = 2
"""Spacing of the lattice that folds and texture are drawn on."""
LANDMARK_MM = 3
"""Spacing of the grid that places for lesions are looked up on."""
_SHARPNESS = 0.4
"""Temperature of the tissues' log-odds: how blurred the border of two tissues is (chosen by eye and edge width)."""

Box = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]
"""Indices of voxels along x, y and z; an anatomy is worked out for all their combinations."""


@dataclass(frozen=True)
class Traits:
    """What sets one person apart. Lengths in mm.

    ``size``: volume inside the skull, 1 = the atlas's; ``stretch``: of each axis; ``shear``; ``turn``: of the head, in
    radians about each axis; ``ventricles``: how much wider than the atlas's; ``asymmetry`` −1…1 of that; ``atrophy``:
    log-odds added to fluid against tissue; ``folding``: how much folds differ from the atlas's, in log-odds.
    """

    size: float
    stretch: tuple[float, float, float]
    shear: tuple[float, float, float]
    turn: tuple[float, float, float]
    ventricles: float
    asymmetry: float
    atrophy: float
    folding: float


@dataclass(frozen=True)
class Anatomy:
    """Truth of a box of voxels, float32 [x, y, z] each.

    ``csf``, ``grey``, ``white``: shares of a voxel, adding up to 1 inside the head's brain space and to 0 outside;
    ``detail``: T1 beyond tissues, 1 = white matter's signal; ``depth``: mm from the outside of the brain, above 0
    inside; ``fine`` and ``broad``: texture of standard deviation 1, about 2 and 14 mm wide.
    """

    csf: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    detail: np.ndarray
    depth: np.ndarray
    fine: np.ndarray
    broad: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Largest share, uint8 [x, y, z]: 0 background, 1 cerebrospinal fluid, 2 grey matter, 3 white matter."""
        shares = np.stack([self.csf, self.grey, self.white])
        return np.where(self.depth > 0, shares.argmax(0) + 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class Landmarks:
    """Where things lie, on every third voxel: float32 or bool [x, y, z].

    ``to_ventricles``, ``to_cortex``: mm; ``depth``: mm below the outside; ``white``, ``brain``: which tissue it is.
    """

    to_ventricles: np.ndarray
    to_cortex: np.ndarray
    depth: np.ndarray
    white: np.ndarray
    brain: np.ndarray


@dataclass(frozen=True, eq=False)
class Subject:
    """A person: ``seed`` and ``atlas`` tell everything.

    ``mapped`` float32 [1, 3, x, y, z]: voxel of the atlas that each node of the person's grid shows; the person's grid
    has the atlas's shape and affine. ``lattice`` float32 [1, 4, x, y, z]: random folds (fluid, white) and textures.
    """

    atlas: Atlas
    seed: int
    traits: Traits
    mapped: torch.Tensor
    lattice: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the person's grid."""
        return self.atlas.shape

    def jacobian(self) -> np.ndarray:
        """Determinant of the map from person to atlas at nodes, float64 [x, y, z]: above 0, nothing folds over."""
        return jacobian(self.mapped)

    @cached_property
    def window(self) -> tuple[slice, slice, slice]:
        """Smallest box that holds the brain, with 3 voxels around it."""
        shown = sample(self.atlas.channels[:, 4:], self.mapped[0].permute(1, 2, 3, 0))[0].numpy() > -NODE_MM
        found = ndimage.find_objects(shown.astype(np.uint8))[0]
        spans = [
            slice(max(0, (at.start - 1) * NODE_MM), min(n, at.stop * NODE_MM))
            for at, n in zip(found, self.shape, strict=True)
        ]
        return spans[0], spans[1], spans[2]

    def anatomy(self, box: Box, pushes: Sequence[Push] = (), widening: np.ndarray | None = None) -> Anatomy:
        """Tissues of ``box``, after mass effects, and with ``widening`` float32 [x, y, z] log-odds of more fluid."""
        axes = [np.asarray(indices, np.float32) for indices in box]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        source = points
        for push in pushes:
            source = push.undo(source)
        there = sample(self.mapped, source / NODE_MM).permute(1, 2, 3, 0)
        csf, grey, white, detail, depth = sample(self.atlas.channels, there).numpy()
        fold, fold_white, fine, broad = sample(self.lattice, source / LATTICE_MM).numpy()
        fluid = csf + self.traits.atrophy + self.traits.folding * fold
        if widening is not None:
            fluid = fluid + widening
        odds = np.stack([fluid, grey, white + 0.6 * self.traits.folding * fold_white])
        odds = np.exp((odds - odds.max(0)) / np.float32(_SHARPNESS))
        odds *= np.clip(depth + 0.5, 0, 1) / odds.sum(0)
        return Anatomy(odds[0], odds[1], odds[2], detail, depth, fine, broad)

    @cached_property
    def landmarks(self) -> Landmarks:
        """Distances for the placing of lesions."""
        found = self.anatomy(tuple(np.arange(0, n, LANDMARK_MM) for n in self.shape))  # type: ignore[arg-type]
        fluid = (found.csf > 0.5) & (found.depth > DEEP_MM)
        cortex = (found.grey > 0.5) & (found.depth < DEEP_MM + 8)
        distance = ndimage.distance_transform_edt
        return Landmarks(
            (distance(~fluid) * LANDMARK_MM).astype(np.float32),
            (distance(~cortex) * LANDMARK_MM).astype(np.float32),
            found.depth,
            found.white > 0.7,
            (found.grey + found.white > 0.7) & (found.depth > 2),
        )


def traits(seed: int) -> Traits:
    """Traits of the person ``seed`` (≥ 0). Spreads are our choice, about those of adults."""
    rng = np.random.default_rng([seed, 1])
    draw = lambda spread: tuple(float(value) for value in rng.normal(0, spread, 3))  # noqa: E731
    return Traits(
        size=float(np.clip(0.77 * np.exp(rng.normal(0, 0.09)), 0.61, 0.95)),  # MNI152 is larger than most people
        stretch=draw(0.025),  # type: ignore[arg-type]
        shear=draw(0.012),  # type: ignore[arg-type]
        turn=draw(0.05),  # type: ignore[arg-type]
        ventricles=float(np.clip(rng.gamma(2.0, 1.0) - 1.0, -1.0, 5.0)),
        asymmetry=float(np.clip(rng.normal(0, 0.25), -0.7, 0.7)),
        atrophy=float(np.clip(rng.normal(0.25, 0.35), -0.4, 1.4)),
        folding=float(rng.uniform(0.45, 0.75)),
    )


def subject(atlas: Atlas, seed: int) -> Subject:
    """The person ``seed`` (≥ 0), bent out of ``atlas``. Raises ``ValueError`` for a negative seed."""
    if seed < 0:
        raise ValueError(f"seed {seed} is below 0")
    who = traits(seed)
    rng = np.random.default_rng([seed, 2])
    here = nodes(atlas.shape)
    velocity = random_velocity(here.shape[:3], rng)
    velocity += ventricle_velocity(atlas, who.ventricles, who.asymmetry)
    # From person to atlas, so the inverse of what the traits say.
    size = who.size ** (1 / 3)
    back = np.linalg.inv(_rotation(who.turn) @ _shear(who.shear) @ np.diag(size * np.exp(np.array(who.stretch))))
    straight = torch.from_numpy(((here - atlas.centre) @ back.T + atlas.centre).astype(np.float32))
    bent = straight.permute(3, 0, 1, 2) + sample(exponential(velocity), straight / NODE_MM)
    coarse = tuple(-(-(n - 1) // LATTICE_MM) + 1 for n in atlas.shape)
    widths = (3.0, 3.0, 2.0, 14.0)
    lattice = np.stack([smooth_field(coarse, width / LATTICE_MM, rng) for width in widths])
    return Subject(atlas, seed, who, bent[None].contiguous(), torch.from_numpy(lattice)[None])


def _shear(amounts: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    matrix[0, 1], matrix[0, 2], matrix[1, 2] = amounts
    return matrix


def _rotation(angles: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix
