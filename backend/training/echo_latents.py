"""Clips as latents, coded once and kept beside the checkpoint: what the generators of echo clips learn from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.training.echo_autoencoder import PATIENTS, left_out

if TYPE_CHECKING:
    from backend.media.echonet import EchoEntry
    from models.echo.autoencoder import Autoencoder
    from models.echo.meter import Meter

LENGTH = 24
"""Frames of a kept clip; training cuts its windows from them."""
CLIPS_EACH = 2
"""Clips drawn of each phantom patient, with different ejection fractions, so that patient and fraction come apart."""

Progress = Callable[[float, str], None]
Drawn = tuple[np.ndarray, np.ndarray, float, np.ndarray, float]
"""Codes float16 [L, 16, 7, 7], the reference's [16, 7, 7], ejection fraction in %, phase float32 [L], frame rate."""


@dataclass(frozen=True)
class Latents:
    """``codes`` float16 [N, L, 16, 7, 7] of clips that begin anywhere in a beat; ``ef`` float32 [N] in %.

    ``reference`` float16 [N, 16, 7, 7]: an end-diastolic frame of the same recording. ``phase`` float32 [N, L] in
    beats, NaN where it is not known; ``fps`` float32 [N]; ``source`` int32 [N], ascending: which patient or recording.
    ``left_out``: sentences on clips of a folder that are not among them.
    """

    codes: np.ndarray
    reference: np.ndarray
    ef: np.ndarray
    phase: np.ndarray
    fps: np.ndarray
    source: np.ndarray
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def spread(self) -> tuple[float, float]:
        """Standard deviation of the codes, and of their difference to the reference."""
        every = max(1, len(self) // 200)
        some, still = self.codes[::every].astype(np.float32), self.reference[::every].astype(np.float32)
        return float(some.std()), float((some - still[:, None]).std())


def held_out_count(kept: Latents, share: float) -> int:
    """How many clips at the end make up at least ``share`` of all and come from patients that no other clip shows.

    Raises ``UserError`` where all come from one.
    """
    first = len(kept) - max(1, round(share * len(kept)))
    first = int(np.searchsorted(kept.source, kept.source[first]))
    if first == 0:
        raise UserError(
            "The folder holds one clip only that can be learned from.",
            f"It takes at least two with {LENGTH} frames and an end-diastole each; one is held out.",
            "Give more clips, or longer ones.",
        )
    return len(kept) - first


def gather(drawn: Sequence[Drawn], source: Sequence[int]) -> Latents:
    """Clips one by one, each with what it comes from, as arrays of all."""
    codes, reference, ef, phase, fps = zip(*drawn, strict=True)
    return Latents(
        np.stack(codes),
        np.stack(reference),
        np.array(ef, np.float32),
        np.stack(phase),
        np.array(fps, np.float32),
        np.array(source, np.int32),
    )


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
    key = f"{autoencoder_sha256}:{clips}:{LENGTH}:anywhere"
    if (kept := load_kept(path, key)) is not None:
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
    return _save(path, key, gather(drawn, [index // CLIPS_EACH for index in range(clips)]))


def draw_clip(index: int, autoencoder: Autoencoder) -> Drawn:
    """Phantom clip number ``index``, which begins anywhere in a beat."""
    from models.echo.denoiser import MAX_FPS, MIN_FPS
    from models.echo.generate import encode_frames
    from models.phantoms.echo import clip

    rng = np.random.default_rng([31, index])
    # Evenly over the range, a little beyond what is offered, so that its ends are no edges.
    ef, rate = float(rng.uniform(5, 85)), float(rng.uniform(45, 125))
    fps = float(np.exp(rng.uniform(np.log(MIN_FPS), np.log(MAX_FPS))))
    start = float(rng.random())
    seed, variant = PATIENTS + index // CLIPS_EACH, index % CLIPS_EACH
    drawn = clip(seed, ef=ef, heart_rate=rate, frames=LENGTH, fps=fps, variant=variant, start=start)
    still = clip(seed, ef=ef, heart_rate=rate, frames=1, fps=fps, variant=variant)
    frames = np.concatenate([still.frames, drawn.frames]).astype(np.float32) / 255
    codes = encode_frames(autoencoder, frames).numpy().astype(np.float16)
    phase = (start + np.arange(LENGTH) * rate / (60 * fps)).astype(np.float32)
    return codes[1:], codes[0], drawn.ef, phase, fps


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

    Stretches of :data:`LENGTH` frames, half as many apart, are one clip each; their ejection fraction is that of the
    table. Raises ``UserError`` when no clip can be used.
    """
    from backend.media.echonet import read_folder

    entries = read_folder(folder).entries
    described = [autoencoder_sha256, LENGTH, "anywhere", *((entry.name, entry.ef) for entry in entries)]
    key = hashlib.sha256(repr(described).encode()).hexdigest()
    if (kept := load_kept(path, key)) is not None:
        return kept
    found: list[Drawn] = []
    source: list[int] = []
    errors: list[UserError] = []
    unused = 0
    for index, entry in enumerate(entries):
        try:
            stretches = _stretches_of(entry, autoencoder, meter)
            found += stretches
            source += [index] * len(stretches)
            unused += not stretches
        except UserError as error:
            errors.append(error)
        if progress:
            progress(index / len(entries), f"reading clip {index + 1} of {len(entries)}")
    if not found:
        if errors:
            raise errors[0]
        raise UserError(
            "No clip of the folder can be learned from.",
            f"Each needs {LENGTH} frames and an end-diastole that the meter finds; none has both.",
            "Give clips of at least one whole beat.",
        )
    notes = left_out(errors)
    if unused:
        notes = (*notes, f"Clips left out for fewer than {LENGTH} frames or no end-diastole: {unused}.")
    return _save(path, key, replace(gather(found, source), left_out=notes))


def _stretches_of(entry: EchoEntry, autoencoder: Autoencoder, meter: Meter) -> list[Drawn]:
    from backend.media.echo_clip import read_echo_clip
    from backend.media.limits import Limits
    from models.echo.denoiser import MAX_FPS, MIN_FPS
    from models.echo.generate import encode_frames
    from models.echo.meter import measure

    source = read_echo_clip(entry.path, Limits(), native_fps=entry.fps)
    if not MIN_FPS <= source.fps <= MAX_FPS:
        source = read_echo_clip(entry.path, Limits(), native_fps=entry.fps, fps=min(max(source.fps, MIN_FPS), MAX_FPS))
    if len(source.frames) < LENGTH:
        return []
    ends = [int(frame) for frame in measure(meter, source.frames, source.fps).beats.ed]
    if not ends:
        return []
    phase = beat_phase(ends, len(source.frames))
    codes = encode_frames(autoencoder, source.frames.astype(np.float32) / 255).numpy().astype(np.float16)
    found = []
    # Half a stretch apart, so that windows begin anywhere in the beat, each with the end-diastole that is nearest.
    for start in range(0, len(codes) - LENGTH + 1, LENGTH // 2):
        nearest = min(ends, key=lambda frame: abs(frame - start - LENGTH // 2))
        of = slice(start, start + LENGTH)
        found.append((codes[of], codes[nearest], entry.ef, phase[of], source.fps))
    return found


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


def load_kept(path: Path, key: str = "") -> Latents | None:
    """What was kept at ``path``; ``None`` where there is nothing, or what another ``key`` stands for."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if key and str(kept["key"]) != key:
            return None
        arrays = {field.name: kept[field.name] for field in fields(Latents) if field.name != "left_out"}
        # Files of phantoms, and of earlier versions, have no such sentences.
        return Latents(**arrays, left_out=tuple(kept["left_out"].tolist()) if "left_out" in kept else ())


def _save(path: Path, key: str, made: Latents) -> Latents:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, key=key, **{**vars(made), "left_out": np.array(made.left_out, str)})
    part.replace(path)
    return made
