"""Checkpoints that resume, and weight folders as :mod:`backend.weights` reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from backend.errors import UserError
from models.fitting import FitState


class OtherTraining(UserError):
    """The checkpoint that lies there was left by a training on other material or with other settings."""


def save_checkpoint(path: Path, state: FitState, described: Mapping[str, Any]) -> None:
    """Write the training state atomically; ``described`` says what may continue from it."""
    temporary = path.with_suffix(".part")
    values = {f.name: getattr(state, f.name) for f in fields(state)}
    torch.save({"described": dict(described), "state": values}, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path, described: Mapping[str, Any]) -> FitState | None:
    """The state saved at ``path``, or ``None`` when there is none. Reads tensors and plain values only.

    Raises :class:`OtherTraining` when it belongs to another training.
    """
    if not path.is_file():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["described"] != dict(described) or set(content["state"]) != {f.name for f in fields(FitState)}:
        raise OtherTraining(
            "The checkpoint in the output folder belongs to another training.",
            "What it learns from, its seed, recipe or network differ from this request, or an older version left it.",
            "Choose another output folder, or start over without resuming.",
        )
    return FitState(**content["state"])


def write_weights(folder: Path, model: nn.Module, config: Mapping[str, Any], card: str) -> str:
    """Write ``model.safetensors``, ``config.json`` (with the file's SHA-256) and ``CARD.md``; returns the SHA-256.

    All are written under temporary names first and renamed at the end, the config last.
    """
    data = safetensors_bytes({name: value.contiguous() for name, value in model.state_dict().items()})
    digest = hashlib.sha256(data).hexdigest()
    contents = {
        "CARD.md": card.encode(),
        "model.safetensors": data,
        "config.json": (json.dumps({**config, "sha256": digest}, indent=2) + "\n").encode(),
    }
    for name, content in contents.items():
        (folder / f"{name}.part").write_bytes(content)
    for name in contents:
        (folder / f"{name}.part").replace(folder / name)
    return digest
