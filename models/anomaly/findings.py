"""Findings: connected places of a heat-map above a threshold, measured in the space of the scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SIZE_BINS = (("small", 0.05), ("medium", 0.5), ("large", np.inf))
"""Name and upper end in ml. Half of the lesions of multiple sclerosis are small."""


@dataclass(frozen=True)
class Finding:
    """One place. ``label`` is its value in the label map, 1 for the largest.

    ``ml``: volume; ``peak`` and ``mean``: of the heat-map inside; ``centroid_mm`` and ``peak_mm``: in the space that
    the affine leads to, (x, y, z); ``peak_voxel``: index of the hottest voxel; ``size``: a name in :data:`SIZE_BINS`.
    """

    label: int
    ml: float
    peak: float
    mean: float
    centroid_mm: tuple[float, float, float]
    peak_mm: tuple[float, float, float]
    peak_voxel: tuple[int, int, int]
    size: str


def threshold_for(healthy: np.ndarray, rate: float) -> float:
    """The value that a share ``rate`` of ``healthy`` scores, any shape, lies above.

    Raises ``ValueError`` without scores or for a rate that is not between 0 and 1.
    """
    scores = np.asarray(healthy, np.float64).ravel()
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError("a threshold needs healthy scores, all of them finite")
    if not 0 < rate < 1:
        raise ValueError(f"a false-positive rate lies between 0 and 1, not at {rate}")
    return float(np.quantile(scores, 1 - rate, method="higher"))


def find(
    heat: np.ndarray,
    foreground: np.ndarray,
    threshold: float,
    affine: np.ndarray,
    *,
    least_ml: float = 0.0,
    most: int = 500,
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Places of ``heat``, float [X, Y, Z], above ``threshold`` within ``foreground``, bool: their label map and list.

    Voxels that share a face, an edge or a corner are one place. ``affine`` (4 × 4) takes voxel indices to mm. Places
    below ``least_ml`` are left out, and all but the ``most`` largest. The label map is uint16 [X, Y, Z]. Raises
    ``ValueError`` for other shapes.
    """
    heat, foreground, affine = np.asarray(heat), np.asarray(foreground, bool), np.asarray(affine, np.float64)
    if heat.ndim != 3 or heat.shape != foreground.shape or affine.shape != (4, 4):
        raise ValueError("a heat-map has three dimensions, its foreground the same, an affine is 4 × 4")
    if not 0 < most <= np.iinfo(np.uint16).max:
        raise ValueError(f"{most} findings cannot be told apart")
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    pieces, count = ndimage.label((heat > threshold) & foreground, np.ones((3, 3, 3)))
    labels = np.zeros(heat.shape, np.uint16)
    if not count:
        return labels, ()
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    chosen = [int(piece) + 1 for piece in order if sizes[piece] * voxel_ml >= least_ml][:most]
    renamed = np.zeros(count + 1, np.uint16)
    renamed[chosen] = np.arange(1, len(chosen) + 1)
    labels = renamed[pieces]
    boxes = ndimage.find_objects(pieces)
    found = []
    for label, piece in enumerate(chosen, 1):
        box = boxes[piece - 1]
        inside = pieces[box] == piece
        values = np.where(inside, heat[box], -np.inf)
        corner = np.array([part.start for part in box])
        hottest = corner + np.unravel_index(int(values.argmax()), values.shape)
        centre = corner + np.argwhere(inside).mean(0)
        ml = float(sizes[piece - 1] * voxel_ml)
        found.append(
            Finding(
                label,
                ml,
                float(values.max()),
                float(heat[box][inside].mean()),
                _mm(affine, centre),
                _mm(affine, hottest),
                (int(hottest[0]), int(hottest[1]), int(hottest[2])),
                size_bin(ml),
            )
        )
    return labels, tuple(found)


def size_bin(ml: float) -> str:
    """The name of the bin that a volume in ml falls into."""
    return next(name for name, end in SIZE_BINS if ml < end)


def _mm(affine: np.ndarray, voxel: np.ndarray) -> tuple[float, float, float]:
    x, y, z = affine[:3, :3] @ voxel + affine[:3, 3]
    return float(x), float(y), float(z)
