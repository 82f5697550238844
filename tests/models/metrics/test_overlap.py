"""Dice and clDice: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.overlap import cldice, dice


def bar(shape: tuple[int, ...], *sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


LINE = bar((20, 60), (10, 11), (10, 50))  # 40 pixels long, one wide: its own skeleton
LINE_3D = bar((9, 9, 40), (4, 5), (4, 5), (5, 35))


def test_dice_counts_pixels() -> None:
    a, b = bar((10, 10), (0, 4), (0, 5)), bar((10, 10), (2, 6), (0, 5))
    assert dice(a, b) == 2 * 10 / 40
    assert dice(a, a) == 1.0
    assert dice(a, ~a) == 0.0
    assert dice(a, np.zeros_like(a)) == 0.0
    assert dice(np.zeros_like(a), np.zeros_like(a)) == 1.0


@pytest.mark.parametrize("line", [LINE, LINE_3D])
def test_cldice_of_extremes(line: np.ndarray) -> None:
    empty = np.zeros_like(line)
    assert cldice(line, line) == 1.0
    assert cldice(empty, empty) == 1.0
    assert cldice(line, empty) == cldice(empty, line) == 0.0
    assert cldice(line, np.roll(line, 3, axis=0)) == 0.0


def test_thickness_does_not_matter_to_cldice() -> None:
    thick = bar((20, 60), (6, 15), (10, 50))
    assert cldice(thick, LINE) > 0.96  # the skeleton of a bar may bend towards a corner at its end
    assert dice(thick, LINE) == 2 * 40 / (40 + 360)


def test_a_gap_costs_sensitivity_in_proportion_to_its_length() -> None:
    broken = LINE.copy()
    broken[:, 20:30] = False
    assert cldice(broken, LINE) == pytest.approx(2 * 0.75 / 1.75)
    # Swapping the roles swaps precision and sensitivity, and leaves their mean.
    assert cldice(LINE, broken) == cldice(broken, LINE)


def test_a_false_branch_costs_precision_in_proportion_to_its_length() -> None:
    with_false = LINE | bar((20, 60), (2, 3), (20, 40))
    assert cldice(with_false, LINE) == pytest.approx(2 * (40 / 60) / (1 + 40 / 60))


def test_a_gap_in_three_dimensions() -> None:
    broken = LINE_3D.copy()
    broken[..., 10:16] = False
    assert cldice(broken, LINE_3D) == pytest.approx(2 * 0.8 / 1.8)


def test_refuses_unequal_shapes_and_numbers() -> None:
    for function in (dice, cldice):
        with pytest.raises(ValueError, match="shape"):
            function(LINE, LINE[:-1])
        with pytest.raises(TypeError, match="bool"):
            function(LINE.astype(float), LINE)
        with pytest.raises(TypeError, match="bool"):
            function(LINE, LINE.astype(np.uint8))
