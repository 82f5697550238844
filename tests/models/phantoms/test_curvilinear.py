"""Curvilinear phantoms: identity, Murray's law, and the topology each kind must have."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.betti import betti_numbers, dual, label
from models.metrics.overlap import dice
from models.phantoms.curvilinear import KINDS, KINDS_3D, MURRAY_EXPONENT, PINHOLE, sample, vessel_tree, vessels
from models.phantoms.fields import draw_segments

EVERY = [(kind, (64, 64)) for kind in KINDS] + [(kind, (24, 24, 24)) for kind in KINDS_3D]
TREES = [(shape, seed) for shape in ((96, 96), (64, 128), (36, 36, 36)) for seed in range(4)]


@pytest.mark.parametrize(("kind", "shape"), EVERY)
def test_the_seed_is_the_patient(kind: str, shape: tuple[int, ...]) -> None:
    seeds = range(3)
    first = [sample(kind, shape, seed) for seed in seeds]
    repeat = [sample(kind, shape, seed, variant=1) for seed in seeds]
    other_repeat = [sample(kind, shape, seed, variant=2) for seed in seeds]
    assert np.array_equal(first[0], sample(kind, shape, 0))
    for seed in seeds:
        assert first[seed].dtype == np.bool_
        assert first[seed].shape == shape
        assert not np.array_equal(first[seed], repeat[seed])
        assert not np.array_equal(repeat[seed], other_repeat[seed])
        # Two scans of one patient resemble each other more than any two patients do.
        same = dice(repeat[seed], other_repeat[seed])
        assert same > max(dice(repeat[seed], repeat[other]) for other in seeds if other != seed)


@pytest.mark.parametrize(("kind", "shape"), EVERY)
def test_a_phantom_is_thin_and_leaves_background(kind: str, shape: tuple[int, ...]) -> None:
    share = [float(sample(kind, shape, seed).mean()) for seed in range(5)]
    assert min(share) > 0.01
    assert max(share) < 0.6


@pytest.mark.parametrize(("shape", "seed"), TREES)
def test_murrays_law_holds_at_every_branch_point(shape: tuple[int, ...], seed: int) -> None:
    nodes, parents, radii = vessel_tree(shape, np.random.default_rng(seed))
    cubes = np.zeros(len(nodes))
    np.add.at(cubes, parents[1:], radii[1:] ** MURRAY_EXPONENT)
    children = np.bincount(parents[1:], minlength=len(nodes))
    inner = children > 0
    assert np.allclose(radii[inner] ** MURRAY_EXPONENT, cubes[inner])
    assert np.count_nonzero(children > 1) >= 10, "a tree branches"
    leaves = radii[~inner]
    assert np.ptp(leaves) == 0, "all end branches are equally fine"
    assert radii.min() == leaves[0] >= 1.0
    assert radii.argmax() == 0


@pytest.mark.parametrize(("shape", "seed"), TREES)
def test_a_vessel_tree_is_one_tree_within_the_picture(shape: tuple[int, ...], seed: int) -> None:
    nodes, parents, _ = vessel_tree(shape, np.random.default_rng(seed))
    assert parents[0] == -1
    assert (parents[1:] >= 0).all()
    assert (parents[1:] < np.arange(1, len(parents))).all(), "parents come first: no cycle, one root"
    assert ((nodes[0] == 0) | (nodes[0] == shape)).any(), "it enters through the border"
    lengths = np.linalg.norm(nodes[1:] - nodes[parents[1:]], axis=1)
    assert np.allclose(lengths, lengths[0]), "it grows in equal steps"


@pytest.mark.parametrize(("shape", "seed"), TREES)
def test_vessels_hang_together(shape: tuple[int, ...], seed: int) -> None:
    starts, ends, radii = vessels(shape, np.random.default_rng(seed))
    # Drawn with room all round, so that nothing is clipped and parted.
    room = 20
    wide = tuple(n + 2 * room for n in shape)
    assert betti_numbers(draw_segments(wide, starts + room, ends + room, radii))[0] == 1


@pytest.mark.parametrize("kind", ["membranes", "mortar"])
def test_walls_enclose_cells(kind: str) -> None:
    for seed in range(4):
        mask = sample(kind, 128, seed)
        cells = label(~mask, dual("full"))[1]
        assert cells > 4
        sizes = np.bincount(label(mask, "full")[0].ravel())[1:]
        assert sizes.max() > 0.95 * mask.sum(), "walls form one net, but for corners cut off by the border"


@pytest.mark.parametrize(("kind", "shape"), [(kind, (112, 112)) for kind in KINDS] + EVERY[len(KINDS) :])
def test_no_hole_is_a_pinhole(kind: str, shape: tuple[int, ...]) -> None:
    # A quarter of the holes of a road net once were single pixels at acute junctions, and counted as truth.
    for seed in range(4):
        labels, _ = label(~np.pad(sample(kind, shape, seed), 1), dual("full"))
        assert (np.bincount(labels.ravel())[2:] > PINHOLE).all()


def test_a_tree_has_no_loops_but_where_branches_touch() -> None:
    assert np.mean([betti_numbers(sample("vessels", 192, seed)) == (1, 0) for seed in range(6)]) >= 0.8


def test_crossing_trees_close_loops() -> None:
    one = [betti_numbers(sample("vessels", 128, seed))[1] for seed in range(4)]
    two = [betti_numbers(sample("crossing_vessels", 128, seed))[1] for seed in range(4)]
    assert np.mean(two) > 2 * np.mean(one) + 3


def test_roads_have_loops_and_capillaries_have_tunnels() -> None:
    assert np.mean([betti_numbers(sample("roads", 160, seed))[1] for seed in range(6)]) > 2
    assert np.mean([betti_numbers(sample("capillaries", (40, 40, 40), seed))[1] for seed in range(4)]) > 5


def test_one_number_means_a_square() -> None:
    assert np.array_equal(sample("roads", 40, 1), sample("roads", (40, 40), 1))
    assert sample("mortar", (48, 80), 0).shape == (48, 80)


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("nerves", 64, "no 2D phantom is called 'nerves'; there are vessels"),
        ("capillaries", 64, "no 2D phantom"),
        ("roads", (32, 32, 32), "no 3D phantom is called 'roads'; there are vessels, capillaries"),
        ("vessels", (15, 40), "at least 16"),
        ("vessels", (32,), "phantom"),
        ("vessels", (32, 32, 32, 32), "phantom"),
    ],
)
def test_refuses_what_there_is_not(kind: str, size: int | tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(kind, size, 0)
