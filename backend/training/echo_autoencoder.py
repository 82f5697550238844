"""The recipe of the echo autoencoder: phantoms drawn as training goes, and real clips beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.training.echo_autoencoder_card import card, sheet
from backend.training.echo_meter import Pool
from backend.training.recipe import SAMPLES, Progress, TrainReport, Watch, finish, fit_resumably

if TYPE_CHECKING:
    from torch import Tensor, nn

PATIENTS, HELD_OUT_PATIENTS = 0, 900_000
"""Seeds from which the patients of the generator's training, and those it is measured on, are counted."""
FRAMES_EACH = 6
"""Frames drawn of each patient, spread over one beat."""
LONG_CLIP, FIRST_PACK_FRAME = "echo-four-chamber-long", 40
ARGUMENTS: dict[str, Any] = {"widths": (64, 112, 160), "fine": 32, "blocks": 2}
MOST_FRAMES = 100_000
"""Real frames that are held in memory, 1.2 GB of them."""
REAL_SHARE = 0.25
"""Share of the frames of a batch that are real, where there are real ones."""


@dataclass(frozen=True)
class AutoencoderRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together.

    ``data``: folder of real clips (see :mod:`backend.media.echonet`) beside the phantoms; ``pack``: without one, the
    later beats of the real clip in pydicom-data if it is installed, else phantoms alone; ``out``: folder that
    gets the weights and the checkpoint; ``validation``: held-out phantoms measured at the end.
    """

    out: Path
    minutes: float = 30.0
    data: Path | None = None
    pack: bool = True
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    batch: int = 16
    validation: int = 24
    command: str = ""


def train_autoencoder(
    request: AutoencoderRequest,
    *,
    real: np.ndarray | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> TrainReport:
    """Train and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet.

    The report's ``<method>.psnr`` is in dB over held-out phantoms, for ours and for principal components.

    ``real``: uint8 frames [N, 112, 112] in place of a folder. ``progress`` and ``watch`` as of
    :func:`backend.training.recipe.fit_resumably`. Raises ``UserError`` when the request cannot be met.
    """
    import torch

    from models.echo.autoencoder import Autoencoder, linear_round_trip, principal_components
    from models.fitting import Optimisation

    if request.minutes <= 0 or request.batch < 2 or request.validation < 1:
        raise UserError("This training cannot be.", "It needs time, a batch and something to be measured on.")
    missed: tuple[str, ...] = ()
    if real is None and request.data is not None:
        real, missed = real_frames(request.data)
    elif real is None and request.pack:
        real = pack_frames()
    pool = Pool(draw_frames, kept=1500)
    first = np.concatenate([draw_frames(index) for index in range(48)])
    if real is not None:
        first = np.concatenate([first, real[:: max(1, len(real) // 96)]])
    first = first.astype(np.float32) / 255
    torch.manual_seed(request.seed)
    model = Autoencoder(**ARGUMENTS)
    model.start_from_components(first)
    model.to(request.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        frames = []
        for _ in range(request.batch):
            if real is not None and rng.random() < REAL_SHARE:
                frame = real[int(rng.integers(len(real)))]
            else:
                drawn = pool.pick(step, rng)
                frame = drawn[int(rng.integers(len(drawn)))]
            frames.append(changed(frame, rng))
        return (torch.from_numpy(np.stack(frames))[:, None],)

    state = fit_resumably(
        model,
        batch_of,
        reconstruction_loss,
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described={"kind": "autoencoder", "seed": request.seed, "batch": request.batch, "real": digest(real)},
        config=Optimisation(learning_rate=1e-3, ema=0.998, weight_decay=0.0),
        progress=progress,
        watch=watch,
    )
    model.normalise(torch.from_numpy(first)[:, None])
    truth = held_out_frames(request.validation)
    each = {
        "autoencoder.psnr": psnr(round_trip(model, truth), truth),
        "components.psnr": psnr(linear_round_trip(truth, *principal_components(first)), truth),
    }
    patients = pool.size(state.step)
    sheet(request.out / SAMPLES, model, truth)
    return finish(
        request.out,
        model,
        {"class": "models.echo.autoencoder:Autoencoder", "arguments": model.arguments},
        card(request, state, patients, 0 if real is None else len(real), each, model),
        state,
        learnt_from=patients,
        each=each,
        held_out=len(truth),
        notes=missed,
    )


def draw_frames(index: int) -> np.ndarray:
    """Frames of the ``index``-th phantom patient, uint8 [:data:`FRAMES_EACH`, 112, 112], spread over one beat."""
    from models.phantoms.echo import clip

    rng = np.random.default_rng([21, index])
    rate = 60.0
    return clip(
        PATIENTS + index,
        ef=float(rng.uniform(6, 84)),
        heart_rate=rate,
        frames=FRAMES_EACH,
        fps=FRAMES_EACH * rate / 60,
        start=float(rng.random()),
    ).frames


def held_out_frames(patients: int) -> np.ndarray:
    """Frames of so many phantom patients that no training has seen, float32 [N, 112, 112] in 0…1."""
    drawn = np.concatenate([draw_frames(HELD_OUT_PATIENTS + index) for index in range(patients)])
    return drawn.astype(np.float32) / 255


def real_frames(folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames of the clips of a folder, uint8 [N, 112, 112], and sentences on clips that could not be read.

    Of large folders evenly chosen frames of every clip are taken. Raises ``UserError`` when no clip can be read.
    """
    from backend.media.echo_clip import read_echo_clip
    from backend.media.echonet import read_folder
    from backend.media.limits import Limits

    clips, errors = [], []
    entries = read_folder(folder).entries
    most = max(1, MOST_FRAMES // len(entries))
    for entry in entries:
        try:
            frames = read_echo_clip(entry.path, Limits(), native_fps=entry.fps).frames
            clips.append(frames[np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int)])
        except UserError as error:
            errors.append(error)
    if not clips:
        raise errors[0]
    return np.concatenate(clips), left_out(errors)


def left_out(errors: Sequence[UserError]) -> tuple[str, ...]:
    """A sentence on clips of a folder that could not be read, with the reason of the first; none for none."""
    if not errors:
        return ()
    why = " ".join(filter(None, (errors[0].what, errors[0].why)))
    return (f"Clips that could not be read and were left out: {len(errors)}; the first: {why}",)


def pack_frames() -> np.ndarray | None:
    """The later beats of the real clip in pydicom-data, uint8 [N, 112, 112]; ``None`` where it is not installed.

    Its first second is the clip that pydicom itself ships, on which the autoencoder is measured, so it is left out,
    with some frames between.
    """
    from backend.media.echo_clip import read_echo_clip
    from backend.media.limits import Limits
    from backend.samples import samples

    path = next((sample.path for sample in samples("clip") if sample.id == LONG_CLIP), None)
    return read_echo_clip(path, Limits()).frames[FIRST_PACK_FRAME:] if path else None


def changed(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame uint8 [H, W] as float32 0…1, a little moved, turned, scaled and made brighter or darker."""
    import cv2

    height, width = frame.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 4), float(np.exp(rng.normal(0, 0.05))))
    matrix[:, 2] = matrix[:, 2] + rng.normal(0, 3, 2)
    moved = cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    bright = (moved.astype(np.float32) / 255) ** float(np.exp(rng.normal(0, 0.15))) * float(np.exp(rng.normal(0, 0.12)))
    return np.clip(bright, 0, 1).astype(np.float32)


def reconstruction_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Squared error, in hundredths, of frames (N, 1, H, W) after the round trip."""
    (frames,) = batch
    found = model.decode(model.encode(frames))  # type: ignore[operator]
    error: Tensor = 100 * (found.float() - frames).square().mean()
    return error


def round_trip(model: nn.Module, frames: np.ndarray, batch: int = 32) -> np.ndarray:
    """``frames`` float32 [N, H, W] in 0…1 coded and decoded, clipped to 0…1."""
    import torch

    with torch.inference_mode():
        parts = torch.from_numpy(frames)[:, None].split(batch)
        found = [model.decode(model.encode(part)) for part in parts]  # type: ignore[operator]
    values: np.ndarray = torch.cat(found)[:, 0].clamp(0, 1).numpy()
    return values


def digest(frames: np.ndarray | None) -> str:
    """A hash of the frames that were given, '' for none."""
    return "" if frames is None else hashlib.sha256(frames.tobytes()).hexdigest()


def psnr(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Peak signal-to-noise ratio in dB of each frame, both float32 [N, H, W] in 0…1."""
    error = np.mean((np.clip(found, 0, 1) - truth) ** 2, axis=(1, 2))
    return [float(value) for value in -10 * np.log10(np.maximum(error, 1e-12))]
