"""The recipes of the echo meter and the regressor, from drawn phantoms to weights and a card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.errors import UserError
from backend.settings import Settings
from backend.training import echo_meter
from backend.training.echo_meter import (
    TRAIN_PATIENTS,
    VALIDATION_PATIENTS,
    MeterRequest,
    Pool,
    TrainReport,
    draw_clip,
    draw_frames,
    train_meter,
    train_regressor,
)
from backend.training.echo_meter_validate import agreement, held_out, spoilt
from backend.weights import Weights, card_gaps
from models.echo.meter import Meter
from models.echo.regressor import Regressor

Train = Callable[..., TrainReport]
KINDS = {"meter": (train_meter, Meter), "regressor": (train_regressor, Regressor)}


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo_meter, "METER_WIDTHS", (8, 8))
    monkeypatch.setattr(echo_meter, "REGRESSOR_WIDTHS", (8, 8))


def request(tmp_path: Path, **others: object) -> MeterRequest:
    return MeterRequest(**{"out": tmp_path / "out", "minutes": 0.02, "batch": 2, "validation": 2, **others})


@pytest.mark.parametrize("kind", KINDS)
def test_training_writes_weights_their_hash_and_a_card(kind: str, tmp_path: Path, settings: Settings) -> None:
    train, network = KINDS[kind]
    notes: list[tuple[float, str]] = []
    phases: list[str] = []
    report = train(
        request(tmp_path, command="python -m backend train echo"),
        progress=lambda fraction, note: notes.append((fraction, note)),
        watch=lambda phase, fraction, state: phases.append(phase),
    )
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["CARD.md", "config.json", "model.safetensors", "samples.png"]
    assert report.steps == len(notes) >= 1
    assert notes[0][1].startswith("step 1, loss ")
    assert phases == ["fit"] * report.steps + ["measure"] * 2
    assert {len(values) for values in report.each.values()} == {2}
    assert {"ef.r2", "ef.mae", "ef.bias", "ef.slope", "ef.missing", "spoilt.r2"} <= report.validation.keys()
    assert ("dice.left_ventricle" in report.validation) == (kind == "meter")

    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((out / "config.json").read_text())
    assert config["sha256"] == report.sha256 == digest
    card = (out / "CARD.md").read_text()
    assert card_gaps(card) == []
    for words in (
        "python -m backend train echo",
        "Not for diagnosis",
        f"{report.learnt_from} echo phantoms",
        "phantom",
    ):
        assert words in card
    assert str(tmp_path) not in card
    with Image.open(out / "samples.png") as sheet:
        assert sheet.width >= 320
    model = Weights(settings).load(out, lambda given: network(**given["arguments"]))
    assert isinstance(model, network)


def stop_at(step: int) -> Callable[[float, str], None]:
    def progress(fraction: float, note: str) -> None:
        if note.startswith(f"step {step},"):
            raise Stopped

    return progress


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_from_its_checkpoint(kind: str, tmp_path: Path) -> None:
    train, _ = KINDS[kind]
    for step in (2, 3):
        with pytest.raises(Stopped):
            train(request(tmp_path, minutes=60), progress=stop_at(step))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.pt"]
    state = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["state"]
    with pytest.raises(Stopped):
        train(request(tmp_path, minutes=60, out=tmp_path / "whole"), progress=stop_at(3))
    whole = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)["state"]
    assert state["losses"][:2] == whole["losses"][:2]
    assert state["step"] == whole["step"] == 3

    other = train_regressor if train is train_meter else train_meter
    for others in ((train, {"seed": 1}), (train, {"batch": 1}), (other, {})):
        with pytest.raises(UserError, match="another training"):
            others[0](request(tmp_path, **others[1]))


@pytest.mark.parametrize("others", [{"minutes": 0.0}, {"minutes": -1.0}, {"validation": 1}, {"batch": -1}], ids=str)
@pytest.mark.parametrize("train", [train_meter, train_regressor])
def test_a_request_that_cannot_be_is_a_persons_mistake(train: Train, tmp_path: Path, others: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        train(request(tmp_path, **others))
    assert caught.value.what_to_do
    assert not (tmp_path / "out").exists()


def test_what_a_step_picks_depends_on_the_step_alone() -> None:
    drawn: list[int] = []

    def draw(index: int) -> int:
        drawn.append(index)
        return index

    pool = Pool(draw, kept=20, first=5, every=2)
    picks = [pool.pick(step, np.random.default_rng(step)) for step in range(100)]
    later = Pool(lambda index: index, kept=20, first=5, every=2)
    assert [later.pick(step, np.random.default_rng(step)) for step in range(60, 100)] == picks[60:]
    assert pool.size(0) == 5
    assert pool.size(99) == 54
    assert max(picks[:2]) < 5
    assert min(picks[98:]) >= 53 - 20
    assert len(drawn) == len(set(drawn)), "no patient is drawn twice while it is in the window"


def test_patients_of_training_and_validation_differ_and_come_again() -> None:
    assert VALIDATION_PATIENTS - TRAIN_PATIENTS > 100_000
    frames = draw_frames(3)
    assert frames.frames.shape == frames.labels.shape == (4, 112, 112)
    assert np.array_equal(frames.frames, draw_frames(3).frames)
    clip = draw_clip(3)
    assert clip.frames.shape == (24, 112, 112)
    assert clip.volumes.max() == 1
    assert 1 - clip.volumes.min() == pytest.approx(clip.ef / 100, abs=0.08)


def test_held_out_clips_cover_the_ejection_fractions_and_can_be_spoilt() -> None:
    drawn = held_out(VALIDATION_PATIENTS, 1)
    assert drawn.seed == VALIDATION_PATIENTS + 1
    changed = spoilt(drawn, 1)
    assert changed.dtype == np.uint8
    assert changed.shape == drawn.frames.shape
    assert np.array_equal(changed, spoilt(drawn, 1))
    assert not np.array_equal(changed, drawn.frames)
    spread = sorted(8 + 74 * ((index * 0.6180339887498949) % 1) for index in range(60))
    assert np.diff([8, *spread, 82]).max() < 4


def test_agreement_in_closed_form() -> None:
    truth = [10.0, 30.0, 50.0, 70.0]
    assert agreement(truth, truth, "x") == {"x.missing": 0, "x.r2": 1, "x.mae": 0, "x.bias": 0, "x.slope": 1}
    found = agreement(truth, [25.0, 35.0, 45.0, 55.0], "x")
    assert found == pytest.approx(
        {"x.missing": 0, "x.r2": 1 - (225 + 25 + 25 + 225) / 2000, "x.mae": 10, "x.bias": 0, "x.slope": 0.5}
    )
    gap = agreement(truth, [12.0, float("nan"), 52.0, 72.0], "x")
    assert gap["x.missing"] == 0.25
    assert gap["x.bias"] == pytest.approx(2)
    assert np.isnan(agreement(truth, [float("nan")] * 4, "x")["x.r2"])
