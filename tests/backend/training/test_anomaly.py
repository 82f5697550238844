"""The recipe of the anomaly networks on a made-up atlas: what is drawn, corrupted, learnt, measured and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from backend.errors import UserError
from backend.settings import Settings
from backend.training.anomaly import TrainRequest, corrupted, draw_batch, draw_crop, restoration_loss, train
from backend.training.anomaly_planted import Planted, PlantedPlan, draw_planted, heats_of, measure
from backend.training.anomaly_scans import read_scans
from backend.training.anomaly_slices import HELD_OUT, PATIENTS, Plan, Slices, centred, draw_slices, library_of
from backend.weights import Weights, card_gaps
from models.anomaly import network
from models.anomaly.corruption import DagConfig
from models.anomaly.healthy import table_of
from models.anomaly.network import Restorer
from models.fitting import Optimisation, fit_batches
from models.phantoms.brain import UNSEEN, Atlas
from tests.models.phantoms.brain_atlas import ball_atlas

SIDES = (64, 64)
PLAN = Plan(patients=3, positions=5, sides=SIDES)
TINY: dict[str, Any] = {"widths": (8, 16), "layers": 1, "patch": 2}


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return ball_atlas()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def kept(atlas: Atlas, folder: Path) -> Slices:
    return draw_slices(folder / "slices.npz", PLAN, atlas=atlas)


@pytest.fixture(scope="module")
def planted(atlas: Atlas, folder: Path) -> Planted:
    plan = PlantedPlan(1, families=("tumour", "rings"), sides=SIDES)
    return draw_planted(folder / "planted.npz", plan, atlas=atlas)


def request(out: Path, folder: Path, **more: object) -> TrainRequest:
    given = {
        "minutes": 0.02, "slices": str(folder / "slices.npz"), "patients": 3, "positions": 5, "window": 32, "batch": 2,
        "validation": 1, "command": "python -m backend train anomaly", **more,
    }  # fmt: skip
    return TrainRequest(out, **given)  # type: ignore[arg-type]


def test_slices_are_brains_of_several_persons_in_every_contrast(kept: Slices) -> None:
    assert kept.images.dtype == np.uint8
    assert kept.images.shape[1:] == (1, *SIDES)
    assert set(kept.patient) == {0, 1, 2}
    assert (np.diff(kept.patient) >= 0).all()
    assert set(kept.sequence) == {0, 1, 2, 3}, "a random contrast is unknown to the network"
    inside = kept.images > 0
    assert (inside.sum((1, 2, 3)) > 300).all()
    assert not kept.images[:, :, [0, -1]].any(), "brains lie in the middle"
    assert library_of(kept.shapes)
    assert all(shape[-1].any() and shape[:, -1].any() for shape in library_of(kept.shapes)), "each is tight"


def test_slices_are_kept_and_only_for_what_they_were_drawn_for(kept: Slices, atlas: Atlas, folder: Path) -> None:
    again = draw_slices(folder / "slices.npz", PLAN, atlas=atlas, progress=lambda *_: pytest.fail("drawn again"))
    assert np.array_equal(kept.images, again.images)
    other = draw_slices(folder / "other.npz", Plan(1, 2, ("t1",), neighbours=1, sides=SIDES), atlas=atlas)
    assert other.images.shape[1] == 3
    assert not np.array_equal(other.images[:, 0], other.images[:, 1])
    assert set(range(PATIENTS, PATIENTS + 10000)).isdisjoint(range(HELD_OUT, HELD_OUT + 10000))


def test_cut_to_the_middle_of_the_brain() -> None:
    where = np.zeros((20, 30), bool)
    where[2:6, 20:30] = True
    made = centred(where[None].astype(np.uint8), where, (8, 16))
    assert made.sum() == where.sum()
    assert made[0, 2:6, 3:13].all()


def test_planted_lesions_lie_in_the_brain_with_slices_beside_them(planted: Planted) -> None:
    assert planted.truth.shape == (len(planted.images), *SIDES)
    assert not (planted.truth & (planted.images[:, 0] == 0)).any()
    ill = planted.truth.any((1, 2))
    assert ill.any()
    assert not ill.all()
    assert set(planted.sequence) == {1, 2, 3}


def test_crops_stay_healthy_images(kept: Slices) -> None:
    rng = np.random.default_rng(0)
    for index in range(20):
        crop, inside = draw_crop(kept.images[index], 32, rng)
        assert crop.shape == (1, 32, 32)
        assert crop.dtype == np.float32
        assert 0 <= crop.min() <= crop.max() <= 1
        assert not crop[~inside].any()
        assert inside[0, 8:24, 8:24].any()


def test_a_corruption_goes_through_neighbours_and_stays_in_the_brain(kept: Slices) -> None:
    rng = np.random.default_rng(1)
    layer, inside = draw_crop(kept.images[2], 48, rng)
    foreign, _ = draw_crop(kept.images[-1], 48, rng)
    stack, brain, other = (np.repeat(part, 3, 0) for part in (layer, inside, foreign))
    found = [corrupted(stack, brain, other, 2, rng, DagConfig(shapes=("ball",)), []) for _ in range(40)]
    for made, severity in found:
        assert np.array_equal(made[0], made[1])
        assert np.array_equal(made[1], made[2])
        assert not made[~brain].any()
        assert (severity > 0) or np.array_equal(made, stack)
    assert 0 < sum(severity == 0 for _, severity in found) < 15


@pytest.mark.parametrize("part", ["restorer", "autoencoder", "ddpm"])
def test_batches_of_every_part(part: str, kept: Slices, folder: Path) -> None:
    asked = request(folder, folder, part=part, batch=24)
    batch = draw_batch(kept, None, asked, np.random.default_rng(0), library_of(kept.shapes))
    windows, steps, numbers, healthy, masks = batch
    assert windows.shape == healthy.shape == masks.shape == (24, 1, 32, 32)
    assert 0 <= steps.min() <= steps.max() <= 99
    assert (numbers == 0).any()
    assert torch.equal(windows, healthy) is (part == "autoencoder")
    model = Restorer(part, **TINY)  # type: ignore[arg-type]
    loss = restoration_loss(model, batch)
    assert torch.isfinite(loss)
    loss.backward()


def test_it_learns_and_finds_an_easy_lesion(kept: Slices, folder: Path) -> None:
    torch.manual_seed(0)
    model = Restorer(**{**TINY, "widths": (16, 32)})
    asked, library = request(folder, folder, batch=6, window=48), library_of(kept.shapes)
    state = fit_batches(
        model,
        lambda step, rng: draw_batch(kept, None, asked, rng, library),
        restoration_loss,
        Optimisation(3e-3, ema=0.9),
        steps=120,
    )
    assert np.mean(state.losses[-40:]) < 0.8 * np.mean(state.losses[:40])
    fresh = draw_batch(kept, None, replace(asked, batch=40), np.random.default_rng(99), library)
    with torch.inference_mode():
        assert restoration_loss(model, fresh) < restoration_loss(Restorer(**TINY), fresh), "better than doing nothing"
    # A ball as bright as fat in the middle of the brain.
    image = max(kept.images[kept.sequence == 1], key=np.count_nonzero)
    rows, columns = np.mgrid[: SIDES[0], : SIDES[1]]
    truth = np.hypot(rows - 32, columns - 32) < 5
    ill = np.where(truth, 255, image).astype(np.uint8)
    inside = image[0] > 0
    heat = heats_of(model, ill, "t1")[0]
    assert heat[truth].mean() > 1.25 * heat[inside & ~truth].mean(), "after 120 steps of a tiny network"


def test_measures_and_thresholds(planted: Planted) -> None:
    each, healthy = measure(Restorer(**TINY), planted)
    methods = {key.rpartition(", ")[0] for key in each}
    assert methods >= {"intensity", "smoothed intensity", "restoration", "combined"}
    assert {key.rpartition(", ")[2] for key in each} <= {
        f"{kind}.{sequence}" for kind in ("training", "unseen") for sequence in ("t1", "t2", "flair")
    }
    assert all(0 <= value <= 1 for values in each.values() for value in values)
    assert table_of({"healthy": healthy}, "flair", "absolute") == [0.0] * 11, "an identity changes nothing"
    assert table_of({"healthy": healthy}, "pd", "brighter") is not None
    combined = table_of({"healthy": healthy}, "flair", "combined")
    assert combined is not None
    assert 0 < combined[0] <= combined[-1] < 1, "brightness counts, whatever the restoration"
    assert "rings" in UNSEEN


def test_a_network_is_trained_described_and_goes_on_only_as_itself(
    atlas: Atlas, kept: Slices, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(network.SIZES, "small", TINY)
    out = settings.home / "weights" / "anomaly" / "restorer"

    class Stopped(Exception):
        pass

    def stop(fraction: float, note: str) -> None:
        if note.startswith("step 1"):
            raise Stopped

    with pytest.raises(Stopped):
        train(request(out, folder), progress=stop, atlas=atlas, sides=SIDES)
    assert (out / "checkpoint.pt").is_file()
    with pytest.raises(UserError, match="another training"):
        train(request(out, folder, anomalies=1), atlas=atlas, sides=SIDES)
    report = train(request(out, folder), atlas=atlas, sides=SIDES)
    assert report.steps >= 1
    assert report.learnt_from == 3
    assert report.held_out == 1
    assert {key.rpartition(".")[0] for key in report.validation} >= {"intensity, training", "restoration, unseen"}
    weight = Weights(settings).find("anomaly/restorer")
    assert weight.verify()
    assert card_gaps(weight.card) == []
    assert "phantom" in weight.card
    assert "McConnell" in weight.card
    assert str(settings.home) not in weight.card
    assert table_of(weight.config, "t1", "absolute") is not None
    loaded = Weights(settings).load("anomaly/restorer", lambda config: Restorer(**config["arguments"]), device="cpu")
    assert isinstance(loaded, Restorer)
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "checkpoint.pt").exists()
    json.dumps(weight.config)


def test_real_scans_join_without_patients(tmp_path: Path) -> None:
    axes = np.mgrid[:60, :70, :50] - np.array([30, 35, 25])[:, None, None, None]
    ball = np.where((axes**2).sum(0) < 22**2, 100 + axes[0] + 50 * (axes[1] > 0), 0).astype(np.float32)
    for patient in ("healthy1", "ill"):
        (tmp_path / patient).mkdir()
        nib.save(nib.Nifti1Image(ball, np.diag([1.0, 1, 1, 1])), tmp_path / patient / "FLAIR.nii.gz")
    nib.save(nib.Nifti1Image((ball > 140).astype(np.uint8), np.eye(4)), tmp_path / "ill" / "lesions.nii.gz")
    # The same brain as VoxelMorph keeps them: left, inferior, anterior.
    np.savez(tmp_path / "scan.npz", vol=np.moveaxis(ball, 2, 1)[::-1, ::-1])
    found = read_scans(tmp_path, 0, SIDES)
    assert len(set(found.patient)) == 2
    flair, t1 = (found.images[found.sequence == number] for number in (3, 1))
    assert np.array_equal(flair, t1)
    middle = flair[len(flair) // 2, 0].astype(float)
    assert middle[32, 40:50].mean() > middle[32, 15:25].mean(), "columns run from back to front"
    (tmp_path / "healthy1" / "FLAIR.nii.gz").unlink()
    (tmp_path / "scan.npz").unlink()
    with pytest.raises(UserError, match="no healthy scan"):
        read_scans(tmp_path, 0, SIDES)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no part 'vae'"):
        train(TrainRequest(tmp_path, part="vae"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot be"):
        train(TrainRequest(tmp_path, patients=0))
    with pytest.raises(UserError, match="single slices"):
        train(TrainRequest(tmp_path, part="ddpm", neighbours=1))
    (tmp_path / "scan.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read"):
        read_scans(tmp_path, 0, SIDES)
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20), np.float32), np.eye(4)), tmp_path / "T1.nii.gz")
    (tmp_path / "scan.npz").unlink()
    with pytest.raises(UserError, match="more than a brain"):
        read_scans(tmp_path, 0, SIDES)
