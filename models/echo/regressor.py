"""A second opinion on the ejection fraction: a small network that looks at one second of a clip as a whole.

It takes 16 frames at 16 frames per second. Beside the ejection fraction it learns the volume in every frame, which
teaches it where to look. Its clip features are the encoder of our Fréchet distances between clips. Such a network can
be pleased by artefacts, so it stands beside the area-length meter, never in its place. Architecture: factorised
convolutions over space and time (after arXiv 1711.11248), sized for one core; our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FRAMES, FPS = 16, 16.0
"""What it takes: one second."""
FOLD = 4


class Regressor(nn.Module):
    """Clip → ejection fraction in %.

    ``widths``: channels at 28², 14², 7² pixels; ``depth``: blocks at each. All arguments are plain JSON values, kept in
    ``arguments``.
    """

    def __init__(self, widths: Sequence[int] = (32, 48, 64), depth: int = 1) -> None:
        super().__init__()
        self.arguments = {"widths": list(widths), "depth": depth}
        self.stem = nn.Conv2d(FOLD**2, widths[0], 3, padding=1)
        stages = []
        for index, width in enumerate(widths):
            down = [nn.Conv3d(widths[index - 1], width, (1, 2, 2), stride=(1, 2, 2))] if index else []
            stages.append(nn.Sequential(*down, *(Block(width) for _ in range(depth))))
        self.stages = nn.ModuleList(stages)
        last = widths[-1]
        self.over_time = nn.Sequential(
            nn.Conv1d(last, last, 3, padding=1), nn.SiLU(), nn.Conv1d(last, last, 3, padding=1), nn.SiLU()
        )
        self.volume = nn.Conv1d(last, 1, 1)
        self.head = nn.Sequential(nn.Linear(3 * last, last), nn.SiLU(), nn.Linear(last, 1))

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 1, 16, 112, 112) float32 in 0…1 → ejection fraction in %, (N,) float32.

        Raises ``ValueError`` on sides that are not divisible by 16.
        """
        return self.both(clips)[0]

    def both(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and the volume in every frame as a share of that at end-diastole, (N, T)."""
        moments = self._moments(clips)
        pooled = torch.cat([moments.mean(2), moments.amax(2), moments.amin(2)], 1)
        return 45 + 20 * self.head(pooled)[:, 0], 0.75 + self.volume(moments)[:, 0]

    def features(self, clips: Tensor) -> Tensor:
        """(N, 1, T, H, W) float32 in 0…1 → (N, 2 × last width): mean and spread over time of what it sees.

        The clip encoder of our Fréchet distances; longer clips than 16 frames are taken as well.
        """
        moments = self._moments(clips)
        return torch.cat([moments.mean(2), moments.std(2)], 1)

    def _moments(self, clips: Tensor) -> Tensor:
        """(N, last width, T)."""
        n, channels, t, h, w = clips.shape
        multiple = FOLD * 2 ** (len(self.stages) - 1)
        if channels != 1 or h % multiple or w % multiple:
            raise ValueError(f"clips are (N, 1, T, H, W) with sides divisible by {multiple}, not {tuple(clips.shape)}")
        mean = clips.mean((2, 3, 4), keepdim=True)
        spread = clips.std((2, 3, 4), keepdim=True)
        frames = ((clips - mean) / (spread + 0.02)).reshape(n * t, 1, h, w)
        features = self.stem(F.pixel_unshuffle(frames, FOLD))
        features = features.reshape(n, t, *features.shape[1:]).transpose(1, 2)
        for stage in self.stages:
            features = stage(features)
        return self.over_time(features.mean((3, 4)))


class Block(nn.Module):
    """A convolution over space, then one over time, around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.space = nn.Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1))
        self.norm2 = nn.BatchNorm3d(channels)
        self.time = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        nn.init.zeros_(self.time.weight)
        nn.init.constant_(self.time.get_parameter("bias"), 0.0)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, T, H, W) → the same shape."""
        inner = self.space(F.silu(self.norm1(features)))
        return features + self.time(F.silu(self.norm2(inner)))


@dataclass(frozen=True)
class Estimate:
    """``ef`` in %: the median over windows of one second, whose values are ``windows``. NaN and none when too short."""

    ef: float
    windows: tuple[float, ...]


def resample(frames: np.ndarray, fps: float, to: float = FPS) -> np.ndarray:
    """``frames`` [T, …] of any number type at ``fps``, linearly interpolated in time to rate ``to``; dtype is kept.

    Raises ``ValueError`` when there are no frames or a rate is not above zero.
    """
    if not (0 < fps < np.inf and 0 < to < np.inf) or not len(frames):
        raise ValueError("resampling needs frames and rates above zero")
    count = int(np.floor((len(frames) - 1) * to / fps + 1e-6)) + 1
    place = np.minimum(np.arange(count) * fps / to, len(frames) - 1)
    first = np.floor(place + 1e-6).astype(int)
    after = np.minimum(first + 1, len(frames) - 1)
    weight = np.clip(place - first, 0, 1).reshape(-1, *[1] * (frames.ndim - 1))
    mixed = frames[first] * (1 - weight) + frames[after] * weight
    return np.asarray(np.round(mixed) if np.issubdtype(frames.dtype, np.integer) else mixed).astype(frames.dtype)


def windows_of(count: int, length: int = FRAMES) -> list[int]:
    """Starts of windows of ``length`` in ``count`` frames, overlapping by half, the last one flush with the end."""
    if count < length:
        return []
    return sorted({*range(0, count - length + 1, length // 2), count - length})


@torch.inference_mode()
def estimate(model: Regressor, frames: np.ndarray, fps: float, *, batch: int = 8) -> Estimate:
    """Ejection fraction of ``frames``, uint8 [T, 112, 112] at ``fps``. A clip shorter than a second gives NaN.

    Raises ``ValueError`` on frames of another kind.
    """
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype != np.uint8:
        raise ValueError(f"a clip is uint8 [T, H, W], not {frames.dtype} {frames.shape}")
    frames = resample(frames, fps)
    starts = windows_of(len(frames))
    if not starts:
        return Estimate(float("nan"), ())
    weight = next(model.parameters())
    training = model.training
    model.eval()
    found: list[float] = []
    try:
        for first in range(0, len(starts), batch):
            stack = np.stack([frames[start : start + FRAMES] for start in starts[first : first + batch]])
            clips = torch.from_numpy(stack[:, None]).to(weight.device).to(weight.dtype) / 255
            found.extend(model(clips).float().cpu().tolist())
    finally:
        model.train(training)
    return Estimate(float(np.median(found)), tuple(found))
