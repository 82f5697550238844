"""Clips from noise: a reference frame, then all frames at once in overlapping windows, blended at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.diffusion.distill import guided, student_levels
from models.diffusion.edm import SAMPLERS, sigmas
from models.echo.autoencoder import CHANNELS, GRID, Autoencoder
from models.echo.denoiser import MAX_FPS, MIN_FPS, Denoiser
from models.echo.jvid import IMAGE, parse_schedule

MIN_FRAMES, MAX_FRAMES = 16, 192
AT_ONCE = 8
"""Windows that are denoised together: it bounds the memory of long clips."""
STEPS, REFERENCE_STEPS = 16, 16
"""Steps of a clip where no number is asked for, and of the frame it begins with."""
STUDENT = "student"
"""Name of the few-step student among the samplers."""

Callback = Callable[[int, int, Tensor], None]
"""Called after every step with the steps done, their number, and the latents (T, 16, 7, 7) as seen in that step."""


@dataclass(frozen=True)
class Models:
    """The networks that make a clip, all on one device. Without ``video`` only single frames can be made.

    ``student``: the video model, distilled to take ``student_steps`` steps with its guidance in it.
    """

    autoencoder: Autoencoder
    image: Denoiser
    video: Denoiser | None = None
    student: Denoiser | None = None
    student_steps: int = 4


@dataclass(frozen=True)
class GenerateConfig:
    """What to make. ``ef`` in %, ``heart_rate`` a minute, ``fps`` frames a second, ``start`` phase of frame 0 in 0…1.

    ``guidance`` scales what the ejection fraction changes, 1 for none; ``steps``: ``None`` for :data:`STEPS`;
    ``sampler``: a name in :data:`models.diffusion.edm.SAMPLERS`, or :data:`STUDENT`; ``schedule``: see
    :func:`models.echo.jvid.parse_schedule`; ``blend``: ``False`` appends the second halves of windows without blending,
    as released code does.

    The student stands for the video model, steps by DDIM on a grid of its own, and has its guidance in it: ``guidance``
    changes nothing. ``steps`` of ``None`` is the number it was trained for. With another it works at noise levels that
    it was not trained at, and aims at the next level of the grid that it was: what comes out is no better for more.
    """

    ef: float = 55.0
    heart_rate: float = 70.0
    frames: int = 64
    fps: float = 32.0
    guidance: float = 1.5
    steps: int | None = None
    sampler: str = "dpm"
    schedule: str = "video"
    seed: int = 0
    start: float = 0.0
    blend: bool = True

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("ef", self.ef, 5, 85),
            ("heart_rate", self.heart_rate, 40, 140),
            ("frames", self.frames, MIN_FRAMES, MAX_FRAMES),
            ("fps", self.fps, MIN_FPS, MAX_FPS),
            ("guidance", self.guidance, 0, 10),
            ("steps", STEPS if self.steps is None else self.steps, 1, 1000),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, not from {low} to {high}")
        if self.sampler not in (*SAMPLERS, STUDENT):
            raise ValueError(f"no sampler is called {self.sampler!r}; there are {', '.join((*SAMPLERS, STUDENT))}")
        parse_schedule(self.schedule, [1.0])


@torch.inference_mode()
def generate(
    models: Models,
    config: GenerateConfig,
    reference: np.ndarray | None = None,
    *,
    callback: Callback | None = None,
) -> np.ndarray:
    """A clip, uint8 [T, 112, 112].

    ``reference``: an end-diastolic frame, float32 [112, 112] in 0…1; without it the image model makes one from the
    seed. ``callback`` may raise to stop. Raises ``ValueError`` on a reference of another size, or when the student is
    asked for and there is none.
    """
    noise_source = torch.Generator().manual_seed(config.seed)
    device = next(models.image.parameters()).device
    still = (
        encode_frames(models.autoencoder, reference[None])[0]
        if reference is not None
        else sample_reference(models, config, noise_source)
    ).to(device)
    latents = sample_clip(models, config, still, noise_source, callback=callback)
    return decode_latents(models.autoencoder, latents)[: config.frames]


@torch.inference_mode()
def sample_reference(models: Models, config: GenerateConfig, source: torch.Generator) -> Tensor:
    """The latent (16, 7, 7) of an end-diastolic frame by the image model."""
    device = next(models.image.parameters()).device
    noise = torch.randn(1, 1, CHANNELS, GRID, GRID, generator=source).to(device)
    condition = {
        "ef": torch.tensor([float("nan")], device=device),
        "phase": torch.zeros(1, 1, device=device),
        "fps": torch.full((1,), config.fps, device=device),
    }

    def denoise(state: Tensor, sigma: float, step: int) -> Tensor:
        return models.image(state, torch.full((1,), sigma, device=device), **condition)

    return SAMPLERS["dpm"](denoise, noise, sigmas(REFERENCE_STEPS))[0, 0]


@torch.inference_mode()
def sample_clip(
    models: Models,
    config: GenerateConfig,
    reference: Tensor,
    source: torch.Generator,
    *,
    callback: Callback | None = None,
) -> Tensor:
    """Latents (T, 16, 7, 7) of a clip with the reference latent (16, 7, 7); T is rounded up to whole spans.

    Raises ``ValueError`` when the student is asked for and there is none.
    """
    student = config.sampler == STUDENT
    if student and models.student is None:
        raise ValueError("there is no student among the models")
    video = models.student if student else models.video
    if student:
        config = replace(config, guidance=1.0)
    span = video.span if video else 1
    count = -(-config.frames // span) * span
    device = next(models.image.parameters()).device
    noise = torch.randn(count, CHANNELS, GRID, GRID, generator=source).to(device)
    levels = noise_levels(config, models.student_steps)
    letters = parse_schedule(config.schedule, levels[:-1].tolist())
    phase = config.start + torch.arange(count, device=device) * config.heart_rate / (60 * config.fps)

    def denoise(state: Tensor, sigma: float, step: int) -> Tensor:
        if video is None or letters[step] == IMAGE:
            return denoise_frames(models.image, state, sigma, config, phase)
        return denoise_windows(video, state, sigma, config, phase, reference)

    return SAMPLERS["ddim" if student else config.sampler](denoise, noise, levels, callback=callback)


def noise_levels(config: GenerateConfig, student_steps: int) -> Tensor:
    """The noise levels of a run, float64 (steps + 1,), the last 0."""
    if config.sampler == STUDENT:
        return student_levels(config.steps or student_steps)
    return sigmas(config.steps or STEPS)


def denoise_frames(image: Denoiser, state: Tensor, sigma: float, config: GenerateConfig, phase: Tensor) -> Tensor:
    """Every frame of ``state`` (T, 16, 7, 7) by itself."""
    n = len(state)
    return image(
        state[:, None],
        state.new_full((n,), sigma),
        ef=state.new_full((n,), config.ef),
        phase=phase[:, None],
        fps=state.new_full((n,), config.fps),
    )[:, 0]


def denoise_windows(
    video: Denoiser, state: Tensor, sigma: float, config: GenerateConfig, phase: Tensor, reference: Tensor
) -> Tensor:
    """All of ``state`` (T, 16, 7, 7) in windows that overlap by half, blended by hills where they do."""
    starts = window_starts(len(state), video.frames, video.span)
    hill = window_weights(video.frames, len(starts), blend=config.blend).to(state)
    total, weight = torch.zeros_like(state), state.new_zeros(len(state))
    for first in range(0, len(starts), AT_ONCE):
        chosen = starts[first : first + AT_ONCE]
        n = len(chosen)
        windows = torch.stack([state[start : start + video.frames] for start in chosen])
        shared = {
            "phase": torch.stack([phase[start : start + video.frames] for start in chosen]),
            "fps": state.new_full((n,), config.fps),
            "reference": reference.expand(n, -1, -1, -1),
        }
        level = state.new_full((n,), sigma)
        clean = video(windows, level, ef=state.new_full((n,), config.ef), **shared)
        if config.guidance != 1:
            free = video(windows, level, ef=state.new_full((n,), float("nan")), **shared)
            clean = guided(clean, free, config.guidance)
        for index, start in enumerate(chosen):
            place, by_frame = slice(start, start + video.frames), hill[first + index]
            total[place] += clean[index] * by_frame.view(-1, 1, 1, 1)
            weight[place] += by_frame
    return total / weight.view(-1, 1, 1, 1)


def window_starts(count: int, window: int, span: int) -> list[int]:
    """First frames of windows over ``count`` frames that overlap by half; the last ends with the clip."""
    if count <= window:
        return [0]
    step = max(span, window // 2 // span * span)
    return [*range(0, count - window, step), count - window]


def window_weights(window: int, count: int, *, blend: bool = True) -> Tensor:
    """Weights (count, window) of the frames of successive windows: hills, or none but for what is appended."""
    ramp = torch.arange(1, window + 1, dtype=torch.float32)
    hill = torch.minimum(ramp, ramp.flip(0)) if blend else (ramp > window // 2).float() + 1e-6
    weights = hill.repeat(count, 1)
    # Nothing overlaps the head of the first window and the tail of the last.
    weights[0, : window // 2] = hill.max()
    weights[-1, window // 2 :] = hill.max()
    return weights


@torch.inference_mode()
def encode_frames(autoencoder: Autoencoder, frames: np.ndarray, batch: int = 32) -> Tensor:
    """Latents (T, 16, 7, 7) on the CPU of frames float32 [T, 112, 112] in 0…1."""
    device = next(autoencoder.parameters()).device
    parts = torch.from_numpy(np.ascontiguousarray(frames, np.float32))[:, None].split(batch)
    return torch.cat([autoencoder.encode(part.to(device)).float().cpu() for part in parts])


@torch.inference_mode()
def decode_latents(autoencoder: Autoencoder, latents: Tensor, batch: int = 32) -> np.ndarray:
    """Frames uint8 [T, 112, 112] of latents (T, 16, 7, 7)."""
    device = next(autoencoder.parameters()).device
    parts = [autoencoder.decode(part.to(device)).float().cpu() for part in latents.split(batch)]
    return np.asarray((255 * torch.cat(parts)[:, 0].clamp(0, 1)).round().to(torch.uint8).numpy())


@torch.inference_mode()
def decode_preview(autoencoder: Autoencoder, latents: Tensor) -> np.ndarray:
    """Frames uint8 [T, 112, 112] by the linear part of the decoder, for while a clip is being made."""
    device = next(autoencoder.parameters()).device
    frames = autoencoder.preview(latents.to(device)).float().cpu()
    return np.asarray((255 * frames[:, 0]).round().to(torch.uint8).numpy())
