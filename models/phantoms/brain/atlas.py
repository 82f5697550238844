"""The atlas that brain phantoms are bent from, and what is worked out from it once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage

DEEP_MM = 12.0
"""Fluid that is this far from the outside of the brain counts as ventricles (our choice: no sulcus is as wide)."""
REACH_MM = 16.0
"""How far from the outside of the brain depths are told apart."""
FLOOR = 0.012
"""Probability of a tissue where an atlas has none of it."""
RIDGE_MM, RIDGE_CSF, RIDGE_WHITE = 4.0, 0.6, 0.15
"""Width of the surroundings that sulci and blades of white matter are told from, and how much they gain."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Maps of one average brain on one grid of 1 mm in RAS order.

    ``grey``, ``white``, ``csf`` float32 [X, Y, Z]: probabilities 0…1 that add up to 1 in the mask; ``t1`` float32
    [X, Y, Z] ≥ 0; ``mask`` bool [X, Y, Z]: brain with the fluid around it; ``affine`` float64 [4, 4]: voxel → mm.
    Raises ``ValueError`` when shapes differ or the grid is not 1 mm RAS.
    """

    grey: np.ndarray
    white: np.ndarray
    csf: np.ndarray
    t1: np.ndarray
    mask: np.ndarray
    affine: np.ndarray

    def __post_init__(self) -> None:
        if any(values.shape != self.mask.shape for values in (self.grey, self.white, self.csf, self.t1)):
            raise ValueError("the maps of an atlas have one shape")
        if self.mask.ndim != 3 or not np.allclose(self.affine[:3, :3], np.eye(3)):
            raise ValueError("an atlas is a volume of 1 mm in RAS order")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = self.mask.shape
        return x, y, z

    @cached_property
    def centre(self) -> np.ndarray:
        """Centre of the brain in voxels, float64 [3]."""
        return np.array(ndimage.center_of_mass(self.mask))

    @cached_property
    def depth(self) -> np.ndarray:
        """Distance to the outside of the brain in mm, float32 [X, Y, Z]: above 0 inside, at most 60."""
        inside = ndimage.distance_transform_edt(self.mask)
        outside = ndimage.distance_transform_edt(~self.mask)
        return np.clip(np.where(self.mask, inside - 0.5, 0.5 - outside), -REACH_MM, 60).astype(np.float32)

    @cached_property
    def ventricles(self) -> np.ndarray:
        """Fluid deep in the brain, bool [X, Y, Z]."""
        return (self.csf > 0.5) & (self.depth > DEEP_MM)

    @cached_property
    def tissues(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fluid, grey and white, float32 [X, Y, Z] each, without the false grey rim of the ventricles.

        Between fluid and white matter lies a blend of the two that is as bright as grey matter, and an atlas takes it
        for that. Grey there that is thinner than 5 mm becomes fluid and white again, in the shares that T1 tells.
        """
        box = tuple(slice(max(0, at.start - 12), at.stop + 12) for at in _box(self.ventricles))
        near = (ndimage.distance_transform_edt(~self.ventricles[box]) < 7).astype(np.float32)
        thin = np.zeros_like(self.grey)
        thin[box] = self.grey[box] - ndimage.grey_opening(self.grey[box], (5, 5, 5))
        thin[box] *= ndimage.gaussian_filter(near, 1.0)
        fluid, white = self._level(self.csf), self._level(self.white)
        share = np.clip((white - self.t1) / max(white - fluid, 1e-6), 0, 1)
        return (
            (self.csf + thin * share).astype(np.float32),
            (self.grey - thin).astype(np.float32),
            (self.white + thin * (1 - share)).astype(np.float32),
        )

    @cached_property
    def detail(self) -> np.ndarray:
        """T1 beyond the three tissues (deep nuclei, myelin), float32 [X, Y, Z], 1 = white matter's signal."""
        maps = (self.csf, self.grey, self.white)
        expected = sum(self._level(share) * share for share in maps)
        rest = (self.t1 - expected) / max(self._level(self.white), 1e-6)
        # The outermost voxels of a stripped template are cut, not dark.
        return np.clip(np.where(self.depth > 3, rest, 0), -0.25, 0.25).astype(np.float32)

    @cached_property
    def channels(self) -> torch.Tensor:
        """Logarithms of fluid, grey and white; detail and depth: for sampling, float32 [1, 5, X, Y, Z].

        An average over many people blurs sulci and thin blades of white matter; what is left of them is made stronger
        by its difference from its surroundings, so that a single person has them again (our choice).
        """
        logs = [np.log(share + FLOOR) for share in self.tissues]
        for which, weight in ((0, RIDGE_CSF), (2, RIDGE_WHITE)):
            smooth = ndimage.gaussian_filter(logs[which], RIDGE_MM)
            logs[which] += weight * np.clip(logs[which] - smooth, -1.5, 1.5) * (self.depth > 1)
        return torch.from_numpy(np.stack([*logs, self.detail, self.depth]))[None]

    def _level(self, share: np.ndarray) -> float:
        sure = share > 0.9 * float(share.max())
        return float(np.median(self.t1[sure]))


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else tuple(slice(0, n) for n in mask.shape)


def sample(channels: torch.Tensor, points: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Linear interpolation of ``channels`` float32 [1, C, X, Y, Z] at ``points`` float32 [..., 3] in voxels.

    Gives float32 [C, ...]; outside the grid the nearest voxel counts.
    """
    at = torch.as_tensor(points, dtype=torch.float32)
    half = torch.tensor([(n - 1) / 2 for n in channels.shape[2:]])
    grid = (at / half - 1).flip(-1).reshape(1, 1, 1, -1, 3)
    found = torch.nn.functional.grid_sample(channels, grid, padding_mode="border", align_corners=True)
    return found.reshape(channels.shape[1], *at.shape[:-1])
