"""The jobs that make clips on a real engine and store, with small real networks."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydantic import TypeAdapter

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.echonet import read_folder
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.stored_clip import read_stored_clip
from backend.runtime import Runtime
from backend.services.echo import generate
from backend.services.echo.batch import BatchRequest, BatchResult, CollectRequest, CollectResult
from backend.services.echo.batch_run import wishes_of
from backend.services.echo.making import CompareRequest, CompareResult, GenerateRequest, GenerateResult, Wish
from backend.settings import Settings
from tests.backend.services.echo.small_networks import write_small_generator, write_small_meter, write_small_student
from tests.backend.services.echo.test_measure import beating, put

SHORT: dict[str, Any] = {"frames": 16, "steps": 2}


@pytest.fixture(autouse=True)
def networks(settings: Settings) -> dict[str, str]:
    """Small networks among this installation's own weights; name → SHA-256."""
    folder = settings.home / "weights" / "echo"
    made = {**write_small_generator(folder, beating()), "meter2d": write_small_meter(folder / "meter2d")}
    return {f"echo/{name}": sha256 for name, sha256 in made.items()}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer numbers of steps to compare: what they are changes nothing here but the time."""
    monkeypatch.setattr(generate, "COMPARED_STEPS", (2, 3, 5))


def run(runtime: Runtime, action: str, request: Any) -> JobView:
    return runtime.jobs.wait(runtime.jobs.submit("echo", action, request, actor=LOCAL), timeout=120)


def one(runtime: Runtime, **wish: Any) -> GenerateResult:
    job = run(runtime, "generate", GenerateRequest(**{**SHORT, **wish}))
    assert job.state is JobState.DONE, job.error
    return TypeAdapter(GenerateResult).validate_python(dict(job.result or {}))


def frames_of(runtime: Runtime, artifact: str) -> np.ndarray:
    return read_stored_clip(runtime.artifacts.path(artifact), Limits()).frames


def test_one_clip_is_stored_in_three_formats_with_its_origin(runtime: Runtime, networks: dict[str, str]) -> None:
    result = one(runtime, seed=7, frames=24)
    made = result.made
    frames = frames_of(runtime, made.clip)
    assert frames.shape == (24, 112, 112)
    assert len(made.measured.volumes) == 24
    data = pydicom.dcmread(runtime.artifacts.path(made.dicom))
    assert np.array_equal(data.pixel_array, frames)
    assert data.SyntheticData == "YES"
    assert float(data.FrameTime) == pytest.approx(1000 / 32)
    assert result.weights == networks
    for artifact in (made.clip, made.video, made.dicom, made.table):
        view = runtime.artifacts.view(artifact)
        assert view.synthetic
        assert (view.provenance.seed, view.provenance.steps, view.provenance.weights) == (7, 2, networks)
        assert read_provenance(runtime.artifacts.path(artifact)) == view.provenance


def test_a_seed_gives_the_same_clip_and_another_another(runtime: Runtime) -> None:
    first, again, other = (frames_of(runtime, one(runtime, seed=seed).made.clip) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_preview_moves(runtime: Runtime) -> None:
    job = run(runtime, "generate", GenerateRequest(**SHORT))
    picture = Image.open(io.BytesIO(runtime.jobs.preview(job.id) or b""))
    assert picture.format == "PNG"
    assert getattr(picture, "n_frames", 1) > 1


def test_a_reference_is_the_end_diastolic_frame_of_the_clip(runtime: Runtime, tmp_path: Path) -> None:
    clip = np.roll(beating(), 26, axis=0)  # begins near end-systole
    source = put(runtime, tmp_path, clip)
    result = one(runtime, reference=source, steps=8)
    assert any("end-diastole" in note for note in result.notes)
    assert runtime.artifacts.view(result.made.clip).provenance.parents == (source,)
    first = one(runtime, reference=source, reference_frame="first", steps=8)
    bright = [(frames_of(runtime, made.made.clip) > 110).mean() for made in (result, first)]
    assert bright[0] > 1.2 * bright[1]  # the wider ellipse


def test_three_models_share_wish_and_seed(runtime: Runtime) -> None:
    job = run(runtime, "compare", CompareRequest(frames=16, steps=4, seed=3))
    result = TypeAdapter(CompareResult).validate_python(dict(job.result or {}))
    assert [made.title for made in result.made] == ["LIDM", "LVDM", "JVID"]
    with runtime.artifacts.path(result.table).open(encoding="utf-8") as file:
        schedules = [row["schedule"] for row in csv.DictReader(file)]
    assert schedules[:2] == ["IIII", "VVVV"]
    assert set(schedules[2]) == {"I", "V"}
    assert {made.seed for made in result.made} == {3}


def test_numbers_of_steps_are_compared_with_the_most(runtime: Runtime) -> None:
    job = run(runtime, "compare", CompareRequest(frames=16, over="steps", model="lvdm"))
    made = TypeAdapter(CompareResult).validate_python(dict(job.result or {})).made
    assert [clip.steps for clip in made] == [2, 3, 5]
    assert made[-1].difference == 0
    last = frames_of(runtime, made[-1].clip).astype(float)
    expected = np.sqrt(np.mean((frames_of(runtime, made[0].clip) - last) ** 2))
    assert made[0].difference == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def student(settings: Settings, networks: dict[str, str]) -> str:
    """SHA-256 of a student of the video model, of three steps."""
    return write_small_student(settings.home / "weights" / "echo" / "student", networks["echo/video"], 3)


def test_the_student_takes_its_own_number_of_steps_or_the_one_asked_for(runtime: Runtime, student: str) -> None:
    result = one(runtime, sampler="student", model="lvdm", steps=None)
    assert (result.made.steps, result.made.schedule) == (3, "VVV")
    assert result.weights["echo/student"] == student
    assert any("guidance 1.5" in note for note in result.notes)
    view = runtime.artifacts.view(result.made.clip)
    assert (view.provenance.steps, view.provenance.weights["echo/student"]) == (3, student)
    assert one(runtime, sampler="student", steps=2).made.steps == 2
    plain = one(runtime, steps=None)
    assert plain.made.steps == 16
    assert "echo/student" not in plain.weights


def test_the_student_is_one_more_clip_beside_the_numbers_of_steps(runtime: Runtime, student: str) -> None:
    job = run(runtime, "compare", CompareRequest(frames=16, over="steps", model="lvdm", sampler="student"))
    result = TypeAdapter(CompareResult).validate_python(dict(job.result or {}))
    assert [clip.steps for clip in result.made] == [2, 3, 5, 3]
    assert result.made[-1].title == "student, 3 steps"
    assert result.made[-2].difference == 0
    assert (result.made[-1].difference or 0) > 0
    used = ["echo/student" in runtime.artifacts.view(clip.clip).provenance.weights for clip in result.made]
    assert used == [False] * 3 + [True]


def test_a_student_of_another_teacher_is_a_sentence(runtime: Runtime, settings: Settings) -> None:
    write_small_student(settings.home / "weights" / "echo" / "student", "0" * 64, 3)
    job = run(runtime, "generate", GenerateRequest(sampler="student", **SHORT))
    assert "does not belong to the video model" in (job.error or {})["what"]
    job = run(runtime, "compare", CompareRequest(frames=16, over="steps", model="lvdm"))
    assert len((job.result or {})["made"]) == 3


def test_a_batch_is_a_folder_that_loaders_read(runtime: Runtime, tmp_path: Path) -> None:
    request = BatchRequest(count=3, ef_low=30, ef_high=60, seed=5, dicom=True, **SHORT)
    result = TypeAdapter(BatchResult).validate_python(dict(run(runtime, "batch", request).result or {}))
    assert [clip.seed for clip in result.made] == [5, 6, 7]
    with zipfile.ZipFile(runtime.artifacts.path(result.archive)) as archive:
        archive.extractall(tmp_path / "set")
    folder = read_folder(tmp_path / "set")
    assert folder.layout == "echonet"
    assert [entry.ef for entry in folder] == [30.0, 45.0, 60.0]
    assert all(entry.path.is_file() for entry in folder)
    with (tmp_path / "set" / "FileList.csv").open(encoding="utf-8") as file:
        told = [float(row["MeasuredEF"]) for row in csv.DictReader(file)]
    assert told == pytest.approx([clip.measured.ef for clip in result.made])
    with runtime.artifacts.path(result.table).open(encoding="utf-8") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == [f"echo-{seed:06d}" for seed in (5, 6, 7)]
    with (tmp_path / "set" / "FileList.csv").open(encoding="utf-8") as file:
        found_ef = [float(row["MeasuredEF"]) for row in csv.DictReader(file)]
    assert found_ef == pytest.approx([clip.measured.ef for clip in result.made])
    with runtime.artifacts.path(result.table).open(encoding="utf-8") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == [f"echo-{seed:06d}" for seed in (5, 6, 7)]
    with zipfile.ZipFile(runtime.artifacts.path(result.dicoms)) as archive:
        found = {name for name in archive.namelist() if name.endswith(".dcm")}
    assert found == {f"echo-{seed:06d}.dcm" for seed in (5, 6, 7)}


def test_what_a_cancelled_batch_had_finished_can_be_packed(runtime: Runtime, tmp_path: Path) -> None:
    job = runtime.jobs.submit("echo", "batch", BatchRequest(count=50, seed=5, dicom=True, **SHORT), actor=LOCAL)
    until = time.monotonic() + 60
    while len(runtime.artifacts.list(job_id=job, limit=100)) < 8 and time.monotonic() < until:
        time.sleep(0.02)
    runtime.jobs.cancel(job, actor=LOCAL)
    assert runtime.jobs.wait(job, timeout=60).state is JobState.CANCELLED
    stored = sorted(runtime.artifacts.list(job_id=job, limit=1000), key=lambda view: view.provenance.seed or 0)
    clips, dicoms = (tuple(view.id for view in stored if view.kind == kind) for kind in ("clip", "dicom"))
    packed = run(runtime, "collect", CollectRequest(clips, dicoms, 5))
    assert packed.state is JobState.DONE, packed.error
    result = TypeAdapter(CollectResult).validate_python(dict(packed.result or {}))
    with zipfile.ZipFile(runtime.artifacts.path(result.archive)) as archive:
        archive.extractall(tmp_path / "set")
    assert len(read_folder(tmp_path / "set")) == result.clips == len(clips) >= 1
    assert runtime.artifacts.view(result.archive).provenance.parents == (*clips, *dicoms)
    with zipfile.ZipFile(runtime.artifacts.path(result.dicoms)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".dcm")]) == len(dicoms)
    for wrong, words in (((), "nothing to pack"), ((result.archive,), "Only clips")):
        job_view = run(runtime, "collect", CollectRequest(wrong))
        assert words in (job_view.error or {})["what"]


def test_the_same_batch_has_the_same_wishes() -> None:
    request = BatchRequest(count=5, seed=2)
    assert wishes_of(request) == wishes_of(request)
    assert [wish.ef for wish in wishes_of(request)] == [15, 30, 45, 60, 75]
    for wrong in ({"count": 0}, {"count": 10_000}, {"ef_low": 80.0}, {"ef_high": 99.0}, {"rate_low": 99.0}):
        with pytest.raises(UserError):
            wishes_of(BatchRequest(**wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"ef": 2.0}, {"frames": 8}, {"frames": 400}, {"steps": 1}, {"heart_rate": 20.0}, {"seed": -1}, {"fps": 60.0}],
)
def test_what_cannot_be_made_is_a_sentence(runtime: Runtime, wrong: dict[str, float]) -> None:
    job = run(runtime, "generate", GenerateRequest(**wrong))  # type: ignore[arg-type]
    assert job.state is JobState.FAILED
    assert "cannot be made" in (job.error or {})["what"]


def test_a_schedule_that_is_none_is_a_sentence(runtime: Runtime) -> None:
    job = run(runtime, "generate", GenerateRequest(schedule="VXV", **SHORT))
    assert job.state is JobState.FAILED
    assert "schedule" in (job.error or {})["what"]


def test_what_may_be_asked_for_is_what_the_generator_takes() -> None:
    from backend.services.echo import making
    from models.diffusion.edm import SAMPLERS
    from models.echo.denoiser import MAX_FPS, MIN_FPS
    from models.echo.generate import MAX_FRAMES, MIN_FRAMES, STEPS, GenerateConfig

    assert making.FPS_RANGE == (MIN_FPS, MAX_FPS)
    assert making.FRAME_RANGE == (MIN_FRAMES, MAX_FRAMES)
    assert making.STEPS == STEPS
    config, wish = GenerateConfig(), Wish()
    for name in ("ef", "heart_rate", "frames", "fps", "guidance", "steps", "sampler"):
        assert getattr(wish, name) == getattr(config, name), name
    assert wish.sampler in SAMPLERS
