"""Mitral and tricuspid leaflets: thin sheets hinged at the annulus, shut in systole, swinging open in diastole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.phantoms.echo.anatomy import LATERAL_INNER, RIGHT_INNER, SEPTUM_LEFT, SEPTUM_RIGHT, Patient, Shape
from models.phantoms.echo.motion import Motion

_NODES = 10
_PER_LEAFLET = 130
_THICK_MM = 0.45


@dataclass(frozen=True)
class Leaflets:
    """All leaflets: ``u``, ``w`` float32 [T, P] mm; ``amplitude`` complex64 [P]; ``normal`` float32 [T, P] radians."""

    u: np.ndarray
    w: np.ndarray
    amplitude: np.ndarray
    normal: np.ndarray


def leaflets(of: Patient, rest: Shape, motion: Motion, opening: np.ndarray, rng: np.random.Generator) -> Leaflets:
    """Both valves for ``opening`` float [T], 0 shut … 1 wide open."""
    mitral = _hinges(rest, motion, (SEPTUM_LEFT, LATERAL_INNER), rest.mitral)
    tricuspid = _hinges(rest, motion, (SEPTUM_RIGHT, RIGHT_INNER), rest.tricuspid)
    parts = [
        *_valve(mitral, of.leaflet_split, of, opening, 10 ** (of.leaflet_db / 20), rng),
        *_valve(tricuspid, 0.45, of, opening * 0.9, 10 ** ((of.leaflet_db + 0.7 * of.right_db) / 20), rng),
    ]
    u, w, normal = (np.concatenate([part[k] for part in parts], axis=1).astype(np.float32) for k in (0, 1, 3))
    return Leaflets(u, w, np.concatenate([part[2] for part in parts]).astype(np.complex64), normal)


def _hinges(
    rest: Shape, motion: Motion, rows: tuple[int, int], level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``u`` of both ends of the annulus and its ``w``, each [T]; the first end is the one at the septum."""
    place = int(np.floor(level - rest.levels[0]))
    part = level - rest.levels[place]
    pick = lambda table: table[..., place] * (1 - part) + table[..., place + 1] * part  # noqa: E731
    # At the annulus itself, not beyond it, where an atrium may already widen.
    return motion.curves[:, rows[0], place], motion.curves[:, rows[1], place], pick(motion.levels)


def _valve(
    hinges: tuple[np.ndarray, np.ndarray, np.ndarray],
    split: float,
    of: Patient,
    opening: np.ndarray,
    gain: float,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    first, second, w = hinges
    span = np.abs(second - first)
    widest = float(span.max())
    long = split * widest * of.leaflet_slack
    tent = np.sqrt(max(long**2 - (split * widest) ** 2, 1.0))
    short = float(np.hypot((1 - split) * widest, tent))
    out = []
    for hinge, toward, length, share, loud in (
        (first, second, long, split, gain),
        (second, first, short, 1 - split, 0.6 * gain),
    ):
        shut = np.arccos(np.clip(share * span / length, 0.2, 1.0))
        wide = np.deg2rad(of.leaflet_open)
        angle = shut + (wide - shut) * opening
        curl = of.leaflet_curl * (1 - opening) - 0.5 * opening
        along = np.linspace(0, 1, _NODES)
        bent = angle[:, None] - curl[:, None] * (along - 0.5) * 1.4
        sign = np.sign(toward - hinge)[:, None]
        step = length / (_NODES - 1)
        reach = np.cumsum(np.cos(bent), axis=1) * step
        rise = np.cumsum(np.sin(bent), axis=1) * step
        at = rng.uniform(0, _NODES - 1.001, _PER_LEAFLET)
        low = at.astype(int)
        part = at - low
        off = rng.normal(0, _THICK_MM, _PER_LEAFLET)
        heading = bent[:, low]
        across = hinge[:, None] + sign * (reach[:, low] * (1 - part) + reach[:, low + 1] * part - off * np.sin(heading))
        down = w[:, None] - rise[:, low] * (1 - part) - rise[:, low + 1] * part - off * np.cos(heading)
        noise = rng.standard_normal((2, _PER_LEAFLET)) * 0.5**0.5
        weight = loud * (1.25 - 0.5 * at / _NODES)
        out.append((across, down, weight * (noise[0] + 1j * noise[1] + 0.25), sign * heading))
    return out
