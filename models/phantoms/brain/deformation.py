"""Smooth invertible bending of one brain into another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from models.phantoms.brain.atlas import Atlas, sample
from models.phantoms.fields import smooth_field

NODE_MM = 4
"""Spacing of the nodes that a deformation is known at, in voxels of 1 mm."""
SCALES_MM = ((45.0, 3.0), (22.0, 1.8), (11.0, 1.0))
"""Correlation length and standard deviation of the velocity, per scale (our choice: cortex moves by about 5 mm)."""
_HALVINGS = 6


@dataclass(frozen=True)
class Push:
    """Mass effect: tissue moved away from ``centre`` (voxels), ``reach`` mm wide, ``strength`` 0…1 (exclusive).

    A voxel at distance r shows what lay at r·(1 − strength·exp(−r²/2·reach²)), which grows with r: it never folds.
    """

    centre: tuple[float, float, float]
    reach: float
    strength: float

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Where the tissue at ``points`` float32 [..., 3] came from."""
        away = points - np.array(self.centre, np.float32)
        squared = np.einsum("...k,...k->...", away, away)
        pull = np.float32(self.strength) * np.exp(squared * np.float32(-0.5 / self.reach**2))
        return points - away * pull[..., None]


def nodes(shape: tuple[int, int, int]) -> np.ndarray:
    """Voxel coordinates of the nodes of a grid, float32 [x, y, z, 3]."""
    axes = [np.arange(-(-(n - 1) // NODE_MM) + 1, dtype=np.float32) * NODE_MM for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def random_velocity(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Velocity in voxels at nodes, float32 [3, x, y, z], of several scales."""
    velocity = np.zeros((3, *shape), np.float32)
    for scale, amount in SCALES_MM:
        for axis in range(3):
            velocity[axis] += amount * smooth_field(shape, scale / NODE_MM, rng)
    return velocity


def ventricle_velocity(atlas: Atlas, growth: float, asymmetry: float) -> np.ndarray:
    """Velocity in voxels at nodes, float32 [3, x, y, z], that widens the ventricles by about ``growth`` mm.

    ``asymmetry`` −1…1 gives more of it to the right (+) or left (−) side.
    """
    soft = ndimage.gaussian_filter(atlas.ventricles.astype(np.float32), 5.0)[::NODE_MM, ::NODE_MM, ::NODE_MM]
    pads = [(0, n - have) for n, have in zip(nodes(atlas.shape).shape[:3], soft.shape, strict=True)]
    slopes = np.stack(np.gradient(np.pad(soft, pads, mode="edge")))
    steepest = float(np.sqrt((slopes**2).sum(0)).max())
    side = np.tanh((np.arange(slopes.shape[1]) * NODE_MM - atlas.centre[0]) / 8.0) * asymmetry
    return (growth / max(steepest, 1e-9) * slopes * (1 + side)[None, :, None, None]).astype(np.float32)


def exponential(velocity: np.ndarray) -> torch.Tensor:
    """Displacement in voxels of the flow of a stationary velocity, float32 [1, 3, x, y, z], both at nodes.

    Scaling and squaring (Arsigny et al. 2006): halved until it is small, then composed with itself as often.
    """
    flow = torch.from_numpy(np.ascontiguousarray(velocity, np.float32))[None] / 2**_HALVINGS
    axes = [torch.arange(n, dtype=torch.float32) for n in velocity.shape[1:]]
    here = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    for _ in range(_HALVINGS):
        flow = flow + sample(flow, here + flow[0].permute(1, 2, 3, 0) / NODE_MM)[None]
    return flow


def jacobian(mapped: torch.Tensor) -> np.ndarray:
    """Determinant of a map at nodes, float64 [x, y, z], given as positions [1, 3, x, y, z] in voxels."""
    positions = mapped[0].numpy().astype(np.float64)
    slopes = np.stack([np.stack(np.gradient(along, NODE_MM)) for along in positions])
    return np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))
