"""Clips for the benchmark of the echo generator: asked for, drawn as phantoms or made by the networks, on all cores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from types import TracebackType

import numpy as np
import torch
from torch import nn

from backend.errors import UserError
from backend.settings import get_settings
from backend.weights import Weights
from models.echo.autoencoder import Autoencoder
from models.echo.denoiser import Denoiser
from models.echo.generate import GenerateConfig, Models, generate
from models.echo.meter import Meter
from models.echo.regressor import Regressor, resample
from models.phantoms.echo import clip

STUDENT = "echo/student"
WEIGHTS: dict[str, type[nn.Module]] = {
    "echo/autoencoder": Autoencoder,
    "echo/image": Denoiser,
    "echo/video": Denoiser,
    STUDENT: Denoiser,
    "echo/meter2d": Meter,
    "echo/regressor": Regressor,
}
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Asked:
    """A clip to be had: a phantom of patient ``seed``, or one made from that seed with the same wishes."""

    seed: int
    ef: float
    heart_rate: float
    start: float
    frames: int
    fps: float


def asked(first: int, count: int, frames: int, fps: float) -> list[Asked]:
    """``count`` wishes: EF evenly over 10–80 % in a shuffled order, heart rate 50–110, any phase to begin with."""
    made = []
    for index in range(count):
        rng = np.random.default_rng([first, index])
        ef = 10 + 70 * ((index * GOLDEN) % 1)
        made.append(Asked(first + index, ef, float(rng.uniform(50, 110)), float(rng.random()), frames, fps))
    return made


@dataclass(frozen=True)
class How:
    """How networks make a clip; see :class:`models.echo.generate.GenerateConfig`."""

    schedule: str
    steps: int | None
    guidance: float
    sampler: str = "dpm"
    blend: bool = True


class Cores:
    """A process for every core, with one thread each, that draws phantoms and makes clips in the order asked."""

    def __enter__(self) -> Cores:
        """Start them."""
        self._pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=_one_thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """Stop them."""
        self._pool.shutdown(cancel_futures=True)

    def drawn(self, wishes: Iterable[Asked]) -> list[np.ndarray]:
        """Phantoms, uint8 [T, 112, 112]."""
        return list(self._pool.map(draw, wishes, chunksize=4))

    def made(self, wishes: Iterable[Asked], how: How) -> list[np.ndarray]:
        """Clips made by the shipped networks, uint8 [T, 112, 112]."""
        return list(self._pool.map(partial(make, how=how), wishes, chunksize=2))

    @property
    def pool(self) -> ProcessPoolExecutor:
        """For other work."""
        return self._pool


def draw(wish: Asked) -> np.ndarray:
    """The phantom of a wish."""
    return clip(
        wish.seed, ef=wish.ef, heart_rate=wish.heart_rate, frames=wish.frames, fps=wish.fps, start=wish.start
    ).frames


def make(wish: Asked, how: How) -> np.ndarray:
    """The clip that the networks make of a wish; LIDM makes the reference frame."""
    config = GenerateConfig(
        ef=wish.ef,
        heart_rate=wish.heart_rate,
        frames=wish.frames,
        fps=wish.fps,
        start=wish.start,
        seed=wish.seed,
        guidance=how.guidance,
        steps=how.steps,
        sampler=how.sampler,
        schedule=how.schedule,
        blend=how.blend,
    )
    return generate(networks(), config)


@cache
def networks() -> Models:
    """The shipped generator, with its few-step student where there is one."""
    models = Models(network("echo/autoencoder"), network("echo/image"), network("echo/video"))
    if not has_student():
        return models
    steps = int(Weights(get_settings()).find(STUDENT).config["steps"])
    return replace(models, student=network(STUDENT), student_steps=steps)


def has_student() -> bool:
    """Whether a student of the video model is installed."""
    try:
        Weights(get_settings()).find(STUDENT)
    except UserError:
        return False
    return True


@cache
def network(name: str) -> nn.Module:
    """Shipped weights by name, on the CPU. Raises ``UserError`` where there are none."""
    kind = WEIGHTS[name]
    return Weights(get_settings()).load(name, lambda config: kind(**config["arguments"]), device="cpu")


@torch.inference_mode()
def frame_features(clips: Sequence[np.ndarray], every: int = 2) -> np.ndarray:
    """What the meter's encoder sees in every second frame of each clip, float32 [clips, frames, 96]."""
    meter = network("echo/meter2d")
    return np.stack(
        [meter.features(torch.from_numpy(one[::every, None]).float() / 255).numpy() for one in clips]  # type: ignore[operator]
    )


@torch.inference_mode()
def clip_features(clips: Sequence[np.ndarray], fps: float) -> np.ndarray:
    """What the regressor's encoder sees in each clip at its own 16 frames a second, float32 [clips, 128]."""
    regressor = network("echo/regressor")
    found = []
    for one in clips:
        frames = torch.from_numpy(resample(one, fps)[None, None]).float() / 255
        found.append(regressor.features(frames).numpy()[0])  # type: ignore[operator]
    return np.stack(found)


def _one_thread() -> None:
    torch.set_num_threads(1)
