"""Many files as one job: mixed and bad files, truths, cancelling, the ZIP and its summary, and the same again."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.jobs.replay import replay
from backend.media.images import read_image
from backend.media.intake import accept_upload
from backend.media.intake_several import accept_several
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.runtime import Runtime
from backend.services.topology.batch import BatchRequest, BatchRow, CollectRequest, Problem
from backend.services.topology.batch_measure import measure_means
from backend.services.topology.batch_one import pack_layers, unpack_layers
from backend.services.topology.batch_view import batch_view, picture
from backend.services.topology.requests import TruthErrors
from backend.settings import Settings
from tests.backend.services.topology.small_refiner import write_small_refiner

LIMITS = Limits()
Accept = Callable[..., str]


@pytest.fixture(autouse=True)
def refiners(settings: Settings) -> None:
    """Small refiners for both dimensions among this installation's own weights."""
    write_small_refiner(settings.home / "weights" / "topology/small")
    write_small_refiner(settings.home / "weights" / "topology/small3d", dimensions=3)


@pytest.fixture
def accept(runtime: Runtime, tmp_path: Path) -> Accept:
    """Stores an array as an upload of the kind its name says, and gives the id."""

    def take(array: np.ndarray, name: str) -> str:
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, array)
        elif name.endswith(".nii.gz"):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([0.9, 0.9, 1.2, 1])), path)
        else:
            Image.fromarray(array).save(path)
        return accept_upload(runtime, path, filename=name, actor=LOCAL).id

    return take


def ring(thick: int = 6, gap: bool = True) -> np.ndarray:
    rows, columns = np.mgrid[:80, :96]
    radius = np.hypot(rows - 40, columns - 45)
    mask = ((radius > 20) & (radius < 20 + thick)).astype(np.uint8) * 255
    if gap:
        mask[38:41, :45] = 0
    return mask


def solid_ring() -> np.ndarray:
    return np.repeat(ring()[:, :, None] // 255, 20, axis=2)


def submit(runtime: Runtime, *sources: str, **options: object) -> str:
    request = BatchRequest(
        tuple(sources), weights="topology/small", volume_weights="topology/small3d", remove_below=20, **options
    )
    return runtime.jobs.submit("topology", "batch", request, actor=LOCAL)


def done(runtime: Runtime, *sources: str, **options: object) -> JobView:
    return runtime.jobs.wait(submit(runtime, *sources, **options), timeout=90)


def test_pictures_volumes_and_label_maps_go_through_one_batch(runtime: Runtime, accept: Accept) -> None:
    labels = ring() // 255
    labels[4:14, 4:90] = 2
    soft = ring() / np.float32(255) * np.float32(0.8) + np.float32(0.1)
    bad = soft.copy()
    bad[3, 3] = np.nan
    sources = [
        accept(ring(), "a.png"),
        accept(soft, "b.npy"),
        accept(bad, "c.npy"),
        accept(solid_ring(), "d.nii.gz"),
        accept(labels, "e.png"),
    ]
    job = done(runtime, *sources)
    assert job.state is JobState.DONE, job.error
    rows = job.result["rows"]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["content"] for row in rows] == [
        "binary mask",
        "probability map",
        "",
        "binary mask, volume",
        "label map of 2",
    ]
    assert rows[2]["problem"]["what"] == "The map holds 1 values that are not numbers (NaN or infinite)."
    assert rows[0]["before"] == {"b0": 1, "b1": 0, "b2": None}
    assert rows[3]["before"] == {"b0": 1, "b1": 0, "b2": 0}
    assert rows[4]["before"] == {"b0": 2, "b1": 0, "b2": None}
    mask = read_image(runtime.artifacts.path(rows[0]["mask"]), LIMITS)
    assert set(np.unique(mask)) == {0, 255}
    assert rows[0]["changed"] == np.count_nonzero(mask != ring())
    volume = nibabel.load(runtime.artifacts.path(rows[3]["mask"]))
    assert volume.shape == (80, 96, 20)
    assert np.allclose(volume.affine, np.diag([0.9, 0.9, 1.2, 1]))
    assert job.result["files"] == 4
    assert all(row["seconds"] > 0 for row in rows if row["mask"])


def test_the_archive_holds_masks_changes_summary_and_provenance(runtime: Runtime, accept: Accept) -> None:
    job = done(runtime, accept(ring(), "Doe Jane.png"), accept(solid_ring(), "b.nii.gz"), accept(ring(3), "c.npy"))
    path = runtime.artifacts.path(job.result["archive"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "masks/0001-mask.png",
            "masks/0002-mask.nii.gz",
            "masks/0003-mask.npy",
            "changes/0001-changes.csv",
            "changes/0002-changes.csv",
            "changes/0003-changes.csv",
            "summary.csv",
            "provenance.json",
        ]
        first = np.asarray(Image.open(io.BytesIO(archive.read("masks/0001-mask.png"))))
        told = json.loads(archive.read("provenance.json"))
        rows = list(csv.DictReader(io.StringIO(archive.read("summary.csv").decode())))
        assert b"Doe" not in b"".join(archive.read(name) for name in archive.namelist())
    assert np.array_equal(first, read_image(runtime.artifacts.path(job.result["rows"][0]["mask"]), LIMITS))
    assert [entry["number"] for entry in told["files"]] == [1, 2, 3]
    assert read_provenance(path).action == "batch"
    assert [row["file"] for row in rows] == ["1", "2", "3"]
    assert [row["b2 before"] for row in rows] == ["", "0", ""]
    for row, made in zip(rows, job.result["rows"], strict=True):
        assert int(row["b0 after"]) == made["after"]["b0"]
        assert int(row["pixels changed"]) == made["changed"]


def test_truths_are_measured_before_and_after_with_intervals(runtime: Runtime, accept: Accept) -> None:
    sources = [accept(ring(6), "a.png"), accept(ring(8), "b.png"), accept(ring(4), "c.png")]
    truths = tuple(accept(ring(thick, gap=False), f"t{thick}.png") for thick in (6, 8, 4))
    job = done(runtime, *sources, truths=truths)
    assert job.state is JobState.DONE, job.error
    for row in job.result["rows"]:
        assert row["errors_before"]["b1"] == 1
        assert row["errors_before"]["matching"] == 1
        assert 0 < row["errors"]["dice"] <= 1
    means = {item["name"]: item for item in job.result["means"]}
    assert list(means) == ["dice", "cldice", "b0", "b1", "matching"]
    assert means["b1"]["before"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    values = [row["errors"]["dice"] for row in job.result["rows"]]
    assert means["dice"]["after"]["value"] == pytest.approx(np.mean(values))
    assert means["dice"]["after"]["low"] <= means["dice"]["after"]["value"] <= means["dice"]["after"]["high"]
    with runtime.artifacts.path(job.result["summary"]).open(encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["clDice before"]) == job.result["rows"][0]["errors_before"]["cldice"]


def test_a_truth_of_another_size_is_a_problem_of_its_file_only(runtime: Runtime, accept: Accept) -> None:
    sources = (accept(ring(), "a.png"), accept(ring(), "b.png"))
    job = done(runtime, *sources, truths=(accept(ring()[:50], "t.png"), ""))
    problems = [row["problem"] for row in job.result["rows"]]
    assert problems[0]["what"] == "The true mask and the segmentation differ in size."
    assert problems[1] is None


def test_files_refused_on_arrival_keep_their_numbers(runtime: Runtime, accept: Accept) -> None:
    refused = (Problem(2, "This kind of file is not known here."),)
    job = done(runtime, accept(ring(), "a.png"), accept(ring(), "c.png"), refused=refused)
    rows = job.result["rows"]
    assert [(row["number"], bool(row["mask"])) for row in rows] == [(1, True), (2, False), (3, True)]


@pytest.mark.parametrize(
    ("sources", "options", "sentence"),
    [
        (0, {}, "There is no file to repair."),
        (1, {"truths": ("a", "b")}, "There are 2 true masks for 1 files."),
        (1, {"threshold": 2.0}, "A threshold of 2 cannot be used."),
    ],
)
def test_what_stops_a_batch_at_once(
    runtime: Runtime, accept: Accept, sources: int, options: dict, sentence: str
) -> None:
    job = done(runtime, *(accept(ring(), "a.png") for _ in range(sources)), **options)
    assert job.state is JobState.FAILED
    assert job.error["what"] == sentence


def test_a_batch_of_bad_files_only_still_says_what_was_wrong(runtime: Runtime, accept: Accept) -> None:
    job = done(runtime, accept(np.zeros((40, 40), np.uint8), "a.png"), "nothing")
    assert job.state is JobState.DONE
    assert [row["problem"]["what"] for row in job.result["rows"]] == ["The mask is empty.", "There is no such item."]
    assert job.result["archive"] == ""


def test_a_cancelled_batch_keeps_what_is_finished_and_packs_it(runtime: Runtime, accept: Accept) -> None:
    big = np.tile(ring(), (30, 30))
    job_id = submit(
        runtime, accept(np.zeros((40, 40), np.uint8), "a.png"), accept(ring(), "b.png"), accept(big, "c.png")
    )
    while runtime.jobs.view(job_id).note != "File 3 of 3":
        assert not runtime.jobs.view(job_id).state.final
    runtime.jobs.cancel(job_id, actor=LOCAL)
    job = runtime.jobs.wait(job_id, timeout=60)
    assert job.state is JobState.CANCELLED
    shown = batch_view(runtime, job_id)
    assert shown["state"] == "cancelled"
    assert "kept" in shown["summary"][0]
    assert [bool(row["problem"]) for row in shown["rows"]] == [True, False]
    masks = tuple(row["mask"] for row in shown["rows"] if row["mask"])
    collected = runtime.jobs.wait(
        runtime.jobs.submit("topology", "collect", CollectRequest(masks), actor=LOCAL), timeout=30
    )
    assert collected.state is JobState.DONE, collected.error
    with zipfile.ZipFile(runtime.artifacts.path(collected.result["archive"])) as archive:
        assert "masks/0002-mask.png" in archive.namelist()
        assert len(archive.read("summary.csv").splitlines()) == 3


def test_a_batch_is_made_again_byte_for_byte(runtime: Runtime, accept: Accept) -> None:
    job = done(runtime, accept(ring(), "a.png"), accept(solid_ring(), "b.nii.gz"))
    again = replay(runtime, job.result["archive"], actor=LOCAL)
    assert [file.difference for file in again.files] == [""] * len(job.artifacts)


def test_the_page_gets_rows_pictures_and_nothing_of_other_jobs(runtime: Runtime, accept: Accept) -> None:
    job = done(runtime, accept(ring(), "a.png"), accept(ring() // 255 + (np.arange(80)[:, None] < 9), "b.png"))
    shown = batch_view(runtime, job.id)
    json.dumps(shown, allow_nan=False)
    assert shown["summary"][0].startswith("2 of 2 files were repaired")
    assert {column["name"] for column in shown["columns"]} >= {"number", "b0", "b1", "places", "dice"}
    for number in (1, 2):
        for name in ("before", "after", "changes"):
            opened = Image.open(io.BytesIO(picture(runtime, job.id, number, name, 48)))
            assert max(opened.size) == 48
    with pytest.raises(UserError, match="no file 7"):
        picture(runtime, job.id, 7, "before", 96)
    with pytest.raises(UserError, match="no such picture"):
        picture(runtime, job.id, 1, "secret", 96)
    other = runtime.jobs.submit("topology", "collect", CollectRequest(()), actor=LOCAL)
    runtime.jobs.wait(other, timeout=30)
    with pytest.raises(UserError, match="no batch"):
        batch_view(runtime, other)


def test_a_zip_of_masks_goes_from_the_door_to_the_results(runtime: Runtime, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        for name, mask in (("x/m10.png", ring(8)), ("x/m9.png", ring(4)), ("x/readme.txt", None)):
            stream = io.BytesIO(b"text")
            if mask is not None:
                Image.fromarray(mask).save(stream, "PNG")
            archive.writestr(name, stream.getvalue())
    arrivals = accept_several(runtime, tmp_path / "masks.zip", filename="masks.zip", actor=LOCAL)
    assert [item.view is not None for item in arrivals] == [True, True, False]
    job = done(runtime, *(item.view.id for item in arrivals if item.view))
    masks = [read_image(runtime.artifacts.path(row["mask"]), LIMITS) for row in job.result["rows"]]
    assert np.count_nonzero(masks[0]) < np.count_nonzero(masks[1])  # 9 before 10


def test_layers_come_apart_again() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 20, 30)) > 0.5
    codes = rng.integers(0, 9, (20, 30)).astype(np.uint8)
    for given, found in zip((before, after, codes), unpack_layers(pack_layers(before, after, codes)), strict=True):
        assert np.array_equal(given, found)


def test_intervals_cover_the_mean_and_shrink_to_a_point_without_spread() -> None:
    def row(number: int, start: float, end: float) -> BatchRow:
        return BatchRow(
            number,
            mask="x",
            errors_before=TruthErrors(start, start, 4, 6, 8),
            errors=TruthErrors(end, end, 2, number, 3),
        )

    rng = np.random.default_rng(3)
    rows = [row(n, s, s + 0.05) for n, s in enumerate(rng.normal(0.8, 0.05, 60), start=1)]
    means = {item.name: item for item in measure_means(rows, seed=0)}
    dice = means["dice"]
    assert dice.difference.low == pytest.approx(0.05)
    assert dice.difference.high == pytest.approx(0.05)
    # The percentile interval of a mean is close to ± 1.96 standard errors.
    spread = np.std([r.errors.dice for r in rows]) / np.sqrt(60)
    assert dice.after.high - dice.after.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert means["b1"].after.value == pytest.approx(np.mean(np.arange(1, 61)))
    assert measure_means(rows[:1], seed=0)[0].after.low is None
    assert measure_means([BatchRow(1)], seed=0) == ()
