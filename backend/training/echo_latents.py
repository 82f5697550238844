"""Clips as latents, coded once and kept beside the checkpoint: what the generators of echo clips learn from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.training.echo_autoencoder import PATIENTS

if TYPE_CHECKING:
    from backend.media.echonet import EchoEntry
    from models.echo.autoencoder import Autoencoder
    from models.echo.meter import Meter

LENGTH = 24
"""Frames of a kept clip; training cuts its windows from them."""
CLIPS_EACH = 2
"""Clips drawn of each phantom patient, with different ejection fractions, so that patient and fraction come apart."""

Progress = Callable[[float, str], None]
Drawn = tuple[np.ndarray, float, np.ndarray, float]
"""Codes float16 [L, 16, 7, 7], ejection fraction in %, phase float32 [L] and frame rate of one clip."""


@dataclass(frozen=True)
class Latents:
    """``codes`` float16 [N, L, 16, 7, 7], the first frame of each at end-diastole; ``ef`` float32 [N] in %.

    ``phase`` float32 [N, L] in beats, NaN where it is not known; ``fps`` float32 [N].
    """

    codes: np.ndarray
    ef: np.ndarray
    phase: np.ndarray
    fps: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def spread(self) -> tuple[float, float]:
        """Standard deviation of the codes, and of their difference to the clip's first frame."""
        some = self.codes[:: max(1, len(self) // 200)].astype(np.float32)
        return float(some.std()), float((some - some[:, :1])[:, 1:].std())


def draw_latents(
    path: Path,
    autoencoder: Autoencoder,
    autoencoder_sha256: str,
    clips: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Latents:
    """Phantom clips as latents, from ``path`` if they were kept there with the same autoencoder, else drawn.

    ``workers``: processes that draw, one for each core without it; what they draw does not depend on their number.
    """
    key = f"{autoencoder_sha256}:{clips}:{LENGTH}"
    if (kept := _load(path, key)) is not None:
        return kept
    workers = workers or os.cpu_count() or 1
    drawn: list[Drawn] = []

    def keep(one: Drawn) -> None:
        drawn.append(one)
        if progress and len(drawn) % 10 == 1:
            progress(len(drawn) / clips, f"drew clip {len(drawn)} of {clips}")

    draw = partial(draw_clip, autoencoder=autoencoder)
    if workers == 1:
        for index in range(clips):
            keep(draw(index))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            try:
                for one in pool.map(draw, range(clips), chunksize=8):
                    keep(one)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    codes, ef, phase, fps = zip(*drawn, strict=True)
    made = Latents(np.stack(codes), np.array(ef, np.float32), np.stack(phase), np.array(fps, np.float32))
    return _save(path, key, made)


def draw_clip(index: int, autoencoder: Autoencoder) -> Drawn:
    """Phantom clip number ``index`` as codes, ejection fraction, phases and frame rate."""
    from models.echo.denoiser import MAX_FPS, MIN_FPS
    from models.echo.generate import encode_frames
    from models.phantoms.echo import clip

    rng = np.random.default_rng([31, index])
    # Evenly over the range, a little beyond what is offered, so that its ends are no edges.
    ef, rate = float(rng.uniform(5, 85)), float(rng.uniform(45, 125))
    fps = float(np.exp(rng.uniform(np.log(MIN_FPS), np.log(MAX_FPS))))
    drawn = clip(
        PATIENTS + index // CLIPS_EACH, ef=ef, heart_rate=rate, frames=LENGTH, fps=fps, variant=index % CLIPS_EACH
    )
    phase = (np.arange(LENGTH) * rate / (60 * fps)).astype(np.float32)
    codes = encode_frames(autoencoder, drawn.frames.astype(np.float32) / 255).numpy().astype(np.float16)
    return codes, drawn.ef, phase, fps


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def read_latents(
    path: Path,
    folder: Path,
    autoencoder: Autoencoder,
    autoencoder_sha256: str,
    meter: Meter,
    *,
    progress: Progress | None = None,
) -> Latents:
    """Clips of a folder (:mod:`backend.media.echonet`) as latents; their beats are found by the meter.

    Every beat with its end-diastole and at least :data:`LENGTH` frames after it is one clip, and its ejection fraction
    is that of the table. Raises ``UserError`` when no clip can be used.
    """
    from backend.media.echonet import read_folder

    entries = read_folder(folder).entries
    key = hashlib.sha256(repr([autoencoder_sha256, [(e.name, e.ef) for e in entries]]).encode()).hexdigest()
    if (kept := _load(path, key)) is not None:
        return kept
    found: list[Drawn] = []
    last: UserError | None = None
    for index, entry in enumerate(entries):
        try:
            found += _beats_of(entry, autoencoder, meter)
        except UserError as error:
            last = error
        if progress:
            progress(index / len(entries), f"reading clip {index + 1} of {len(entries)}")
    if not found:
        raise last or UserError(
            "No clip of the folder can be learned from.",
            f"Each needs an end-diastole with {LENGTH} frames from there on; the meter found none.",
            "Give clips of at least one and a half beats.",
        )
    codes, ef, phase, fps = zip(*found, strict=True)
    made = Latents(np.stack(codes), np.array(ef, np.float32), np.stack(phase), np.array(fps, np.float32))
    return _save(path, key, made)


def _beats_of(entry: EchoEntry, autoencoder: Autoencoder, meter: Meter) -> list[Drawn]:
    from backend.media.echo_clip import read_echo_clip
    from backend.media.limits import Limits
    from models.echo.denoiser import MAX_FPS, MIN_FPS
    from models.echo.generate import encode_frames
    from models.echo.meter import measure

    source = read_echo_clip(entry.path, Limits(), native_fps=entry.fps)
    if not MIN_FPS <= source.fps <= MAX_FPS:
        source = read_echo_clip(entry.path, Limits(), native_fps=entry.fps, fps=min(max(source.fps, MIN_FPS), MAX_FPS))
    starts = [int(frame) for frame in measure(meter, source.frames, source.fps).beats.ed]
    phase = beat_phase(starts, len(source.frames))
    codes = encode_frames(autoencoder, source.frames.astype(np.float32) / 255).numpy().astype(np.float16)
    return [
        (codes[start : start + LENGTH], entry.ef, phase[start : start + LENGTH], source.fps)
        for start in starts
        if start + LENGTH <= len(codes)
    ]


def beat_phase(end_diastole: list[int], frames: int) -> np.ndarray:
    """Phase in beats, float32 [T]: whole numbers at the given frames, evenly between and, at the same rate, beyond.

    NaN everywhere with fewer than two of them.
    """
    if len(end_diastole) < 2:
        return np.full(frames, np.nan, np.float32)
    at, turns = np.array(end_diastole, float), np.arange(len(end_diastole), dtype=float)
    time = np.arange(frames)
    phase = np.interp(time, at, turns)
    first, last = at[1] - at[0], at[-1] - at[-2]
    phase = np.where(time < at[0], (time - at[0]) / first, phase)
    phase = np.where(time > at[-1], turns[-1] + (time - at[-1]) / last, phase)
    return phase.astype(np.float32)


def _load(path: Path, key: str) -> Latents | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["key"]) != key:
            return None
        return Latents(kept["codes"], kept["ef"], kept["phase"], kept["fps"])


def _save(path: Path, key: str, made: Latents) -> Latents:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, key=key, codes=made.codes, ef=made.ef, phase=made.phase, fps=made.fps)
    part.replace(path)
    return made
