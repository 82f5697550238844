"""A small real meter for tests that need none that is good: it calls what is bright the left ventricle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def write_small_meter(folder: Path) -> str:
    """Write weights, config and card into ``folder``; returns the SHA-256 of the weights.

    One path through the network is set by hand, so that frames with a bright, moving ellipse have a ventricle there.
    """
    import torch
    from safetensors.torch import save_file

    from models.echo.meter import FOLD, LABELS, Meter

    torch.manual_seed(0)
    model = Meter(widths=(8, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for place in range(FOLD**2):  # every pixel of a folded block keeps a channel of its own
            model.stem.weight[place, place, 1, 1] = 1.0
            model.head.weight[1 * FOLD**2 + place, place, 1, 1] = 20.0
        model.head.bias[: FOLD**2] = 10.0
        model.norm.weight.fill_(1.0)
    assert len(LABELS) == 6
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"arguments": model.arguments, "sha256": sha256}))
    (folder / "CARD.md").write_text("# Small meter for tests\n")
    return sha256
