"""Lesions of brain phantoms: exact masks, signs of contrast, and families kept for validation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from models.phantoms.brain import (
    FAMILIES,
    TRAINING,
    UNSEEN,
    BrainVolume,
    Lesion,
    Subject,
    lesions,
    multiple_sclerosis,
    pieces,
    slices,
    subject,
    volume,
)
from tests.models.phantoms.brain_atlas import ball_atlas

CALM = {"noise": 0.0, "bias": 0.0, "blur_mm": 0.0}


@pytest.fixture(scope="module")
def person() -> Subject:
    return subject(ball_atlas(), 5)


@cache
def _healthy(person: Subject, sequence: str) -> BrainVolume:
    return volume(person, sequence=sequence, **CALM)


def _pair(person: Subject, found: tuple[Lesion, ...], sequence: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Healthy image, image with lesions and mask, in units of white matter."""
    healthy, ill = _healthy(person, sequence), volume(person, sequence=sequence, lesions=found, **CALM)
    units = ill.facts["contrast"]["units"]
    return healthy.image / units, ill.image / units, ill.lesions


def test_families_are_kept_apart() -> None:
    assert set(TRAINING).isdisjoint(UNSEEN)
    assert set(UNSEEN) == {"rings", "lines", "textures", "atrophy", "gradient"}
    assert TRAINING + UNSEEN == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_lie_in_the_brain_and_repeat(person: Subject, family: str) -> None:
    for seed in range(3):
        found, again = lesions(person, family, seed), lesions(person, family, seed)
        assert [item.origin for item in found] == [item.origin for item in again]
        assert all(np.array_equal(a.truth, b.truth) for a, b in zip(found, again, strict=True))
        made = volume(person, sequence="flair", lesions=found)
        assert made.lesions.any()
        assert not (made.lesions & ~made.mask).any()
        assert made.facts["lesions"][0]["family"] == family
        if family not in ("spike", "ghost", "bias_island", "atrophy", "gradient"):
            assert not (made.lesions & (made.tissues == 1)).any(), "fluid has no such lesion"
    assert found[0].origin != lesions(person, family, 9)[0].origin or not np.array_equal(
        found[0].truth, lesions(person, family, 9)[0].truth
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_changes_where_the_mask_is(person: Subject, family: str) -> None:
    # A mass moves tissue around it too, and a ghost or a spike changes fluid as well.
    found = lesions(person, family, 1)
    for sequence in ("t1", "t2", "flair", "random"):
        healthy, ill, truth = _pair(person, found, sequence)
        change = np.abs(ill - healthy)
        brain = _healthy(person, sequence).mask
        assert change[truth].mean() > 0.03
        assert change[truth].mean() > (1.5 if family == "tumour" else 4) * change[brain & ~truth].mean()


@pytest.mark.parametrize("family", ["multiple_sclerosis", "tumour", "infarct"])
def test_contrast_has_the_sign_of_the_sequence(person: Subject, family: str) -> None:
    for seed in range(2):
        found = lesions(person, family, seed)
        for sequence, sign in (("t1", -1), ("t2", 1), ("flair", 1)):
            _, ill, truth = _pair(person, found, sequence)
            assert sign * (np.median(ill[truth]) - 1) > 0.05, "against white matter"


def test_volumes_of_multiple_sclerosis_are_log_normal(person: Subject) -> None:
    found = multiple_sclerosis(person, 0, count=120)
    volumes = np.array([item.volume_mm3 for item in found])
    assert len(found) == 120
    assert volumes.min() >= 12
    assert volumes.max() <= 8000
    assert np.median(volumes) == pytest.approx(70, rel=0.4)
    assert np.std(np.log(volumes)) == pytest.approx(1.0, abs=0.35)


def test_given_shapes_are_used_exactly(person: Subject) -> None:
    shape = np.zeros((5, 4, 3), bool)
    shape[1:4, 1:3, :] = True
    shape[0, 1, 1] = True
    found = multiple_sclerosis(person, 1, count=40, shapes=[shape])
    own = [item for item in found if item.volume_mm3 == shape.sum()]
    assert len(own) > 8
    for item in own:
        where = np.argwhere(item.truth)
        assert sorted(np.ptp(where, axis=0) + 1) == [2, 3, 4] or item.layers[0].degree[item.truth].min() >= 0.5


def test_pieces_of_a_mask() -> None:
    mask = np.zeros((30, 30, 30), bool)
    mask[2:5, 2:5, 2:5] = True
    mask[10:13, 10:12, 10:12] = True
    mask[20, 20, 20] = True
    found = pieces(mask)
    assert sorted(piece.sum() for piece in found) == [12, 27]
    assert pieces(mask, smallest_mm3=1)[-1].shape == (1, 1, 1)


def test_a_mass_pushes_tissue_away(person: Subject) -> None:
    found = lesions(person, "tumour", 2)
    assert found[0].push is not None
    healthy, ill = (volume(person, sequence="t1", lesions=these) for these in ((), found))
    moved = (healthy.tissues != ill.tissues) & ~ill.lesions
    assert moved.any()
    distance = np.linalg.norm(np.argwhere(moved) - np.array(found[0].push.centre), axis=1)
    assert distance.max() < 5 * found[0].push.reach


def test_atrophy_turns_tissue_into_fluid(person: Subject) -> None:
    found = lesions(person, "atrophy", 1)
    healthy, ill = (volume(person, sequence="t1", lesions=these) for these in ((), found))
    gained = (healthy.tissues > 1) & (ill.tissues == 1)
    assert np.array_equal(gained, ill.lesions)
    assert np.array_equal(healthy.mask, ill.mask)


def test_textures_keep_the_mean(person: Subject) -> None:
    healthy, ill, truth = _pair(person, lesions(person, "textures", 3), "t1")
    inside = truth & (healthy > 0.4)
    ratio = ill[inside] / healthy[inside]
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() > 0.08


def test_slices_show_the_same_lesions(person: Subject) -> None:
    found = (*lesions(person, "multiple_sclerosis", 0), *lesions(person, "tumour", 0), *lesions(person, "ghost", 0))
    found = (*found, *lesions(person, "atrophy", 0))
    whole = volume(person, sequence="t2", lesions=found)
    positions = np.flatnonzero(whole.lesions.any((0, 1)))[::5]
    cut = slices(person, sequence="t2", positions=positions, lesions=found)
    assert np.array_equal(cut.lesions, np.moveaxis(whole.lesions[:, :, positions], 2, 0))
    assert np.array_equal(cut.tissues, np.moveaxis(whole.tissues[:, :, positions], 2, 0))
    expected = np.moveaxis(whole.image[:, :, positions], 2, 0)
    assert np.allclose(cut.image, expected, atol=1e-4 * whole.image.max())


def test_other_families_are_refused(person: Subject) -> None:
    with pytest.raises(ValueError, match="aneurysm"):
        lesions(person, "aneurysm", 0)
