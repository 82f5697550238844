"""The change list: the effect of every place is what counting again says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.metrics.betti import betti_numbers, euler_number, label
from models.phantoms import curvilinear
from models.topology.changes import KINDS, Change, find_changes
from models.topology.repairs import tidy

BOTH = ("full", "face")


def parse(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def apart(before: np.ndarray, after: np.ndarray, labels: np.ndarray, change: Change) -> np.ndarray:
    """The mask before with this one change made."""
    return np.where(labels == change.label, after, before)


def difference(after: np.ndarray, before: np.ndarray, connectivity: str) -> tuple[int, ...]:
    pairs = zip(betti_numbers(after, connectivity), betti_numbers(before, connectivity), strict=True)
    return tuple(a - b for a, b in pairs)


def pair(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    before = rng.random(shape) < rng.uniform(0.2, 0.9)
    return before, before ^ (rng.random(shape) < rng.uniform(0.0, 0.5))


@pytest.mark.parametrize("connectivity", BOTH)
def test_the_effect_of_every_change_of_a_picture_is_exact(connectivity: str) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        before, after = pair(tuple(rng.integers(2, 15, 2)), rng)
        changes, labels = find_changes(before, after, connectivity)
        for change in changes:
            one = apart(before, after, labels, change)
            assert change.effect == difference(one, before, connectivity), change
            seen.add(change.effect)
    assert len(seen) > 10


@pytest.mark.parametrize("connectivity", BOTH)
def test_the_effect_of_every_change_of_a_volume_is_exact_where_it_says_so(connectivity: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(25):
        before, after = pair(tuple(rng.integers(2, 8, 3)), rng)
        changes, labels = find_changes(before, after, connectivity)
        for change in changes:
            one = apart(before, after, labels, change)
            d0, d1, d2 = change.effect
            true = difference(one, before, connectivity)
            assert d0 - d1 + d2 == euler_number(one, connectivity) - euler_number(before, connectivity)
            if one.sum() > before.sum():
                assert d0 == true[0]
                assert true[2] >= d2  # a cavity it newly closes counts as a loop fewer
                assert (d1, d2) == true[1:] or true[2] > d2
            else:
                assert d2 == true[2]
                assert true[0] >= d0  # a piece it parts counts as a loop fewer
                assert (d0, d1) == true[:2] or true[0] > d0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
        lambda s: st.tuples(arrays.arrays(bool, s), arrays.arrays(bool, s))
    ),
    st.sampled_from(BOTH),
)
def test_any_two_pictures(masks: tuple[np.ndarray, np.ndarray], connectivity: str) -> None:
    before, after = masks
    changes, labels = find_changes(before, after, connectivity)
    assert np.array_equal(labels > 0, before != after)
    for change in changes:
        assert change.kind in KINDS
        assert change.effect == difference(apart(before, after, labels, change), before, connectivity)


def test_places_cover_the_difference_and_say_where_they_are() -> None:
    rng = np.random.default_rng(2)
    for shape in ((20, 25), (7, 8, 9)):
        before, after = pair(shape, rng)
        changes, labels = find_changes(before, after)
        assert labels.dtype == np.int32
        assert np.array_equal(labels > 0, before != after)
        assert sorted(change.label for change in changes) == list(range(1, labels.max() + 1))
        for change in changes:
            at = np.argwhere(labels == change.label)
            assert change.pixels == len(at)
            assert change.bbox == (*at.min(0), *(at.max(0) + 1))
            assert np.allclose(change.centroid, at.mean(0))
            # All of one place either appeared or vanished, and hangs together (at least at corners).
            side = after[tuple(at.T)]
            assert side.all() or not side.any()
            assert label(labels == change.label, "full")[1] == 1


def test_largest_effect_first() -> None:
    rng = np.random.default_rng(3)
    changes, _ = find_changes(*pair((40, 40), rng))
    weight = [sum(map(abs, change.effect)) for change in changes]
    assert weight == sorted(weight, reverse=True)
    assert weight[0] > weight[-1]


TWO_PIECES = parse(
    ".........",
    ".###.###.",
    ".........",
)
ONE_PIECE = parse(
    ".........",
    ".#######.",
    ".........",
)
RING = parse(
    "......",
    ".####.",
    ".#..#.",
    ".####.",
    "......",
)
OPEN_RING = parse(
    "......",
    ".##.#.",
    ".#..#.",
    ".####.",
    "......",
)
DISC = parse(
    "......",
    ".####.",
    ".####.",
    ".####.",
    "......",
)
EMPTY = np.zeros_like(RING)
CASES = {
    "a gap between two pieces is closed": (TWO_PIECES, ONE_PIECE, "closed_break", (-1, 0)),
    "a link between two pieces is cut": (ONE_PIECE, TWO_PIECES, "opened_bridge", (1, 0)),
    "a ring is closed": (OPEN_RING, RING, "closed_break", (0, 1)),
    "a ring is opened": (RING, OPEN_RING, "opened_bridge", (0, -1)),
    "a hole is filled": (RING, DISC, "filled_hole", (0, -1)),
    "a hole is opened": (DISC, RING, "opened_hole", (0, 1)),
    "an island is added": (EMPTY, DISC, "added_island", (1, 0)),
    "an island is removed": (DISC, EMPTY, "removed_island", (-1, 0)),
    "a ring is added": (EMPTY, RING, "added_island", (1, 1)),
    "a ring is removed": (RING, EMPTY, "removed_island", (-1, -1)),
    "a row is added": (DISC, np.vstack([DISC[:4], DISC[3:4]]), "thickened", (0, 0)),
    "a row is removed": (np.vstack([DISC[:4], DISC[3:4]]), DISC, "thinned", (0, 0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("connectivity", BOTH)
def test_a_hand_made_change_has_its_name(case: str, connectivity: str) -> None:
    before, after, kind, effect = CASES[case]
    changes, _ = find_changes(before, after, connectivity)
    assert [(change.kind, change.effect) for change in changes] == [(kind, effect)]


@pytest.mark.parametrize("connectivity", BOTH)
def test_a_piece_that_goes_is_one_island_however_thin(connectivity: str) -> None:
    # The background of full connectivity is joined at faces only: it takes over a diagonal pixel by pixel.
    before = np.pad(np.eye(4, dtype=bool), 1)
    changes, _ = find_changes(before, np.zeros_like(before), connectivity)
    pieces = 1 if connectivity == "full" else 4
    assert [(c.kind, c.effect, c.pixels) for c in changes] == [("removed_island", (-1, 0), 4 // pieces)] * pieces


@pytest.mark.parametrize("connectivity", BOTH)
def test_a_hole_that_is_filled_is_one_hole_however_thin(connectivity: str) -> None:
    before = np.pad(~np.eye(4, dtype=bool), 1, constant_values=True)
    changes, _ = find_changes(before, np.ones_like(before), connectivity)
    holes = 4 if connectivity == "full" else 1
    assert [(c.kind, c.effect[-1], c.pixels) for c in changes] == [("filled_hole", -1, 4 // holes)] * holes


def test_several_changes_are_told_apart() -> None:
    before = np.zeros((20, 40), bool)
    before[3:6, 2:38] = True
    before[3:6, 18:20] = False  # a break
    before[12:15, 5:8] = True  # a false island
    before[10:18, 20:30] = True
    before[13:15, 24:26] = False  # a hole
    after = np.zeros_like(before)
    after[3:6, 2:38] = True
    after[10:18, 20:30] = True
    found = {change.kind: change.effect for change in find_changes(before, after)[0]}
    assert found == {"closed_break": (-1, 0), "removed_island": (-1, 0), "filled_hole": (0, -1)}


SHELL = np.pad(np.ones((5, 5, 5), bool), 1)
SHELL[3, 3, 3] = False
SOLID = np.pad(np.ones((5, 5, 5), bool), 1)
HANDLE = np.zeros((5, 9, 9), bool)
HANDLE[2, 2:7, 2:7] = True
HANDLE[2, 3:6, 3:6] = False
CUT_HANDLE = HANDLE.copy()
CUT_HANDLE[2, 2, 4] = False
ROD = np.zeros((5, 5, 9), bool)
ROD[2, 2, 1:8] = True
SOLID_CASES = {
    "a cavity is filled": (SHELL, SOLID, "filled_hole", (0, 0, -1)),
    "a cavity is opened": (SOLID, SHELL, "opened_hole", (0, 0, 1)),
    "a handle is closed": (CUT_HANDLE, HANDLE, "closed_break", (0, 1, 0)),
    "a handle is cut": (HANDLE, CUT_HANDLE, "opened_bridge", (0, -1, 0)),
    "a rod is added": (np.zeros_like(ROD), ROD, "added_island", (1, 0, 0)),
    "a rod is removed": (ROD, np.zeros_like(ROD), "removed_island", (-1, 0, 0)),
}


@pytest.mark.parametrize("case", SOLID_CASES)
@pytest.mark.parametrize("connectivity", BOTH)
def test_a_change_of_a_volume_has_its_name(case: str, connectivity: str) -> None:
    before, after, kind, effect = SOLID_CASES[case]
    changes, _ = find_changes(before, after, connectivity)
    assert [(change.kind, change.effect) for change in changes] == [(kind, effect)]


def test_a_gap_in_a_rod_is_a_closed_break() -> None:
    broken = ROD.copy()
    broken[..., 4] = False
    (change,), _ = find_changes(broken, ROD)
    assert (change.kind, change.effect) == ("closed_break", (-1, 0, 0))
    (change,), _ = find_changes(ROD, broken)
    assert change.kind == "opened_bridge"  # a piece parted counts as a loop fewer
    assert change.effect[0] - change.effect[1] + change.effect[2] == 1


def test_equal_masks_have_no_changes() -> None:
    mask = curvilinear.sample("roads", 64, 0)
    changes, labels = find_changes(mask, mask)
    assert changes == []
    assert not labels.any()


def test_what_tidying_did_is_islands_removed_and_holes_filled() -> None:
    rng = np.random.default_rng(4)
    mask = curvilinear.sample("membranes", 128, 1)
    noisy = mask ^ (rng.random(mask.shape) < 0.003)
    changes, _ = find_changes(noisy, tidy(noisy, 10))
    assert {change.kind for change in changes} <= {"removed_island", "filled_hole"}
    assert len(changes) > 10


def test_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="shape"):
        find_changes(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
