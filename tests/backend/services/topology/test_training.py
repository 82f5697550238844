"""Training a refiner of one's own as a job: real masks, a real engine, tiny networks."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.images import read_image
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.runtime import Runtime
from backend.services.topology.requests import RefineRequest
from backend.services.topology.training import MEASURES, METHODS, TrainRefinerRequest, refiner_name
from backend.services.topology.training_list import (
    check_free,
    delete_refiner,
    discard,
    is_stopped,
    refiners,
    stopped,
    work_folder,
)
from backend.services.topology.training_masks import check_together, look_at
from backend.services.topology.training_phantoms import phantom_masks
from backend.services.training_plot import loss_picture, thinned
from backend.training import topology as recipe
from backend.weights import card_gaps
from models.phantoms import curvilinear
from tests.serving import until

Upload = Callable[..., str]


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(recipe.WIDTHS, 2, (8, 16))
    monkeypatch.setitem(recipe.WIDTHS, 3, (8,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def upload(runtime: Runtime, tmp_path: Path) -> Upload:
    """Sends an array through the real door for uploads and gives its id."""

    def send(array: np.ndarray, name: str = "mask.png", spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> str:
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, array)
        elif name.endswith(".nii.gz"):
            nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1.0])), path)
        else:
            Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path)
        return accept_upload(runtime, path, filename=name, actor=LOCAL).id

    return send


@pytest.fixture
def masks(upload: Upload) -> tuple[str, ...]:
    return tuple(upload(curvilinear.sample("membranes", 64, seed)) for seed in range(5))


def trained(runtime: Runtime, masks: tuple[str, ...], **others: object) -> JobView:
    request = TrainRefinerRequest(**{"masks": masks, "name": "mine", "minutes": 0.02, **others})
    return runtime.jobs.wait(runtime.jobs.submit("topology", "train", request, actor=LOCAL), timeout=120)


def test_a_training_makes_a_refiner_that_repairs(runtime: Runtime, masks: tuple[str, ...], upload: Upload) -> None:
    job = trained(runtime, masks, errors={"strength": [0.2, 0.9], "family": "fourier"}, seed=3)
    assert job.state is JobState.DONE, job.error
    made = job.result
    assert (made["weights"], made["dimensions"], made["masks"], made["held_out"]) == ("topology/mine", 2, 4, 1)
    assert [row["method"] for row in made["rows"]] == list(METHODS)
    for row in made["rows"]:
        assert set(row["measures"]) == set(MEASURES)
        assert all(measured["low"] is None for measured in row["measures"].values()), "one mask has no interval"
    assert made["steps"] == len(made["losses"]) >= 1

    folder = runtime.settings.home / "weights" / "topology" / "mine"
    card = (folder / "CARD.md").read_text()
    assert made["card"] == card
    assert card_gaps(card) == []
    assert "4 masks given by their owner" in card
    assert "family fourier" in card
    assert not work_folder(runtime.settings.home, "mine").exists()
    weight = runtime.weights.find("topology/mine")
    assert weight.verify()
    assert weight.sha256 == made["sha256"]

    broken = curvilinear.sample("membranes", 64, 9)
    broken[30:34] = False
    asked = RefineRequest(source=upload(broken, "broken.png"), weights="topology/mine")
    repaired = runtime.jobs.wait(runtime.jobs.submit("topology", "refine", asked, actor=LOCAL), timeout=60)
    assert repaired.state is JobState.DONE, repaired.error


def test_what_a_training_stores_says_where_it_came_from(runtime: Runtime, masks: tuple[str, ...]) -> None:
    job = trained(runtime, masks)
    made = job.result
    assert set(job.artifacts) == {made[name] for name in ("sheet", "archive", "curve", "table")}
    for artifact in job.artifacts:
        origin = runtime.artifacts.view(artifact).provenance
        assert (origin.system, origin.action, origin.parents) == ("topology", "train", masks)
        assert origin.weights == {"topology/mine": made["sha256"]}
        assert origin.steps == made["steps"]
    assert read_provenance(runtime.artifacts.path(made["sheet"])).action == "train"
    assert read_image(runtime.artifacts.path(made["sheet"]), Limits()).shape[1] == 3 * 196
    with zipfile.ZipFile(runtime.artifacts.path(made["archive"])) as archive:
        names = sorted(archive.namelist())
        files = ("CARD.md", "config.json", "model.safetensors", "provenance.json", "samples.png")
        assert names == [f"mine/{file}" for file in files]
        assert json.loads(archive.read("mine/config.json"))["sha256"] == made["sha256"]
        assert json.loads(archive.read("mine/provenance.json"))["parents"] == list(masks)
    actions = [event.action for event in runtime.audit.events()]
    assert actions.count("artifact.add") == 4 + len(masks)
    assert "job.submit" in actions
    rows = runtime.artifacts.path(made["table"]).read_text().splitlines()
    assert len(rows) == 1 + len(METHODS)


def test_the_weights_of_the_archive_are_found_where_they_are_unpacked(
    runtime: Runtime, masks: tuple[str, ...], tmp_path: Path
) -> None:
    made = trained(runtime, masks).result
    shutil.rmtree(runtime.settings.home / "weights" / "topology" / "mine")
    with zipfile.ZipFile(runtime.artifacts.path(made["archive"])) as archive:
        archive.extractall(runtime.settings.home / "weights" / "topology")
    assert runtime.weights.find("topology/mine").verify()


def test_a_cancelled_training_keeps_its_checkpoint_and_goes_on(runtime: Runtime, masks: tuple[str, ...]) -> None:
    request = TrainRefinerRequest(masks=masks, name="mine", minutes=30)
    job_id = runtime.jobs.submit("topology", "train", request, actor=LOCAL)
    until(lambda: runtime.jobs.view(job_id).note.startswith("Training, step"), 60)
    until(lambda: (runtime.jobs.preview(job_id) or b"").startswith(b"\x89PNG"), 60)
    with pytest.raises(UserError, match="being trained now"):
        check_free(runtime, "mine")
    runtime.jobs.cancel(job_id, actor=LOCAL)
    job = runtime.jobs.wait(job_id, timeout=60)
    assert job.state is JobState.CANCELLED
    assert job.artifacts == ()
    assert refiners_of_mine(runtime) == []
    (left,) = stopped(runtime)
    assert (left.name, left.minutes, left.job.id) == ("mine", 30, job_id)
    assert is_stopped(runtime, "mine")
    checkpoint = torch.load(work_folder(runtime.settings.home, "mine") / "checkpoint.pt", weights_only=True)["state"]

    foreign = trained(runtime, masks, seed=9)
    assert foreign.error["what"] == "A stopped training called 'mine' is kept, and it is another one."
    assert is_stopped(runtime, "mine")

    done = trained(runtime, masks, minutes=checkpoint["seconds"] / 60 + 0.01)
    assert done.state is JobState.DONE, done.error
    assert done.result["steps"] >= checkpoint["step"]
    assert stopped(runtime) == []
    assert refiners_of_mine(runtime) == ["topology/mine"]


def refiners_of_mine(runtime: Runtime) -> list[str]:
    return [view.name for view in refiners(runtime) if not view.shipped]


def test_a_stopped_training_can_be_discarded(runtime: Runtime) -> None:
    folder = work_folder(runtime.settings.home, "old")
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"left by a run of long ago")
    (left,) = stopped(runtime)
    assert (left.name, left.job) == ("old", None)
    discard(runtime, "old", actor=LOCAL)
    assert not folder.exists()
    assert runtime.audit.events()[0].action == "training.discard"
    with pytest.raises(UserError, match="no stopped training"):
        discard(runtime, "old", actor=LOCAL)


def test_training_goes_on_from_other_weights(runtime: Runtime, masks: tuple[str, ...]) -> None:
    trained(runtime, masks, name="first")
    job = trained(runtime, masks, name="second", start="topology/first")
    assert job.state is JobState.DONE, job.error
    assert "Started from the weights `topology/first`" in job.result["card"]
    absent = trained(runtime, masks, name="third", start="topology/none")
    assert absent.state is JobState.FAILED
    assert "topology/none" in absent.error["what"]
    assert not work_folder(runtime.settings.home, "third").exists()


def test_volumes_train_a_refiner_of_volumes(runtime: Runtime, upload: Upload) -> None:
    ids = tuple(upload(curvilinear.sample("vessels", (24, 24, 24), seed), f"{seed}.nii.gz") for seed in range(3))
    job = trained(runtime, ids, name="solid")
    assert job.state is JobState.DONE, job.error
    assert (job.result["dimensions"], job.result["held_out"], job.result["measured"]) == (3, 0, 3)
    assert all(row["measures"]["dice"]["low"] is not None for row in job.result["rows"])
    assert "too few to hold any out" in job.result["card"]
    (view,) = [view for view in refiners(runtime) if view.name == "topology/solid"]
    assert view.dimensions == 3
    assert trained(runtime, ids, name="flat", start="topology/solid").state is JobState.DONE


def test_a_stack_of_slices_is_a_volume(runtime: Runtime, tmp_path: Path) -> None:
    import tifffile

    volume = curvilinear.sample("vessels", (24, 28, 32), 1).astype(np.uint8) * 255
    tifffile.imwrite(tmp_path / "stack.tif", volume, imagej=True, metadata={"axes": "ZYX"})
    artifact = accept_upload(runtime, tmp_path / "stack.tif", filename="stack.tif", actor=LOCAL).id
    (fact,) = look_at(runtime, [artifact])
    assert (fact.problem, fact.shape) == ("", (24, 28, 32))


def test_phantoms_are_called_phantoms(runtime: Runtime) -> None:
    ids = tuple(phantom_masks(runtime, "phantom", 3, actor=LOCAL))
    for artifact in ids:
        assert runtime.artifacts.view(artifact).properties["label"] == "phantom"
        assert runtime.artifacts.view(artifact).synthetic
    job = trained(runtime, ids)
    assert "3 phantom masks, drawn by a program." in job.result["card"]
    (solid,) = look_at(runtime, phantom_masks(runtime, "phantom3d", 1, actor=LOCAL))
    assert len(solid.shape) == 3
    assert 0 < solid.share < 1


def test_a_refiner_of_ones_own_is_deleted_and_the_log_keeps_its_card(runtime: Runtime, masks: tuple[str, ...]) -> None:
    made = trained(runtime, masks).result
    again = trained(runtime, masks)
    assert again.error["what"] == "There is a refiner called 'mine' already."
    delete_refiner(runtime, "topology/mine", actor=LOCAL)
    assert refiners_of_mine(runtime) == []
    event = runtime.audit.events()[0]
    assert (event.action, event.subject) == ("weights.delete", "weights:topology/mine")
    assert event.old["sha256"] == made["sha256"]
    assert event.old["card"] == made["card"]
    for name, sentence in (("mine", "no refiner of your own"), ("refiner2d", "no refiner of your own")):
        with pytest.raises(UserError, match=sentence):
            delete_refiner(runtime, name, actor=LOCAL)
    assert runtime.weights.find("topology/refiner2d").shipped


@pytest.mark.parametrize("name", ["", "  ", "a/b", "../up", ".hidden", "ünicode", "a" * 41, "two words", "-first"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(UserError) as caught:
        refiner_name(name)
    assert caught.value.what_to_do


def test_names_that_can_be_used(runtime: Runtime) -> None:
    assert refiner_name(" My-Vessels_2 ") == "my-vessels_2"
    with pytest.raises(UserError, match="belongs to a refiner that SynthScope brings"):
        check_free(runtime, "Refiner2D")


def grey(side: int = 64) -> np.ndarray:
    return (np.add.outer(np.arange(side), np.arange(side)) * 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "name", "sentence"),
    [
        (grey(), "grey.png", "It is a grey picture of"),
        (np.stack([grey(), grey()[::-1], grey()], -1), "colour.png", "It is a colour picture"),
        (
            np.eye(64, dtype=np.uint8) + np.tri(64, dtype=np.uint8),
            "labels.png",
            "It is a label map of 3 different values",
        ),
        (np.where(np.eye(64) > 0, np.nan, 0.0), "nan.npy", "values that are not numbers"),
        (np.linspace(0, 1, 64 * 64).reshape(64, 64), "soft.npy", "such as a probability"),
        (np.ones((4, 40), bool), "small.npy", "It is too small: 4 × 40 pixels."),
        (np.zeros((3, 4, 20, 20)), "four.npy", "It has 4 dimensions"),
    ],
)
def test_what_is_no_mask_is_told_by_its_number(
    runtime: Runtime, upload: Upload, masks: tuple[str, ...], array: np.ndarray, name: str, sentence: str
) -> None:
    wrong = upload(array, name)
    assert sentence in look_at(runtime, [wrong])[0].problem
    job = trained(runtime, (*masks, wrong))
    assert job.state is JobState.FAILED
    assert job.error["what"] == "Mask 6 of 6 cannot be used."
    assert sentence in job.error["why"]
    assert name not in str(job.error)
    assert not work_folder(runtime.settings.home, "mine").exists()


def test_masks_that_cannot_be_trained_on_together(runtime: Runtime, upload: Upload, masks: tuple[str, ...]) -> None:
    solid = upload(curvilinear.sample("vessels", (24, 24, 24), 0), "solid.nii.gz")
    empty, full = upload(np.zeros((64, 64), bool)), upload(np.ones((64, 64), bool), "full.png")
    for ids, sentence in (
        ((), "There are no masks yet."),
        (masks[:2], "2 masks are too few to train on."),
        ((*masks[:2], empty), "2 masks are too few to train on; 1 more are empty or all foreground."),
        ((*masks[:3], solid), "The masks mix pictures and volumes."),
        ((empty,) * 3, "All masks are empty."),
        ((empty, full), "All masks are empty or all foreground."),
    ):
        with pytest.raises(UserError) as caught:
            check_together(look_at(runtime, ids))
        assert caught.value.what == sentence
        assert caught.value.what_to_do
    assert check_together(look_at(runtime, (*masks, empty)))[0].startswith("1 masks are empty")
    dark = upload(~curvilinear.sample("membranes", 64, 0), "dark.png")
    assert "exchange the two values" in check_together(look_at(runtime, [dark] * 3))[0]


def test_long_voxels_are_divided(runtime: Runtime, upload: Upload) -> None:
    volume = curvilinear.sample("vessels", (24, 24, 24), 2)[:, :, ::2]
    # 12 slices would be too few; as cubes there are 24.
    (fact,) = look_at(runtime, [upload(volume, "long.nii.gz", (1.0, 1.0, 2.0))])
    assert (fact.problem, fact.cubic, fact.shape) == ("", True, (24, 24, 24))
    assert fact.share == pytest.approx(volume.mean(), rel=0.15)
    assert any("resampled" in note for note in check_together([fact] * 3))


def test_masks_that_are_too_large(runtime: Runtime, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.services.topology import training_masks

    monkeypatch.setattr(training_masks, "LARGEST", 4000)
    wrong = upload(curvilinear.sample("roads", 64, 0))
    assert "It is too large: 64 × 64 pixels." in look_at(runtime, [wrong])[0].problem
    monkeypatch.setattr(training_masks, "LARGEST", 64_000_000)
    monkeypatch.setattr(training_masks, "LARGEST_TOGETHER", 10_000)
    facts = look_at(runtime, [upload(curvilinear.sample("roads", 64, seed)) for seed in range(3)])
    with pytest.raises(UserError, match="too large together"):
        check_together(facts)


@pytest.mark.parametrize(
    ("others", "field"),
    [
        ({"minutes": 0.0}, "0 minutes"),
        ({"minutes": 1e9}, "minutes cannot be trained"),
        ({"recipe": "gaussian"}, "'gaussian'"),
        ({"errors": {"colour": 1}}, "'colour'"),
        ({"errors": {"strength": [2, 1]}}, "'strength'"),
        ({"errors": {"family": "jacobi"}}, "'jacobi'"),
    ],
)
def test_settings_that_cannot_be_used(
    runtime: Runtime, masks: tuple[str, ...], others: dict[str, object], field: str
) -> None:
    job = trained(runtime, masks, **others)
    assert job.state is JobState.FAILED
    assert field in job.error["what"]
    assert not work_folder(runtime.settings.home, "mine").exists()


def test_the_loss_is_drawn_at_any_length() -> None:
    for count in (0, 1, 2, 500):
        picture = Image.open(io.BytesIO(loss_picture([1.0 / (1 + at) for at in range(count)])))
        assert picture.size == (560, 240)
    assert np.allclose(thinned([1.0, 3.0, 5.0, 7.0], 2), [2.0, 6.0])
    assert thinned([1.0, 2.0], 5).tolist() == [1.0, 2.0]
