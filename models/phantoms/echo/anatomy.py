"""Who the patient is: the shape of the heart at end-diastole, in millimetres.

The heart is described level by level along the long axis of the left ventricle. A level ``w`` runs from the apex of the
cavity (0) through the mitral annulus (``lv_length``) to the roofs of the atria; across it, ``u`` runs from the right
heart (negative, left in the picture) to the lateral wall (positive). Six curves ``u(w)`` bound everything; motion moves
the curves and everything between them (:mod:`models.phantoms.echo.motion`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL_STEP_MM = 1.0
BEYOND_MM = 60.0  # levels above the apex and below the roofs, for what lies around the heart

# Rows of the array of curves, from left to right in the picture.
RIGHT_OUTER, RIGHT_INNER, SEPTUM_RIGHT, SEPTUM_LEFT, LATERAL_INNER, LATERAL_OUTER = range(6)


@dataclass(frozen=True)
class Patient:
    """One heart. Lengths in mm at end-diastole, shares and amplitudes without unit unless said."""

    seed: int
    lv_length: float
    lv_radius: float
    lv_widest: float  # where along the axis, 0 apex … 1 annulus
    lv_blunt: float  # exponent of the apex: 2 an ellipse, more is blunter
    annulus: float  # width at the annulus over the greatest width
    septum: float
    lateral: float
    apex: float
    septal_bulge: float  # thickening of the basal septum, share
    bend: float
    ripples: tuple[float, ...]  # low sine terms of the four cavity walls, share of the radius
    la_length: float
    la_radius: float
    la_roof: float  # exponent of the roof: 2 round, 4 flat
    la_lean: float  # where the roof closes, share of the radius
    rv_width: float
    rv_apex: float
    tricuspid_rise: float  # how much nearer to the apex than the mitral annulus
    ra_length: float
    ra_width: float
    ra_roof: float
    atrial_septum: float
    septum_drift: float  # lean of the atrial septum, mm per mm
    long_share: float  # exponent that shares a volume change between shortening and narrowing
    annulus_share: float  # contraction of the annulus relative to the middle of the wall
    regional: tuple[float, float, float, float]  # relative contraction: septum base and apex, lateral base and apex
    rv_share: float
    early_share: float
    leaflet_split: float
    leaflet_slack: float
    leaflet_open: float  # degrees
    leaflet_curl: float
    leaflet_db: float
    papillary: float  # amplitude, 0 none
    muscle_db: float
    septum_db: float
    lateral_db: float
    right_db: float
    roof_db: float
    outside_db: float
    blood_db: float
    texture_db: float


def patient(seed: int) -> Patient:
    """The patient of that seed, which is a whole number from 0."""
    rng = np.random.default_rng([seed, 1])
    length = float(np.clip(rng.normal(86, 7), 70, 104))
    radius = length * float(np.clip(rng.normal(0.285, 0.028), 0.225, 0.36))
    wall = float(np.clip(rng.normal(9.3, 1.5), 6.0, 14.0))
    la_length = float(np.clip(rng.normal(49, 7), 34, 68))
    right = float(np.clip(rng.normal(1.0, 0.14), 0.7, 1.4))
    annulus = float(rng.uniform(0.62, 0.78))
    return Patient(
        seed=seed,
        lv_length=length,
        lv_radius=radius,
        lv_widest=float(rng.uniform(0.52, 0.72)),
        lv_blunt=float(rng.uniform(1.8, 2.5)),
        annulus=annulus,
        septum=wall * float(rng.uniform(0.95, 1.15)),
        lateral=wall * float(rng.uniform(0.85, 1.05)),
        apex=wall * float(rng.uniform(0.7, 0.95)),
        septal_bulge=float(rng.uniform(-0.15, 0.3)),
        bend=float(rng.normal(0, 2.0)),
        ripples=tuple(float(value) for value in rng.normal(0, 0.035, 16)),
        la_length=la_length,
        la_radius=max(la_length * float(np.clip(rng.normal(0.45, 0.05), 0.34, 0.56)), 1.12 * annulus * radius),
        la_roof=float(rng.uniform(2.2, 3.6)),
        la_lean=float(rng.uniform(-0.45, 0.45)),
        rv_width=length * 0.37 * right,
        rv_apex=float(rng.uniform(0.14, 0.34)),
        tricuspid_rise=float(rng.uniform(3, 9)),
        ra_length=la_length * right**0.5 * float(rng.uniform(0.8, 1.0)),
        ra_width=length * 0.42 * right * float(rng.uniform(0.9, 1.1)),
        ra_roof=float(rng.uniform(2.0, 3.2)),
        atrial_septum=float(rng.uniform(2.0, 4.5)),
        septum_drift=float(rng.uniform(-0.12, 0.2)),
        long_share=float(rng.uniform(0.14, 0.24)),
        annulus_share=float(rng.uniform(0.25, 0.5)),
        regional=tuple(float(value) for value in rng.uniform(0.8, 1.2, 4)),  # type: ignore[arg-type]
        rv_share=float(rng.uniform(0.45, 0.85)),
        early_share=float(rng.uniform(0.45, 0.78)),
        leaflet_split=float(rng.uniform(0.56, 0.68)),
        leaflet_slack=float(rng.uniform(1.02, 1.1)),
        leaflet_open=float(rng.uniform(55, 84)),
        leaflet_curl=float(rng.uniform(0.1, 0.5)),
        leaflet_db=float(rng.normal(1.5, 2.0)),
        papillary=float(rng.uniform(0.2, 0.7) * (rng.random() < 0.7)),
        muscle_db=float(rng.normal(0, 2)),
        septum_db=float(rng.normal(2, 2)),
        lateral_db=float(rng.normal(-3, 2.5)),
        right_db=float(rng.normal(-8, 3)),
        roof_db=float(rng.normal(7, 2.5)),
        outside_db=float(rng.normal(-17, 4)),
        blood_db=float(rng.normal(-31, 3)),
        texture_db=float(rng.uniform(1.5, 4)),
    )


@dataclass(frozen=True)
class Shape:
    """The heart at end-diastole: ``levels`` float64 [N] in mm, ``curves`` float64 [6, N] in mm, ``bend`` [N] in mm.

    ``curves`` are measured from the long axis, which itself is displaced by ``bend`` across the picture.
    ``mitral``, ``tricuspid``, ``la_end``, ``ra_end``, ``rv_start``: levels in mm.
    """

    levels: np.ndarray
    curves: np.ndarray
    bend: np.ndarray
    mitral: float
    tricuspid: float
    la_end: float
    ra_end: float
    rv_start: float


def shape(of: Patient) -> Shape:
    """The curves of that patient at end-diastole."""
    mitral = of.lv_length
    tricuspid = mitral - of.tricuspid_rise
    la_end, ra_end = mitral + of.la_length, tricuspid + of.ra_length
    rv_start = of.rv_apex * of.lv_length
    levels = np.arange(-BEYOND_MM, max(la_end, ra_end) + BEYOND_MM, LEVEL_STEP_MM)
    inner_left, inner_right, outer_left, outer_right = _left_heart(of, levels)
    septum_right = -outer_left
    width = _right_cavity(of, levels, rv_start, tricuspid, ra_end)
    wall = 4.0 * _step((levels - rv_start + 14) / 14) * (1 - _step((levels - ra_end - 2) / 10))
    curves = np.stack(
        [septum_right - width - wall, septum_right - width, septum_right, -inner_left, inner_right, outer_right]
    )
    curves = np.maximum.accumulate(curves, axis=0)
    bend = of.bend * np.sin(np.pi * np.clip(levels / of.lv_length, 0, 1))
    return Shape(levels, curves, bend, mitral, tricuspid, la_end, ra_end, rv_start)


def _left_heart(of: Patient, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Half-widths from the axis: inner left and right, outer left and right; both inner agree where shut."""
    along = np.clip(levels / of.lv_length, 0, 1)
    whole = np.clip((levels + of.apex) / (of.lv_length + of.apex), 0, 1)
    septal = of.septum * (1 + of.septal_bulge * np.exp(-(((along - 0.82) / 0.14) ** 2)))
    left = of.lv_radius * _bullet(of, along) * _ripple(of.ripples[0:4], along)
    right = of.lv_radius * _bullet(of, along) * _ripple(of.ripples[4:8], along)
    outer_left = (of.lv_radius + septal) * _bullet(of, whole) * _ripple(of.ripples[0:4], along)
    outer_right = (of.lv_radius + of.lateral) * _bullet(of, whole) * _ripple(of.ripples[4:8], along)
    below = levels > of.lv_length
    depth = np.clip((levels - of.lv_length) / of.la_length, 0, 1)
    past = np.maximum(levels - of.lv_length, 0.0)
    base_left, base_right = left[~below][-1], right[~below][-1]
    # Where the roof closes; both walls lean towards it in the last part.
    lean = of.la_lean * of.la_radius * _step((depth - 0.35) / 0.65)
    grown = _step(depth / 0.42)
    roof = _roof(depth, of.la_roof)
    la_left = (base_left + (of.la_radius * 0.92 - base_left) * grown) * roof * _ripple(of.ripples[8:12], depth) - lean
    la_right = (base_right + (of.la_radius - base_right) * grown) * roof * _ripple(of.ripples[12:16], depth) + lean
    atrial = outer_left[~below][-1] + of.septum_drift * past
    blend = np.exp(-past / 7.0)
    ring = base_left + of.atrial_septum + of.septum_drift * past
    septum_right = np.where(below, atrial * blend + ring * (1 - blend), outer_left)
    la_left = np.minimum(la_left, septum_right - of.atrial_septum)
    shut = levels >= of.lv_length + of.la_length
    centre = of.la_lean * of.la_radius
    la_left = np.where(shut, -centre, la_left)
    la_right = np.where(shut, centre, la_right)
    extra = outer_right[~below][-1] - base_right - 3.0
    outer = la_right + 3.0 + extra * blend
    inner_left = np.where(below, la_left, left)
    inner_right = np.where(below, la_right, right)
    outer_right = np.where(below, outer, outer_right)
    inner_right = np.maximum(inner_right, -inner_left)
    return inner_left, inner_right, septum_right, outer_right


def _right_cavity(of: Patient, levels: np.ndarray, start: float, valve: float, end: float) -> np.ndarray:
    along = np.clip((levels - start) / (valve - start), 0, 1)
    ventricle = of.rv_width * (1 - (1 - along) ** 1.7) ** 0.85 * (1 - 0.16 * _step((along - 0.7) / 0.3))
    depth = np.clip((levels - valve) / (end - valve), 0, 1)
    ring = of.rv_width * 0.84
    atrium = (ring + (of.ra_width - ring) * _step(depth / 0.45)) * _roof(depth, of.ra_roof)
    return np.where(levels <= valve, ventricle, atrium)


def _bullet(of: Patient, along: np.ndarray) -> np.ndarray:
    """Half-width of the ventricle over its greatest, 0 at the apex, ``annulus`` at the base."""
    rise = np.clip(along / of.lv_widest, 0, 1)
    fall = np.clip((along - of.lv_widest) / (1 - of.lv_widest), 0, 1)
    return np.sqrt(1 - (1 - rise) ** of.lv_blunt) * (1 - (1 - of.annulus) * fall**2)


def _roof(depth: np.ndarray, exponent: float) -> np.ndarray:
    """1 up to the middle of an atrium, then down to 0 at its roof."""
    return (1 - np.clip((depth - 0.35) / 0.65, 0, 1) ** exponent) ** (1 / 1.9)


def _ripple(terms: tuple[float, ...], along: np.ndarray) -> np.ndarray:
    total = np.ones_like(along)
    for order, term in enumerate(terms, start=1):
        total = total + term * np.sin(np.pi * order * along) / order**0.5
    return total


def _step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
