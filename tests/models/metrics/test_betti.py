"""Betti numbers: closed forms, agreement with persistent homology, and speed."""

from __future__ import annotations

import time

import gudhi
import numpy as np
import pytest
from scipy import ndimage

from models.metrics.betti import betti_errors, betti_numbers, dual, euler_number, label

BOTH = ("full", "face")


def disc(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def ring(shape: tuple[int, ...], centre: tuple[float, ...], radius: float, width: float = 2.5) -> np.ndarray:
    return disc(shape, centre, radius) & ~disc(shape, centre, radius - width)


def torus(side: int = 32, major: float = 9.0, minor: float = 4.0) -> np.ndarray:
    z, y, x = (axis - (side - 1) / 2 for axis in np.ogrid[:side, :side, :side])
    return (np.hypot(x, y) - major) ** 2 + z**2 <= minor**2


def by_persistence(mask: np.ndarray, connectivity: str) -> tuple[int, ...]:
    """Betti numbers by gudhi: foreground enters at 0, background at 1, read between."""
    kind = "top_dimensional_cells" if connectivity == "full" else "vertices"
    cubes = gudhi.CubicalComplex(**{kind: np.where(mask, 0.0, 1.0)})
    cubes.compute_persistence()
    return tuple(cubes.persistent_betti_numbers(0.5, 0.5)[: mask.ndim])


EIGHT = ring((40, 60), (20, 20), 12) | ring((40, 60), (20, 39), 12)
SHAPES_2D = {
    "empty": (np.zeros((9, 7), bool), (0, 0)),
    "full": (np.ones((9, 7), bool), (1, 0)),
    "one pixel": (np.ones((1, 1), bool), (1, 0)),
    "one row": (np.array([[True, False, True, True]]), (2, 0)),
    "disc": (disc((30, 30), (15, 15), 9), (1, 0)),
    "ring": (ring((30, 30), (15, 15), 9), (1, 1)),
    "ring around a disc": (ring((30, 30), (15, 15), 12) | disc((30, 30), (15, 15), 4), (2, 1)),
    "ring around a ring": (ring((40, 40), (20, 20), 17) | ring((40, 40), (20, 20), 8), (2, 2)),
    "two rings": (ring((30, 60), (15, 15), 9) | ring((30, 60), (15, 45), 9), (2, 2)),
    "figure eight": (EIGHT, (1, 2)),
    "frame at the border": (np.pad(np.zeros((6, 6), bool), 1, constant_values=True), (1, 1)),
    "half ring cut by the border": (ring((30, 30), (15, 15), 9)[15:], (1, 0)),
    "hole one pixel wide": (np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool), (1, 1)),
    "hole open to the border": (np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1]], bool), (1, 0)),
    "corner piece": (np.pad(np.ones((2, 2), bool), ((0, 5), (0, 5))), (1, 0)),
}
BALL = disc((20,) * 3, (10, 10, 10), 7)
SHAPES_3D = {
    "empty": (np.zeros((4, 5, 6), bool), (0, 0, 0)),
    "full": (np.ones((4, 5, 6), bool), (1, 0, 0)),
    "ball": (BALL, (1, 0, 0)),
    "two balls": (np.concatenate([BALL, BALL]), (2, 0, 0)),
    "torus": (torus(), (1, 1, 0)),
    "hollow ball": (BALL & ~disc((20,) * 3, (10, 10, 10), 3), (1, 0, 1)),
    "hollow torus": (torus() & ~torus(minor=1.5), (1, 2, 1)),
    "ball in a hollow ball": (ring((30,) * 3, (15, 15, 15), 12, 3) | disc((30,) * 3, (15, 15, 15), 5), (2, 0, 1)),
    "hollow ball cut by the border": (ring((30,) * 3, (15, 15, 15), 12, 3)[15:], (1, 0, 0)),
    "tube through the volume": (np.broadcast_to(ring((20, 20), (10, 10), 7), (9, 20, 20)), (1, 1, 0)),
    "one plate": (np.ones((1, 5, 5), bool), (1, 0, 0)),
}


@pytest.mark.parametrize("connectivity", BOTH)
@pytest.mark.parametrize("name", SHAPES_2D)
def test_a_flat_shape_has_the_betti_numbers_one_can_count(name: str, connectivity: str) -> None:
    mask, expected = SHAPES_2D[name]
    assert betti_numbers(mask, connectivity) == expected
    assert euler_number(mask, connectivity) == expected[0] - expected[1]


@pytest.mark.parametrize("connectivity", BOTH)
@pytest.mark.parametrize("name", SHAPES_3D)
def test_a_solid_shape_has_the_betti_numbers_one_can_count(name: str, connectivity: str) -> None:
    mask, (b0, b1, b2) = SHAPES_3D[name]
    assert betti_numbers(mask, connectivity) == (b0, b1, b2)
    assert euler_number(mask, connectivity) == b0 - b1 + b2


def test_a_checkerboard_is_one_net_or_many_pieces() -> None:
    board = np.indices((8, 8)).sum(0) % 2 == 0
    # Joined at corners: one piece; every white square that does not touch the border is a hole (half of 6 x 6).
    assert betti_numbers(board, "full") == (1, 18)
    assert betti_numbers(board, "face") == (32, 0)


def test_a_solid_checkerboard_is_one_net_or_many_pieces() -> None:
    board = np.indices((4, 4, 4)).sum(0) % 2 == 0
    assert betti_numbers(board, "face") == (32, 0, 0)
    b0, b1, b2 = betti_numbers(board, "full")
    # The 4 white cubes of the inner 2 x 2 x 2 are closed in on all six sides.
    assert (b0, b2) == (1, 4)
    assert (b0, b1, b2) == by_persistence(board, "full")


def test_two_squares_at_a_corner_are_joined_only_by_full_connectivity() -> None:
    flat = np.array([[1, 0], [0, 1]], bool)
    assert betti_numbers(flat, "full") == (1, 0)
    assert betti_numbers(flat, "face") == (2, 0)
    solid = np.zeros((2, 2, 2), bool)
    solid[0, 0, 0] = solid[1, 1, 1] = True
    assert betti_numbers(solid, "full") == (1, 0, 0)
    assert betti_numbers(solid, "face") == (2, 0, 0)


def test_a_diamond_closes_a_loop_only_by_full_connectivity() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert betti_numbers(diamond, "full") == (1, 1)
    assert betti_numbers(diamond, "face") == (4, 0)


def random_masks(count: int, ndim: int, seed: int) -> list[np.ndarray]:
    """Salt and pepper at any density in turn with smooth blobs."""
    rng = np.random.default_rng(seed)
    masks = []
    for index in range(count):
        shape = tuple(int(n) for n in rng.integers(2, 27 if ndim == 2 else 9, ndim))
        if index % 2:
            masks.append(rng.random(shape) < rng.uniform(0.05, 0.95))
        else:
            smooth = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(0.6, 1.5))
            masks.append(smooth > np.quantile(smooth, rng.uniform(0.2, 0.8)))
    return masks


@pytest.mark.parametrize("connectivity", BOTH)
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_to_persistent_homology_on_random_masks(ndim: int, connectivity: str) -> None:
    masks = random_masks(250, ndim, seed=ndim)
    found = [betti_numbers(mask, connectivity) for mask in masks]
    assert found == [by_persistence(mask, connectivity) for mask in masks]
    assert max(numbers[-1] for numbers in found) > 0, "the draw must hold holes or cavities for this to mean anything"
    assert max(numbers[1] for numbers in found) > 3


@pytest.mark.parametrize("connectivity", BOTH)
def test_holes_of_the_mask_are_components_of_its_complement(connectivity: str) -> None:
    for mask in random_masks(40, 2, seed=11):
        b0, b1 = betti_numbers(np.pad(mask, 1), connectivity)
        outside = ~np.pad(mask, 1)
        assert label(outside, dual(connectivity))[1] == b1 + 1
        assert label(mask, connectivity)[1] == b0


@pytest.mark.parametrize("connectivity", BOTH)
def test_unchanged_by_flips_and_turns(connectivity: str) -> None:
    for mask in random_masks(20, 3, seed=12):
        expected = betti_numbers(mask, connectivity)
        for turned in (mask[::-1], mask[:, ::-1], mask[..., ::-1], mask.transpose(1, 2, 0), mask.transpose(0, 2, 1)):
            assert betti_numbers(turned, connectivity) == expected


def test_labels_tell_components_apart() -> None:
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], bool)
    labels, count = label(mask, "full")
    assert count == 3
    assert labels.dtype == np.int32
    assert np.array_equal(labels > 0, mask)
    assert labels[0, 0] == labels[1, 2] != labels[3, 0]
    assert label(mask, "face")[1] == 4


def test_errors_are_differences_of_counts() -> None:
    one = ring((30, 60), (15, 15), 9)
    two = one | ring((30, 60), (15, 45), 9)
    assert betti_errors(one, two) == (1, 1)
    assert betti_errors(two, two) == (0, 0)
    # Opposite mistakes cancel in a count: this is why the matching error stands beside it.
    assert betti_errors(one, ring((30, 60), (15, 45), 9)) == (0, 0)


def test_refuses_what_is_no_mask() -> None:
    mask = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="2 or 3 axes"):
        betti_numbers(np.ones(4, bool))
    with pytest.raises(ValueError, match="2 or 3 axes"):
        betti_numbers(np.ones((2, 2, 2, 2), bool))
    with pytest.raises(ValueError, match="at least one element"):
        betti_numbers(np.ones((0, 5), bool))
    with pytest.raises(TypeError, match="bool"):
        betti_numbers(np.ones((4, 4)))
    for function in (betti_numbers, euler_number, label):
        with pytest.raises(ValueError, match="connectivity"):
            function(mask, "8")
    with pytest.raises(ValueError, match="shape"):
        betti_errors(mask, np.ones((4, 5), bool))


def test_dual_connectivity() -> None:
    assert dual("full") == "face"
    assert dual("face") == "full"


@pytest.mark.slow
@pytest.mark.parametrize("connectivity", BOTH)
def test_a_hundred_times_as_fast_as_gudhi(connectivity: str) -> None:
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.standard_normal((512, 512)), 6.0)
    mask = np.abs(field) < 0.4 * field.std()  # a net of a few hundred meshes
    ours, theirs = [], []
    for _ in range(3):  # taken in turn, so that a busy machine slows both
        began = time.perf_counter()
        expected = by_persistence(mask, connectivity)
        theirs.append(time.perf_counter() - began)
        for _ in range(20):
            began = time.perf_counter()
            found = betti_numbers(mask, connectivity)
            ours.append(time.perf_counter() - began)
        assert found == expected
    assert min(theirs) / min(ours) >= 100
