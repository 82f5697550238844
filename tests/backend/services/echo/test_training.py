"""Training a network of one's own as a job: real folders, a real engine, tiny networks."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.runtime import Runtime
from backend.services.echo.making import GenerateRequest
from backend.services.echo.needs import check_together, choices, part_of
from backend.services.echo.training import OWN, TrainEchoRequest, TrainEchoResult
from backend.services.echo.training_folder import find_folder, look_at
from backend.settings import Settings, get_settings
from backend.training import echo_autoencoder, echo_generator
from backend.weights import card_gaps
from tests.backend.services.echo.small_folders import dicom_folder, echonet_folder
from tests.backend.services.echo.small_networks import write_small_generator, write_small_meter
from tests.backend.services.echo.test_measure import beating
from tests.serving import until

SIGMAS = ["σ = 0.1", "σ = 0.5", "σ = 2", "σ = 10"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder with three clips in the layout of EchoNet-Dynamic and two as DICOM."""
    root = tmp_path_factory.mktemp("data")
    echonet_folder(root / "clips")
    dicom_folder(root / "dicom")
    return root


@pytest.fixture(autouse=True)
def networks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A small generator among this installation's own weights, and small networks to train."""
    monkeypatch.setattr(echo_autoencoder, "ARGUMENTS", {"widths": (8, 8, 8), "fine": 8, "blocks": 1})
    monkeypatch.setattr(echo_generator, "SIZES", {"small": {"image": (16, 1, 2), "video": (16, 1, 2)}})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield write_small_generator(settings.home / "weights" / "echo", beating())
    torch.set_num_threads(threads)


@pytest.fixture
def settings(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation that allows the folder of clips."""
    monkeypatch.setenv("SYNTHSCOPE_DATA_ROOTS", json.dumps([str(data)]))
    get_settings.cache_clear()
    return Settings(home=tmp_path / "home", device="cpu", port=0)


def run(runtime: Runtime, **wish: Any) -> JobView:
    request = TrainEchoRequest(**{"name": "mine", "folder": "clips", "minutes": 0.02, **wish})
    return runtime.jobs.wait(runtime.jobs.submit("echo", "train", request, actor=LOCAL), timeout=180)


def trained(runtime: Runtime, **wish: Any) -> TrainEchoResult:
    job = run(runtime, **wish)
    assert job.state is JobState.DONE, job.error
    return TypeAdapter(TrainEchoResult).validate_python(dict(job.result or {}))


def test_a_video_model_of_a_folder_is_measured_kept_and_makes_clips(
    runtime: Runtime, networks: dict[str, str], data: Path
) -> None:
    made = trained(runtime)
    assert (made.weights, made.part) == ("echo/mine", "video")
    assert runtime.artifacts.view(made.sheet).media_type == "image/png"
    assert made.steps == len(made.losses) >= 1
    assert [row.title for row in made.rows] == SIGMAS
    for row in made.rows:
        assert row.values.keys() == {"own", "shipped", "baseline"}
        assert row.values["baseline"].mean == 1
        assert row.values["own"].low is not None
    assert made.notes[0] == "The table of the folder names 3 clips that are there."
    assert "held out" in made.notes[1]
    weight = runtime.weights.find("echo/mine")
    assert weight.verify()
    assert weight.config["autoencoder_sha256"] == networks["autoencoder"]
    assert card_gaps(weight.card) == []
    assert not OWN.work(runtime.settings.home, "mine").exists()
    for artifact in (made.archive, made.curve, made.table):
        view = runtime.artifacts.view(artifact)
        assert (view.provenance.system, view.provenance.action) == ("echo", "train")
        assert view.provenance.weights == {"echo/mine": made.sha256}
        assert str(data) not in view.provenance.to_json()
    assert str(data) not in weight.card
    with zipfile.ZipFile(runtime.artifacts.path(made.archive)) as archive:
        files = ("CARD.md", "config.json", "model.safetensors", "provenance.json", "samples.png")
        assert sorted(archive.namelist()) == [f"mine/{file}" for file in files]

    write_small_meter(runtime.settings.home / "weights" / "echo" / "meter2d")
    assert choices(runtime.weights, "video") == ["echo/video", "echo/mine"]
    wish = GenerateRequest(frames=16, steps=2, video="echo/mine")
    job = runtime.jobs.wait(runtime.jobs.submit("echo", "generate", wish, actor=LOCAL), timeout=120)
    assert job.state is JobState.DONE, job.error
    assert (job.result or {})["weights"]["echo/mine"] == made.sha256


def test_an_image_model_learns_from_dicom_and_the_clips_are_coded_once(
    runtime: Runtime, settings: Settings, data: Path
) -> None:
    made = trained(runtime, part="image", folder=str(data / "dicom"))
    assert part_of(runtime.weights.find("echo/mine")) == "image"
    assert any("“File” and “LVEF”" in note for note in made.notes)
    (codes,) = (settings.home / "training" / "echo-codes").iterdir()
    before = codes.stat().st_mtime_ns
    trained(runtime, name="again", folder="dicom")
    assert codes.stat().st_mtime_ns == before


def test_an_autoencoder_of_ones_own_asks_for_generators_of_its_own(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo_autoencoder, "draw_frames", lambda index: beating(2))
    made = trained(runtime, part="autoencoder", name="code")
    (row,) = made.rows
    assert row.title == "PSNR, dB"
    assert row.values.keys() == {"own", "shipped", "baseline"}
    assert runtime.artifacts.view(made.sheet).media_type == "image/png"
    refused = run(runtime, name="mine", autoencoder="echo/image")
    assert "no echo autoencoder" in (refused.error or {})["what"]
    trained(runtime, name="mine", autoencoder="echo/code")
    chosen = {"autoencoder": "echo/code", "image": "echo/image", "video": "echo/mine"}
    assert check_together(runtime.weights, chosen).keys() == chosen.keys()
    with pytest.raises(UserError, match="do not fit the autoencoder 'echo/autoencoder'") as caught:
        check_together(runtime.weights, {**chosen, "autoencoder": "echo/autoencoder"})
    assert caught.value.what_to_do == "Choose the autoencoder echo/code."
    with pytest.raises(UserError, match="are no video model"):
        check_together(runtime.weights, {**chosen, "video": "echo/image"})
    shutil.rmtree(OWN.folder(runtime.settings.home, "code"))
    with pytest.raises(UserError) as caught:
        check_together(runtime.weights, {**chosen, "autoencoder": "echo/autoencoder"})
    assert "not on this machine" in caught.value.what_to_do


def test_a_cancelled_training_keeps_its_checkpoint_and_goes_on(runtime: Runtime) -> None:
    job_id = runtime.jobs.submit(
        "echo", "train", TrainEchoRequest(name="mine", folder="clips", minutes=30), actor=LOCAL
    )
    until(lambda: runtime.jobs.view(job_id).note.startswith("Training, step"), 120)
    until(lambda: (runtime.jobs.preview(job_id) or b"").startswith(b"\x89PNG"), 60)
    with pytest.raises(UserError, match="A network called 'mine' is being trained now"):
        OWN.check_free(runtime, "mine")
    runtime.jobs.cancel(job_id, actor=LOCAL)
    assert runtime.jobs.wait(job_id, timeout=60).state is JobState.CANCELLED
    (left,) = OWN.stopped(runtime)
    assert (left.name, left.minutes, left.job and left.job.id) == ("mine", 30, job_id)
    checkpoint = torch.load(OWN.work(runtime.settings.home, "mine") / "checkpoint.pt", weights_only=True)["state"]
    other = run(runtime, folder="dicom")
    assert (other.error or {})["what"] == "A stopped training called 'mine' is kept, and it is another one."
    done = trained(runtime, minutes=checkpoint["seconds"] / 60 + 0.01)
    assert done.steps >= checkpoint["step"]
    assert OWN.stopped(runtime) == []
    again = run(runtime)
    assert (again.error or {})["what"] == "There is a network called 'mine' already."
    OWN.delete(runtime, "echo/mine", actor=LOCAL)
    assert runtime.audit.events()[0].subject == "weights:echo/mine"
    assert choices(runtime.weights, "video") == ["echo/video"]


@pytest.mark.slow
def test_phantoms_are_called_phantoms(runtime: Runtime) -> None:
    made = trained(runtime, folder="", clips=50, part="image")
    assert made.notes[0] == "It learnt from phantoms, drawn by a program."
    assert "may have learnt from the phantoms" in made.notes[-1]
    assert "echo phantoms" in made.card


def wrong_folders(root: Path) -> None:
    (root / "empty").mkdir()
    (root / "bare").mkdir()
    shutil.copy(root / "clips" / "Videos" / "phantom0.avi", root / "bare")
    for name, head, row in (("headless", "FileName,Split", "phantom0,TRAIN"), ("blank", "FileName,EF", "phantom0,")):
        shutil.copytree(root / "bare", root / name)
        (root / name / "FileList.csv").write_text(f"{head}\n{row}\n")
    echonet_folder(root / "short", frames=16)


def test_a_folder_that_cannot_be_trained_on_is_a_sentence(runtime: Runtime, data: Path) -> None:
    if not (data / "empty").exists():
        wrong_folders(data)
    for folder, words in (
        ("empty", "no table of clips"),
        ("bare", "no table of clips"),
        ("headless", "no table of clips"),
        ("blank", "fits no clip"),
        ("short", "holds one clip only that can be learned from"),
        ("absent", "no such folder"),
        ("/etc", "no such folder"),
        ("../..", "no such folder"),
    ):
        job = run(runtime, folder=folder)
        assert job.state is JobState.FAILED, folder
        assert words in " ".join((job.error or {}).values()), (folder, job.error)
        assert str(data) not in str(job.error)
        assert not OWN.work(runtime.settings.home, "mine").exists()


def test_numbers_that_cannot_be_are_sentences(runtime: Runtime) -> None:
    own = runtime.settings.home / "weights" / "echo"
    shutil.copytree(own / "video", own / "taken")
    for wrong, words in (
        ({"minutes": 0.0}, "cannot be trained"),
        ({"folder": "", "clips": 3}, "3 phantom clips"),
        ({"name": "Taken"}, "There is a network called 'taken' already"),
        ({"name": "meter2d"}, "belongs to a network that SynthScope brings"),
        ({"name": "a b"}, "This name cannot be used"),
    ):
        job = run(runtime, **wrong)
        assert job.state is JobState.FAILED
        assert words in (job.error or {})["what"]


def test_folders_are_found_inside_allowed_ones_only(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for path in (first / "x", second / "x", second / "y"):
        path.mkdir(parents=True)
    (first / "out").symlink_to(second / "y", target_is_directory=True)
    roots = [first, second]
    assert find_folder("y", roots) == ("y", second / "y")
    assert find_folder(str(second / "y"), roots) == ("y", second / "y")
    assert find_folder(".", roots) == (".", first)
    with pytest.raises(UserError, match="Two allowed folders"):
        find_folder(str(second / "x"), roots)
    with pytest.raises(UserError, match="no such folder"):
        find_folder("out", [first])
    with pytest.raises(UserError, match="No folder on the server"):
        find_folder("y", [])


def test_facts_of_a_folder_come_from_its_table(data: Path) -> None:
    facts = look_at("clips", [data])
    assert (facts.name, facts.clips, facts.layout) == ("clips", 3, "echonet")
    assert facts.ef_low == pytest.approx(35, abs=1)
    assert facts.ef_high == 60
