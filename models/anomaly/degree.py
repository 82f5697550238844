"""How severe a corruption is, a in 0…1, and the step t that tells the network of it: one monotone map, both ways.

The scale is that of the released code: T = 100 steps, β linear from 1e-3 to 0.2, s = √Π(1 − β), of which the step whose
s is nearest to a is taken. There its training and its sampler read the scale from opposite ends. Here t grows with a,
in training and everywhere else. Source of the schedule: arXiv 2407.06635 and its code.
"""

from __future__ import annotations

from functools import cache

import numpy as np

STEPS = 100
BETA_FIRST, BETA_LAST = 1e-3, 0.2


@cache
def severities() -> np.ndarray:
    """Severity of every step, float64 [100], strictly ascending within 0…1. Read-only."""
    kept = np.sqrt(np.cumprod(1 - np.linspace(BETA_FIRST, BETA_LAST, STEPS)))
    found = kept[::-1].copy()
    found.flags.writeable = False
    return found


def step_of(severity: float | np.ndarray) -> np.ndarray:
    """The step, integers 0…99, whose severity is nearest to ``severity``, any shape in 0…1.

    Raises ``ValueError`` outside of 0…1.
    """
    asked = np.asarray(severity, np.float64)
    if not ((asked >= 0) & (asked <= 1)).all():
        raise ValueError("a severity lies between 0 and 1")
    return np.asarray(np.abs(severities() - asked[..., None]).argmin(-1))


def severity_of(step: int | np.ndarray) -> np.ndarray:
    """The severity, float64 in 0…1, that ``step``, integers 0…99, stands for. Raises ``ValueError`` for other steps."""
    asked = np.asarray(step)
    if not ((asked >= 0) & (asked < STEPS)).all():
        raise ValueError(f"a step lies between 0 and {STEPS - 1}")
    return np.asarray(severities()[asked])
