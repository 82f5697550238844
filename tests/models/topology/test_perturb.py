"""Synthesis of topological errors: which kinds occur and how often, how much is deleted, and what stays in range."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from models.metrics.betti import label
from models.phantoms import curvilinear
from models.phantoms.fields import smooth_field
from models.topology.families import FAMILIES, MIXTURE, random_field
from models.topology.perturb import RECIPES, PerturbationConfig, perturb
from tests.models.kinds_of_error import kinds_of_error

# Least share of draws that must show each kind of error at all. The bounds are about two thirds of what was measured
# (for example breaks in .92 and bridges in .61 of the clustered draws in 2D), so that a recipe may be tuned but cannot
# lose a kind. 2D: 1000 draws of 64 x 64 phantoms; 3D: 120 draws of 32 x 32 x 32 phantoms, where a hole is a cavity.
RATES = {
    2: {
        "clustered": {"break": 0.6, "bridge": 0.4, "island": 0.4, "hole": 0.1},
        "polynomial": {"break": 0.65, "bridge": 0.08, "island": 0.3, "hole": 0.015},
    },
    3: {
        "clustered": {"break": 0.45, "bridge": 0.25, "island": 0.5},
        "polynomial": {"break": 0.65, "bridge": 0.02, "island": 0.3},
    },
}
# Thin tubes have no room for cavities: those are looked for in 100 draws of a solid ball (measured .11 and .10).
CAVITIES = {"clustered": 0.04, "polynomial": 0.04}


def test_errors_are_told_apart() -> None:
    clean = np.zeros((20, 30), bool)
    clean[4, 2:28] = clean[12, 2:28] = True
    broken, bridged, island = clean.copy(), clean.copy(), clean.copy()
    broken[4, 10] = False
    bridged[4:12, 15] = True
    island[17, 3:6] = True
    thick = np.pad(np.ones((9, 9), bool), 4)
    holed = thick.copy()
    holed[8, 8] = False
    assert kinds_of_error(clean, clean) == set()
    assert kinds_of_error(clean, broken) == {"break"}
    assert kinds_of_error(clean, bridged) == {"bridge"}
    assert kinds_of_error(clean, island) == {"island"}
    assert kinds_of_error(thick, holed) == {"hole"}


def shares(masks: list[np.ndarray], count: int, config: PerturbationConfig) -> dict[str, float]:
    """Share of draws in which each kind of error occurs."""
    seen: Counter[str] = Counter()
    for index in range(count):
        clean = masks[index % len(masks)]
        seen.update(kinds_of_error(clean, perturb(clean, np.random.default_rng([7, index]), config).soft >= 0.5))
    return {kind: seen[kind] / count for kind in ("break", "bridge", "island", "hole")}


@pytest.mark.parametrize("dimensions", RATES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_all_kinds_of_error_occur_at_the_stated_rates(recipe: str, dimensions: int) -> None:
    kinds = curvilinear.KINDS if dimensions == 2 else curvilinear.KINDS_3D
    side, count, window = (64, 1000, 48) if dimensions == 2 else (32, 120, 24)
    masks = [curvilinear.sample(kind, (side,) * dimensions, seed) for kind in kinds for seed in range(4)]
    found = shares(masks, count, PerturbationConfig(recipe=recipe, window=window))
    for kind, rate in RATES[dimensions][recipe].items():
        assert found[kind] >= rate, f"{kind} in {found[kind]:.1%} of {count} draws"


@pytest.mark.parametrize("recipe", RECIPES)
def test_cavities_occur_where_there_is_room(recipe: str) -> None:
    ball = np.sqrt(sum((grid - 15.5) ** 2 for grid in np.ogrid[:32, :32, :32])) < 11
    assert shares([ball], 100, PerturbationConfig(recipe=recipe, window=24))["hole"] >= CAVITIES[recipe]


DISC = np.hypot(*(np.ogrid[:64, :64][k] - 31.5 for k in (0, 1))) < 26
BARE = PerturbationConfig(recipe="polynomial", window=64, blobs=(0, 0), second_field=0.0, box=0.0)


def deleted(config: PerturbationConfig, count: int = 100) -> np.ndarray:
    return np.array([perturb(DISC, np.random.default_rng(seed), config).deleted for seed in range(count)])


def test_draws_that_delete_too_much_or_too_little_are_rejected() -> None:
    # The acceptance test of the released code compares where it should assign and so never rejects: most of its draws
    # delete nearly everything. Ours must hold for every draw although the raw fields mostly miss the range.
    low, high = BARE.deleted
    raw = []
    for seed in range(100):
        field = random_field(BARE.family, DISC.shape, BARE.order, np.random.default_rng(seed))
        raw.append(float(np.mean(np.maximum(0.0, 1.5 * field - 0.5)[DISC] < 0.5)))
    assert np.mean([low <= share <= high for share in raw]) < 0.8
    found = deleted(BARE)
    # The final blur of half a pixel shifts the share of a solid disc by a percent or two.
    assert found.min() >= low - 0.03
    assert found.max() <= high + 0.03


@pytest.mark.parametrize("attempts", [0, 20])
@pytest.mark.parametrize("accepted", [(0.1, 0.15), (0.4, 0.45), (0.75, 0.8)])
def test_the_deleted_share_follows_the_request(accepted: tuple[float, float], attempts: int) -> None:
    found = deleted(replace(BARE, deleted=accepted, attempts=attempts), 40)
    assert found.min() >= accepted[0] - 0.03
    assert found.max() <= accepted[1] + 0.03


@pytest.mark.parametrize("family", [*FAMILIES, MIXTURE])
def test_every_family_and_order_keeps_the_accepted_share(family: str) -> None:
    for order in (2, 6, 12):
        found = deleted(replace(BARE, family=family, order=order), 15)
        assert found.min() >= BARE.deleted[0] - 0.03
        assert found.max() <= BARE.deleted[1] + 0.03


def test_nothing_is_deleted_outside_the_window_nor_added_without_blobs() -> None:
    wide = np.zeros((160, 160), bool)
    wide[20:140, 20:140] = True
    for seed in range(10):
        soft = perturb(wide, np.random.default_rng(seed), replace(BARE, window=32)).soft
        assert not soft[~wide].max() > 0.5
        changed = np.argwhere((soft < 0.5) & wide)
        # Half a pixel of blur rounds the corners of the square; all else lies in one window.
        corners = np.array([[20, 20], [20, 139], [139, 20], [139, 139]])
        changed = np.array([at for at in changed if np.abs(corners - at).max(1).min() > 1])
        assert np.ptp(changed, axis=0).max() < 34


def test_blobs_the_second_field_and_the_box_do_what_they_say() -> None:
    def mean(config: PerturbationConfig, name: str) -> float:
        return float(np.mean([getattr(perturb(DISC, np.random.default_rng(s), config), name) for s in range(40)]))

    assert mean(BARE, "added") < 0.005
    assert mean(replace(BARE, blobs=(9, 9)), "added") > 0.01
    assert mean(replace(BARE, second_field=1.0), "added") > 0.05
    few = replace(BARE, deleted=(0.0, 0.05))
    assert mean(replace(few, box=1.0), "deleted") > mean(few, "deleted") + 0.01


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_generator_decides_everything(recipe: str) -> None:
    mask = curvilinear.sample("roads", 80, 3)
    untouched = mask.copy()
    a, b, c = (perturb(mask, np.random.default_rng(seed), PerturbationConfig(recipe=recipe)) for seed in (5, 5, 6))
    assert np.array_equal(a.soft, b.soft)
    assert (a.deleted, a.added) == (b.deleted, b.added)
    assert not np.array_equal(a.soft, c.soft)
    assert np.array_equal(mask, untouched)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shape", [(40, 56), (20, 24, 28)])
def test_a_damaged_mask_is_a_probability_of_the_same_shape(recipe: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    kind = "roads" if len(shape) == 2 else "capillaries"
    for mask in (curvilinear.sample(kind, shape, 2), np.zeros(shape, bool), np.ones(shape, bool)):
        for _ in range(10):
            found = perturb(mask, rng, PerturbationConfig(recipe=recipe))
            assert found.soft.dtype == np.float32
            assert found.soft.shape == shape
            assert found.soft.min() >= 0
            assert found.soft.max() <= 1
            assert found.deleted == pytest.approx(np.sum(mask & (found.soft < 0.5)) / max(mask.sum(), 1))
            assert found.added == pytest.approx(np.sum(~mask & (found.soft >= 0.5)) / max((~mask).sum(), 1))


@pytest.mark.parametrize("recipe", RECIPES)
def test_volumes_lose_and_gain_pieces(recipe: str) -> None:
    pieces = []
    clean = curvilinear.sample("vessels", (32, 32, 32), 0)
    for seed in range(20):
        damaged = perturb(clean, np.random.default_rng(seed), PerturbationConfig(recipe=recipe, window=24)).soft >= 0.5
        pieces.append(label(damaged, "full")[1])
    assert np.mean(np.array(pieces) > label(clean, "full")[1]) > 0.5


def test_the_soft_share_stays_soft_and_the_rest_is_binary() -> None:
    mask = curvilinear.sample("membranes", 64, 1)

    def is_soft(config: PerturbationConfig, seed: int) -> bool:
        soft = perturb(mask, np.random.default_rng(seed), config).soft
        return bool(np.any((soft > 0) & (soft < 1)))

    assert not any(is_soft(PerturbationConfig(soft_share=0.0), seed) for seed in range(20))
    assert all(is_soft(PerturbationConfig(soft_share=1.0), seed) for seed in range(20))
    assert 0.25 <= np.mean([is_soft(PerturbationConfig(soft_share=0.5), seed) for seed in range(100)]) <= 0.75


def test_strength_means_more_damage() -> None:
    mask = curvilinear.sample("mortar", 96, 1)
    changed = []
    for strength in (0.0, 1.0, 3.0):
        config = PerturbationConfig(strength=(strength, strength))
        draws = [perturb(mask, np.random.default_rng(seed), config) for seed in range(40)]
        changed.append(np.mean([draw.deleted + draw.added for draw in draws]))
    assert changed[0] < changed[1] < changed[2]


def test_a_smooth_field_costs_what_it_covers_not_what_its_scale_would() -> None:
    # Once a field of 24 voxels a side and a scale of 300 was interpolated on 600 voxels a side and then cut.
    rng = np.random.default_rng(0)
    tracemalloc.start()
    field = smooth_field((24, 24, 24), 300.0, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert field.shape == (24, 24, 24)
    assert peak < 20 * field.nbytes


def test_refuses_an_unknown_recipe() -> None:
    with pytest.raises(ValueError, match=r"'gaussian'.*polynomial, clustered"):
        perturb(DISC, np.random.default_rng(0), PerturbationConfig(recipe="gaussian"))


@pytest.mark.parametrize("shape", [(64, 64), (24, 24, 24)])
def test_the_field_is_what_disturbed_the_mask(shape: tuple[int, ...]) -> None:
    kind = "mortar" if len(shape) == 2 else "vessels"
    mask = curvilinear.sample(kind, shape, 1)
    fading = perturb(mask, np.random.default_rng(0), replace(BARE, window=20))
    assert fading.field.shape == mask.shape
    assert fading.field.dtype == np.float32
    assert fading.field.min() >= 0
    assert (fading.field == 1).mean() > 0.3, "outside its window it keeps everything"
    # Without blobs, box and second field the map is mask times field, but for half a pixel of blur.
    assert np.allclose(fading.soft, ndimage.gaussian_filter(mask * fading.field, 0.5), atol=1e-6)
    moved = perturb(mask, np.random.default_rng(0), PerturbationConfig(recipe="clustered", soft_share=0.0))
    lost, won = mask & (moved.soft < 0.5), ~mask & (moved.soft >= 0.5)
    assert lost.any() or won.any()
    assert (moved.field[lost] < 0).all(), "where something is lost the edge moved inwards"
    assert (moved.field[won] > 0).all()


def test_a_stronger_field_deletes_more() -> None:
    wide = replace(BARE, deleted=(0.0, 1.0))
    found = [float(np.mean(deleted(replace(wide, slope=slope), 40))) for slope in (0.8, 1.5, 3.0)]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.1


def test_higher_orders_make_finer_fields_in_the_clustered_recipe() -> None:
    # With the same seed only the order of its polynomial part differs.
    mask = np.ones((64, 64), bool)
    coarse, fine = (
        [perturb(mask, np.random.default_rng(seed), PerturbationConfig(orders=(n, n))).field for seed in range(30)]
        for n in (1, 16)
    )
    assert any(not np.array_equal(a, b) for a, b in zip(coarse, fine, strict=True))
