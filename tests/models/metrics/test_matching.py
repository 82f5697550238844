"""Betti matching: hand-made cases, invariances, and a reference by linear algebra over chains."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.metrics.betti import betti_errors, betti_numbers, label
from models.metrics.matching import betti_matching, betti_matching_error, unmatched_regions

BOTH = ("full", "face")
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def square_ring(shape: tuple[int, int], top: int, left: int, height: int, width: int, wall: int = 1) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    mask[top + wall : top + height - wall, left + wall : left + width - wall] = False
    return mask


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


# A reference that shares nothing with the code under test: dim(im H(P) ∩ im H(T)) in H(P ∪ T), over GF(2).


def cells(mask: np.ndarray, connectivity: str, dimension: int) -> set[tuple[int, ...]]:
    """Cells of the cubical complex on the doubled grid: odd coordinates are the directions a cell extends in."""
    if connectivity == "full":
        steps = list(product((0, 1, 2), repeat=mask.ndim))
        every = {tuple(2 * i + s for i, s in zip(at, step, strict=True)) for at in np.argwhere(mask) for step in steps}
    else:
        inside = {tuple(2 * int(i) for i in at) for at in np.argwhere(mask)}
        steps = list(product((0, 1), repeat=mask.ndim))
        every = set()
        for at in inside:
            for step in steps:
                corners = product(*((c, c + 2) if s else (c,) for c, s in zip(at, step, strict=True)))
                if all(corner in inside for corner in corners):
                    every.add(tuple(c + s for c, s in zip(at, step, strict=True)))
    return {tuple(int(c) for c in cell) for cell in every if sum(c % 2 for c in cell) == dimension}


def boundary(cell: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(*cell[:k], c + d, *cell[k + 1 :]) for k, c in enumerate(cell) if c % 2 for d in (-1, 1)]


def reduced(vectors: list[int]) -> list[int]:
    """A basis of the span of bit vectors."""
    basis: dict[int, int] = {}
    for vector in vectors:
        while vector and (top := vector.bit_length()) in basis:
            vector ^= basis[top]
        if vector:
            basis[vector.bit_length()] = vector
    return list(basis.values())


def cycles(chain: list[tuple[int, ...]], number: dict[tuple[int, ...], int]) -> list[int]:
    """A basis of the cycles among ``chain``, as bit vectors over the cells that ``number`` counts."""
    faces: dict[tuple[int, ...], int] = {}
    pivots: dict[int, tuple[int, int]] = {}
    found = []
    for cell in chain:
        edge = 0
        for face in boundary(cell):
            edge ^= 1 << faces.setdefault(face, len(faces))
        made_of = 1 << number[cell]
        while edge and (top := edge.bit_length()) in pivots:
            edge ^= pivots[top][0]
            made_of ^= pivots[top][1]
        if edge:
            pivots[edge.bit_length()] = (edge, made_of)
        else:
            found.append(made_of)
    return found


def shared_classes(predicted: np.ndarray, truth: np.ndarray, connectivity: str, dimension: int) -> int:
    """dim(im(H_k P → H_k U) ∩ im(H_k T → H_k U)) with U the union."""
    union = predicted | truth
    number = {cell: index for index, cell in enumerate(sorted(cells(union, connectivity, dimension)))}
    bounding = []
    for cell in cells(union, connectivity, dimension + 1):
        vector = 0
        for face in boundary(cell):
            vector ^= 1 << number[face]
        bounding.append(vector)
    bounding = reduced(bounding)
    a = cycles(sorted(cells(predicted, connectivity, dimension)), number)
    b = cycles(sorted(cells(truth, connectivity, dimension)), number)
    image_a, image_b, both = (len(reduced(bounding + part)) - len(bounding) for part in (a, b, a + b))
    return image_a + image_b - both


def test_the_reference_counts_betti_numbers() -> None:
    # With both masks equal the intersection is the whole homology.
    rng = np.random.default_rng(0)
    for connectivity in BOTH:
        for _ in range(10):
            mask = rng.random((6, 6)) < 0.6
            found = tuple(shared_classes(mask, mask, connectivity, k) for k in (0, 1))
            assert found == betti_numbers(mask, connectivity)


@pytest.mark.parametrize("connectivity", BOTH)
def test_matched_classes_are_those_both_masks_send_to_the_union(connectivity: str) -> None:
    rng = np.random.default_rng(1)
    holes = 0
    for _ in range(100):
        shape = tuple(rng.integers(3, 9, 2))
        truth = rng.random(shape) < rng.uniform(0.4, 0.9) ** (1 if connectivity == "full" else 0.4)
        predicted = truth ^ (rng.random(shape) < rng.uniform(0.0, 0.2))
        found = betti_matching(predicted, truth, connectivity)
        assert found.matched_pieces == shared_classes(predicted, truth, connectivity, 0)
        assert found.matched_holes == shared_classes(predicted, truth, connectivity, 1)
        holes += found.matched_holes
    assert holes > 20, "the draw must hold matched holes for this to mean anything"


@pytest.mark.parametrize("connectivity", BOTH)
def test_matched_cavities_are_those_both_volumes_send_to_the_union(connectivity: str) -> None:
    rng = np.random.default_rng(2)
    cavities = 0
    for _ in range(10):
        shape = tuple(rng.integers(2, 5, 3))
        truth = np.pad(rng.random(shape) < 0.85, 1, constant_values=True)
        predicted = truth ^ (rng.random(truth.shape) < rng.uniform(0.0, 0.03))
        found = betti_matching(predicted, truth, connectivity)
        assert found.matched_pieces == shared_classes(predicted, truth, connectivity, 0)
        assert found.matched_holes == shared_classes(predicted, truth, connectivity, 2)
        cavities += found.matched_holes
    assert cavities >= 3


@pytest.mark.parametrize("connectivity", BOTH)
def test_equal_masks_match_completely(connectivity: str) -> None:
    rng = np.random.default_rng(3)
    for shape in ((20, 30), (8, 9, 10)):
        mask = rng.random(shape) < 0.6
        found = betti_matching(mask, mask, connectivity)
        numbers = betti_numbers(mask, connectivity)
        assert found.error == found.b0 == found.b1 == 0
        assert (found.predicted_pieces, found.true_pieces, found.matched_pieces) == (numbers[0],) * 3
        assert (found.predicted_holes, found.true_holes, found.matched_holes) == (numbers[-1],) * 3


def test_a_lost_and_a_false_island_do_not_cancel() -> None:
    truth = box((20, 20), (2, 6), (2, 6)) | box((20, 20), (2, 6), (12, 16))
    predicted = box((20, 20), (2, 6), (2, 6)) | box((20, 20), (12, 16), (12, 16))
    assert betti_errors(predicted, truth) == (0, 0)
    found = betti_matching(predicted, truth)
    assert (found.b0, found.b1, found.error) == (2, 0, 2)


def test_a_broken_ring_loses_its_loop_only() -> None:
    truth = square_ring((12, 12), 2, 2, 8, 8)
    predicted = truth.copy()
    predicted[2, 5] = False
    found = betti_matching(predicted, truth)
    assert (found.b0, found.b1) == (0, 1)


def test_a_line_in_two_halves_has_one_piece_too_many() -> None:
    truth = box((9, 20), (4, 6), (0, 20))
    predicted = truth.copy()
    predicted[:, 10] = False
    found = betti_matching(predicted, truth)
    assert (found.predicted_pieces, found.true_pieces, found.matched_pieces) == (2, 1, 1)
    assert found.error == 1


def test_rings_side_by_side_share_nothing() -> None:
    predicted, truth = square_ring((10, 24), 2, 2, 6, 6), square_ring((10, 24), 2, 14, 6, 6)
    assert betti_errors(predicted, truth) == (0, 0)
    found = betti_matching(predicted, truth)
    assert (found.b0, found.b1, found.error) == (2, 2, 4)


def test_a_slightly_shifted_ring_is_the_same_ring() -> None:
    predicted, truth = square_ring((20, 20), 2, 2, 12, 12, wall=2), square_ring((20, 20), 3, 3, 12, 12, wall=2)
    assert betti_matching_error(predicted, truth) == 0


def test_rings_one_inside_the_other_are_different_classes() -> None:
    # In the union the gap between them is open, so the loop of one cannot be moved onto the other.
    predicted, truth = square_ring((20, 20), 1, 1, 16, 16), square_ring((20, 20), 6, 6, 6, 6)
    assert betti_matching_error(predicted, truth) == 4
    # Where the truth's wall fills the gap, they are one class.
    assert betti_matching_error(predicted, square_ring((20, 20), 2, 2, 14, 14, wall=6)) == 0


def test_a_lost_wall_merges_two_holes() -> None:
    truth = square_ring((9, 17), 0, 0, 9, 17)
    truth[:, 8] = True
    predicted = square_ring((9, 17), 0, 0, 9, 17)
    found = betti_matching(predicted, truth)
    assert (found.predicted_holes, found.true_holes, found.matched_holes) == (1, 2, 1)
    assert (found.b0, found.b1) == (0, 1)


def test_a_hole_that_leaks_to_the_outside_is_lost_even_where_two_are_linked() -> None:
    # Two cells; the prediction loses the wall between them and one outer wall: neither cell is enclosed any more.
    truth = square_ring((9, 17), 0, 0, 9, 17)
    truth[:, 8] = True
    predicted = truth.copy()
    predicted[4, 8] = False
    predicted[4, 16] = False
    found = betti_matching(predicted, truth)
    assert (found.predicted_holes, found.true_holes, found.matched_holes) == (0, 2, 0)
    assert found.b1 == 2
    # With the wall between kept, only the leaking one is lost.
    predicted[4, 8] = True
    assert betti_matching(predicted, truth).b1 == 1


def test_a_filled_hole_is_one_error() -> None:
    truth = square_ring((9, 17), 0, 0, 9, 17)
    truth[:, 8] = True
    predicted = truth.copy()
    predicted[:, :8] = True
    found = betti_matching(predicted, truth)
    assert (found.b0, found.b1) == (0, 1)


def test_empty_masks() -> None:
    empty, ring = np.zeros((8, 8), bool), square_ring((8, 8), 1, 1, 6, 6)
    assert betti_matching_error(empty, empty) == 0
    assert betti_matching_error(empty, ring) == betti_matching_error(ring, empty) == 2
    assert betti_matching_error(np.ones((8, 8), bool), ring) == 1


def test_connectivity_decides_whether_a_diagonal_wall_encloses() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    solid = np.ones((3, 3), bool)
    assert betti_matching(diamond, solid, "full").b1 == 1
    assert betti_matching(diamond, solid, "face").b1 == 0
    assert betti_matching(diamond, solid, "face").b0 == 3


def test_cavities_of_a_volume_are_matched() -> None:
    shell = box((9, 9, 9), (1, 8), (1, 8), (1, 8)) & ~box((9, 9, 9), (3, 6), (3, 6), (3, 6))
    leaking = shell & ~box((9, 9, 9), (4, 5), (4, 5), (0, 4))
    assert betti_matching_error(shell, shell) == 0
    found = betti_matching(leaking, shell)
    assert (found.b0, found.b1) == (0, 1)


def pairs(shape: st.SearchStrategy = SIDES) -> st.SearchStrategy:
    return shape.flatmap(lambda s: st.tuples(arrays.arrays(bool, s), arrays.arrays(bool, s)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(BOTH))
def test_at_least_the_differences_of_the_counts(pair: tuple[np.ndarray, np.ndarray], connectivity: str) -> None:
    found = betti_matching(*pair, connectivity)
    b0, b1 = betti_errors(*pair, connectivity)
    assert found.b0 >= b0
    assert found.b1 >= b1
    assert found.error == found.b0 + found.b1 == betti_matching_error(*pair, connectivity)
    assert 0 <= found.matched_pieces <= min(found.predicted_pieces, found.true_pieces)
    assert 0 <= found.matched_holes <= min(found.predicted_holes, found.true_holes)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(BOTH))
def test_symmetric_and_unchanged_by_flips_and_turns(pair: tuple[np.ndarray, np.ndarray], connectivity: str) -> None:
    a, b = pair
    error = betti_matching_error(a, b, connectivity)
    assert betti_matching_error(b, a, connectivity) == error
    for turn in (np.flipud, np.fliplr, np.transpose, np.rot90):
        assert betti_matching_error(turn(a), turn(b), connectivity) == error


def test_regions_that_overlap_by_more_than_half_are_partners() -> None:
    cell = square_ring((12, 22), 0, 0, 12, 12) | square_ring((12, 22), 0, 11, 12, 11)
    assert unmatched_regions(cell, cell) == 0
    no_wall = cell.copy()
    no_wall[1:-1, 11] = False
    # One large region against two of which neither is more than half of it.
    assert unmatched_regions(no_wall, cell) == 3
    moved = cell.copy()
    moved[1:-1, 11], moved[1:-1, 12] = False, True
    assert unmatched_regions(moved, cell) == 0


def test_regions_at_the_border_count() -> None:
    wall = box((10, 20), (0, 10), (9, 11))
    assert unmatched_regions(wall, wall) == 0
    assert unmatched_regions(np.zeros_like(wall), wall) == 3
    assert unmatched_regions(np.ones_like(wall), wall) == 2


def test_an_overlap_of_exactly_the_threshold_is_no_partner() -> None:
    truth = np.pad(np.zeros((2, 8), bool), 1, constant_values=True)
    predicted = truth.copy()
    predicted[:, 5:] = True
    assert unmatched_regions(predicted, truth) == 2
    predicted[1, 5] = False
    assert unmatched_regions(predicted, truth) == 0
    assert unmatched_regions(predicted, truth, threshold=0.8) == 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(BOTH))
def test_unmatched_regions_are_symmetric_and_bounded(pair: tuple[np.ndarray, np.ndarray], connectivity: str) -> None:
    a, b = pair
    found = unmatched_regions(a, b, connectivity=connectivity)
    other = "face" if connectivity == "full" else "full"
    regions = [label(~mask, other)[1] for mask in pair]
    assert abs(regions[0] - regions[1]) <= found <= sum(regions)
    assert unmatched_regions(b, a, connectivity=connectivity) == found
    assert unmatched_regions(a, a, connectivity=connectivity) == 0


def test_refuses_unequal_shapes_and_ambiguous_thresholds() -> None:
    mask = np.ones((4, 4), bool)
    for function in (betti_matching, betti_matching_error, unmatched_regions):
        with pytest.raises(ValueError, match="shape"):
            function(mask, np.ones((4, 5), bool))
        with pytest.raises(TypeError, match="bool"):
            function(mask, np.ones((4, 4)))
    with pytest.raises(ValueError, match="one half"):
        unmatched_regions(mask, mask, threshold=0.4)
    with pytest.raises(ValueError, match="connectivity"):
        betti_matching(mask, mask, "4")
