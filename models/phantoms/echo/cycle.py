"""The cardiac cycle: when ejection and filling happen, how full the ventricle is, how far the valve stands open.

Phase 0 is end-diastole, phase 1 the next one. Intervals follow the heart rate as the textbook regressions say: ejection
shortens slowly with the rate, diastole takes what is left, and above about 100 beats a minute the early and the atrial
filling wave run into each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CONTRACTION_S = 0.045  # isovolumic contraction
_RELAXATION_S = 0.075  # isovolumic relaxation
_EARLY_S, _ATRIAL_S = 0.21, 0.13
_DIASTASIS_SHARE = 0.06


@dataclass(frozen=True)
class Timing:
    """Phases, each in 0…1 and rising, at which one part of the cycle gives way to the next."""

    ejection: float
    relaxation: float
    early: float
    diastasis: float
    atrial: float

    @property
    def end_systole(self) -> float:
        """Phase at which ejection ends; the volume stays until ``early``."""
        return self.relaxation


def timing(heart_rate: float) -> Timing:
    """Intervals at ``heart_rate`` beats a minute."""
    beat = 60.0 / heart_rate
    # Left ventricular ejection time in seconds, after Weissler's regression on the heart rate.
    ejection = max(0.413 - 0.0017 * heart_rate, 0.12)
    shrink = min(1.0, 0.58 * beat / (_CONTRACTION_S + ejection + _RELAXATION_S))
    starts = np.cumsum([_CONTRACTION_S, ejection, _RELAXATION_S]) * shrink
    left = beat - starts[-1]
    atrial = beat - min(_ATRIAL_S, 0.4 * left)
    diastasis = min(starts[-1] + _EARLY_S, atrial)
    return Timing(*(float(second / beat) for second in (*starts, diastasis, atrial)))


def fullness(phase: np.ndarray, at: Timing, early_share: float) -> np.ndarray:
    """Volume between end-systole (0) and end-diastole (1), float64 of the shape of ``phase`` (any real numbers).

    ``early_share``: part of the stroke volume that comes with the early filling wave, 0…1.
    """
    phase = np.mod(phase, 1.0)
    drift = _DIASTASIS_SHARE * (1.0 - early_share)
    empty = _surge((phase - at.ejection) / (at.relaxation - at.ejection))
    early = _surge((phase - at.early) / (at.diastasis - at.early))
    pause = np.clip((phase - at.diastasis) / max(at.atrial - at.diastasis, 1e-6), 0.0, 1.0)
    atrial = _surge((phase - at.atrial) / (1.0 - at.atrial), late=True)
    return 1.0 - empty + early_share * early + drift * pause + (1.0 - early_share - drift) * atrial


def valve_opening(phase: np.ndarray, at: Timing) -> np.ndarray:
    """How far the mitral leaflets stand open, 0…1: wide early, half shut, open again for the atrial kick."""
    phase = np.mod(phase, 1.0)
    span = at.diastasis - at.early
    knots = [0.0, at.early, at.early + 0.3 * span, at.early + 0.55 * span, at.diastasis]
    values = [0.0, 0.0, 1.0, 0.9, 0.42]
    knots += [at.atrial + 1e-6, at.atrial + 0.4 * (1 - at.atrial), 1.0]
    values += [0.36, 0.72, 0.0]
    return np.interp(phase, knots, values)


def _surge(x: np.ndarray, late: bool = False) -> np.ndarray:
    """Share of a wave that has passed: the distribution function of Beta(2, 3), or of Beta(2, 2) for ``late``."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x) if late else x * x * (6 - 8 * x + 3 * x * x)
