"""Scans from file to findings, on small real networks and real files."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.errors import UserError
from backend.identity import COMMAND_LINE
from backend.jobs.contract import JobState, JobView
from backend.media.dicom_seg import read_segmentation
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.media.nifti import read_nifti
from backend.runtime import Runtime
from backend.samples import accept_sample
from backend.services.anomaly.verdicts import judge, review_of, verdicts
from models.anomaly.healthy import RATES
from tests.backend.services.anomaly.scans import SPOT_MM, ball, oblique, write_series, write_volume
from tests.backend.services.anomaly.small_restorer import install, write_small_restorer

SHAPE, SPACING = (32, 34, 18), (1.5, 1.4, 3.0)
FAST = {"severities": [0.5], "stride": 64}
LIMITS = Limits()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "restorer"
    table = [0.2] * len(RATES)
    write_small_restorer(folder, healthy={"unknown": {"absolute": table, "brighter": table}})
    return folder


@pytest.fixture
def ready(runtime: Runtime, weights: Path) -> Runtime:
    install(runtime.settings, weights)
    return runtime


def _take(runtime: Runtime, path: Path) -> str:
    return accept_upload(runtime, path, filename=path.name, actor=COMMAND_LINE).id


def _run(runtime: Runtime, action: str, **request: Any) -> JobView:
    return runtime.jobs.wait(runtime.jobs.submit("anomaly", action, request, actor=COMMAND_LINE), timeout=120)


def _done(runtime: Runtime, action: str, **request: Any) -> tuple[str, dict[str, Any]]:
    view = _run(runtime, action, **request)
    assert view.state is JobState.DONE, view.error
    return view.id, dict(view.result or {})


@pytest.fixture
def volume(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    affine = oblique(SPACING, SHAPE)
    image, spot = ball(SHAPE, affine)
    return write_volume(tmp_path / "scan.nii.gz", image, affine), spot, affine


def test_a_spot_is_found_where_it_lies_through_an_oblique_grid_of_thick_slices(
    ready: Runtime, volume: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    path, spot, affine = volume
    _, result = _done(ready, "detect", source=_take(ready, path), names=False, **FAST)
    heat = read_nifti(ready.artifacts.path(result["heat"]), LIMITS)
    np.testing.assert_allclose(heat.affine, affine, atol=1e-4)
    assert heat.array.shape == SHAPE
    hottest = np.array(np.unravel_index(heat.array.argmax(), SHAPE))
    assert spot[tuple(hottest)]
    first = result["findings"][0]
    assert np.linalg.norm(np.array(first["centroid_mm"]) - SPOT_MM) < 2
    assert first["ml"] == pytest.approx(spot.sum() * np.prod(SPACING) / 1000, rel=0.5)
    assert result["threshold"] == pytest.approx(0.2)
    assert "healthy" in result["threshold_from"]
    assert result["mask_from"] == "stripped"
    labels = read_nifti(ready.artifacts.path(result["labels"]), LIMITS)
    found = labels.array == 1
    assert 2 * (found & spot).sum() / (found.sum() + spot.sum()) > 0.6
    # The restored scan is the scan where nothing stands out, and darker where the spot was.
    restored = read_nifti(ready.artifacts.path(result["restored"]), LIMITS).array
    image = read_nifti(path, LIMITS).array
    outside = read_nifti(ready.artifacts.path(result["mask"]), LIMITS).array == 0
    np.testing.assert_array_equal(restored[outside], image[outside])
    assert restored[spot].mean() < image[spot].mean() - 100
    # The table says the same.
    with ready.artifacts.path(result["table"]).open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == result["count"]
    assert float(lines[0]["volume [ml]"]) == first["ml"]
    assert sum(result["histogram"]) > 0
    assert result["segmentation"] == ""
    assert result["unlike"] == ""  # a slab this thin is not measured by its volume


def test_the_combined_score_follows_brightness_and_restoration(
    ready: Runtime, volume: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    path, spot, _ = volume
    given = {"source": _take(ready, path), "names": False, "sequence": "flair", **FAST}
    _, result = _done(ready, "detect", score="combined", **given)
    heat = read_nifti(ready.artifacts.path(result["heat"]), LIMITS).array
    inside = read_nifti(ready.artifacts.path(result["mask"]), LIMITS).array > 0
    assert heat[spot].mean() > 1.3 * heat[inside & ~spot].mean()
    assert not heat[~inside].any()
    assert "this brain's own voxels" in result["threshold_from"], "the weights have no healthy scores of it"
    assert np.linalg.norm(np.array(result["findings"][0]["centroid_mm"]) - SPOT_MM) < 2
    _, other = _done(ready, "detect", score="brighter", **given)
    assert np.abs(heat - read_nifti(ready.artifacts.path(other["heat"]), LIMITS).array).max() > 0.02


def test_a_dicom_series_gives_a_segmentation_over_its_own_images(ready: Runtime, tmp_path: Path) -> None:
    affine = oblique(SPACING, SHAPE)
    image, _spot = ball(SHAPE, affine)
    folder = write_series(tmp_path / "series", image, affine)
    packed = tmp_path / "series.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    job, result = _done(ready, "detect", source=_take(ready, packed), names=False, **FAST)
    heat = read_nifti(ready.artifacts.path(result["heat"]), LIMITS)
    np.testing.assert_allclose(heat.affine, affine, atol=1e-3)
    seg = ready.artifacts.path(result["segmentation"])
    found = read_segmentation(seg, LIMITS)
    assert len(found.classes) == result["count"]
    first = found.arrays[0] > 0
    # Segment frames that are empty are left out, so the places decide.
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    z, y, x = np.argwhere(first).mean(0)
    centre = (to_ras @ found.geometry.affine @ np.array([x, y, z, 1.0]))[:3]
    np.testing.assert_allclose(centre, result["findings"][0]["centroid_mm"], atol=0.05)
    assert np.linalg.norm(centre - SPOT_MM) < 2
    assert b"Doe" not in seg.read_bytes()
    assert b"ZEBEDEE" not in seg.read_bytes()
    # A reader judges; what is judged is in the log, and only what stays is exported.
    assert judge(ready, job, 1, "accepted", actor=COMMAND_LINE, reason="bright") == {1: "accepted"}
    judge(ready, job, 1, "accepted", actor=COMMAND_LINE)
    judge(ready, job, 1, "rejected", actor=COMMAND_LINE)
    assert verdicts(ready, job) == {1: "rejected"}
    events = ready.audit.events(action="finding.verdict", subject=f"job:{job}")
    assert [(event.old["verdict"], event.new["verdict"]) for event in events] == [
        ("accepted", "rejected"),
        ("", "accepted"),
    ]
    with pytest.raises(UserError, match="no finding"):
        judge(ready, job, 99, "accepted", actor=COMMAND_LINE)
    request = review_of(ready, job)
    _, kept = _done(ready, "review", labels=request.labels, accepted=request.accepted, rejected=request.rejected)
    left = read_nifti(ready.artifacts.path(kept["labels"]), LIMITS).array
    assert 1 not in left
    assert kept["kept"] == result["count"] - 1
    assert "rejected" in ready.artifacts.path(kept["table"]).read_text(encoding="utf-8-sig")


def test_the_readers_own_mask_is_used_and_must_fit(
    ready: Runtime, tmp_path: Path, volume: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    path, spot, affine = volume
    source = _take(ready, path)
    places = np.stack(np.indices(SHAPE), -1) @ affine[:3, :3].T + affine[:3, 3]
    half = (np.linalg.norm(places, axis=-1) < 20) & (places[..., 0] < 0)
    mask = _take(ready, write_volume(tmp_path / "mask.nii.gz", half.astype(np.uint8), affine))
    _, result = _done(ready, "detect", source=source, mask=mask, names=False, threshold=0.2, **FAST)
    assert result["mask_from"] == "given"
    assert result["threshold_from"] == "chosen by hand"
    heat = read_nifti(ready.artifacts.path(result["heat"]), LIMITS).array
    assert not heat[spot].any()
    assert heat[half].any()
    small = _take(ready, write_volume(tmp_path / "small.nii.gz", half[:, :, :9].astype(np.uint8), affine))
    view = _run(ready, "detect", source=source, mask=small, names=False, **FAST)
    assert view.state is JobState.FAILED
    assert "does not fit" in (view.error or {})["what"]
    assert not view.artifacts


def test_a_slice_that_is_no_brain_is_looked_at_and_warned_of(ready: Runtime) -> None:
    source = accept_sample(ready, "mr-small", actor=COMMAND_LINE).id
    _, result = _done(ready, "detect", source=source, **FAST)
    assert "unlike any brain" in result["unlike"]
    assert "cm²" in result["unlike"]
    assert result["shape"] == [64, 64, 1]
    assert read_nifti(ready.artifacts.path(result["heat"]), LIMITS).array.shape == (64, 64, 1)


def test_a_folder_of_scans_is_one_job(
    ready: Runtime, tmp_path: Path, volume: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    path, _, _ = volume
    empty = write_volume(tmp_path / "empty.nii.gz", np.zeros((8, 8, 8), np.int16), np.eye(4))
    sources = [_take(ready, path), _take(ready, empty), _take(ready, path)]
    _, result = _done(ready, "batch", sources=sources, names=False, **FAST)
    assert [bool(row["problem"]) for row in result["rows"]] == [False, True, False]
    assert result["scans"] == 2
    assert result["rows"][0]["count"] == result["rows"][2]["count"] > 0
    with zipfile.ZipFile(ready.artifacts.path(result["archive"])) as archive:
        names = archive.namelist()
    assert {"summary.csv", "001-heat-map.nii.gz", "003-findings.csv", "003-panel.png"} <= set(names)
    summary = ready.artifacts.path(result["summary"]).read_text(encoding="utf-8-sig").splitlines()
    assert len(summary) == 4


def test_a_cancelled_scan_leaves_nothing(ready: Runtime, volume: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, _, _ = volume
    job = ready.jobs.submit(
        "anomaly",
        "detect",
        {"source": _take(ready, path), "names": False, "stride": 8, "severities": [0.5]},
        actor=COMMAND_LINE,
    )
    while not ready.jobs.view(job).has_preview and not ready.jobs.view(job).state.final:
        pass
    ready.jobs.cancel(job, actor=COMMAND_LINE)
    view = ready.jobs.wait(job, timeout=60)
    assert view.state is JobState.CANCELLED
    assert not view.artifacts
    assert (ready.jobs.preview(job) or b"").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"severities": []}, "severities"),
        ({"severities": [0.0]}, "severities"),
        ({"rate": 1.0}, "false-positive rate"),
        ({"stride": 4}, "Windows"),
        ({"steps": 0}, "steps"),
        ({"threshold": -1}, "below zero"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(ready: Runtime, wrong: dict[str, Any], said: str) -> None:
    view = _run(ready, "detect", source="none", **wrong)
    assert view.state is JobState.FAILED
    assert said in json.dumps(dict(view.error or {}))
