"""A small real refiner that changes masks visibly, written as a weight folder, for tests that need no good one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def write_small_refiner(folder: Path, dimensions: int = 2, *, trained: bool = True) -> str:
    """Write ``model.safetensors``, ``config.json`` and ``CARD.md`` into ``folder``; returns the SHA-256 of the file.

    An untrained refiner gives its input back; random weights in its head, which are what ``trained`` stands for here,
    let neighbours bear on each pixel.
    """
    import torch
    from safetensors.torch import save_file

    from models.topology.refiner import Refiner

    torch.manual_seed(0)
    model = Refiner(dimensions, widths=(8, 16))
    if trained:
        with torch.no_grad():
            model.head.weight.normal_(0, 0.35 if dimensions == 2 else 0.2)
            model.scale.fill_(0.5)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"arguments": model.arguments, "sha256": sha256}))
    (folder / "CARD.md").write_text("# Small refiner for tests\n")
    return sha256
