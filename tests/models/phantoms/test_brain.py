"""Brain phantoms: identity, contrast, what the scanner adds, and slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.phantoms.brain import SEQUENCES, Subject, sample_sheet, slices, stripped, subject, volume
from models.phantoms.brain.acquisition import BIAS_NODE_MM, bias_field, through_plane
from models.phantoms.brain.atlas import Atlas, sample
from models.phantoms.brain.contrast import contrast
from models.phantoms.brain.deformation import Push, exponential, nodes, random_velocity
from models.phantoms.brain.subject import traits
from tests.models.phantoms.brain_atlas import ball_atlas


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return ball_atlas()


@pytest.fixture(scope="module")
def person(atlas: Atlas) -> Subject:
    return subject(atlas, 3)


def test_same_seed_is_the_same_person_in_every_scan(atlas: Atlas, person: Subject) -> None:
    first = volume(person, sequence="t1")
    for sequence, variant in (("t2", 0), ("flair", 1), ("random", 2), ("t1", 3)):
        other = volume(subject(atlas, 3), sequence=sequence, variant=variant, thickness_mm=3)
        assert np.array_equal(first.tissues, other.tissues)
        assert np.array_equal(first.mask, other.mask)
        assert not np.allclose(first.image / first.image.max(), other.image / other.image.max(), atol=0.01)
    again = volume(subject(atlas, 3), sequence="t1")
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.tissues, volume(subject(atlas, 4), sequence="t1").tissues)


def test_arrays_are_as_stated(person: Subject, atlas: Atlas) -> None:
    made = volume(person, sequence="t2")
    assert made.image.dtype == np.float32
    assert made.image.min() >= 0
    assert made.tissues.dtype == np.uint8
    assert set(np.unique(made.tissues)) == {0, 1, 2, 3}
    assert made.mask.dtype == made.lesions.dtype == bool
    assert not made.lesions.any()
    assert np.array_equal(made.mask, made.tissues > 0)
    assert np.array_equal(made.affine, atlas.affine)
    assert made.facts["phantom"] is True
    assert made.facts["seed"] == 3


def test_nothing_folds_over(atlas: Atlas) -> None:
    for seed in range(6):
        determinant = subject(atlas, seed).jacobian()
        assert determinant.min() > 0.1
        assert determinant.max() < 8


def test_exponential_undoes_itself() -> None:
    shape = nodes((64, 64, 64)).shape[:3]
    velocity = random_velocity(shape, np.random.default_rng(0))
    there, back = exponential(velocity), exponential(-velocity)
    here = torch.from_numpy(nodes((64, 64, 64)))
    moved = here + there[0].permute(1, 2, 3, 0)
    returned = moved + sample(back, moved / 4).permute(1, 2, 3, 0)
    inside = (slice(4, -4),) * 3
    error = (returned - here)[inside].norm(dim=-1)
    assert error.mean() < 0.15
    assert there[0].norm(dim=0)[inside].mean() > 10 * error.mean()


def test_mass_effect_never_folds() -> None:
    push = Push((0.0, 0.0, 0.0), 5.0, 0.9)
    line = np.zeros((400, 3), np.float32)
    line[:, 0] = np.linspace(0, 30, 400)
    source = push.undo(line)[:, 0]
    assert (np.diff(source) > 0).all()
    assert source[-1] == pytest.approx(30, abs=1e-4)
    assert source[100] < line[100, 0]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_tissues_have_the_order_of_the_sequence(person: Subject, sequence: str) -> None:
    for variant in range(3):
        made = volume(person, sequence=sequence, variant=variant, bias=0, noise=0.01)
        pure = contrast(sequence, np.random.default_rng([3, 3, SEQUENCES.index(sequence), variant]))
        csf, grey, white = (np.median(made.image[made.tissues == k]) / pure.units for k in (1, 2, 3))
        assert white == pytest.approx(1, abs=0.08)
        if sequence == "t1":
            assert csf < grey < white
        elif sequence == "t2":
            assert csf > grey > white
        elif sequence == "flair":
            assert csf < white < grey
            assert csf < 0.6


def test_noise_is_rician(person: Subject) -> None:
    made = volume(person, sequence="t1", noise=0.05, bias=0)
    far = np.ones(made.mask.shape, bool)
    far[person.window] = False
    background = made.image[far] / made.facts["contrast"]["units"]
    assert background.mean() / background.std() == pytest.approx(1.91, abs=0.02)
    assert background.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.02)
    clean = volume(person, sequence="t1", noise=0, bias=0)
    white = (made.tissues == 3) & (clean.image > 0.9 * clean.facts["contrast"]["units"])
    difference = (made.image - clean.image)[white] / made.facts["contrast"]["units"]
    assert difference.std() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("amount", [0.1, 0.4])
def test_gain_runs_over_what_is_asked(person: Subject, amount: float) -> None:
    flat = volume(person, sequence="t1", noise=0, blur_mm=0, bias=0)
    uneven = volume(person, sequence="t1", noise=0, blur_mm=0, bias=amount)
    gain = uneven.image[flat.mask] / np.maximum(flat.image[flat.mask], 1e-6)
    assert gain.min() == pytest.approx(1 - amount, abs=0.03 * amount + 0.005)
    assert gain.max() == pytest.approx(1 + amount, abs=0.03 * amount + 0.005)


def test_bias_fields_are_smooth(person: Subject) -> None:
    for seed in range(5):
        field = bias_field(person, np.random.default_rng(seed))[0, 0].numpy()
        per_mm = max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) / BIAS_NODE_MM
        assert per_mm > 1 / 72
        assert per_mm < 0.12, "from end to end of the gain in no less than 17 mm"


@pytest.mark.parametrize("thickness", [1.0, 2.0, 3.3, 5.0])
def test_slices_average_and_are_put_back(thickness: float) -> None:
    measure, resample = through_plane(40, thickness, 0.3)
    assert np.allclose(measure.sum(1), 1)
    assert np.allclose(resample.sum(1), 1)
    ramp = resample @ (measure @ np.arange(40))
    assert np.allclose(ramp[8:-8], np.arange(40)[8:-8], atol=0.02 * thickness)
    point = resample @ measure @ np.eye(40)[20]
    assert point.max() == pytest.approx(1 / thickness, rel=0.35)


def test_thick_slices_blur_only_through_the_plane(person: Subject) -> None:
    thin = volume(person, sequence="t2", noise=0, bias=0)
    thick = volume(person, sequence="t2", noise=0, bias=0, thickness_mm=4)
    rough = lambda image, axis: np.abs(np.diff(image, axis=axis))[thin.mask.take(range(1, 72), axis)].mean()  # noqa: E731
    assert rough(thick.image, 2) < 0.8 * rough(thin.image, 2)
    assert rough(thick.image, 0) > 0.8 * rough(thin.image, 0)


@pytest.mark.parametrize("thickness", [1.0, 3.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_those_of_the_volume(person: Subject, axis: int, thickness: float) -> None:
    whole = volume(person, sequence="flair", variant=2, thickness_mm=thickness, ghost=0.1)
    positions = [40, 22, 23, 40]
    cut = slices(person, sequence="flair", variant=2, thickness_mm=thickness, axis=axis, positions=positions, ghost=0.1)
    assert cut.positions == tuple(positions)
    for name in ("mask", "tissues", "lesions"):
        expected = np.moveaxis(np.take(getattr(whole, name), positions, axis), axis, 0)
        assert np.array_equal(getattr(cut, name), expected)
    expected = np.moveaxis(np.take(whole.image, positions, axis), axis, 0)
    assert np.allclose(cut.image, expected, rtol=1e-4, atol=1e-4 * whole.image.max())


def test_a_ghost_lies_half_a_field_away(person: Subject) -> None:
    plain = volume(person, sequence="t1", noise=0)
    haunted = volume(person, sequence="t1", noise=0, ghost=0.2)
    assert np.allclose(haunted.image - plain.image, 0.2 * np.roll(plain.image, 36, 1), atol=1e-3 * plain.image.max())


def test_a_head_has_shells_and_the_same_brain(person: Subject) -> None:
    bare = volume(person, sequence="t1", noise=0, bias=0, blur_mm=0)
    head = volume(person, sequence="t1", noise=0, bias=0, blur_mm=0, head=True)
    assert np.array_equal(bare.tissues, head.tissues)
    deep = person.anatomy(tuple(np.arange(n) for n in person.shape)).depth  # type: ignore[arg-type]
    assert np.allclose(bare.image[deep > 1], head.image[deep > 1])
    assert bare.image[deep < -1].max() == 0
    scalp = head.image[(deep < -8) & (deep > -10)].mean()
    assert scalp > 3 * head.image[(deep < -1.5) & (deep > -2.5)].mean()


def test_stripping_keeps_tissue_and_ventricles(person: Subject) -> None:
    made = volume(person, sequence="t1")
    tight = stripped(made.tissues)
    assert (made.mask | ~tight).all()
    assert tight[made.tissues > 1].all()
    assert tight.sum() < 0.97 * made.mask.sum()
    middle = tuple(int(k) for k in person.atlas.centre)
    assert tight[middle]


def test_atrophy_and_ventricles_make_room_for_fluid(atlas: Atlas, person: Subject) -> None:
    wide = replace(person, traits=replace(person.traits, atrophy=person.traits.atrophy + 1.5))
    positions = range(20, 50, 5)
    tissues = [slices(who, sequence="t1", positions=positions).tissues for who in (person, wide)]
    assert (tissues[1] == 1).sum() > 1.1 * (tissues[0] == 1).sum()
    assert ((tissues[0] > 0) == (tissues[1] > 0)).all()


def test_people_differ_and_stay_in_range() -> None:
    people = [traits(seed) for seed in range(200)]
    sizes = np.array([who.size for who in people])
    assert sizes.min() >= 0.61
    assert sizes.max() <= 0.95
    assert np.std(sizes) == pytest.approx(0.07, rel=0.3)
    assert len({who.ventricles for who in people}) > 150


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": "pd"},
        {"sequence": "t1", "variant": -1},
        {"sequence": "t1", "thickness_mm": 0.5},
        {"sequence": "t1", "thickness_mm": 11},
        {"sequence": "t1", "bias": 1.0},
        {"sequence": "t1", "noise": -0.1},
        {"sequence": "t1", "ghost": 2.0},
    ],
)
def test_wrong_requests_are_refused(person: Subject, wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"."):
        volume(person, **wrong)


def test_wrong_places_are_refused(person: Subject, atlas: Atlas) -> None:
    for positions, axis in (([72], 2), ([-1], 0), ([1], 3)):
        with pytest.raises(ValueError, match="grid"):
            slices(person, sequence="t1", positions=positions, axis=axis)
    with pytest.raises(ValueError, match="below 0"):
        subject(atlas, -1)
    with pytest.raises(ValueError, match="1 mm"):
        replace(atlas, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="one shape"):
        replace(atlas, grey=atlas.grey[1:])


def test_the_sheet_is_a_picture(atlas: Atlas) -> None:
    import cv2

    people = cv2.imdecode(np.frombuffer(sample_sheet(atlas, seeds=(1, 2)), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert people.shape == (2 * 72, 4 * 72)
    assert people.std() > 20
    found = sample_sheet(atlas, seeds=(1,), families=("tumour", "rings"))
    assert cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (2 * 72, 5 * 72)
