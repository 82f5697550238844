"""What each sequence makes of each tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEQUENCES = ("t1", "t2", "flair", "random")


@dataclass(frozen=True)
class Contrast:
    """Signals of one acquisition, in units of white matter's, which is 1.

    ``csf``, ``grey``: mean signals; ``detail``: share of the atlas's T1 detail, below 0 where dark in T1 is bright;
    ``fine``, ``broad``: standard deviation of texture inside tissue; ``units``: white matter in scanner units.
    """

    csf: float
    grey: float
    detail: float
    fine: float
    broad: float
    units: float


# csf, grey (low and high), detail (low and high). Ranges are our choice, around those of 1.5 and 3 T scanners.
_RANGES = {
    "t1": ((0.06, 0.34), (0.55, 0.78), (0.7, 1.2)),
    "t2": ((2.3, 3.6), (1.2, 1.5), (-1.3, -0.7)),
    "flair": ((0.05, 0.3), (1.06, 1.28), (-0.5, -0.1)),
}


def contrast(sequence: str, rng: np.random.Generator) -> Contrast:
    """Contrast of a sequence. T1: fluid < grey < white; T2: fluid > grey > white; FLAIR: fluid dark, grey > white.

    ``random`` is any order with tissues at least 0.12 apart. Raises ``ValueError`` for another name.
    """
    if sequence not in SEQUENCES:
        raise ValueError(f"sequence {sequence!r} is none of {', '.join(SEQUENCES)}")
    if sequence == "random":
        csf, grey = 1.0, 1.0
        while min(abs(csf - 1), abs(grey - 1), abs(csf - grey)) < 0.12:
            csf, grey = float(rng.uniform(0.05, 3.0)), float(rng.uniform(0.5, 1.6))
        detail = float(rng.uniform(-1.2, 1.2))
    else:
        csf, grey, detail = (float(rng.uniform(*span)) for span in _RANGES[sequence])
    return Contrast(
        csf=csf,
        grey=grey,
        detail=detail,
        fine=float(rng.uniform(0.015, 0.05)),
        broad=float(rng.uniform(0.01, 0.04)),
        units=float(np.exp(rng.uniform(np.log(80), np.log(1200)))),
    )
