"""Trivial repairs on hand-made masks."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.betti import betti_numbers, label
from models.phantoms import curvilinear
from models.topology.repairs import closing, copy_border, fill_small_holes, hysteresis, remove_small, tidy


def grid_of_cells(holes: list[int]) -> np.ndarray:
    """A solid bar with a row of holes of the given lengths, one pixel high."""
    mask = np.ones((3, sum(holes) + len(holes) + 1), bool)
    at = 1
    for length in holes:
        mask[1, at : at + length] = False
        at += length + 1
    return mask


def random_masks(ndim: int) -> list[np.ndarray]:
    rng = np.random.default_rng(ndim)
    return [rng.random((24,) * 2 if ndim == 2 else (9,) * 3) < p for p in (0.2, 0.5, 0.8)]


def test_a_zeroed_frame_becomes_its_inner_neighbour() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((7, 9)) * 0.5 + 0.25
    framed = truth.copy()
    framed[0] = framed[-1] = 0
    framed[:, 0] = framed[:, -1] = 0
    mended = copy_border(framed)
    assert np.array_equal(mended[1:-1, 1:-1], truth[1:-1, 1:-1])
    assert np.array_equal(mended[0, 1:-1], truth[1, 1:-1])
    assert np.array_equal(mended[1:-1, -1], truth[1:-1, -2])
    assert mended[0, 0] == truth[1, 1]
    assert framed[0].max() == 0, "the input is not changed"


def test_a_frame_with_anything_in_it_is_left_alone() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 3] = mask[1:5, 1:5] = True
    mended = copy_border(mask)
    assert np.array_equal(mended[0, 1:5], [False, False, True, False])
    assert mended[5, 2]
    assert mended.dtype == np.bool_


def test_a_zeroed_frame_of_a_volume() -> None:
    volume = np.pad(np.ones((3, 3, 3)), 1)
    assert copy_border(volume).all()
    thin = np.zeros((2, 5, 5))
    assert np.array_equal(copy_border(thin), thin)


def test_small_pieces_go_and_those_of_the_size_stay() -> None:
    mask = np.zeros((9, 20), bool)
    mask[1, 1:4] = mask[3, 1:5] = mask[6, 1:11] = True
    assert np.array_equal(np.flatnonzero(remove_small(mask, 4).any(1)), [3, 6])
    assert np.array_equal(remove_small(mask, 0), mask)
    assert not remove_small(mask, 11).any()


def test_connectivity_decides_what_a_piece_is() -> None:
    steps = np.eye(6, dtype=bool)
    assert remove_small(steps, 6, "full").all() == steps.all()
    assert np.array_equal(remove_small(steps, 6, "full"), steps)
    assert not remove_small(steps, 2, "face").any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_removing_small_pieces_leaves_large_ones_whole(ndim: int) -> None:
    for mask in random_masks(ndim):
        for connectivity in ("full", "face"):
            kept = remove_small(mask, 5, connectivity)
            assert not (kept & ~mask).any()
            labels, count = label(kept, connectivity)
            assert (np.bincount(labels.ravel())[1:] >= 5).all()
            sizes = np.bincount(label(mask, connectivity)[0].ravel())[1:]
            assert count == np.count_nonzero(sizes >= 5)


def test_holes_out_of_scale_are_filled() -> None:
    mask = grid_of_cells([10, 10, 1, 10, 2])
    assert betti_numbers(mask) == (1, 5)
    filled = fill_small_holes(mask, share=0.15)  # below 1.5 pixels
    assert betti_numbers(filled) == (1, 4)
    assert betti_numbers(fill_small_holes(mask, share=0.25)) == (1, 3)
    assert np.count_nonzero(filled & ~mask) == 1
    assert np.array_equal(fill_small_holes(mask, share=0.0), mask)


def test_a_crowd_of_pinholes_goes_by_its_area() -> None:
    mask = grid_of_cells([1] * 10 + [20])
    assert np.array_equal(fill_small_holes(mask), mask), "the median hole is a pinhole itself"
    assert betti_numbers(fill_small_holes(mask, least=2)) == (1, 1)
    # What is left after them sets the scale of the rest.
    mask = grid_of_cells([1] * 10 + [3, 30, 30, 30])
    assert betti_numbers(fill_small_holes(mask, share=0.15, least=2)) == (1, 3)
    assert betti_numbers(tidy(mask, 5, share=0.0, least=4)) == (1, 3)


def test_what_is_open_to_the_border_is_no_hole() -> None:
    mask = grid_of_cells([10, 10, 10])
    mask[0, 2] = False  # opens the first one
    mask[1, 13:21] = True  # the second one shrinks
    filled = fill_small_holes(mask, share=0.9)
    assert not filled[0, 2]
    assert not filled[1, 1]


def test_masks_without_holes_come_back_equal() -> None:
    for mask in (np.zeros((5, 5), bool), np.ones((5, 5), bool), np.eye(5, dtype=bool), np.ones((3, 3, 3), bool)):
        assert np.array_equal(fill_small_holes(mask), mask)


@pytest.mark.parametrize("ndim", [2, 3])
def test_filling_removes_holes_and_nothing_else(ndim: int) -> None:
    for mask in random_masks(ndim):
        before, after = betti_numbers(mask), betti_numbers(fill_small_holes(mask, share=1.0))
        assert not (mask & ~fill_small_holes(mask, share=1.0)).any()
        assert after[0] <= before[0]
        assert after[-1] <= before[-1]


def test_tidy_is_both_in_turn() -> None:
    mask = curvilinear.sample("membranes", 96, 1)
    rng = np.random.default_rng(1)
    noisy = mask ^ (rng.random(mask.shape) < 0.02)
    assert np.array_equal(tidy(noisy, 20), fill_small_holes(remove_small(noisy, 20)))
    assert sum(betti_numbers(tidy(noisy, 20))) < sum(betti_numbers(noisy))


@pytest.mark.parametrize(("radius", "mended"), [(1, False), (2, True), (4, True)])
def test_closing_bridges_gaps_up_to_twice_its_radius(radius: int, mended: bool) -> None:
    line = np.zeros((21, 41), bool)
    line[8:13] = True
    broken = line.copy()
    broken[:, 19:22] = False  # three pixels
    closed = closing(broken, radius)
    assert (betti_numbers(closed) == (1, 0)) is mended
    assert not (broken & ~closed).any()


def test_closing_does_not_eat_or_grow_at_the_border() -> None:
    half = np.zeros((20, 20), bool)
    half[:, :7] = True
    assert np.array_equal(closing(half, 4), half)
    assert np.array_equal(closing(np.ones((6, 6), bool), 3), np.ones((6, 6), bool))
    assert not closing(np.zeros((6, 6, 6), bool), 2).any()


def test_closing_in_three_dimensions() -> None:
    rod = np.zeros((9, 9, 21), bool)
    rod[3:6, 3:6] = True
    broken = rod.copy()
    broken[..., 10] = False
    assert betti_numbers(broken)[0] == 2
    assert betti_numbers(closing(broken, 2)) == (1, 0, 0)


def test_hysteresis_keeps_the_weak_only_where_joined_to_the_strong() -> None:
    probability = np.zeros((7, 20))
    probability[1, 2:9], probability[1, 4] = 0.4, 0.9  # weak with a strong heart
    probability[5, 2:9] = 0.4  # weak alone
    found = hysteresis(probability, 0.3, 0.8)
    assert np.array_equal(np.flatnonzero(found.any(1)), [1])
    assert found.sum() == 7
    assert found.dtype == np.bool_
    assert hysteresis(probability, 0.3, 0.35).sum() == 14


def test_blur_joins_what_hysteresis_alone_would_not() -> None:
    probability = np.zeros((9, 30))
    probability[3:6, 3:13] = probability[3:6, 15:27] = 1.0
    assert label(hysteresis(probability, 0.3, 0.6))[1] == 2
    assert label(hysteresis(probability, 0.3, 0.6, blur=1.5))[1] == 1
