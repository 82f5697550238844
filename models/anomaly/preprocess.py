"""From the grid of a scan to the one that the network sees, and back: axes, 1 mm voxels, grey values in 0…1.

The working grid keeps the scan's own axes, flipped and swapped to be as near to right, anterior, superior (RAS+) as
they can: nothing is turned by an angle, so that thick slices stay slices. Every map that is made on it goes back to the
scan's voxels by the same two affines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel import orientations
from scipy import ndimage

SPACING_MM = 1.0
SAME = 0.01
"""Share by which a voxel's edge may miss :data:`SPACING_MM` and is left as it is."""
LOW, HIGH, TOP = 1.0, 99.0, 0.8
"""Percentiles inside the brain that become 0 and :data:`TOP`; what is brighter still has the room up to 1."""
FWHM = 2.3548  # of a Gaussian, in σ


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels and where they lie: ``shape`` (X, Y, Z), ``affine`` float64 [4, 4] from indices to mm in RAS+.

    Raises ``ValueError`` for an empty shape or an affine that cannot be inverted.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a grid has three sides of at least one voxel, not {self.shape}")
        affine = np.asarray(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError("the affine of a grid is 4 × 4 and can be inverted")
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel along the three axes."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(0))
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    def mm(self, voxel: np.ndarray | tuple[float, ...]) -> np.ndarray:
        """Places [..., 3] in mm of voxel indices [..., 3]."""
        return np.asarray(voxel, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def voxel(self, mm: np.ndarray | tuple[float, ...]) -> np.ndarray:
        """Voxel indices [..., 3], with fractions, of places [..., 3] in mm."""
        return (np.asarray(mm, np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T


def working_grid(source: Grid, spacing_mm: float = SPACING_MM) -> Grid:
    """The grid of ``spacing_mm`` voxels over the same field of view, with axes next to RAS+.

    A side of a single voxel stays one, and edges that are nearly ``spacing_mm`` stay what they are: there nothing is
    interpolated.
    """
    turn = orientations.io_orientation(source.affine)
    affine = source.affine @ orientations.inv_ornt_aff(turn, source.shape)
    shape = np.empty(3, int)
    shape[turn[:, 0].astype(int)] = source.shape
    edges = np.sqrt((affine[:3, :3] ** 2).sum(0))
    keep = (shape == 1) | (np.abs(edges / spacing_mm - 1) <= SAME)
    wanted = np.where(keep, edges, spacing_mm)
    sides = np.where(keep, shape, np.maximum(np.rint(shape * edges / spacing_mm), 1)).astype(int)
    made = np.eye(4)
    made[:3, :3] = affine[:3, :3] / edges * wanted
    centre = affine[:3, :3] @ ((shape - 1) / 2) + affine[:3, 3]
    made[:3, 3] = centre - made[:3, :3] @ ((sides - 1) / 2)
    x, y, z = (int(side) for side in sides)
    return Grid((x, y, z), made)


def resample(array: np.ndarray, source: Grid, target: Grid, *, nearest: bool = False) -> np.ndarray:
    """``array`` [X, Y, Z] on ``source`` as float32 on ``target``, linear between voxels (or the ``nearest`` one).

    Where the target is coarser, values are smoothed before to the width of its voxels; beyond the border the nearest
    voxel counts. Axes that are only flipped and swapped are moved without any change of values. Raises ``ValueError``
    for an array of another shape.
    """
    array = np.asarray(array)
    if array.shape != source.shape:
        raise ValueError(f"an array {array.shape} does not lie on a grid {source.shape}")
    step = np.linalg.inv(source.affine) @ target.affine
    moved = _moved(array, step, target.shape)
    if moved is not None:
        return np.ascontiguousarray(moved, np.float32)
    values = array.astype(np.float32)
    if not nearest:
        coarser = np.abs(step[:3, :3]).max(1)
        width = np.sqrt(np.maximum(coarser**2 - 1, 0)) / FWHM
        if width.any():
            values = ndimage.gaussian_filter(values, width, mode="nearest")
    order = 0 if nearest else 1
    made = ndimage.affine_transform(values, step[:3, :3], step[:3, 3], target.shape, order=order, mode="nearest")
    return np.asarray(made, np.float32)


def scaled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey values as float32 in 0…1 by the percentiles inside ``mask``, bool, and 0 outside; both of one shape.

    Raises ``ValueError`` for an empty mask. A brain of one grey alone becomes 0.
    """
    low, high = limits_of(image, mask)
    if not high > low:
        return np.zeros(np.shape(image), np.float32)
    values = np.asarray(image, np.float32)
    return np.where(mask, np.clip((values - low) / (high - low), 0, 1), 0).astype(np.float32)


def limits_of(image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """The grey values that :func:`scaled` takes to 0 and to 1. Raises ``ValueError`` as it does."""
    image, mask = np.asarray(image, np.float32), np.asarray(mask, bool)
    if image.shape != mask.shape or not mask.any():
        raise ValueError("an image is scaled by the values inside a mask of its shape")
    low, high = np.percentile(image[mask], (LOW, HIGH))
    return float(low), float(low + (high - low) / TOP)


def as_slices(volume: np.ndarray) -> np.ndarray:
    """A volume [X, Y, Z] as axial slices [Z, X, Y], contiguous: how networks are trained and run."""
    return np.ascontiguousarray(np.moveaxis(volume, 2, 0))


def from_slices(slices: np.ndarray) -> np.ndarray:
    """Axial slices [Z, X, Y] as a volume [X, Y, Z], contiguous."""
    return np.ascontiguousarray(np.moveaxis(slices, 0, 2))


def _moved(array: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array with its axes flipped and swapped, where that is all ``step`` asks for; else ``None``."""
    whole = np.rint(step)
    if np.abs(step - whole).max() > 1e-4 or (np.abs(whole[:3, :3]).sum(0) != 1).any():
        return None
    if (np.abs(whole[:3, :3]).sum(1) != 1).any():
        return None
    axes = np.abs(whole[:3, :3]).argmax(0)  # axis of the array behind each axis of the target
    signs = whole[axes, np.arange(3)]
    starts = whole[:3, 3][axes]
    sides = np.array(array.shape)[axes]
    if tuple(sides) != tuple(shape) or (starts != np.where(signs > 0, 0, sides - 1)).any():
        return None
    return np.flip(array.transpose(axes), tuple(int(axis) for axis in np.flatnonzero(signs < 0)))
