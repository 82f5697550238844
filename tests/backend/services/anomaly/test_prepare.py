"""What is said of a scan before it is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from backend.services.anomaly.prepare import sequence_of, unlike
from backend.services.anomaly.read import Scan
from models.anomaly.preprocess import Grid


def _scan(shape: tuple[int, int, int], modality: str = "") -> tuple[Scan, Grid]:
    grid = Grid(shape, np.eye(4))
    return Scan(np.zeros(shape, np.float32), grid, True, "nifti", modality), grid


@pytest.mark.parametrize(
    ("greys", "sequence"),
    [
        ((0.1, 0.45, 0.75), "t1"),
        ((0.9, 0.5, 0.3), "t2"),
        ((0.1, 0.7, 0.6), "flair"),
        ((0.1, 0.6, 0.6), "flair"),
        ((0.5, 0.7, 0.4), "unknown"),
    ],
)
def test_tissues_tell_the_sequence(greys: tuple[float, float, float], sequence: str) -> None:
    assert sequence_of(*greys) == sequence


def test_what_is_no_brain_is_named_with_its_measure() -> None:
    scan, grid = _scan((150, 150, 150))
    mask = np.zeros(scan.array.shape, bool)
    mask[20:130, 20:130, 20:130] = True  # 1,331 ml
    assert unlike(mask, grid, scan) == ""
    assert "3,375 ml" in unlike(np.ones_like(mask), grid, scan)
    mask[40:] = False
    assert "242 ml" in unlike(mask, grid, scan)
    # A slab holds little of a brain, and may be one.
    slab, thin = _scan((150, 150, 30))
    assert unlike(np.ones(slab.array.shape, bool), thin, slab) == ""
    flat, one = _scan((150, 150, 1))
    assert "225" not in unlike(np.ones(flat.array.shape, bool), one, flat)
    small = np.zeros(flat.array.shape, bool)
    small[:20, :20] = True
    assert "4.0 cm²" in unlike(small, one, flat)
    body, _ = _scan((150, 150, 150), "CT")
    assert "it is CT" in unlike(mask, grid, body)
