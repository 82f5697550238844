"""Truth maps of a moving heart, and the grid of the picture they share with the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.phantoms.echo.anatomy import (
    LATERAL_INNER,
    LATERAL_OUTER,
    LEVEL_STEP_MM,
    RIGHT_INNER,
    SEPTUM_LEFT,
    SEPTUM_RIGHT,
    Patient,
    Shape,
)
from models.phantoms.echo.motion import Motion

LABELS = ("background", "left ventricle", "myocardium", "left atrium", "right ventricle", "right atrium")
BACKGROUND, LEFT_VENTRICLE, MYOCARDIUM, LEFT_ATRIUM, RIGHT_VENTRICLE, RIGHT_ATRIUM = range(6)


@dataclass(frozen=True)
class Pose:
    """Where the heart lies under the probe, which is the origin: ``x`` to the right and ``z`` down in mm.

    Arrays [T]: the apex of the cavity at rest, and the tilt of the long axis in radians (positive turns the base to the
    left in the picture).
    """

    x: np.ndarray
    z: np.ndarray
    tilt: np.ndarray

    def place(self, u: np.ndarray, w: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """From heart (u, w) to probe (x, z), mm."""
        cosine, sine = np.float32(np.cos(self.tilt[frame])), np.float32(np.sin(self.tilt[frame]))
        x = u * cosine - w * sine + np.float32(self.x[frame])
        return x, u * sine + w * cosine + np.float32(self.z[frame])

    def undo(self, x: np.ndarray, z: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """From probe (x, z) to heart (u, w), mm."""
        cosine, sine = np.float32(np.cos(self.tilt[frame])), np.float32(np.sin(self.tilt[frame]))
        x, z = x - np.float32(self.x[frame]), z - np.float32(self.z[frame])
        return x * cosine + z * sine, z * cosine - x * sine


def draw_labels(of: Patient, rest: Shape, motion: Motion, pose: Pose, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Labels uint8 [T, *x.shape] at points ``x``, ``z`` in mm from the probe."""
    frames = len(motion.levels)
    labels = np.zeros((frames, *x.shape), np.uint8)
    levels = rest.levels
    grid = np.arange(levels[0], levels[-1], 0.5)
    for frame in range(frames):
        u, w = pose.undo(x, z, frame)
        # The shape's level at a grid of heights in the picture, and from it the curves there.
        level = np.interp(grid, motion.levels[frame], levels)
        place = np.clip((level - levels[0]) / LEVEL_STEP_MM, 0, len(levels) - 1.001)
        low = place.astype(np.int64)
        part = place - low
        curves = motion.curves[frame] + rest.bend
        table = (curves[:, low] * (1 - part) + curves[:, low + 1] * part).astype(np.float32)
        row = np.clip(np.rint((w - grid[0]) * 2).astype(np.int64), 0, len(grid) - 1)
        labels[frame] = _classify(of, rest, u, level[row], [side[row] for side in table])
    return labels


def _classify(of: Patient, rest: Shape, u: np.ndarray, level: np.ndarray, sides: list[np.ndarray]) -> np.ndarray:
    left = (u > sides[SEPTUM_LEFT]) & (u < sides[LATERAL_INNER])
    right = (u > sides[RIGHT_INNER]) & (u < sides[SEPTUM_RIGHT])
    heart = (u > sides[SEPTUM_RIGHT]) & (u < sides[LATERAL_OUTER])
    ventricle = (level > 0) & (level <= rest.mitral)
    out = np.zeros(u.shape, np.uint8)
    out[heart & (level > -of.apex) & (level <= rest.mitral)] = MYOCARDIUM
    out[right & (level > rest.rv_start) & (level <= rest.tricuspid)] = RIGHT_VENTRICLE
    out[right & (level > rest.tricuspid) & (level < rest.ra_end)] = RIGHT_ATRIUM
    out[left & ventricle] = LEFT_VENTRICLE
    out[left & (level > rest.mitral) & (level < rest.la_end)] = LEFT_ATRIUM
    return out
