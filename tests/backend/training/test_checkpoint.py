"""Checkpoints and weight folders: what is written is what is read, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.errors import UserError
from backend.training.checkpoint import OtherTraining, load_checkpoint, save_checkpoint, write_weights
from models.fitting import FitState
from models.topology.refiner import Refiner


def state() -> FitState:
    model = Refiner(2, (8,))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.rand(1, 1, 4, 4)).sum().backward()
    optimiser.step()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return FitState(7, 12.5, weights, dict(weights), [optimiser.state_dict()], [0.5, 0.25])


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    saved, described = state(), {"seed": 1, "widths": [8]}
    save_checkpoint(tmp_path / "checkpoint.pt", saved, described)
    loaded = load_checkpoint(tmp_path / "checkpoint.pt", described)
    assert loaded is not None
    assert (loaded.step, loaded.seconds, loaded.losses) == (7, 12.5, [0.5, 0.25])
    assert all(torch.equal(loaded.model[name], value) for name, value in saved.model.items())
    torch.optim.AdamW(Refiner(2, (8,)).parameters()).load_state_dict(loaded.optimisers[0])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_with_other_fields_is_refused_in_a_sentence(tmp_path: Path) -> None:
    torch.save({"described": {}, "state": {"step": 3, "optimiser": {}}}, tmp_path / "checkpoint.pt")
    with pytest.raises(OtherTraining, match="another training"):
        load_checkpoint(tmp_path / "checkpoint.pt", {})


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt", {}) is None


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", state(), {"seed": 1})
    with pytest.raises(UserError, match="another training") as caught:
        load_checkpoint(tmp_path / "checkpoint.pt", {"seed": 2})
    assert caught.value.what_to_do
    assert str(tmp_path) not in str(caught.value)


def test_a_later_checkpoint_replaces_the_earlier(tmp_path: Path) -> None:
    saved = state()
    save_checkpoint(tmp_path / "checkpoint.pt", saved, {})
    saved.step = 8
    save_checkpoint(tmp_path / "checkpoint.pt", saved, {})
    loaded = load_checkpoint(tmp_path / "checkpoint.pt", {})
    assert loaded is not None
    assert loaded.step == 8


def test_weights_are_written_with_their_hash(tmp_path: Path) -> None:
    model = Refiner(3, (8,))
    digest = write_weights(tmp_path, model, {"arguments": model.arguments}, "# A card\n")
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == digest
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {"arguments": model.arguments, "sha256": digest}
    assert (tmp_path / "CARD.md").read_text() == "# A card\n"
    written = load_file(tmp_path / "model.safetensors")
    assert written.keys() == model.state_dict().keys()
    assert all(torch.equal(written[name], value) for name, value in model.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CARD.md", "config.json", "model.safetensors"]
    assert write_weights(tmp_path, model, {"arguments": model.arguments}, "# A card\n") == digest
