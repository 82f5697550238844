"""Small real networks for tests that need none that are good, written as weight folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def write_small_meter(folder: Path) -> str:
    """A meter that calls what is bright the left ventricle; returns the SHA-256 of its weights.

    One path through the network is set by hand, so that frames with a bright, moving ellipse have a ventricle there.
    """
    import torch

    from models.echo.meter import FOLD, LABELS, Meter

    torch.manual_seed(0)
    model = Meter(widths=(8, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for place in range(FOLD**2):  # every pixel of a folded block keeps a channel of its own
            model.stem.weight[place, place, 1, 1] = 1.0
            model.head.weight[1 * FOLD**2 + place, place, 1, 1] = 20.0
        model.head.get_parameter("bias")[: FOLD**2] = 10.0
        model.norm.weight.fill_(1.0)
    assert len(LABELS) == 6
    return _write(folder, model)


def write_small_generator(folder: Path, frames: np.ndarray) -> dict[str, str]:
    """Autoencoder, image and video model in ``folder``; returns the SHA-256 of each by the name of its folder.

    The autoencoder is linear, from the principal components of ``frames`` uint8 [T, 112, 112]. The denoisers are
    untrained: the video model ends close to its reference frame, and holds still.
    """
    import torch

    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser

    torch.manual_seed(0)
    autoencoder = Autoencoder((8, 8, 8), 4, 1)
    share = frames.astype(np.float32) / 255
    autoencoder.start_from_components(share)
    autoencoder.normalise(torch.from_numpy(share)[:, None])
    image, video = Denoiser(1, 1, False, 16, 1, 2, 1.0), Denoiser(16, 4, True, 16, 1, 2, 0.1)
    made = {"autoencoder": autoencoder, "image": image, "video": video}
    return {name: _write(folder / name, model) for name, model in made.items()}


def write_small_student(folder: Path, teacher_sha256: str, steps: int) -> str:
    """An untrained student of the video model in ``folder``; returns the SHA-256 of its weights."""
    import torch

    from models.echo.denoiser import Denoiser

    torch.manual_seed(1)
    model = Denoiser(16, 4, True, 16, 1, 2, 0.1)
    return _write(folder, model, steps=steps, guidance=1.5, teacher_sha256=teacher_sha256)


def _write(folder: Path, model: Any, **more: Any) -> str:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"arguments": model.arguments, "sha256": sha256, **more}))
    (folder / "CARD.md").write_text("# Small network for tests\n")
    return sha256
