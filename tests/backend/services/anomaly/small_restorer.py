"""A small real restorer, written as a weight folder: it takes every window for a smooth one."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.settings import Settings

if TYPE_CHECKING:
    from models.anomaly.network import Restorer


def write_small_restorer(folder: Path, **more: Any) -> str:
    """Write the weights into ``folder``; returns their SHA-256. ``more`` goes into their description.

    A few steps of training bring it to give smooth windows back and to leave bright spots out.
    """
    from safetensors.torch import save_file

    model = _trained()
    folder.mkdir(parents=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"arguments": model.arguments, "sha256": sha256, **more}))
    (folder / "CARD.md").write_text("# Small restorer for tests\n")
    return sha256


@cache
def _trained() -> Restorer:
    import torch

    from models.anomaly.network import Restorer

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Restorer(widths=(16, 16), patch=2, attention=False)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=110)
    y, x = np.mgrid[:32, :32]
    for _ in range(110):
        slope = rng.uniform(-0.012, 0.012, (8, 2, 1, 1))
        clean = np.clip(rng.uniform(0.1, 0.7, (8, 1, 1)) + slope[:, 0] * (y - 16) + slope[:, 1] * (x - 16), 0, 0.8)
        turn, edge = rng.uniform(0, 6.3, (8, 1, 1)), rng.uniform(-14, 20, (8, 1, 1))
        clean = np.where(np.cos(turn) * (y - 16) + np.sin(turn) * (x - 16) < edge, clean, 0)
        centre, radius = rng.uniform(4, 28, (8, 2, 1, 1)), rng.uniform(2, 7, (8, 1, 1))
        spot = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < radius**2) & (clean > 0)
        given = np.where(spot, 1.0, clean) + rng.normal(0, 0.01, clean.shape) * (clean > 0)
        answer = torch.from_numpy(clean.astype(np.float32))[:, None]
        steps = torch.from_numpy(rng.integers(20, 95, 8))
        found = model(torch.from_numpy(given.astype(np.float32))[:, None], steps, torch.zeros(8, dtype=torch.long))
        loss = ((found - answer) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
    return model


def install(settings: Settings, folder: Path) -> None:
    """Make ``folder`` the restorer of a home folder."""
    target = settings.home / "weights" / "anomaly"
    target.mkdir(parents=True)
    (target / "restorer").symlink_to(folder)
