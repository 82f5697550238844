"""The training recipe of the topology refiners, from a folder of masks to weights and a card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from backend.errors import UserError
from backend.settings import Settings
from backend.training import topology
from backend.training.topology import TrainRequest, measures, read_masks, train, validate, validation_set
from backend.weights import Weights, card_gaps
from models.metrics.matching import betti_matching_error
from models.phantoms import curvilinear
from models.topology.inference import refine
from models.topology.refiner import Refiner


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(topology.WIDTHS, 2, (8, 16))
    monkeypatch.setitem(topology.WIDTHS, 3, (8,))


def write_folder(folder: Path, kind: str = "membranes") -> list[np.ndarray]:
    """Seven masks, each in another format, in the order of their names; and a file that is none of our business."""
    folder.mkdir()
    masks = [curvilinear.sample(kind, (64, 48 + 4 * seed), seed) for seed in range(7)]
    grey = [mask.astype(np.uint8) * 255 for mask in masks]
    Image.fromarray(grey[0]).save(folder / "a.png")
    np.save(folder / "b.npy", masks[1])
    nibabel.save(nibabel.Nifti1Image(masks[2].astype(np.uint8)[..., None], np.eye(4)), folder / "c.nii.gz")
    np.savez(folder / "d.npz", mask=masks[3].astype(np.int16) * 7)
    Image.fromarray(grey[4]).save(folder / "e.TIF")
    Image.fromarray(np.stack([grey[5]] * 3, -1)).save(folder / "f.png")
    Image.fromarray(grey[6]).convert("1").save(folder / "g.bmp")
    (folder / "notes.txt").write_text("not a mask")
    return masks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "masks")
    return tmp_path / "masks"


def request(tmp_path: Path, folder: Path | None, **others: object) -> TrainRequest:
    return TrainRequest(**{"out": tmp_path / "out", "masks": folder, "minutes": 0.02, **others})


def test_masks_of_every_format_are_read_in_order(tmp_path: Path) -> None:
    expected = write_folder(tmp_path / "masks")
    found = read_masks(tmp_path / "masks", 2)
    assert len(found) == len(expected)
    for read, written in zip(found, expected, strict=True):
        assert read.dtype == np.bool_
        assert np.array_equal(read, written)


def test_volumes_are_read(tmp_path: Path) -> None:
    volume = curvilinear.sample("vessels", (20, 24, 28), 1)
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4)), tmp_path / "a.nii")
    np.save(tmp_path / "b.npy", volume.astype(np.float32))
    for read in read_masks(tmp_path, 3):
        assert np.array_equal(read, volume)


def test_a_mask_without_background_is_all_foreground(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((8, 8), 255, np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((8, 8), np.uint8))
    full, empty = read_masks(tmp_path, 2)
    assert full.all()
    assert not empty.any()


def bad_files() -> dict[str, np.ndarray]:
    mask = curvilinear.sample("roads", 32, 0)
    return {
        "labels.npy": mask + np.eye(32, dtype=np.uint8),
        "gradient.png": np.arange(32 * 32, dtype=np.uint8).reshape(32, 32),
        "volume.npy": np.stack([mask] * 9),
        "nan.npy": np.where(mask, np.nan, 0.0),
        "line.npy": mask[0],
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_file_that_is_no_mask_is_named_by_its_number(tmp_path: Path, folder: Path, name: str) -> None:
    if name.endswith(".png"):
        Image.fromarray(bad_files()[name]).save(folder / f"bb_{name}")
    else:
        np.save(folder / f"bb_{name}", bad_files()[name])
    with pytest.raises(UserError, match="File number 3 of the folder is not a 2D mask") as caught:
        train(request(tmp_path, folder))
    assert str(tmp_path) not in str(caught.value)
    assert name not in str(caught.value)
    assert caught.value.why
    assert caught.value.what_to_do
    assert not (tmp_path / "out").exists(), "nothing is written for a training that cannot begin"


def test_a_file_that_is_no_picture_is_a_persons_mistake(tmp_path: Path, folder: Path) -> None:
    (folder / "b.png").write_bytes(b"this is text")
    with pytest.raises(UserError):
        train(request(tmp_path, folder))


def test_a_folder_with_nothing_to_learn_from(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(UserError, match="does not exist"):
        train(request(tmp_path, empty))
    empty.mkdir()
    with pytest.raises(UserError, match="nothing to train on"):
        train(request(tmp_path, empty))
    np.save(empty / "a.npy", np.zeros((16, 16), bool))
    with pytest.raises(UserError, match="nothing to train on"):
        train(request(tmp_path, empty))


@pytest.mark.parametrize(
    "others", [{"recipe": "gaussian"}, {"dimensions": 4}, {"minutes": 0.0}, {"minutes": -1.0}], ids=str
)
def test_a_request_that_cannot_be_is_a_persons_mistake(tmp_path: Path, folder: Path, others: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        train(request(tmp_path, folder, **others))
    assert caught.value.what_to_do
    assert not (tmp_path / "out").exists()


def test_training_writes_weights_their_hash_and_a_card(tmp_path: Path, folder: Path, settings: Settings) -> None:
    notes: list[tuple[float, str]] = []
    report = train(
        request(tmp_path, folder, command="python -m backend train topology --data DIR"),
        progress=lambda fraction, note: notes.append((fraction, note)),
    )
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["CARD.md", "config.json", "model.safetensors", "samples.png"]

    assert report.folder == out
    assert report.steps == len(notes) >= 1
    assert report.learnt_from == 6, "one of seven is held out"
    assert report.minutes >= 0.02
    assert [fraction for fraction, _ in notes] == sorted(fraction for fraction, _ in notes)
    assert notes[0][1].startswith("step 1, loss ")

    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((out / "config.json").read_text())
    assert config["sha256"] == report.sha256 == digest
    assert config["arguments"] == {"dimensions": 2, "widths": [8, 16], "fold": 2, "groups": 8}

    card = (out / "CARD.md").read_text()
    assert card_gaps(card) == []
    assert "python -m backend train topology --data DIR" in card
    assert "Not for diagnosis" in card
    assert "6 masks of a folder given by its owner" in card
    assert "Held-out masks" in card
    assert f"{report.steps} steps" in card
    assert str(tmp_path) not in card

    assert set(report.validation) == {
        f"{method}.{measure}"
        for method in ("upstream", "fillholes", "refiner")
        for measure in ("dice", "cldice", "b0", "b1", "matching")
    }
    with Image.open(out / "samples.png") as sheet:
        assert sheet.width == 3 * 196

    model = Weights(settings).load(out, lambda given: Refiner(**given["arguments"]))
    refined = refine(model, read_masks(folder, 2)[0].astype(np.float32))
    assert np.isfinite(refined).all()


def test_few_masks_are_not_called_held_out(tmp_path: Path, folder: Path) -> None:
    for name in ("d.npz", "e.TIF", "f.png", "g.bmp"):
        (folder / name).unlink()
    report = train(request(tmp_path, folder))
    assert report.learnt_from == 3
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert "Held-out masks" not in card
    assert "too few" in card


def test_empty_masks_among_others_are_left_out(tmp_path: Path, folder: Path) -> None:
    np.save(folder / "z.npy", np.zeros((64, 64), bool))  # would be the one that is held out
    assert train(request(tmp_path, folder)).learnt_from == 6


def stop_at(step: int):
    def progress(fraction: float, note: str) -> None:
        if note.startswith(f"step {step},"):
            raise Stopped

    return progress


def test_a_stopped_training_goes_on_from_its_checkpoint(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Stopped):
        train(request(tmp_path, folder, minutes=60), progress=stop_at(2))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.pt"]
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["state"]
    assert saved["step"] == 2

    with pytest.raises(Stopped):
        train(request(tmp_path, folder, minutes=60), progress=stop_at(3))
    later = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["state"]
    assert later["step"] == 3
    assert later["losses"][:2] == saved["losses"]
    assert later["seconds"] > saved["seconds"]

    # What it has spent already counts: nothing is left of this limit, so it ends at once with what it has.
    report = train(request(tmp_path, folder, minutes=later["seconds"] / 60))
    assert report.steps == 3
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Stopped):
        train(request(tmp_path, folder, minutes=60), progress=stop_at(1))
    write_folder(tmp_path / "others", kind="roads")
    for others in ({"seed": 1}, {"recipe": "polynomial"}, {"masks": tmp_path / "others"}):
        with pytest.raises(UserError, match="another training"):
            train(request(tmp_path, **{"folder": folder, **others}))
    assert (tmp_path / "out" / "checkpoint.pt").exists()
    with pytest.raises(Stopped):  # starting over is a choice
        train(request(tmp_path, folder, minutes=60, seed=1, resume=False), progress=stop_at(1))
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["state"]["step"] == 1


def test_held_out_phantoms_are_reproducible_and_not_those_of_training() -> None:
    pairs, again = validation_set(2, 1, 64), validation_set(2, 1, 64)
    assert len(pairs) == len(curvilinear.KINDS)
    trained = [curvilinear.sample(kind, 64, seed) for kind in curvilinear.KINDS for seed in range(5)]
    for (clean, upstream), (clean_again, upstream_again) in zip(pairs, again, strict=True):
        assert np.array_equal(clean, clean_again)
        assert np.array_equal(upstream, upstream_again)
        assert upstream.dtype == np.float32
        assert 0 <= upstream.min() < upstream.max() <= 1
        assert not any(np.array_equal(clean, other) for other in trained)
    assert [clean.shape for clean, _ in validation_set(3, 1, 24)] == [(24,) * 3] * len(curvilinear.KINDS_3D)
    assert topology.PHANTOM_SEEDS["validation"] > TrainRequest(Path()).phantoms


def test_an_untrained_refiner_is_worth_what_its_post_processing_is_worth() -> None:
    found = validate(Refiner(2, (8,)), validation_set(2, 1, 96))
    for measure in ("dice", "cldice", "b0", "b1", "matching"):
        assert found[f"refiner.{measure}"] == found[f"fillholes.{measure}"]
    assert found["fillholes.matching"] < found["upstream.matching"]


def test_measures_of_a_mask_against_itself_and_against_nothing() -> None:
    mask = curvilinear.sample("membranes", 64, 0)
    assert measures(mask, mask) == {"dice": 1.0, "cldice": 1.0, "b0": 0.0, "b1": 0.0, "matching": 0.0}
    nothing = measures(np.zeros_like(mask), mask)
    assert nothing["dice"] == nothing["cldice"] == 0.0
    assert nothing["matching"] == nothing["b0"] + nothing["b1"] == betti_matching_error(~mask & mask, mask)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
def test_training_on_phantoms(tmp_path: Path, dimensions: int) -> None:
    report = train(request(tmp_path, None, dimensions=dimensions, phantoms=4, size=64))
    assert report.learnt_from == 4
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert "4 curvilinear phantoms" in card
    assert "Held-out phantoms" in card
    assert card_gaps(card) == []
