"""Ultrasound: where the picture is, and blanking what scanners print around it (names, dates, settings).

In a clip the sector is what moves; text, scales and logos stand still. In a single frame the sector is the large
speckled area; text is thin strokes and bars are flat. What lies outside the sector is blanked whole, because no
reading of letters can promise that none was missed. Our choice; the clips of EchoNet-Dynamic were cleaned alike
(Ouyang et al., Nature 580, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Box = tuple[int, int, int, int]

MOST_FRAMES = 64
# Grey levels. What stands still is coded alike in every frame, so any deviation at all is motion; speckle is brighter
# than the second.
STILL = 0.25
DARK = 12


@dataclass(frozen=True)
class Sector:
    """``mask`` is bool [H, W], True inside the picture; ``box`` is (top, bottom, left, right), half open, in pixels.

    ``method`` says how it was found: by motion, by texture, by the regions that the file declares, or not at all (then
    the mask is True everywhere).
    """

    mask: np.ndarray
    box: Box
    method: Literal["motion", "texture", "regions", "none"]

    @property
    def found(self) -> bool:
        """Whether there is a sector."""
        return self.method != "none"


@dataclass(frozen=True)
class Masked:
    """``frames`` as given with everything outside the sector black; ``mask`` bool [H, W] is True where it was blanked.

    ``blanked_pixels`` counts blanked pixels that were not black in some frame.
    """

    frames: np.ndarray
    mask: np.ndarray
    sector: Sector
    blanked_pixels: int


def find_sector(frames: np.ndarray, regions: Sequence[Box] = ()) -> Sector:
    """Find the ultrasound picture in uint8 frames [T, H, W] or [T, H, W, 3].

    ``regions`` are boxes that the file declares as picture (DICOM ultrasound regions). They narrow a sector that was
    found by texture, and stand in for one that was not found.
    """
    grey = _grey(frames)
    height, width = grey.shape[1:]
    method: Literal["motion", "texture", "regions", "none"] = "none"
    mask = None
    if len(grey) >= 4:
        mask, method = _by_motion(grey), "motion"
    if mask is None:
        mask, method = _by_texture(frames), "texture"
    declared = _declared(regions, height, width)
    if declared is not None and method != "motion":
        # Declared boxes hold scales and text too, so they only narrow what was found, or stand in for it.
        if mask is None or not (mask & declared).any():
            mask, method = declared, "regions"
        else:
            mask = mask & declared
    if mask is None or not mask.any():
        return Sector(np.ones((height, width), bool), (0, height, 0, width), "none")
    return Sector(mask, bounding_box(mask), method)


def mask_burned_in(frames: np.ndarray, regions: Sequence[Box] = ()) -> Masked:
    """Blank everything outside the sector of uint8 frames [T, H, W] or [T, H, W, 3]; the sector stays bit for bit.

    When no sector is found, strokes as small as text are blanked wherever they stand.
    """
    sector = find_sector(frames, regions)
    outside = ~sector.mask if sector.found else _strokes(_grey(frames))
    inside = (~outside).astype(frames.dtype)
    blanked = frames * (inside if frames.ndim == 3 else inside[..., None])
    lit = _brightest(frames.max(0)) > DARK
    return Masked(blanked, outside, sector, int(np.count_nonzero(lit & outside)))


def _declared(regions: Sequence[Box], height: int, width: int) -> np.ndarray | None:
    """The declared boxes as bool [H, W]; ``None`` without any, or where they do not fit the frame (it was resized)."""
    if not regions or any(
        not (0 <= top < bottom <= height and 0 <= left < right <= width) for top, bottom, left, right in regions
    ):
        return None
    declared = np.zeros((height, width), bool)
    for top, bottom, left, right in regions:
        declared[top:bottom, left:right] = True
    return declared


def bounding_box(mask: np.ndarray) -> Box:
    """(top, bottom, left, right), half open, of the True pixels of a bool [H, W] that has some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _grey(frames: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W] of at most 64 frames, evenly chosen; the brightest channel, so that coloured text counts."""
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).astype(int))]
    return chosen if chosen.ndim == 3 else _brightest(chosen)


def _brightest(pixels: np.ndarray) -> np.ndarray:
    """The greatest of the channels, [..., 3] → [...]; grey [H, W] as it is. Several times as fast as ``max(-1)``."""
    if pixels.shape[-1] != 3:
        return pixels
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _by_motion(grey: np.ndarray) -> np.ndarray | None:
    import cv2

    total = np.zeros(grey.shape[1:], np.float64)
    square = np.zeros_like(total)
    for frame in grey:
        total += frame
        square += frame.astype(np.float32) ** 2
    deviation = np.sqrt(np.maximum(square / len(grey) - (total / len(grey)) ** 2, 0))
    # A recorder's noise covers the whole frame; the border shows how strong it is.
    edge = max(2, min(deviation.shape) // 40)
    border = np.concatenate([deviation[:edge].ravel(), deviation[-edge:].ravel()])
    moving = deviation > max(STILL, 4 * float(np.median(border)))
    # The far field is so dim that only some of its pixels change, but they are many and everywhere.
    dense = cv2.blur(moving.astype(np.float32), (7, 7)) > 0.3
    return _hulls(dense, least=0.02, margin=0)


def _by_texture(frames: np.ndarray) -> np.ndarray | None:
    import cv2

    frame = frames.max(0)
    grain = max(3, max(frame.shape[:2]) // 90) | 1
    # Speckle varies at every pixel; bars are flat, and text is flat but for its strokes.
    speckle = np.zeros(frame.shape[:2], bool)
    for channel in np.atleast_3d(frame).transpose(2, 0, 1).astype(np.float32):
        mean = cv2.blur(channel, (5, 5))
        contrast = np.sqrt(np.maximum(cv2.blur(channel**2, (5, 5)) - mean**2, 0))
        speckle |= (channel > DARK) & (contrast > 1.0) & (contrast < 0.9 * mean + 4)
    dense = cv2.blur(speckle.astype(np.float32), (grain, grain)) > 0.75
    return _hulls(dense & speckle, least=0.01, margin=max(1, max(frame.shape[:2]) // 160))


def _hulls(candidate: np.ndarray, least: float, margin: int) -> np.ndarray | None:
    """Convex hulls of the large connected areas of a bool [H, W].

    An area is large when it covers ``least`` of the frame; others join it from a twentieth of the largest and 0.8 % of
    the frame. None counts that is lower or narrower than a tenth of the frame, or less than two fifths filled.
    ``margin`` widens the result, in pixels. ``None`` without a large one.
    """
    import cv2

    height, width = candidate.shape
    size = max(height, width)
    square = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(candidate.astype(np.uint8), cv2.MORPH_OPEN, square)
    reach = max(3, size // 80) | 1
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    # Strokes that closing tied to the sector come off again.
    closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count < 2 or areas.max() < least * height * width:
        return None
    result = np.zeros((height, width), np.uint8)
    for index in np.flatnonzero(areas >= max(0.05 * areas.max(), 0.008 * height * width)) + 1:
        # A line of print can be long and dense, but never this high; a block of lines has gaps between them.
        if stats[index, cv2.CC_STAT_HEIGHT] < 0.09 * height or stats[index, cv2.CC_STAT_WIDTH] < 0.09 * width:
            continue
        contours, _ = cv2.findContours((labels == index).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.fillConvexPoly(np.zeros_like(result), cv2.convexHull(np.concatenate(contours)), 1)
        if np.count_nonzero(candidate & (hull > 0)) >= 0.4 * np.count_nonzero(hull):
            result |= np.asarray(hull, result.dtype)
    if not result.any():
        return None
    if margin:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        return np.asarray(cv2.dilate(result, kernel), bool)
    return result.astype(bool)


def _strokes(grey: np.ndarray) -> np.ndarray:
    """What is brighter than its surroundings and no thicker than a letter's strokes, on whatever ground, with a rim."""
    import cv2

    frame = grey.min(0)
    reach = max(5, frame.shape[0] // 40) | 1
    ground = cv2.morphologyEx(frame, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8))
    return cv2.dilate((cv2.subtract(frame, ground) > 25).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
