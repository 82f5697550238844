"""Where a scan lies in the space of an atlas: one affine map, by mutual information.

Registration itself is SimpleITK's (Mattes' mutual information, which holds between any two contrasts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from models.anomaly.preprocess import Grid

if TYPE_CHECKING:
    import SimpleITK

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK counts to the left and to the back
COARSE_MM = 3.0
"""Voxels that both are compared on: an affine map of a brain asks for no finer ones."""
REACH_MM = 10
"""How far around the atlas's brain the scans are compared; with a head around it some bone and scalp are in it."""
ITERATIONS = {"rigid": 50, "affine": 80}


@dataclass(frozen=True, eq=False)
class Registration:
    """``to_atlas`` float64 [4, 4]: mm of the scan → mm of the atlas, both RAS+; ``similarity``: mutual information."""

    to_atlas: np.ndarray
    similarity: float

    def mm(self, scan_mm: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """Places [..., 3] of the scan in mm of the atlas."""
        return np.asarray(scan_mm, np.float64) @ self.to_atlas[:3, :3].T + self.to_atlas[:3, 3]


def register(
    image: np.ndarray, grid: Grid, atlas: np.ndarray, atlas_mask: np.ndarray, atlas_grid: Grid, *, threads: int = 1
) -> Registration:
    """Find the affine map of ``image``, float [X, Y, Z] ≥ 0 on ``grid``, with or without skull, to an atlas.

    ``atlas``: its stripped picture, float; ``atlas_mask``: its brain, bool; both on ``atlas_grid``. Starts where the
    centres of mass meet, turns, then stretches; the same input gives the same map. Raises ``ValueError`` for an image
    that is empty or too thin, and ``RuntimeError`` where the search runs away.
    """
    import SimpleITK as sitk

    if min(image.shape) * min(grid.spacing_mm) < 4 * COARSE_MM or not np.any(image > 0):
        raise ValueError("nothing to register: the image is empty or too thin")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    fixed = _coarse(sitk, atlas, atlas_grid)
    moving = _coarse(sitk, image, grid)
    rounds = max(1, round(REACH_MM / min(atlas_grid.spacing_mm)))
    around = ndimage.binary_dilation(atlas_mask, iterations=rounds)
    inside = sitk.Cast(_coarse(sitk, around.astype(np.float32), atlas_grid, 0.0) > 0.5, sitk.sitkUInt8)
    centred = sitk.CenteredTransformInitializerFilter.MOMENTS
    turn: Any = sitk.Euler3DTransform(
        sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), centred)
    )
    turn, _ = _search(sitk, fixed, moving, inside, turn, ITERATIONS["rigid"])
    stretch: Any = sitk.AffineTransform(3)
    stretch.SetMatrix(turn.GetMatrix())
    stretch.SetTranslation(turn.GetTranslation())
    stretch.SetCenter(turn.GetCenter())
    stretch, similarity = _search(sitk, fixed, moving, inside, stretch, ITERATIONS["affine"])
    matrix = np.array(stretch.GetMatrix()).reshape(3, 3)
    centre = np.array(stretch.GetCenter())
    to_scan = np.eye(4)
    to_scan[:3, :3] = matrix
    to_scan[:3, 3] = np.array(stretch.GetTranslation()) + centre - matrix @ centre
    if not np.isfinite(to_scan).all() or not 0.3 < abs(np.linalg.det(matrix)) < 3:
        raise RuntimeError("the registration ran away")
    return Registration(TO_LPS @ np.linalg.inv(to_scan) @ TO_LPS, similarity)


def _search(
    sitk: Any,
    fixed: SimpleITK.Image,
    moving: SimpleITK.Image,
    inside: SimpleITK.Image,
    start: Any,
    iterations: int,
) -> tuple[Any, float]:
    """The transform of the kind of ``start`` with the most mutual information, and how much that is."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(inside)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, iterations, 0.7, 1e-9)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 0.0])
    made = type(start)(start)
    method.SetInitialTransform(made, inPlace=True)
    method.Execute(fixed, moving)
    return made, -float(method.GetMetricValue())


def _coarse(sitk: Any, array: np.ndarray, grid: Grid, smooth: float = 0.45) -> SimpleITK.Image:
    """The image in coarse voxels, smoothed to ``smooth`` of them first, as SimpleITK takes it."""
    every = [max(1, round(COARSE_MM / edge)) for edge in grid.spacing_mm]
    values = array.astype(np.float32)
    if smooth:
        values = ndimage.gaussian_filter(values, [smooth * step if step > 1 else 0 for step in every])
    values = values[:: every[0], :: every[1], :: every[2]]
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    affine = TO_LPS @ grid.affine @ np.diag([*every, 1.0])
    edges = np.sqrt((affine[:3, :3] ** 2).sum(0))
    image.SetSpacing(edges.tolist())
    image.SetDirection((affine[:3, :3] / edges).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image
