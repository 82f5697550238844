"""What the heart is made of, as ultrasound sees it: point scatterers that are tied to the tissue.

Speckle is the interference of many scatterers in one resolution cell, so it moves with the tissue by itself and changes
where the tissue is deformed or leaves the plane. Boundaries that face the beam reflect more than those along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.phantoms.echo.anatomy import LATERAL_INNER, RIGHT_INNER, SEPTUM_LEFT, SEPTUM_RIGHT, Patient, Shape
from models.phantoms.echo.labels import (
    BACKGROUND,
    LEFT_ATRIUM,
    LEFT_VENTRICLE,
    MYOCARDIUM,
    RIGHT_ATRIUM,
    RIGHT_VENTRICLE,
    Pose,
    draw_labels,
)
from models.phantoms.echo.motion import Carried, Motion, area_length_ml, carry
from models.phantoms.fields import smooth_field

DENSITY_PER_MM2 = 1.1
SLAB_MM = 14.0  # thickness of the tissue around the plane of view; what leaves it comes back on the other side
ELEVATION_MM = 3.0  # standard deviation of the beam across the plane
_FUZZ_MM = 0.9
_MIRROR = 0.45
_SIDE = 192  # samples a side of the map from which scatterers read what they are made of


@dataclass(frozen=True)
class Scatterers:
    """``amplitude`` complex64 [P], 1 for muscle; ``height`` float32 [P]: mm out of the plane; and how they move."""

    carried: Carried
    amplitude: np.ndarray
    height: np.ndarray


def scatterers(
    of: Patient, rest: Shape, pose: Pose, depth: float, half_angle: float, rng: np.random.Generator
) -> Scatterers:
    """Scatterers of a sector of ``depth`` mm and ``half_angle`` radians, and somewhat beyond it."""
    reach = depth * 1.05
    width = float(reach * np.sin(half_angle)) + 8
    count = int(2 * width * reach * DENSITY_PER_MM2)
    x = rng.uniform(-width, width, count).astype(np.float32)
    z = rng.uniform(3, reach, count).astype(np.float32)
    keep = np.abs(x) < z * float(np.tan(half_angle)) + 8
    x, z = x[keep], z[keep]
    strength, mirror = _strength(of, rest, pose, width, reach, rng)
    # Real walls have no sharp edge: trabeculae, and a slice that is thick.
    fuzz = rng.normal(0, _FUZZ_MM, (2, len(x))).astype(np.float32)
    column = np.rint(np.clip((x + fuzz[0] + width) / (2 * width), 0, 1) * (_SIDE - 1)).astype(int)
    row = np.rint(np.clip((z + fuzz[1]) / reach, 0, 1) * (_SIDE - 1)).astype(int)
    amplitude, steady = strength[row, column], mirror[row, column]
    seen = amplitude > 10 ** (-34 / 20)
    x, z, amplitude, steady = x[seen], z[seen], amplitude[seen], steady[seen]
    u, w = pose.undo(x, z, 0)
    low = np.clip(np.rint(w - rest.levels[0]).astype(int), 0, len(rest.levels) - 1)
    carried = carry(rest, u - rest.bend[low], w)
    noise = rng.standard_normal((2, len(x)), np.float32) * np.float32(0.5**0.5)
    height = rng.uniform(-SLAB_MM / 2, SLAB_MM / 2, len(x)).astype(np.float32)
    return Scatterers(carried, (amplitude * (noise[0] + 1j * noise[1] + steady)).astype(np.complex64), height)


def _strength(
    of: Patient, rest: Shape, pose: Pose, width: float, reach: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What lies where: float32 [_SIDE, _SIDE] over x in ±``width`` and z in 0…``reach``, both.

    First the root mean square amplitude per scatterer, then the part of it that has the same phase in all: a smooth
    surface sums up to a line where it faces the beam, as a mirror does.
    """
    x, z = np.meshgrid(
        np.linspace(-width, width, _SIDE, dtype=np.float32), np.linspace(0, reach, _SIDE, dtype=np.float32)
    )
    still = Motion(rest.levels[None], rest.curves[None], area_length_ml(np.ones(1), 1.0))
    label = draw_labels(of, rest, still, pose, x, z)[0]
    u, w = pose.undo(x, z, 0)
    cavity = np.isin(label, (LEFT_VENTRICLE, LEFT_ATRIUM, RIGHT_VENTRICLE, RIGHT_ATRIUM))
    step_x, step_z = 2 * width / (_SIDE - 1), reach / (_SIDE - 1)
    away = cv2.distanceTransform((~cavity).astype(np.uint8), cv2.DIST_L2, 5) * np.float32((step_x + step_z) / 2)
    smooth = cv2.GaussianBlur(away, (0, 0), 2)
    slope_z, slope_x = np.gradient(smooth, step_z, step_x)
    radius = np.hypot(x, z) + 1e-3
    # How squarely the nearest boundary faces the beam: 1 across it, 0 along it.
    facing = (slope_x * x + slope_z * z) / radius / np.maximum(np.hypot(slope_x, slope_z), 0.2)
    square = np.minimum(facing**2, 1)

    row = np.clip(np.rint(w - rest.levels[0]).astype(int), 0, len(rest.levels) - 1)
    across = u - rest.bend[row]
    sides = rest.curves[:, row]
    db = (of.outside_db + 6 * smooth_field(x.shape, 14 / step_x, rng)).astype(np.float64)
    muscle = label == MYOCARDIUM
    septal = across < (sides[SEPTUM_LEFT] + sides[LATERAL_INNER]) / 2
    lean = np.where(septal, of.septum_db, of.lateral_db)
    apical = np.clip(1 - w / (0.35 * of.lv_length), 0, 1)
    db = np.where(muscle, of.muscle_db + lean * (1 - apical) - 3 + 6 * square, db)
    # Thin walls: of the right heart, between the atria, of the left atrium.
    heart = (
        (across > sides[0]) & (across < sides[5]) & (w > 0.2 * of.lv_length) & (w < max(rest.la_end, rest.ra_end) + 3)
    )
    thin = heart & (label == BACKGROUND)
    between = thin & (across > sides[SEPTUM_RIGHT]) & (across < sides[SEPTUM_LEFT]) & (w > rest.mitral)
    db = np.where(thin, of.muscle_db + of.right_db + 10 * square, db)
    db = np.where(between, of.muscle_db - 4 + 8 * square - 0.1 * (w - rest.mitral), db)
    # The crux, where the valves and both septa meet, and the far annulus are fibrous and bright.
    for at_u, at_w, gain, size in (
        (float(_at(rest, (SEPTUM_LEFT, SEPTUM_RIGHT), rest.mitral - 2)), rest.mitral - 1, 9.0, (5.0, 6.0)),
        (float(_at(rest, (LATERAL_INNER,), rest.mitral)) + 3, rest.mitral + 1, 7.0, (4.0, 5.0)),
        (float(_at(rest, (RIGHT_INNER,), rest.tricuspid)) - 2, rest.tricuspid, 6.0, (3.5, 4.0)),
    ):
        spot = np.exp(-(((across - at_u) / size[0]) ** 2) - ((w - at_w) / size[1]) ** 2)
        db = np.where(cavity, db, np.maximum(db, of.muscle_db + gain * spot - 30 * (1 - np.minimum(1, 3 * spot))))
    # Behind the atria the pericardium and the mediastinum, which face the beam.
    behind = (label == BACKGROUND) & (facing > 0) & (w > rest.mitral + 0.45 * of.la_length)
    roof = of.roof_db + 6 * smooth_field(x.shape, 6 / step_x, rng) - 18 * (1 - square) - np.maximum(away - 5, 0) * 1.1
    db = np.where(behind, np.maximum(db, roof), db)
    edge = np.exp(-((away / 1.8) ** 2)) * square
    db = db + np.where(muscle | thin, 5 * edge, 0) + of.texture_db * smooth_field(x.shape, 3.5 / step_x, rng)
    papillary = _papillary(of, rest, across, w)
    db = np.where(cavity, np.maximum(-60, papillary), db)
    mirror = _MIRROR * np.exp(-((away / 2.0) ** 2)) * square**2 * (muscle | thin | behind)
    return (10 ** (db / 20)).astype(np.float32), mirror.astype(np.float32)


def _at(rest: Shape, rows: tuple[int, ...], level: float) -> float:
    place = round(level - rest.levels[0])
    return float(np.mean([rest.curves[row][place] for row in rows]))


def _papillary(of: Patient, rest: Shape, u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Amplitude in dB of a papillary muscle near the lateral wall and of trabeculae at the apex, inside the cavity."""
    if of.papillary == 0:
        return np.full(u.shape, -60.0, np.float32)
    level = 0.5 * of.lv_length
    side = _at(rest, (LATERAL_INNER,), level) - 6
    spot = np.exp(-(((u - side) / 4) ** 2) - ((w - level) / 9) ** 2)
    return (of.muscle_db - 4 - 26 * (1 - np.minimum(1, of.papillary * 2.2 * spot))).astype(np.float32)
