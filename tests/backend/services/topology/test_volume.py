"""The jobs on volumes, on a real engine and store, with a small real refiner for three dimensions."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.nifti import read_nifti
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.samples import accept_sample, thumbnail
from backend.services.topology import volume_grid
from backend.services.topology.render import KINDS
from backend.services.topology.requests import Betti, SimpleRepairs
from backend.services.topology.volume import VolumeRequest, VolumeThresholdRequest
from backend.services.topology.volume_cut import list_volume_changes
from backend.services.topology.volume_grid import box_around, divided, divisions, spacing_note
from backend.services.topology.volume_view import (
    finished_volume,
    look_volume,
    view_volume,
    volume_layer,
    volume_slice,
)
from backend.settings import Settings
from models.metrics.betti import betti_numbers
from tests.backend.services.topology.small_refiner import write_small_refiner

WEIGHTS = "topology/small3d"
SAME = "topology/same3d"  # untrained: gives its input back
OBLIQUE = np.array([[-0.6, 0.1, 0, 40], [0.1, 0.8, 0.2, -30], [0, -0.2, 0.9, 12], [0, 0, 0, 1.0]])
NO_CLEANING = {"remove_below": 0, "fill_below": 0, "fill_share": 0.0}
Store = Callable[..., str]


@pytest.fixture(autouse=True)
def small_refiner(settings: Settings) -> str:
    """The hash of a small refiner among this installation's own weights; another gives its input back."""
    write_small_refiner(settings.home / "weights" / SAME, dimensions=3, trained=False)
    return write_small_refiner(settings.home / "weights" / WEIGHTS, dimensions=3)


@pytest.fixture
def store(runtime: Runtime, tmp_path: Path) -> Store:
    """Puts a volume [X, Y, Z] into the store as an uploaded NIfTI and gives its id."""

    def put(array: np.ndarray, affine: np.ndarray = OBLIQUE, name: str = "mask.nii.gz") -> str:
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, array)
        else:
            nibabel.Nifti1Image(array, affine).to_filename(path)
        origin = Provenance.now(system="uploads", action="accept", synthetic=False)
        suffix = "".join(path.suffixes)
        return runtime.artifacts.add_file(
            path,
            name=name,
            media_type="application/x-nifti",
            kind="upload",
            synthetic=False,
            provenance=origin,
            actor=LOCAL,
            suffix=suffix,
        ).id

    return put


def frame(shape: tuple[int, int, int] = (40, 36, 32)) -> np.ndarray:
    """A broken frame of tubes with islands and a hollow ball, uint8 [X, Y, Z]."""
    mask = np.zeros(shape, np.uint8)
    for a in (6, 24):
        mask[a : a + 4, 4:-4, 6:10] = mask[4:-4, a : a + 4, 6:10] = 1
        mask[6:10, a : a + 4, 4:-4] = 1
    mask[14:18, 6:10] = mask[4:10, 14:16] = 0
    mask[28:37, 20:29, 20:29] = 1
    mask[31:34, 23:26, 23:26] = 0
    mask[20, 30, 28] = mask[16:18, 16:18, 28] = 1
    return mask


def refined(runtime: Runtime, source: str, **options) -> JobView:
    request = VolumeRequest(**{"source": source, "weights": WEIGHTS, **options})
    return runtime.jobs.wait(runtime.jobs.submit("topology", "refine_volume", request, actor=LOCAL), timeout=60)


def voxels(runtime: Runtime, artifact: str) -> tuple[np.ndarray, np.ndarray]:
    volume = read_nifti(runtime.artifacts.path(artifact), Limits())
    return volume.array, volume.affine


def test_a_refinement_stores_all_that_it_says_where_it_belongs(runtime: Runtime, store: Store, small_refiner: str):
    source = store(frame())
    job = refined(runtime, source)
    assert job.state is JobState.DONE, job.error
    _, result = finished_volume(runtime, job.id)
    before, mask, codes, probability = (
        voxels(runtime, artifact)[0] for artifact in (result.before, result.mask, result.change_map, result.probability)
    )
    assert np.array_equal(before, frame())
    assert result.shape == before.shape
    assert result.changed == (before != mask).sum() > 0
    assert np.array_equal(codes > 0, before != mask)
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < probability.max() <= 1
    assert result.spacing_mm == pytest.approx(np.sqrt((OBLIQUE[:3, :3] ** 2).sum(0)))
    for artifact in (result.before, result.mask, result.probability, result.change_map, result.change_table):
        made = runtime.artifacts.view(artifact).provenance
        assert (made.system, made.action, made.parents) == ("topology", "refine_volume", (source,))
        assert made.weights == {WEIGHTS: small_refiner}
        assert read_provenance(runtime.artifacts.path(artifact)) == made
        if artifact != result.change_table:
            assert np.allclose(voxels(runtime, artifact)[1], OBLIQUE, atol=1e-5)


def test_numbers_of_the_box_are_those_of_the_whole(runtime: Runtime, store: Store):
    wide = np.zeros((90, 80, 70), np.uint8)
    wide[30:70, 20:56, 20:52] = frame()
    job = refined(runtime, store(wide))
    _, result = finished_volume(runtime, job.id)
    before, mask = (voxels(runtime, artifact)[0] > 0 for artifact in (result.before, result.mask))
    assert result.before_betti == Betti(*betti_numbers(before))
    assert result.after_betti == Betti(*betti_numbers(mask))
    assert result.before_betti.b2 == 1
    assert result.megavoxels < 0.9 * wide.size / 1e6
    inner = frame() > 0
    _, alone = finished_volume(runtime, refined(runtime, store(frame()), weights=SAME).id)
    _, placed = finished_volume(runtime, refined(runtime, store(wide), weights=SAME).id)
    assert [row.betti for row in alone.comparison] == [row.betti for row in placed.comparison]
    assert alone.comparison[0].betti == Betti(*betti_numbers(inner))


def test_the_change_table_names_every_changed_voxel_once_and_where_it_lies(runtime: Runtime, store: Store):
    _, result = finished_volume(runtime, refined(runtime, store(frame())).id)
    with runtime.artifacts.path(result.change_table).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.change_count
    assert sum(int(row["voxels"]) for row in rows) == result.changed
    litre = abs(np.linalg.det(OBLIQUE[:3, :3])) / 1000
    codes = voxels(runtime, result.change_map)[0]
    by_kind = {style.kind: style.code for style in KINDS}
    for change in result.changes[:50]:
        assert change.ml == pytest.approx(change.voxels * litre, rel=1e-3)
        assert change.mm == pytest.approx((OBLIQUE @ [change.cx, change.cy, change.cz, 1])[:3], abs=0.2)
        assert codes[change.at] == by_kind[change.kind]
        assert (change.x0, change.y0, change.z0) <= change.at < (change.x1, change.y1, change.z1)


def test_kinds_of_change_in_three_dimensions():
    before = frame() > 0
    after = before.copy()
    after[20, 30, 28] = False  # an island
    after[31:34, 23:26, 23:26] = True  # the cavity of the ball
    after[14:18, 6:10, 6:10] = True  # a break of a tube
    after[36, 4, 28] = True  # a new island
    rows, codes = list_volume_changes(before, after, (0, 0, 0), None)
    found = {row.kind: row for row in rows}
    assert set(found) == {"removed_island", "filled_hole", "closed_break", "added_island"}
    assert (found["filled_hole"].b2, found["removed_island"].b0, found["added_island"].b0) == (-1, -1, 1)
    assert found["filled_hole"].ml is None
    assert (codes > 0).sum() == (before != after).sum()
    totals = np.array([[row.b0, row.b1, row.b2] for row in rows]).sum(axis=0)
    assert np.array_equal(np.add(betti_numbers(before), totals), betti_numbers(after))


def test_another_threshold_later_equals_the_same_threshold_at_first(runtime: Runtime, store: Store):
    source = store(frame())
    first = refined(runtime, source)
    _, result = finished_volume(runtime, first.id)
    request = VolumeThresholdRequest(before=result.before, probability=result.probability, threshold=0.35)
    job = runtime.jobs.wait(runtime.jobs.submit("topology", "threshold_volume", request, actor=LOCAL), timeout=30)
    assert job.state is JobState.DONE, job.error
    _, direct = finished_volume(runtime, refined(runtime, source, threshold=0.35).id)
    assert job.result is not None
    kept, affine = voxels(runtime, job.result["mask"])
    assert np.array_equal(kept, voxels(runtime, direct.mask)[0])
    assert np.allclose(affine, OBLIQUE, atol=1e-5)
    assert job.result["after_betti"] == direct.after_betti.as_dict()
    made = runtime.artifacts.view(job.result["mask"]).provenance
    assert made.parents == (result.probability, result.before)
    assert view_volume(runtime, first.id, 0.35)["after"] == direct.after_betti.as_dict()


def test_the_page_gets_numbers_layers_and_slices_that_agree(runtime: Runtime, store: Store):
    job = refined(runtime, store(frame()))
    shown = view_volume(runtime, job.id, 0.4, SimpleRepairs(remove_below=3))
    before, after, kinds = (
        np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(volume_layer(runtime, job.id, name, 0.4))).dataobj)
        for name in ("before", "after", "kinds")
    )
    assert tuple(shown["after"].values()) == betti_numbers(after > 0)
    assert np.array_equal(kinds > 0, before != after)
    assert shown["changed"] == (kinds > 0).sum()
    rows = {row["name"]: row for row in shown["table"]["rows"]}
    assert list(rows) == ["input", "small", "closing", "fillholes", "refined"]
    assert rows["input"]["cells"][:3] == [str(number) for number in betti_numbers(before > 0)]
    assert "26-connected" in shown["table"]["caption"]
    from io import BytesIO

    from PIL import Image

    for axis, side in enumerate("xyz"):
        png = volume_slice(runtime, job.id, "after", side, 8, 0.4, changes=False)
        picture = np.asarray(Image.open(BytesIO(png)))[..., 0] > 100
        assert np.array_equal(picture[::-1].T, np.take(after, 8, axis) > 0)


def test_a_phantom_sample_is_repaired_beside_its_truth(runtime: Runtime):
    from models.phantoms import curvilinear

    view = accept_sample(runtime, "phantom3d-capillaries-2", actor=LOCAL)
    found = look_volume(runtime, view.id)
    assert found is not None
    assert (found[0].kind, found[0].depth) == ("probability", 96)
    job = refined(runtime, view.id, weights=SAME)
    assert job.state is JobState.DONE, job.error
    _, result = finished_volume(runtime, job.id)
    true = curvilinear.sample("capillaries", (96, 96, 96), 2)
    assert result.truth == Betti(*betti_numbers(true))
    rows = {row.name: row for row in result.comparison}
    assert {"hysteresis", "refined"} <= set(rows)
    errors = rows["input"].errors
    assert errors is not None
    assert errors.b0 == abs(result.before_betti.b0 - result.truth.b0)
    assert errors.b2 == abs((result.before_betti.b2 or 0) - (result.truth.b2 or 0))
    assert thumbnail("phantom3d-capillaries-2", runtime.settings).startswith(b"\x89PNG")


def test_long_voxels_are_divided_and_nothing_moves_by_it(runtime: Runtime, store: Store):
    flat = frame()[:, :, ::3]
    uneven = np.diag([0.5, 0.5, 1.5, 1.0])
    source = store(flat, uneven)
    for cubic in (True, False):
        _, result = finished_volume(runtime, refined(runtime, source, weights=SAME, cubic=cubic, **NO_CLEANING).id)
        assert np.array_equal(voxels(runtime, result.mask)[0], flat), cubic
        note = "divided into 0.5 × 0.5 × 0.5 mm" if cubic else "the network took them as they are"
        assert any(note in line for line in result.notes)
        assert result.megavoxels == pytest.approx((1 + 2 * cubic) * flat.size / 1e6, rel=0.1)


@pytest.mark.parametrize(
    ("spacing", "parts"),
    [
        ((1, 1, 1), (1, 1, 1)),
        ((1, 1, 1.4), (1, 1, 1)),
        ((0.5, 0.5, 1), (1, 1, 2)),
        ((0.7, 0.7, 2.5), (1, 1, 4)),
        ((3, 1, 1), (3, 1, 1)),
        ((0.3, 0.3, 5), (1, 1, 4)),
        (None, (1, 1, 1)),
    ],
)
def test_into_how_many_parts_a_voxel_is_divided(spacing, parts):
    assert divisions(spacing, (64, 64, 20)) == parts
    assert ("no cubes:" in spacing_note(spacing, parts, True)) == (spacing == (0.3, 0.3, 5))


def test_a_divided_map_has_the_given_one_in_it_and_straight_lines_between(monkeypatch: pytest.MonkeyPatch):
    given = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    fine = divided(given, (1, 3, 2))
    assert fine.shape == (5, 16, 13)
    assert np.array_equal(fine[:, ::3, ::2], given)
    assert np.allclose(fine[:, ::3, 1::2], (given[..., :-1] + given[..., 1:]) / 2)
    monkeypatch.setattr(volume_grid, "LARGEST_BOX", 64 * 64 * 40)
    assert divisions((1, 1, 4), (64, 64, 20)) == (1, 1, 2)
    assert "would not fit" in spacing_note((1, 1, 4), (1, 1, 1), True)


def test_the_box_holds_the_structure_and_no_more_than_its_margin():
    mask = np.zeros((50, 60, 70), bool)
    mask[20:24, 5, 30:60] = True
    box = box_around(mask, margin=8)
    assert [(side.start, side.stop) for side in box] == [(12, 32), (0, 14), (22, 68)]


def test_a_thin_volume_works_and_says_what_to_expect(runtime: Runtime, store: Store):
    thin = frame()[:, :, 5:10]
    job = refined(runtime, store(thin), weights=SAME, **NO_CLEANING)
    assert job.state is JobState.DONE, job.error
    _, result = finished_volume(runtime, job.id)
    assert np.array_equal(voxels(runtime, result.mask)[0], thin)
    assert any(note.startswith("With 5 slices") for note in result.notes)


def test_without_a_voxel_size_nothing_is_given_in_millimetres(runtime: Runtime, store: Store):
    job = refined(runtime, store(frame().transpose(2, 1, 0), name="mask.npy"))
    _, result = finished_volume(runtime, job.id)
    assert result.spacing_mm is None
    assert result.changes
    assert all(change.ml is None and change.mm is None for change in result.changes)
    assert any("does not tell the size of a voxel" in note for note in result.notes)
    request = VolumeThresholdRequest(before=result.before, probability=result.probability, threshold=0.4)
    later = runtime.jobs.wait(runtime.jobs.submit("topology", "threshold_volume", request, actor=LOCAL), timeout=30)
    assert later.result is not None
    assert all(change["ml"] is None for change in later.result["changes"])
    assert "ml" not in " ".join(view_volume(runtime, job.id)["summary"])


def test_one_label_of_a_label_map_is_repaired(runtime: Runtime, store: Store):
    labels = frame().astype(np.uint16) * 300
    labels[28:37, 20:29, 20:29] = 700
    source = store(labels)
    failed = refined(runtime, source)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error["what"].startswith("This is a label map with 2 labels")
    _, result = finished_volume(runtime, refined(runtime, source, label=700, weights=SAME, **NO_CLEANING).id)
    assert np.array_equal(voxels(runtime, result.mask)[0] > 0, labels == 700)
    found = look_volume(runtime, source)
    assert found is not None
    assert [entry.value for entry in found[0].labels] == [300, 700] or [e.value for e in found[0].labels] == [700, 300]


BAD = {
    "empty": (np.zeros((20, 20, 20), np.uint8), "The mask is empty."),
    "full": (np.ones((20, 20, 20), np.uint8), "The whole volume is foreground."),
    "faint": (
        (np.random.default_rng(0).random((20, 20, 20)) * 0.3).astype(np.float32),
        "No voxel reaches the threshold of 0.50: the mask is empty.",
    ),
    "two slices": (frame()[:, :, 6:8], "The volume is too small: 40 × 36 × 2 voxels."),
    "scan": (np.random.default_rng(0).integers(-900, 900, (20, 20, 20)).astype(np.int16), "The values run from"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_repaired_says_why_and_leaves_nothing(name: str, runtime: Runtime, store: Store):
    array, sentence = BAD[name]
    job = refined(runtime, store(array))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["what"].startswith(sentence)
    assert job.artifacts == ()


def test_weights_truths_and_files_of_the_other_kind_are_told_apart(
    runtime: Runtime, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    write_small_refiner(settings.home / "weights" / "topology" / "flat")
    source, flat = store(frame()), store(frame()[..., 7], name="flat.npy")
    other = store(frame()[:20], name="other.nii.gz")
    cases = (
        (refined(runtime, source, weights="topology/flat"), "The weights 'topology/flat' are for pictures."),
        (refined(runtime, flat), "This is a picture, not a volume."),
        (refined(runtime, source, truth=other), "The true mask and the segmentation differ in size."),
        (refined(runtime, source, threshold=1.5), "A threshold of 1.5 cannot be used."),
    )
    for job, sentence in cases:
        assert job.error is not None
        assert job.error["what"] == sentence
    monkeypatch.setattr(volume_grid, "LARGEST_BOX", 10_000)
    job = refined(runtime, source)
    assert job.error is not None
    assert job.error["what"] == "The structure is too large to repair in one piece."
    for call in (lambda: view_volume(runtime, job.id), lambda: finished_volume(runtime, job.id)):
        with pytest.raises(UserError, match="no finished refinement of a volume"):
            call()


def test_an_uploaded_truth_is_measured_against(runtime: Runtime, store: Store):
    true = frame()
    true[14:18, 6:10, 6:10] = 1
    source, truth = store(frame()), store(true, name="truth.nii.gz")
    job = refined(runtime, source, truth=truth, weights=SAME, **NO_CLEANING)
    _, result = finished_volume(runtime, job.id)
    assert result.truth == Betti(*betti_numbers(true > 0))
    errors = result.comparison[0].errors
    assert errors is not None
    assert 0.9 < errors.dice < 1
    again = view_volume(runtime, job.id, None, replace(SimpleRepairs(), closing_radius=3))
    assert again["table"]["columns"][-1]["title"] == "clDice"
    assert runtime.artifacts.view(result.mask).provenance.parents == (source, truth)


def test_the_mask_comes_back_as_the_file_it_was_made_from(runtime: Runtime, store: Store, tmp_path: Path):
    from backend.media.dicom_seg import read_segmentation
    from tests.backend.media.seg_samples import write_seg

    labels = frame().astype(np.uint16) * 300
    source = store(labels)
    _, plain = finished_volume(runtime, refined(runtime, store(frame()), weights=SAME).id)
    assert plain.own == ""
    _, result = finished_volume(runtime, refined(runtime, source, weights=SAME, **NO_CLEANING).id)
    own, affine = voxels(runtime, result.own)
    assert np.array_equal(own, labels)
    assert np.allclose(affine, OBLIQUE, atol=1e-5)
    request = VolumeThresholdRequest(before=result.before, probability=result.probability, threshold=0.4)
    later = runtime.jobs.wait(runtime.jobs.submit("topology", "threshold_volume", request, actor=LOCAL), timeout=30)
    assert later.result is not None
    assert runtime.artifacts.view(later.result["own"]).name == "refined-as-given-0.40.nii.gz"

    solid = frame()[:, :, 5:12]  # a writer of segmentations leaves empty slices out
    path = write_seg(tmp_path / "seg.dcm", solid.transpose(2, 1, 0)[..., None])
    origin = Provenance.now(system="uploads", action="accept", synthetic=False)
    seg = runtime.artifacts.add_file(
        path,
        name="seg.dcm",
        media_type="application/dicom",
        kind="upload",
        synthetic=False,
        provenance=origin,
        actor=LOCAL,
        suffix=".dcm",
    ).id
    _, result = finished_volume(runtime, refined(runtime, seg, weights=SAME, cubic=False, **NO_CLEANING).id)
    written = read_segmentation(runtime.artifacts.path(result.own), Limits())
    assert np.array_equal(written.arrays[0], solid.transpose(2, 1, 0))
    assert written.geometry.spacing_mm == pytest.approx(read_segmentation(path, Limits()).geometry.spacing_mm)
    assert voxels(runtime, result.mask)[0].shape == solid.shape
