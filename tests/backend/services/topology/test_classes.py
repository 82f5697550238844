"""Each label by itself: label maps, softmax stacks and DICOM segmentations through the real job."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.dicom_seg import read_segmentation
from backend.media.images import read_image
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.runtime import Runtime
from backend.services.topology import classes_run
from backend.services.topology.classes import ClassesRequest
from backend.services.topology.classes_colours import colour_of
from backend.services.topology.classes_draw import draw_classes, most_changed_slice
from backend.services.topology.classes_read import open_classes, several_labels
from backend.settings import Settings
from tests.backend.media.seg_samples import write_seg
from tests.backend.services.topology.small_refiner import write_small_refiner

LIMITS = Limits()
Accept = Callable[[Path], str]


@pytest.fixture(autouse=True)
def refiners(settings: Settings) -> None:
    """Small refiners for both dimensions among this installation's own weights."""
    write_small_refiner(settings.home / "weights" / "topology/small")
    write_small_refiner(settings.home / "weights" / "topology/small3d", dimensions=3)


@pytest.fixture
def accept(runtime: Runtime) -> Accept:
    """Takes a file in as an upload does and gives its id."""
    return lambda path: accept_upload(runtime, path, filename=path.name, actor=LOCAL).id


def refined(runtime: Runtime, source: str, **options: object) -> JobView:
    request = ClassesRequest(
        source=source, weights="topology/small", volume_weights="topology/small3d", remove_below=20, **options
    )
    return runtime.jobs.wait(runtime.jobs.submit("topology", "classes", request, actor=LOCAL), timeout=60)


def three_labels() -> np.ndarray:
    """A ring of 3 that is broken, a bar of 8 that is pierced, a block of 40 with an island."""
    rows, columns = np.mgrid[:96, :112]
    labels = np.zeros((96, 112), np.uint8)
    radius = np.hypot(rows - 30, columns - 30)
    labels[(radius > 12) & (radius < 20)] = 3
    labels[28:31, 10:19] = 0
    labels[60:80, 10:100] = 8
    labels[69:71, 50:52] = 0
    labels[10:40, 70:100] = 40
    labels[45:48, 60:63] = 40
    return labels


def test_each_label_is_refined_and_keeps_its_value(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    Image.fromarray(three_labels()).save(tmp_path / "labels.png")
    job = refined(runtime, accept(tmp_path / "labels.png"))
    assert job.state is JobState.DONE, job.error
    made = job.result
    after = read_image(runtime.artifacts.path(made["labels"]), LIMITS)
    assert set(np.unique(after)) == {0, 3, 8, 40}
    assert [row["label"] for row in made["classes"]] == [3, 8, 40]
    from models.metrics.betti import betti_numbers

    for row in made["classes"]:
        before, mask = three_labels() == row["label"], after == row["label"]
        assert (row["before"]["b0"], row["before"]["b1"]) == betti_numbers(before)
        assert (row["after"]["b0"], row["after"]["b1"]) == betti_numbers(mask)
        assert row["changed"] == np.count_nonzero(before != mask)
        assert row["pixels_after"] == np.count_nonzero(mask)
    assert made["changed"] == np.count_nonzero(after != three_labels())
    with runtime.artifacts.path(made["change_table"]).open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(row["places"] for row in made["classes"])
    assert {int(row["label"]) for row in table} <= {3, 8, 40}
    assert sum(int(row["pixels"]) for row in table) == sum(row["changed"] for row in made["classes"])
    for artifact in job.artifacts:
        assert read_provenance(runtime.artifacts.path(artifact)).action == "classes"


def test_every_pixel_goes_to_the_class_of_the_highest_probability() -> None:
    """The rule itself, with networks that give fixed maps instead of learnt ones."""
    maps = {1: np.zeros((32, 32), np.float32), 2: np.zeros((32, 32), np.float32)}
    maps[1][:, :20], maps[2][:, 10:] = 0.7, 0.7
    maps[2][:10, 10:20] = 0.9
    maps[1][31], maps[2][31] = 0.4, 0.3
    labels = np.zeros((32, 32), np.uint8)
    labels[:, 16:] = 2
    labels[:, :16] = 1

    given = classes_run.ClassInput(
        labels=labels,
        background=0,
        classes=((1, ""), (2, "")),
        kind="labels",
        probability=maps.__getitem__,
        mask=lambda value: labels == value,
        like=labels,
    )
    request = ClassesRequest(source="", remove_below=0, fill_below=0, fill_share=0)
    identity = unlearnt_refiner()
    made = classes_run.combine(given, identity, request, lambda done, total, note: None)
    expected = np.where(np.arange(32) < 16, 1, 2) * np.ones((32, 1), int)  # ties to the input's class
    expected[:10, 10:] = 2
    expected[31] = 0
    assert np.array_equal(made.labels, expected)


def unlearnt_refiner():
    """A refiner as it is born: it gives its input back."""
    from models.topology.refiner import Refiner

    return Refiner(widths=(8, 16)).eval()


def test_a_softmax_stack_is_refined_by_its_probabilities(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    scores = np.stack([three_labels() == value for value in (0, 3, 8)]).astype(np.float32) * 3
    stack = np.exp(scores) / np.exp(scores).sum(axis=0)
    np.savez(tmp_path / "soft.npz", probs=stack.astype(np.float16), image=np.zeros((96, 112), np.float32))
    source = accept(tmp_path / "soft.npz")
    found = open_classes(runtime.artifacts.path(source), LIMITS)
    assert found.kind == "softmax"
    assert [value for value, _ in found.classes] == [1, 2]
    assert np.allclose(found.probability(2), stack[2], atol=1e-3)
    job = refined(runtime, source)
    assert job.state is JobState.DONE, job.error
    with np.load(runtime.artifacts.path(job.result["labels"])) as made:
        assert made["probs"].shape == (96, 112)
        assert set(np.unique(made["probs"])) <= {0, 1, 2}


def test_channels_last_and_independent_probabilities_are_read(tmp_path: Path) -> None:
    stack = np.zeros((3, 40, 50), np.float32)
    stack[1, 5:20, 5:20] = 1
    stack[2, 25:35, 5:20] = 1
    stack[0] = 1 - stack[1] - stack[2]
    np.save(tmp_path / "last.npy", np.moveaxis(stack, 0, -1))
    assert open_classes(tmp_path / "last.npy", LIMITS).labels[10, 10] == 1
    assert several_labels(tmp_path / "last.npy", LIMITS)
    solid = np.repeat(stack[1:, None], 20, axis=1) * np.float32(0.8)
    np.save(tmp_path / "solid.npy", solid)
    found = open_classes(tmp_path / "solid.npy", LIMITS)
    assert found.kind == "probabilities"
    assert found.labels.shape == (50, 40, 20)
    assert [value for value, _ in found.classes] == [1, 2]


def test_a_label_volume_keeps_its_geometry(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    volume = np.zeros((40, 36, 24), np.int16)
    volume[4:34, 5:15, 4:20] = 2
    volume[4:34, 20:30, 4:20] = 5
    volume[18:20, 5:15, 4:20] = 0
    affine = np.diag([0.8, 0.8, 1.0, 1]) + np.array([[0, 0, 0, -9]] * 3 + [[0] * 4])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "labels.nii.gz")
    job = refined(runtime, accept(tmp_path / "labels.nii.gz"))
    assert job.state is JobState.DONE, job.error
    opened = nibabel.load(runtime.artifacts.path(job.result["labels"]))
    assert opened.shape == volume.shape
    assert np.allclose(opened.affine, affine, atol=1e-6)
    labels = np.asarray(opened.dataobj)
    assert set(np.unique(labels)) <= {0, 2, 5}
    assert job.result["changed"] == np.count_nonzero(labels != volume)
    assert job.result["classes"][0]["before"] == {"b0": 2, "b1": 0, "b2": 0}
    assert job.result["slice"] is not None


def test_a_dicom_segmentation_of_several_segments(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    masks = np.zeros((1, 64, 64, 2), bool)
    masks[0, 5:25, 5:50, 0] = masks[0, 35:55, 5:50, 1] = True
    masks[0, 10:14, 20:23, 0] = False
    job = refined(runtime, accept(write_seg(tmp_path / "seg.dcm", masks)))
    assert job.state is JobState.DONE, job.error
    assert [row["name"] for row in job.result["classes"]] == ["Liver", "Vessel"]
    made = read_segmentation(runtime.artifacts.path(job.result["labels"]), LIMITS)
    assert [item.label for item in made.classes] == ["Liver", "Vessel"]
    assert np.count_nonzero(made.arrays[0]) == job.result["classes"][0]["pixels_after"]


def test_the_same_request_gives_the_same_labels(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    Image.fromarray(three_labels()).save(tmp_path / "labels.png")
    source = accept(tmp_path / "labels.png")
    first, second = (
        read_image(runtime.artifacts.path(refined(runtime, source).result["labels"]), LIMITS) for _ in "ab"
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((40, 40), np.uint8), "The mask is empty."),
        (np.arange(1600, dtype=np.uint16).reshape(40, 40), "This map has 1,599 labels."),
        (np.full((40, 40), np.nan, np.float32), "The map holds 1,600 values that are not numbers (NaN or infinite)."),
        (np.random.default_rng(0).random((40, 40)), "The map holds fractions, so it is not a label map."),
    ],
)
def test_what_is_no_label_map_says_so(
    runtime: Runtime, accept: Accept, tmp_path: Path, array: np.ndarray, sentence: str
) -> None:
    np.save(tmp_path / "bad.npy", array)
    job = refined(runtime, accept(tmp_path / "bad.npy"))
    assert job.state is JobState.FAILED
    assert job.error["what"] == sentence
    assert job.artifacts == ()


def test_weights_for_the_other_dimension_are_refused(runtime: Runtime, accept: Accept, tmp_path: Path) -> None:
    Image.fromarray(three_labels()).save(tmp_path / "labels.png")
    request = ClassesRequest(source=accept(tmp_path / "labels.png"), weights="topology/small3d")
    job = runtime.jobs.wait(runtime.jobs.submit("topology", "classes", request, actor=LOCAL), timeout=60)
    assert job.error["what"] == "The weights 'topology/small3d' are for volumes."


def test_pictures_show_what_changed() -> None:
    before, after = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    before[:10], after[:12] = 7, 7
    before[15:], after[16:] = 9, 9
    _, end, changes = draw_classes(before, after, [7, 9], most_changed_slice(before, after))
    assert changes[11, 0].tolist() == end[11, 0].tolist()
    assert changes[15, 0].tolist() == [255, 255, 255]
    assert changes[0, 0].max() < end[0, 0].max()
    assert len({colour_of(place) for place in range(16)}) == 16
    volume = np.zeros((5, 6, 7), np.uint8)
    volume[2, 2, 4] = 1
    assert most_changed_slice(volume, np.zeros_like(volume)) == 4


def test_a_file_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00 damaged")
    with pytest.raises(UserError):
        several_labels(tmp_path / "x.npy", LIMITS)
