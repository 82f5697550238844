"""A sheet of samples of a trained echo generator: frames of an image model, film strips of a video model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser

ACROSS = 8
FRACTIONS = (25.0, 45.0, 65.0)
"""Ejection fractions in %, one a row; the columns go through one beat."""


def sheet(path: Path, model: Denoiser, autoencoder: Autoencoder, references: np.ndarray) -> None:
    """Write a PNG of what ``model`` makes, 16 steps a sample.

    Every row has an ejection fraction of :data:`FRACTIONS`, every column a moment of the beat. Frames of an image model
    each show a patient of their own; a row of a video model is one clip from one of ``references``, codes float
    [N, 16, 7, 7] of end-diastolic frames, which an image model does not need.
    """
    import torch

    from models.diffusion.edm import SAMPLERS, sigmas
    from models.echo.autoencoder import CHANNELS, GRID
    from models.echo.generate import REFERENCE_STEPS, GenerateConfig, Models, decode_latents, sample_clip

    device = next(model.parameters()).device
    source = torch.Generator().manual_seed(0)
    rows = []
    for row, ef in enumerate(FRACTIONS):
        if model.reference:
            still = torch.from_numpy(references[row % len(references)].astype(np.float32)).to(device)
            # A beat a second in 16 frames, of which every second is shown.
            config = GenerateConfig(ef=ef, heart_rate=60, frames=2 * ACROSS, fps=16)
            latents = sample_clip(Models(autoencoder, model, model), config, still, source)[: 2 * ACROSS : 2]
        else:
            noise = torch.randn(ACROSS, 1, CHANNELS, GRID, GRID, generator=source).to(device)
            phase = torch.arange(ACROSS, device=device)[:, None] / ACROSS
            asked = {"ef": noise.new_full((ACROSS,), ef), "phase": phase, "fps": noise.new_full((ACROSS,), 16.0)}

            def denoise(state: torch.Tensor, sigma: float, step: int, asked: dict = asked) -> torch.Tensor:  # type: ignore[type-arg]
                with torch.inference_mode():
                    return model(state, state.new_full((ACROSS,), sigma), **asked)

            latents = SAMPLERS["dpm"](denoise, noise, sigmas(REFERENCE_STEPS))[:, 0]
        rows.append(np.hstack(list(decode_latents(autoencoder, latents.cpu()))))
    _write(path, np.vstack(rows))


def _write(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    temporary = path.with_suffix(".part")
    Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
