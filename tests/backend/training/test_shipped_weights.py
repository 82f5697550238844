"""The refiners that ship: whole, described, and better than what they get on phantoms they have not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.settings import Settings
from backend.training.topology import validate, validation_set
from backend.weights import SHIPPED, Weights, card_gaps
from models.phantoms import curvilinear
from models.topology.inference import refine
from models.topology.refiner import Refiner

NAMES = {"topology/refiner2d": 2, "topology/refiner3d": 3}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if not (SHIPPED / request.param).is_dir():
        pytest.skip(f"the weights {request.param} are not shipped with this version")
    return request.param


def load(name: str, settings: Settings) -> Refiner:
    model = Weights(settings).load(name, lambda config: Refiner(**config["arguments"]))
    assert isinstance(model, Refiner)
    return model


def test_whole_described_and_small(name: str, settings: Settings) -> None:
    weight = Weights(settings).find(name)
    assert weight.shipped
    assert weight.verify()
    assert card_gaps(weight.card) == []
    assert "phantom" in weight.card
    assert weight.size < 16 * 1024 * 1024
    assert weight.config["arguments"]["dimensions"] == NAMES[name]
    files = {path.name for path in Path(weight.folder).iterdir()}
    assert files >= {"model.safetensors", "config.json", "CARD.md"}
    assert not any(file.endswith((".pt", ".part", ".pkl")) for file in files)


def test_leaves_a_clean_phantom_nearly_alone(name: str, settings: Settings) -> None:
    shape = (160, 160) if NAMES[name] == 2 else (48, 48, 48)
    clean = curvilinear.sample("vessels", shape, 200_000)
    refined = refine(load(name, settings), clean.astype(np.float32)) > 0.5
    assert np.mean(refined != clean) < 0.02


@pytest.mark.slow
def test_in_2d_better_than_its_input_on_every_measure_and_than_filling_holes_on_matching(settings: Settings) -> None:
    found = validate(load("topology/refiner2d", settings), validation_set(2))
    for measure in ("dice", "cldice"):
        assert found[f"refiner.{measure}"] > found[f"upstream.{measure}"], measure
    for measure in ("b0", "b1", "matching"):
        assert found[f"refiner.{measure}"] < found[f"upstream.{measure}"], measure
    assert found["refiner.matching"] < found["fillholes.matching"]


@pytest.mark.slow
def test_in_3d_better_than_its_input_on_pieces_and_matching(settings: Settings) -> None:
    # No more than that: its card says that it is no better than removing small pieces.
    found = validate(load("topology/refiner3d", settings), validation_set(3))
    for measure in ("b0", "matching"):
        assert found[f"refiner.{measure}"] < 0.5 * found[f"upstream.{measure}"], measure
    assert found["refiner.dice"] > found["upstream.dice"] - 0.03
