"""The measuring job on a real engine and store: a bright ellipse that beats, and the real clip of pydicom."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from backend.drawn_samples import BEATING
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.stored_clip import StoredClip, read_stored_clip, write_stored_clip
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.samples import accept_sample
from backend.services.echo.requests import MeasureRequest, MeasureResult
from backend.settings import Settings
from tests.backend.services.echo.small_networks import write_small_meter

FPS, RATE = 32.0, 75.0


@pytest.fixture(autouse=True)
def small_meter(settings: Settings) -> str:
    """The hash of a small meter among this installation's own weights."""
    return write_small_meter(settings.home / "weights" / "echo" / "meter2d")


def beating(frames: int = 64, swing: float = 0.3) -> np.ndarray:
    """uint8 [T, 112, 112]: a bright ellipse whose width beats ``RATE`` times a minute, in a fan of dark speckle."""
    row, column = np.mgrid[:112, :112].astype(np.float32)
    fan = (np.abs(column - 56) < 0.7 * row + 2) & (np.hypot(row, column - 56) < 108)
    rng = np.random.default_rng(0)
    clip = np.empty((frames, 112, 112), np.uint8)
    for index in range(frames):
        phase = index * RATE / 60 / FPS
        width = 20 * (1 - swing * (1 - np.cos(2 * np.pi * phase)) / 2)
        inside = ((row - 62) / 30) ** 2 + ((column - 56) / width) ** 2 < 1
        speckle = rng.integers(0, 60, (112, 112))
        clip[index] = np.where(fan, np.where(inside, 160 + speckle, 10 + speckle), 0)
    return clip


def put(runtime: Runtime, tmp_path: Path, frames: np.ndarray, **properties: object) -> str:
    """Store frames as an upload; its id."""
    made = Provenance.now(system="uploads", action="receive", synthetic=False)
    path = tmp_path / "clip.npz"
    write_stored_clip(path, StoredClip(frames, FPS), made)
    return runtime.artifacts.add_file(
        path, name="upload.npz", media_type="application/x-npz", kind="upload", synthetic=False, provenance=made,
        actor=LOCAL, suffix=".npz", properties=properties,
    ).id  # fmt: skip


def run(runtime: Runtime, source: str, **options: float) -> JobView:
    request = MeasureRequest(source=source, **options)  # type: ignore[arg-type]
    return runtime.jobs.wait(runtime.jobs.submit("echo", "measure", request, actor=LOCAL), timeout=120)


def result(job: JobView) -> MeasureResult:
    from pydantic import TypeAdapter

    assert job.state is JobState.DONE, job.error
    return TypeAdapter(MeasureResult).validate_python(dict(job.result or {}))


def test_what_beats_is_measured_and_stored(runtime: Runtime, tmp_path: Path, small_meter: str) -> None:
    source = put(runtime, tmp_path, beating())
    made = result(run(runtime, source))
    found = made.measured
    # A narrower ellipse of the same length: the area-length volume goes with the square of the width.
    assert found.ef == pytest.approx(100 * (1 - 0.7**2), abs=4)
    assert found.heart_rate == pytest.approx(RATE, abs=3)
    assert found.whole
    assert found.fps == FPS
    assert found.mm_per_px is None
    assert made.truth is None
    clip = read_stored_clip(runtime.artifacts.path(made.clip), Limits())
    assert clip.labels is not None
    assert set(np.unique(clip.labels)) == {0, 1}
    assert clip.end_diastole == found.end_diastole
    assert clip.end_systole == found.end_systole
    for artifact in (made.clip, made.table, made.video):
        view = runtime.artifacts.view(artifact)
        assert view.provenance.parents == (source,)
        assert view.provenance.weights == {"echo/meter2d": small_meter}
        assert read_provenance(runtime.artifacts.path(artifact)) == view.provenance
        assert not view.synthetic


def test_the_table_is_the_curve_that_is_plotted(runtime: Runtime, tmp_path: Path) -> None:
    made = result(run(runtime, put(runtime, tmp_path, beating(48)), mm_per_px=1.0))
    with runtime.artifacts.path(made.table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["LV volume [ml]"]) for row in rows] == list(made.measured.volumes)
    assert [int(row["frame"]) - 1 for row in rows if row["mark"] == "ES"] == list(made.measured.end_systole)
    assert float(rows[-1]["time [s]"]) == pytest.approx(47 / FPS)


def test_a_stated_rate_changes_time_and_not_the_ejection_fraction(runtime: Runtime, tmp_path: Path) -> None:
    source = put(runtime, tmp_path, beating())
    own, stated = result(run(runtime, source)), result(run(runtime, source, fps=16.0))
    assert own.measured.heart_rate
    assert stated.measured.heart_rate == pytest.approx(own.measured.heart_rate / 2, rel=0.05)
    assert stated.measured.ef == pytest.approx(own.measured.ef, abs=3)


def test_the_real_clip_goes_through_and_has_no_truth(runtime: Runtime) -> None:
    made = result(run(runtime, accept_sample(runtime, "echo-four-chamber", actor=LOCAL).id))
    assert made.frames == 30
    assert len(made.measured.volumes) == 30
    assert made.truth is None
    assert not made.synthetic


@pytest.mark.parametrize("options", [{"fps": 9999.0}, {"mm_per_px": -1.0}])
def test_impossible_numbers_are_a_sentence(runtime: Runtime, tmp_path: Path, options: dict[str, float]) -> None:
    job = run(runtime, put(runtime, tmp_path, beating(16)), **options)
    assert job.state is JobState.FAILED
    assert "cannot be used" in (job.error or {})["what"]


def test_a_stored_clip_survives_the_round_trip(tmp_path: Path) -> None:
    frames = beating(9)
    given = StoredClip(frames, 31.5, (frames > 100).astype(np.uint8), 0.8, (0, 5), (3,), np.arange(9, dtype=np.float32))
    path = tmp_path / "clip.npz"
    write_stored_clip(path, given, Provenance.now(system="echo", action="measure", synthetic=False))
    back = read_stored_clip(path, Limits())
    for name in ("frames", "labels", "volumes_ml"):
        assert np.array_equal(getattr(back, name), getattr(given, name))
    assert (back.fps, back.mm_per_px, back.end_diastole, back.end_systole) == (31.5, 0.8, (0, 5), (3,))
    np.savez(tmp_path / "other.npz", picture=frames[0])
    with pytest.raises(UserError, match="no clip"):
        read_stored_clip(tmp_path / "other.npz", Limits())


def test_the_truth_of_a_phantom_is_shown_beside_what_is_measured(runtime: Runtime) -> None:
    patient, ef = BEATING[0]
    made = result(run(runtime, accept_sample(runtime, f"phantom-echo-{patient}-ef{ef}", actor=LOCAL).id))
    assert made.synthetic
    assert made.truth is not None
    assert made.truth.ef == pytest.approx(ef, abs=1)
    assert len(made.truth.volumes) == made.frames == 64
