"""What a trained echo autoencoder says of itself: a card, and a sheet of samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.training.topology_measure import interval

if TYPE_CHECKING:
    from backend.training.echo_autoencoder import AutoencoderRequest
    from models.echo.autoencoder import Autoencoder
    from models.fitting import FitState


def card(
    request: AutoencoderRequest,
    state: FitState,
    patients: int,
    real: int,
    each: dict[str, list[float]],
    model: Autoencoder,
) -> str:
    """The text of ``CARD.md``: trained on ``patients`` phantoms and ``real`` real frames."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    rows = "\n".join(
        "| {} | {:.2f} [{:.2f}, {:.2f}] |".format(key.partition(".")[0], *interval(values))
        for key, values in each.items()
    )
    return f"""# Echo autoencoder

Takes grey apical four-chamber frames of 112 × 112 pixels and codes each as 7 × 7 × 16 = 784 numbers, and back. The
generators of echo clips work in this code. Research use only. Not for diagnosis.

## Trained on

{patients} echo phantoms drawn by `models/phantoms/echo`{_real(request, real)}.

## Training

`{request.command or "backend.training.echo_autoencoder.train_autoencoder"}`

{state.seconds / 60:.1f} minutes, {state.step} steps of {request.batch} frames, device {request.device}
({os.cpu_count()} cores seen), {weights:,} weights, seed {request.seed}; loss of the last 200 steps
{np.mean(state.losses[-200:]):.4f}.

## Measured results

Round trip of frames of {request.validation} held-out phantoms, mean and 95 % bootstrap interval over frames.
`components` is the best linear code of the same size, fitted to frames of the training.

| code | PSNR in dB |
|---|---|
{rows}

## Limits

Grey frames of the apical four-chamber view with the probe at the top. Grain finer than about three pixels is smoothed
away: 784 numbers cannot hold the speckle of 12,544 pixels.

## Licence

Same as the code; phantoms carry no other licence{_licence(request, real)}.
"""


def sheet(path: Path, model: Autoencoder, frames: np.ndarray) -> None:
    """A PNG of frames float32 [N, H, W] in 0…1 above their round trip."""
    from PIL import Image

    from backend.training.echo_autoencoder import round_trip

    shown = frames[:: max(1, len(frames) // 8)][:8]
    rows = np.vstack([np.hstack(list(shown)), np.hstack(list(round_trip(model, shown)))])
    temporary = path.with_suffix(".part")
    Image.fromarray((255 * rows).round().astype(np.uint8)).save(temporary, format="PNG", optimize=True)
    temporary.replace(path)


def _real(request: AutoencoderRequest, real: int) -> str:
    if not real:
        return ". No image of any patient"
    if request.data is not None:
        return f", and {real} frames of real clips that were given, a quarter of every batch"
    return (
        f", and, as a quarter of every batch, {real} frames of one real clip:\n"
        "`color3d_jpeg_baseline.dcm` of pydicom-data without its first 40 frames. The clip that pydicom ships is the\n"
        "first second of the same recording, so what is measured on it is another beat of the same patient"
    )


def _licence(request: AutoencoderRequest, real: int) -> str:
    return ", pydicom-data is under the MIT licence" if real and request.data is None else ""
