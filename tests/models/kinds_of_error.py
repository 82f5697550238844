"""Which kinds of topological error a damaged mask shows: found from what meets what, apart from the code under test."""

from __future__ import annotations

import numpy as np

from models.metrics.betti import label


def meetings(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which components of two label maps share a pixel: bool (components of a, components of b)."""
    joint = np.zeros((a.max() + 1, b.max() + 1), bool)
    joint[a, b] = True
    return joint[1:, 1:]


def kinds_of_error(clean: np.ndarray, damaged: np.ndarray) -> set[str]:
    """Kinds of topological error, from which pieces and which background regions of the two masks meet."""
    pieces = meetings(label(clean, "full")[0], label(damaged, "full")[0])
    regions = meetings(label(~np.pad(clean, 1), "face")[0], label(~np.pad(damaged, 1), "face")[0])
    found = set()
    if (pieces.sum(1) > 1).any() or (regions.sum(0) > 1).any():
        found.add("break")  # a piece fell apart, or a wall between two regions opened
    if (pieces.sum(0) > 1).any() or (regions.sum(1) > 1).any():
        found.add("bridge")  # two pieces were joined, or a region was walled in two
    if not pieces.any(0).all():
        found.add("island")
    if not regions.any(0).all():
        found.add("hole")
    return found
