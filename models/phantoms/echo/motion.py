"""How the heart moves: the curves of :mod:`models.phantoms.echo.anatomy` at every frame, and any point between them.

The base comes down towards the apex and the walls move inwards such that the area-length volume of the cavity is the
requested one, exactly. The wall keeps its volume: at each level it is taken for half of a body of revolution, so that
R² − r² is divided by the local shortening, which thickens it as real muscle thickens. The atria are stretched while the
ventricles shorten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import PchipInterpolator

from models.phantoms.echo.anatomy import (
    LATERAL_INNER,
    LATERAL_OUTER,
    LEVEL_STEP_MM,
    RIGHT_INNER,
    RIGHT_OUTER,
    SEPTUM_LEFT,
    SEPTUM_RIGHT,
    Patient,
    Shape,
)

_APEX_DROP = 0.05  # of the shortening: the apex of the cavity comes down as the wall there thickens
_FADE_MM = 13.0  # how far around the heart its motion is felt


@dataclass(frozen=True)
class Motion:
    """The heart at T moments.

    ``levels`` [T, N]: where each level of the shape lies, mm. ``curves`` [T, 6, N], mm from the axis.
    ``volumes_ml`` [T]: left ventricle by area and length, of the geometry itself.
    """

    levels: np.ndarray
    curves: np.ndarray
    volumes_ml: np.ndarray


def area_length_ml(area_mm2: np.ndarray | float, length_mm: np.ndarray | float) -> np.ndarray:
    """Single-plane area-length volume 8A² / 3πL in ml."""
    return np.asarray(8.0 * np.square(area_mm2) / (3.0 * np.pi * np.asarray(length_mm)) / 1000.0)


def move(of: Patient, rest: Shape, ef: float, fullness: np.ndarray) -> Motion:
    """The heart for ``fullness`` float [T], 1 end-diastole … 0 end-systole, at ejection fraction ``ef`` in percent."""
    levels, curves = rest.levels, rest.curves
    share = 1.0 - (ef / 100.0) * (1.0 - fullness[:, None])  # of the end-diastolic volume
    shorter = share**of.long_share
    path = _descent(of, rest)
    drop = (1 - shorter) * of.lv_length / (1 + _APEX_DROP)
    moved = levels - drop * path
    stretch = 1.0 - drop * np.gradient(path, LEVEL_STEP_MM)

    inside = _inside(levels, rest.mitral)
    left, right = -curves[SEPTUM_LEFT], curves[LATERAL_INNER]
    pull_left, pull_right = _pull(of, levels, of.regional[:2]), _pull(of, levels, of.regional[2:])
    length = of.lv_length * shorter[:, 0]
    rest_area = float(((left + right) * inside).sum() * LEVEL_STEP_MM)
    wanted = rest_area * np.sqrt(share[:, 0] * shorter[:, 0])
    per_level = stretch * inside * LEVEL_STEP_MM
    plain = per_level @ (left + right)
    slope = per_level @ (left * pull_left + right * pull_right)
    inwards = ((plain - wanted) / slope)[:, None]

    narrow_left, narrow_right = 1 - inwards * pull_left, 1 - inwards * pull_right
    below = levels > rest.mitral
    last = int(np.flatnonzero(~below)[-1])
    past = np.maximum(levels - rest.mitral, 0.0)
    fade = np.exp(-past / (0.25 * of.la_length))
    filled = 1 + 0.07 * (1 - share)
    atrial_left = filled + (narrow_left[:, last, None] - filled) * fade
    atrial_right = filled + (narrow_right[:, last, None] - filled) * fade
    new_left = left * np.where(below, atrial_left, narrow_left)
    new_right = right * np.where(below, atrial_right, narrow_right)
    outer_left = _wall(-curves[SEPTUM_RIGHT], left, new_left, stretch)
    outer_right = _wall(curves[LATERAL_OUTER], right, new_right, stretch)
    ring = np.exp(-past / 8.0)
    for outer, inner, new, row, sign in (
        (outer_left, left, new_left, SEPTUM_RIGHT, -1.0),
        (outer_right, right, new_right, LATERAL_OUTER, 1.0),
    ):
        thin = new + sign * curves[row] - inner
        swell = outer[:, last, None] - thin[:, last, None]
        outer[:, below] = (thin + swell * ring)[:, below]
    cavity = curves[SEPTUM_RIGHT] - curves[RIGHT_INNER]
    free = curves[RIGHT_INNER] - curves[RIGHT_OUTER]
    squeeze = 1 - of.rv_share * inwards * _pull(of, levels, (1.0, 1.0))
    beyond = np.maximum(levels - rest.tricuspid, 0.0)
    at_valve = squeeze[:, int(np.searchsorted(levels, rest.tricuspid)), None]
    squeeze = np.where(beyond > 0, filled + (at_valve - filled) * np.exp(-beyond / (0.25 * of.ra_length)), squeeze)
    right_inner = -outer_left - cavity * squeeze
    right_outer = right_inner - free * (1 + 0.3 * (1 - share))
    new_curves = np.stack([right_outer, right_inner, -outer_left, -new_left, new_right, outer_right], axis=1)
    # At the roofs, where the atria lean against each other, curves may pass one another by a hair.
    new_curves = np.maximum.accumulate(new_curves, axis=1)
    area = (per_level * (new_left + new_right)).sum(axis=1)
    return Motion(moved, new_curves, area_length_ml(area, length))


def _inside(levels: np.ndarray, mitral: float) -> np.ndarray:
    """Share of each level's cell that belongs to the cavity of the ventricle, 0…1."""
    top = np.clip(levels + LEVEL_STEP_MM / 2, 0, mitral)
    return (top - np.clip(levels - LEVEL_STEP_MM / 2, 0, mitral)) / LEVEL_STEP_MM


def _descent(of: Patient, rest: Shape) -> np.ndarray:
    """Displacement of each level as a share of the annulus' own, 1 at the annulus and little at the roofs."""
    long = of.lv_length
    end = max(rest.la_end, rest.ra_end)
    knots = [rest.levels[0], -of.apex - 8, -of.apex, 0, 0.16 * long, 0.5 * long, 0.8 * long, long]
    values = [0, 0, 0, -_APEX_DROP, 0.07, 0.45, 0.81, 1.0]
    knots += [long + 0.5 * of.la_length, end, end + 30, rest.levels[-1] + 1]
    values += [0.55, 0.16, 0.03, 0.0]
    return PchipInterpolator(knots, values)(rest.levels)


def _pull(of: Patient, levels: np.ndarray, regional: tuple[float, float] | tuple[float, ...]) -> np.ndarray:
    """Relative inward motion of the wall at each level: all of it in the middle, less at the annulus."""
    along = np.clip(levels / of.lv_length, 0, 1)
    base, apex = regional[0], regional[1]
    local = apex + (base - apex) * np.clip((along - 0.15) / 0.6, 0, 1)
    near = np.clip((along - 0.6) / 0.4, 0, 1)
    return local * (1 - near**2) + of.annulus_share * near**2


def _wall(outer: np.ndarray, inner: np.ndarray, new_inner: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    return np.sqrt(new_inner**2 + np.maximum(outer**2 - inner**2, 0.0) / stretch)


@dataclass(frozen=True)
class Carried:
    """Points that move with the heart: ``across`` and ``along`` turn a motion into positions by one product each."""

    across: sparse.csr_array
    along: sparse.csr_array
    rest_u: np.ndarray

    def positions(self, motion: Motion, rest: Shape) -> tuple[np.ndarray, np.ndarray]:
        """``u`` and ``w`` in mm, float32 [T, P]."""
        frames = len(motion.levels)
        difference = (motion.curves - rest.curves).reshape(frames, -1).astype(np.float32)
        u = np.ascontiguousarray((self.across @ np.ascontiguousarray(difference.T)).T)
        u += self.rest_u
        w = self.along @ np.ascontiguousarray(motion.levels.T.astype(np.float32))
        return u, np.ascontiguousarray(w.T)


def carry(rest: Shape, u: np.ndarray, w: np.ndarray) -> Carried:
    """Tie points, float [P] each in mm from the axis at end-diastole, to the curves around them.

    Between two curves a point keeps its share of the gap; outside the heart its displacement fades.
    """
    levels, curves = rest.levels, rest.curves
    place = np.clip((w - levels[0]) / LEVEL_STEP_MM, 0, len(levels) - 1.001)
    low = place.astype(np.int64)
    upper = place - low
    at = curves[:, low] * (1 - upper) + curves[:, low + 1] * upper
    column = (u[None] > at).sum(axis=0)  # 0 left of everything … 6 right of everything
    left, right = np.clip(column - 1, 0, 5), np.clip(column, 0, 5)
    points = np.arange(len(u))
    gap = at[right, points] - at[left, points]
    share = np.where(gap > 1e-6, (u - at[left, points]) / np.maximum(gap, 1e-6), 0.5)
    weight_left, weight_right = 1 - share, share
    for outside, edge in ((column == 0, 0), (column == 6, 5)):
        weight_left = np.where(outside, np.exp(-np.abs(u - at[edge]) / _FADE_MM), weight_left)
        weight_right = np.where(outside, 0.0, weight_right)
    rows = np.concatenate([points] * 4)
    columns = np.concatenate([side * len(levels) + low + step for side in (left, right) for step in (0, 1)])
    values = np.concatenate([side * part for side in (weight_left, weight_right) for part in (1 - upper, upper)])
    across = sparse.csr_array(
        (values.astype(np.float32), (rows, columns)), shape=(len(u), curves.size), dtype=np.float32
    )
    along = sparse.csr_array(
        (
            np.concatenate([1 - upper, upper]).astype(np.float32),
            (np.concatenate([points, points]), np.concatenate([low, low + 1])),
        ),
        shape=(len(u), len(levels)),
        dtype=np.float32,
    )
    bend = rest.bend[low] * (1 - upper) + rest.bend[low + 1] * upper
    return Carried(across, along, (u + bend).astype(np.float32))
