"""Volume of the left ventricle from its outline in one apical view: area-length, with Simpson's discs beside it.

The long axis runs from the apex to the middle of the mitral plane. Both are found from the mask itself, however it is
rotated: the two ends of the mitral plane are where the mask reaches farthest into its basal corners, the apex is what
lies farthest from their middle. Source of the formulas: Lang et al., Recommendations for cardiac chamber
quantification, J Am Soc Echocardiogr 28 (2015); the way to the axis is our choice, as it needs no drawn points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LEFT_VENTRICLE, LEFT_ATRIUM = 1, 3
LEAST_PIXELS = 25
"""Fewer pixels than this are no ventricle at 112 × 112."""
DISCS = 20

Point = tuple[float, float]


@dataclass(frozen=True)
class Volume:
    """One ventricle in one frame.

    ``ml`` is the area-length volume 8A²/(3πL), ``discs_ml`` the one by Simpson's discs in this one plane. With the
    pixel size known they are millilitres, ``area`` is mm² and ``length`` mm; else all are as if a pixel were 1 mm.
    ``apex`` and ``base`` (the middle of the mitral plane) are the ends of the long axis, (row, column) in pixels,
    with pixel centres at whole numbers.
    """

    ml: float
    area: float
    length: float
    apex: Point
    base: Point
    discs_ml: float


@dataclass(frozen=True)
class VolumeCurve:
    """Volumes of a clip. ``ml``, ``discs_ml``: float32 [T], NaN where no ventricle was found; ``frames``: all of it."""

    ml: np.ndarray
    discs_ml: np.ndarray
    frames: tuple[Volume | None, ...]

    @property
    def found(self) -> np.ndarray:
        """bool [T]: where there is a ventricle."""
        return np.isfinite(self.ml)


def area_length(mask: np.ndarray, mm_per_px: float | None = None, *, atrium: Point | None = None) -> Volume:
    """The volume of the ventricle in ``mask``, bool [H, W] or its share of each pixel, float 0…1 [H, W].

    ``mm_per_px``: side of a (square) pixel in mm, ``None`` when not known. ``atrium``: (row, column) of the middle of
    the left atrium, which tells the basal end; without it the narrower end is the apex, or the upper one where neither
    is. Holes are filled. Raises ``ValueError`` when less than :data:`LEAST_PIXELS` pixels are covered, when the mask is
    not two-dimensional, or when the pixel size is not above zero.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"a mask has two dimensions, not {mask.ndim}")
    if mm_per_px is not None and not 0 < mm_per_px < np.inf:
        raise ValueError(f"the side of a pixel is a number of mm above zero, not {mm_per_px}")
    share = mask.astype(np.float32)
    inside = ndimage.binary_fill_holes(share >= 0.5)
    share = np.where(inside, np.where(share >= 0.5, share, 1.0), share)
    if inside.sum() < LEAST_PIXELS:
        raise ValueError("the mask holds no ventricle")
    share, offset = _crop(share, inside)
    inside = share >= 0.5
    points = np.argwhere(inside).astype(np.float64)
    towards_base = _first_axis(points, None if atrium is None else np.asarray(atrium, float) - offset)
    apex = base = points.mean(0)
    # Without a little smoothing a single pixel on the tip of a rounded end would count as a whole pixel of length.
    soft = ndimage.gaussian_filter(share, 0.8, mode="constant")
    for _ in range(2):  # the second time with the axis that the first one found
        middle = _middle_of_mitral_plane(points, towards_base)
        away = np.hypot(*(points - middle).T)
        apex = points[away >= away.max() - 1.0].mean(0)
        axis = apex - middle
        axis /= max(float(np.hypot(*axis)), 1e-6)
        apex, base = _leave(soft, middle, axis), _leave(soft, middle, -axis)
        towards_base = -axis
    if np.hypot(*(apex - base)) < 2:  # a shape so odd that the line misses it: its mere extent along the axis
        along = (points - points.mean(0)) @ towards_base
        apex = points.mean(0) + towards_base * (along.min() - 0.5)
        base = points.mean(0) + towards_base * (along.max() + 0.5)
    scale = mm_per_px or 1.0
    area = float(share.sum()) * scale**2
    length = float(np.hypot(*(apex - base))) * scale
    return Volume(
        ml=8 * area**2 / (3 * np.pi * length) / 1000,
        area=area,
        length=length,
        apex=_point(apex + offset),
        base=_point(base + offset),
        discs_ml=_discs(soft, apex, base) * scale**3 / 1000,
    )


def curve(labels: np.ndarray, mm_per_px: float | None = None, *, share: np.ndarray | None = None) -> VolumeCurve:
    """Volumes of the left ventricle in every frame of ``labels``, integers [T, H, W] (1 left ventricle, 3 left atrium).

    ``share``: float 0…1 [T, H, W], how much of each pixel the ventricle covers, when that is known more finely than the
    labels say. Frames without a ventricle give NaN. Raises ``ValueError`` on another number of dimensions.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3:
        raise ValueError(f"labels of a clip have three dimensions, not {labels.ndim}")
    frames: list[Volume | None] = []
    for index, frame in enumerate(labels):
        mask = frame == LEFT_VENTRICLE if share is None else share[index]
        if np.count_nonzero(np.asarray(mask) >= 0.5) < LEAST_PIXELS:
            frames.append(None)
            continue
        places = np.argwhere(frame == LEFT_ATRIUM)
        atrium = _point(places.mean(0)) if len(places) >= LEAST_PIXELS else None
        frames.append(area_length(mask, mm_per_px, atrium=atrium))
    return VolumeCurve(
        np.array([np.nan if v is None else v.ml for v in frames], np.float32),
        np.array([np.nan if v is None else v.discs_ml for v in frames], np.float32),
        tuple(frames),
    )


def _point(place: np.ndarray) -> Point:
    return float(place[0]), float(place[1])


def _crop(share: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is around the ventricle with a rim of four pixels (empty where it leaves the image), and its corner."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    padded = np.pad(share, 4)
    corner = np.array([rows[0], columns[0]])
    cut = padded[rows[0] : rows[-1] + 9, columns[0] : columns[-1] + 9]
    return cut, corner - 4.0


def _first_axis(points: np.ndarray, atrium: np.ndarray | None) -> np.ndarray:
    """Unit vector from the apex towards the base, roughly: the principal axis, pointed to the basal end."""
    centre = points.mean(0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    axis = vectors[:, 1]
    if atrium is not None:
        towards = atrium - centre
        distance = np.hypot(*towards)
        if distance > 1:
            towards /= distance
            cosine = float(axis @ towards)
            # A ventricle wider than long has its principal axis across: then the atrium tells the direction.
            return np.asarray(towards if abs(cosine) < np.cos(np.pi / 4) else axis * np.sign(cosine))
    along = (points - centre) @ axis
    skew = float(np.mean(along**3) / np.mean(along**2) ** 1.5)
    if abs(skew) > 0.04:  # the narrow end is the longer tail
        return np.asarray(-axis * np.sign(skew))
    return np.asarray(axis if axis[0] >= 0 else -axis)


def _middle_of_mitral_plane(points: np.ndarray, towards_base: np.ndarray) -> np.ndarray:
    """Midpoint of the two basal corners, each the mean of the pixels that reach farthest into it."""
    across = np.array([-towards_base[1], towards_base[0]])
    corners = []
    for side in (across, -across):
        reach = points @ (towards_base + side)
        corners.append(points[reach >= reach.max() - 1.5].mean(0))
    return np.asarray((corners[0] + corners[1]) / 2)


def _leave(share: np.ndarray, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Where the line from ``start`` leaves the mask for good: the last half-way crossing of the interpolated mask."""
    steps = np.arange(0.0, np.hypot(*share.shape), 0.25)
    line = start[:, None] + direction[:, None] * steps
    values = ndimage.map_coordinates(share, line, order=1, mode="constant")
    within = np.flatnonzero(values >= 0.5)
    if not len(within):
        return start
    last = within[-1]
    here, after = values[last], values[min(last + 1, len(values) - 1)]
    extra = (here - 0.5) / (here - after) if here > after else 0.0
    return np.asarray(start + direction * (steps[last] + 0.25 * extra))


def _discs(share: np.ndarray, apex: np.ndarray, base: np.ndarray) -> float:
    """Simpson's rule in one plane, in cubic pixels: discs of equal height, as wide as the mask across the long axis."""
    axis = base - apex
    length = float(np.hypot(*axis))
    axis = axis / length
    across = np.array([-axis[1], axis[0]])
    heights = (np.arange(DISCS) + 0.5) / DISCS * length
    step = 0.5
    reach = np.arange(-np.hypot(*share.shape), np.hypot(*share.shape), step)
    places = apex[:, None, None] + axis[:, None, None] * heights[:, None] + across[:, None, None] * reach
    widths = ndimage.map_coordinates(share, places, order=1, mode="constant").sum(1) * step
    return float(np.pi / 4 * np.sum(widths**2) * length / DISCS)
