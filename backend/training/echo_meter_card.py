"""What a trained echo meter and a trained regressor say of themselves: a card, and a sheet of samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.training.echo_meter_validate import FPS, FRAMES, Validation, held_out

if TYPE_CHECKING:
    from backend.training.echo_meter import MeterRequest
    from models.echo.meter import Meter
    from models.echo.regressor import Regressor
    from models.fitting import FitState

# Okabe and Ito's colours, which colour-blind readers can tell apart: one for each label but background.
COLOURS = np.array([[0, 0, 0], [213, 94, 0], [0, 158, 115], [0, 114, 178], [240, 228, 66], [204, 121, 167]], np.float32)


def overlay(frame: np.ndarray, labels: np.ndarray, opacity: float = 0.4) -> np.ndarray:
    """``frame`` and ``labels``, both uint8 [H, W], as one picture, uint8 [H, W, 3]."""
    grey = np.repeat(frame[..., None], 3, 2).astype(np.float32)
    coloured = (1 - opacity) * grey + opacity * COLOURS[labels]
    return np.where((labels > 0)[..., None], coloured, grey).astype(np.uint8)


def meter_sheet(path: Path, model: Meter, result: Validation, first: int) -> None:
    """A PNG: four held-out patients at end-diastole and end-systole, each as drawn, with true and with found labels."""
    from models.echo.meter import measure

    rows = []
    for index in range(min(4, len(result.truth))):
        drawn = held_out(first, index)
        found = measure(model, drawn.frames, drawn.fps)
        tiles = []
        for frame in (drawn.end_diastole[0], drawn.end_systole[0]):
            picture = drawn.frames[frame]
            tiles += [
                np.repeat(picture[..., None], 3, 2),
                overlay(picture, drawn.labels[frame]),
                overlay(picture, found.labels[frame]),
            ]
        rows.append(np.hstack(tiles))
    _save(path, np.vstack(rows))


def regressor_sheet(path: Path, model: Regressor, result: Validation, first: int) -> None:
    """A PNG: found against true ejection fraction of the held-out patients, 0–100 % on both axes."""
    from PIL import Image, ImageDraw

    side = 320
    picture = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(picture)
    for percent in range(0, 101, 20):
        at = side * percent / 100
        pen.line([(at, 0), (at, side)], fill=(225, 225, 225))
        pen.line([(0, at), (side, at)], fill=(225, 225, 225))
    pen.line([(0, side), (side, 0)], fill=(120, 120, 120))
    for truth, found in zip(result.truth, result.found, strict=True):
        if np.isfinite(found):
            x, y = side * truth / 100, side * (1 - min(max(found, 0), 100) / 100)
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=(0, 114, 178))
    _save(path, np.asarray(picture))


def meter_card(request: MeterRequest, state: FitState, patients: int, result: Validation, model: Meter) -> str:
    """The text of ``CARD.md`` of a meter trained on ``patients`` phantoms."""
    dice = "\n".join(
        f"| {name.partition('.')[2].replace('_', ' ')} | {value:.3f} |"
        for name, value in result.measures.items()
        if name.startswith("dice.")
    )
    return f"""# Echo meter: chambers in every frame

Takes grey apical four-chamber frames of 112 × 112 pixels, one at a time, and outlines left ventricle, myocardium, left
atrium, right ventricle and right atrium. Volumes (area-length), beats and the ejection fraction follow from the
outlines. Research use only. Not for diagnosis.

{_trained_on(patients, "a few frames of one beat each")}

{_training("train_meter", request, state, model)}

## Measured results

{_measured(request, result)}

| label | Dice |
|---|---|
{dice}

{LIMITS}
"""


def regressor_card(request: MeterRequest, state: FitState, patients: int, result: Validation, model: Regressor) -> str:
    """The text of ``CARD.md`` of a regressor trained on ``patients`` phantoms."""
    return f"""# Echo regressor: ejection fraction of a clip as a whole

Takes one second of a grey apical four-chamber clip (16 frames of 112 × 112 pixels at 16 frames per second) and gives
the ejection fraction in %. A second opinion beside the area-length meter, never in its place: such a network can be
pleased by artefacts. Its clip features are the encoder of Fréchet distances. Research use only. Not for diagnosis.

{_trained_on(patients, "one and a half seconds each")}

{_training("train_regressor", request, state, model)}

## Measured results

{_measured(request, result)}

{LIMITS}
"""


LIMITS = """## Limits

Learned from phantoms alone, so on real clips nothing is known of its error: look at the outlines. Apical four-chamber
views with the probe at the top only; other views, contrast agents, colour Doppler and congenital defects are out of its
scope. It was never shown a generated clip.

## Licence

Same as the code; phantoms carry no other licence."""


def _trained_on(patients: int, each: str) -> str:
    return f"""## Trained on

{patients} echo phantoms drawn by `models/phantoms/echo`, {each}, ejection fraction
6 to 84 %, their look and place changed at random by `models/echo/augment.py`. No image of any patient."""


def _training(function: str, request: MeterRequest, state: FitState, model: Meter | Regressor) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    return f"""## Training

`{request.command or f"backend.training.echo_meter.{function}"}`

{state.seconds / 60:.1f} minutes, {state.step} steps, device {request.device} ({os.cpu_count()} cores seen), {weights:,}
weights, seed {request.seed}; loss of the last 200 steps {np.mean(state.losses[-200:]):.4f}."""


def _measured(request: MeterRequest, result: Validation) -> str:
    rows = "\n".join(
        f"| {shown} | "
        + " | ".join(f"{result.measures[f'{name}.{measure}']:.3f}" for measure in ("r2", "mae", "bias", "slope"))
        + f" | {100 * result.measures[f'{name}.missing']:.0f} % |"
        for name, shown in (("ef", "as drawn"), ("spoilt", "look changed at random"))
    )
    return f"""Ejection fraction on {request.validation} held-out phantoms of {FRAMES} frames at {FPS:.0f} per second,
evenly from 8 to 82 %; MAE and bias in points.

| clips | R² | MAE | bias | slope | not found |
|---|---|---|---|---|---|
{rows}"""


def _save(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    temporary = path.with_suffix(".part")
    Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
