"""What made clips are good for: ejection fraction learned from them, tested on phantoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.echo.augment import augment
from models.echo.regressor import Regressor, estimate
from models.fitting import Optimisation, fit_batches

BATCH = 8


@dataclass(frozen=True)
class Lesson:
    """``clips`` to learn from, uint8 [N, 16, 112, 112], with the ``ef`` in % that each stands for; clips to test."""

    clips: np.ndarray
    ef: np.ndarray
    tested: np.ndarray
    fps: float
    minutes: float
    seed: int


def learn(lesson: Lesson) -> list[float]:
    """Ejection fractions in % that a network trained from chance on the lesson finds in its tested clips."""
    torch.set_num_threads(1)
    torch.manual_seed(lesson.seed)
    model = Regressor()

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        which = rng.integers(len(lesson.clips), size=BATCH)
        clips = np.stack([augment(lesson.clips[index], None, rng)[0][None] for index in which])
        return torch.from_numpy(clips), torch.from_numpy(lesson.ef[which].astype(np.float32))

    def loss_of(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return F.smooth_l1_loss(network(batch[0]) / 10, batch[1] / 10)

    fit_batches(model, batch_of, loss_of, Optimisation(), minutes=lesson.minutes, seed=lesson.seed)
    return [estimate(model, clip, lesson.fps).ef for clip in lesson.tested]
