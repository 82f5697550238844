"""The ultrasound fan in a clip: where it lies, its two straight sides and two arcs, and which end the probe is at.

The fan is the largest area in which every pixel moves: speckle changes from frame to frame, print stands still, and an
ECG trace moves but is thin. Its convex hull is fitted by a sector of a ring (two lines that meet in the apex, two
radii), as the scan converter of a phased or curved array draws it. Our choice, all of it; the public clips of
EchoNet-Dynamic were masked alike (Ouyang et al., Nature 580, 2020) and no method is given there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.media.burned_in import MOST_FRAMES, Box, bounding_box, find_sector

# Grey levels: coding noise of a still picture stays below, speckle is above even where it is dimmest.
MOVES = 0.5
LEAST_AREA = 0.04  # of the frame
FITS = 0.82  # overlap of hull and fitted sector, as intersection over union, from which it counts as a fan
SIDES_DEG = (8.0, 75.0)  # of a side of the fan, from the vertical
WIDEST_DEG = 120.0  # between the sides; cardiac probes open by 75 to 100
LOPSIDED_DEG = 25.0  # difference of the sides, up to which the darker one is taken for the mirror image of the other
TEXTURE_FRAMES = 4  # below this many frames motion says nothing
LOOKED_AT = 480  # pixels on the longer side to which larger frames are reduced for finding the fan


@dataclass(frozen=True)
class Fan:
    """The ultrasound picture inside a frame.

    ``polygon`` is float32 [N, 2], corners as (x, y) in pixels of the frame, closed by itself; ``box`` is (top, bottom,
    left, right), half open, of what of it lies within the frame. ``shape`` is ``sector`` when two sides and two arcs
    describe it, else ``other`` (a linear probe, or no ultrasound at all). ``upright`` is whether the probe is at the
    top. ``overlap`` (0…1) is how well the sector fits. ``second`` is the share of the area that the next largest moving
    part has (biplane views have two alike).
    """

    polygon: np.ndarray
    box: Box
    method: Literal["motion", "texture"]
    shape: Literal["sector", "other"]
    upright: bool
    overlap: float
    second: float

    def mask(self, height: int, width: int, margin: int = 0) -> np.ndarray:
        """The fan as bool [height, width], widened by ``margin`` pixels."""
        return _fill(self.polygon, height, width, margin)


def find_fan(frames: np.ndarray) -> Fan | None:
    """Find the fan in uint8 frames [T, H, W] or [T, H, W, 3], by motion, or by texture below 4 frames.

    ``None`` when no area is large enough. Only evenly chosen 64 frames are looked at.
    """
    chosen, factor = _reduced(frames)
    method: Literal["motion", "texture"] = "motion" if len(chosen) >= TEXTURE_FRAMES else "texture"
    candidates = [_moving(chosen)] if method == "motion" else [_lit(chosen), find_sector(chosen).mask]
    best: Fan | None = None
    for candidate in candidates:
        fan = _fan(candidate, factor, frames.shape[1:3], method)
        if fan is not None and (best is None or fan.overlap > best.overlap):
            best = fan
    return best


def _fan(
    candidate: np.ndarray, factor: float, shape: tuple[int, ...], method: Literal["motion", "texture"]
) -> Fan | None:
    """The fan round the largest part of a bool [h, w], which is the frame of ``shape`` reduced by ``factor``."""
    found = _largest(candidate)
    if found is None:
        return None
    small, second = found
    height, width = shape[:2]
    hull = small if factor == 1 else _fill((_outline(small) + 0.5) / factor - 0.5, height, width)
    # One frame shows but the bright side of a fan; its other side lies opposite.
    fitted, overlap, upright = _fit(hull, symmetric=method == "texture")
    if fitted is None or overlap < FITS:
        return Fan(_outline(hull), bounding_box(hull), method, "other", True, overlap, second)
    lies = _fill(fitted, height, width)
    if method == "motion":
        lies &= _fill(_outline(hull), height, width, max(1, max(height, width) // 200))
    return Fan(fitted, bounding_box(lies), method, "sector", upright, overlap, second)


def deviation(frames: np.ndarray) -> np.ndarray:
    """Standard deviation over time of each pixel of uint8 frames [T, H, W], float64 [H, W]."""
    import cv2

    total = np.zeros(frames.shape[1:3], np.float64)
    square = np.zeros_like(total)
    for frame in frames:
        cv2.accumulate(frame, total)
        cv2.accumulateSquare(frame, square)
    return np.sqrt(np.maximum(square / len(frames) - (total / len(frames)) ** 2, 0))


def _reduced(frames: np.ndarray) -> tuple[np.ndarray, float]:
    """At most 64 frames in the brightest channel, no larger than needed, uint8 [T, h, w]; and their scale."""
    import cv2

    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).astype(int))
    height, width = frames.shape[1:3]
    factor = min(1.0, LOOKED_AT / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    out = np.empty((len(chosen), size[1], size[0]), np.uint8)
    for place, index in enumerate(chosen):
        frame = frames[index]
        if frame.ndim == 3:
            frame = np.maximum(np.maximum(frame[..., 0], frame[..., 1]), frame[..., 2])
        out[place] = frame if factor == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return out, factor


def _moving(frames: np.ndarray) -> np.ndarray:
    """Where most pixels of the neighbourhood move: bool [H, W]."""
    import cv2

    changes = deviation(frames)
    # A recorder's noise covers the whole frame. The quiet quarter of the border tells how strong it is: a fan that
    # was cropped tightly touches the rest of it.
    edge = max(2, min(changes.shape) // 40)
    border = np.concatenate([changes[:edge].ravel(), changes[-edge:].ravel()])
    border = np.concatenate([border, changes[:, :edge].ravel(), changes[:, -edge:].ravel()])
    moving = changes > max(MOVES, 4 * float(np.quantile(border, 0.25)))
    return cv2.blur(moving.astype(np.float32), (5, 5)) > 0.5


def _lit(frames: np.ndarray) -> np.ndarray:
    """Where the neighbourhood is brighter than the ground at the border, be it by ever so little: bool [H, W]."""
    import cv2

    mean = cv2.blur(frames.max(0).astype(np.float32), (5, 5))
    border = np.concatenate([mean[0], mean[-1], mean[:, 0], mean[:, -1]])
    return mean > float(np.quantile(border, 0.25)) + 2 * MOVES


def _largest(candidate: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The convex hull (bool [H, W]) of the largest part, and the area of the next one as a share of it."""
    import cv2

    size = max(candidate.shape)
    thin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, size // 60) | 1,) * 2)
    closed = cv2.morphologyEx(candidate.astype(np.uint8), cv2.MORPH_CLOSE, thin)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, thin)  # traces and print are thinner than this
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count < 2 or areas.max() < LEAST_AREA * candidate.size:
        return None
    order = np.argsort(areas)[::-1]
    contours, _ = cv2.findContours((labels == order[0] + 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = cv2.convexHull(np.concatenate(contours))
    hull = cv2.fillConvexPoly(np.zeros(candidate.shape, np.uint8), points, 1).astype(bool)
    second = float(areas[order[1]] / areas[order[0]]) if len(order) > 1 else 0.0
    return hull, second


def _outline(hull: np.ndarray) -> np.ndarray:
    """Corners (x, y) of a convex bool [H, W], float32 [N, 2]."""
    import cv2

    contours, _ = cv2.findContours(hull.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = cv2.convexHull(np.concatenate(contours))
    return points.reshape(-1, 2).astype(np.float32)


def _fill(polygon: np.ndarray, height: int, width: int, margin: int = 0) -> np.ndarray:
    """A polygon of (x, y) as bool [height, width]; it may reach beyond the frame."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1, shift=4)
    if margin:
        mask = np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1,) * 2)))
    return mask.astype(bool)


def _fit(hull: np.ndarray, symmetric: bool) -> tuple[np.ndarray | None, float, bool]:
    """(polygon, overlap, upright) of the sector that fits a convex bool [H, W] best, with the apex above or below.

    ``symmetric`` widens the narrower side of the polygon to the other's angle; the overlap is that before.
    """
    best: tuple[np.ndarray | None, float, bool] = (None, 0.0, True)
    for upright in (True, False):
        seen = hull if upright else hull[::-1]
        found = _sector(seen)
        if found is None:
            continue
        fitted = _fill(found.polygon(), *hull.shape)
        overlap = float((fitted & seen).sum() / max(1, (fitted | seen).sum()))
        polygon = found.polygon(symmetric)
        if not upright:
            polygon = polygon * np.array([1, -1], np.float32) + np.array([0, hull.shape[0] - 1], np.float32)
        # A fan that is cut at the sides can look alike both ways; then the probe is where it nearly always is.
        if overlap > best[1] + (0.0 if upright else 0.04):
            best = (polygon, overlap, upright)
    return best


@dataclass(frozen=True)
class _Sector:
    """``apex`` (x, y) and radii in pixels, angles of the sides in radians from the vertical, both positive."""

    apex: np.ndarray
    near: float
    far: float
    left: float
    right: float

    def polygon(self, symmetric: bool = False) -> np.ndarray:
        """Corners (x, y), float32 [98, 2]: along the far arc from left to right, and back along the near one."""
        left, right = self.left, self.right
        if symmetric and abs(left - right) <= np.deg2rad(LOPSIDED_DEG):
            left = right = max(left, right)
        angles = np.linspace(-left, right, 49)
        ray = np.stack([np.sin(angles), np.cos(angles)], 1)
        return np.concatenate([self.apex + self.far * ray, self.apex + self.near * ray[::-1]]).astype(np.float32)


def _sector(hull: np.ndarray) -> _Sector | None:
    """The sector (apex above) whose sides support a convex bool [H, W], or ``None``."""
    height, width = hull.shape
    points = _edge_points(hull)
    inside = (points[:, 0] > 1.5) & (points[:, 0] < width - 2.5)  # elsewhere the frame has cut it
    free = points[inside & (points[:, 1] > 1.5) & (points[:, 1] < height - 2.5)]
    if len(free) < 20:
        return None
    tolerance = 1 + 0.008 * max(np.ptp(points[:, 0]), np.ptp(points[:, 1]))
    right = _side(free, points, tolerance)
    left = _side(free * [-1, 1], points * [-1, 1], tolerance)
    if right is None or left is None or left[0] + right[0] > np.deg2rad(WIDEST_DEG):
        return None
    # Each side is x·cos t − y·sin t = c in its own (mirrored) coordinates.
    system = np.array([[np.cos(right[0]), -np.sin(right[0])], [-np.cos(left[0]), -np.sin(left[0])]])
    apex = np.linalg.solve(system, [right[1], left[1]])
    near, far = _radii(hull, apex, left[0], right[0])
    if far - near < 0.3 * np.ptp(points[:, 1]):
        return None
    return _Sector(apex, near, far, left[0], right[0])


def _edge_points(hull: np.ndarray) -> np.ndarray:
    """Points (x, y) one pixel apart along the convex hull of a bool [H, W]: float64 [N, 2]."""
    corners = _outline(hull).astype(np.float64)
    pieces = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = max(1, int(np.hypot(*(end - start))))
        pieces.append(start + (end - start) * np.arange(steps)[:, None] / steps)
    return np.concatenate(pieces)


def _side(free: np.ndarray, points: np.ndarray, tolerance: float) -> tuple[float, float] | None:
    """(angle from the vertical in radians, offset in pixels) of the right side: the longest nearly straight stretch.

    Of the lines that touch the hull on its right, that with the longest stretch of ``free`` points beside it.
    """
    best, longest = None, 0.0
    for angle in np.deg2rad(np.arange(*SIDES_DEG, 0.5)):
        normal = np.array([np.cos(angle), -np.sin(angle)])
        offset = float((points @ normal).max())
        near = free[free @ normal > offset - tolerance]
        if len(near) < 8:
            continue
        along = near @ [np.sin(angle), np.cos(angle)]
        if np.ptp(along) > longest:
            # The middle of the stretch lies half the tolerance inside the line that touches it.
            best, longest = (float(angle), float(np.median(near @ normal))), float(np.ptp(along))
    return best if longest > 0.25 * np.ptp(points[:, 1]) else None


def _radii(hull: np.ndarray, apex: np.ndarray, left: float, right: float) -> tuple[float, float]:
    """(near, far) radius in pixels: where rays from the apex enter and leave the hull, typical of all rays."""
    height, width = hull.shape
    angles = np.linspace(-0.9 * left, 0.9 * right, 61)
    reach = int(np.hypot(*(np.array([width, height]) + np.abs(apex))))
    radii = np.arange(0, reach, 0.5)
    x = np.round(apex[0] + np.outer(np.sin(angles), radii)).astype(int)
    y = np.round(apex[1] + np.outer(np.cos(angles), radii)).astype(int)
    within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    hit = np.zeros(within.shape, bool)
    hit[within] = hull[y[within], x[within]]
    lit = hit.any(1)
    if not lit.any():
        return 0.0, 0.0
    first, last = hit[lit].argmax(1), hit.shape[1] - 1 - hit[lit][:, ::-1].argmax(1)
    rows = np.flatnonzero(lit)
    ends_x, ends_y = x[rows, last], y[rows, last]
    free = (ends_x > 2) & (ends_x < width - 3) & (ends_y < height - 3)
    far = radii[last]
    # Rays that end at the border of the frame were cut there, so the arc lies beyond them all. Of the others the upper
    # third counts, because the far field is so dim in places that its motion is not seen.
    typical = float(np.quantile(far[free], 0.67)) if free.sum() >= 5 else float(far.max())
    return float(np.quantile(radii[first], 0.1)), typical
