"""The autoencoder: a frame of 112×112 pixels in 784 numbers and back.

It begins as the best linear code of its size, principal components of 16×16 patches, and learns what the linear code
misses: both ends add a convolutional correction that is nought at first. 7×7×16 numbers are as many as the 14×14×4 of
the published f8 autoencoder; with components as the start, the coarser grid measured better (our choice).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 112
PATCH = 16
GRID = SIDE // PATCH
CHANNELS = 16
"""Numbers a patch: a frame is :data:`CHANNELS` × :data:`GRID` × :data:`GRID`."""


class Autoencoder(nn.Module):
    """Frames to latents and back. ``widths``: channels at 28², 14² and 7²; ``fine``: channels at 56², decoder only.

    ``blocks``: residual blocks at each resolution. All arguments are plain JSON values and kept in ``arguments``.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, widths: Sequence[int] = (64, 112, 160), fine: int = 32, blocks: int = 2) -> None:
        super().__init__()
        self.arguments = {"widths": list(widths), "fine": fine, "blocks": blocks}
        self.analysis = nn.Conv2d(1, CHANNELS, PATCH, stride=PATCH)
        self.synthesis = nn.ConvTranspose2d(CHANNELS, 1, PATCH, stride=PATCH, bias=False)
        self.middle = nn.Parameter(torch.zeros(1, 1, PATCH, PATCH))
        down: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(16, widths[0], 3, padding=1)]
        for narrow, wide in pairwise(widths):
            down += [*_blocks(narrow, blocks), nn.Conv2d(narrow, wide, 2, stride=2)]
        self.encoder = nn.Sequential(*down, *_blocks(widths[-1], blocks), _zero(nn.Conv2d(widths[-1], CHANNELS, 1)))
        up: list[nn.Module] = [nn.Conv2d(CHANNELS, widths[-1], 3, padding=1), *_blocks(widths[-1], blocks)]
        for wide, narrow in pairwise([*reversed(widths), fine]):
            up += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2), *_blocks(narrow, blocks)]
        self.decoder = nn.Sequential(*up, _zero(nn.Conv2d(fine, 4, 3, padding=1)), nn.PixelShuffle(2))
        self.register_buffer("latent_mean", torch.zeros(CHANNELS))
        self.register_buffer("latent_std", torch.ones(CHANNELS))

    def encode(self, frames: Tensor) -> Tensor:
        """(N, 1, 112, 112) float32 in 0…1 → (N, 16, 7, 7), of zero mean and unit variance over the training frames.

        Raises ``ValueError`` for another size.
        """
        if tuple(frames.shape[1:]) != (1, SIDE, SIDE):
            raise ValueError(f"frames are 1×{SIDE}×{SIDE}, not {tuple(frames.shape[1:])}")
        latents = self.analysis(frames) + self.encoder(frames)
        normalised: Tensor = (latents - self.latent_mean.view(1, -1, 1, 1)) / self.latent_std.view(1, -1, 1, 1)
        return normalised

    def decode(self, latents: Tensor) -> Tensor:
        """(N, 16, 7, 7) → (N, 1, 112, 112) float32, not clipped: values a little outside 0…1 occur."""
        raw = latents * self.latent_std.view(1, -1, 1, 1) + self.latent_mean.view(1, -1, 1, 1)
        return self._linear(raw) + self.decoder(raw)

    def preview(self, latents: Tensor) -> Tensor:
        """The linear part of :meth:`decode`, for pictures while something is still being made."""
        raw = latents * self.latent_std.view(1, -1, 1, 1) + self.latent_mean.view(1, -1, 1, 1)
        return self._linear(raw).clamp(0, 1)

    def _linear(self, raw: Tensor) -> Tensor:
        frames: Tensor = self.synthesis(raw) + self.middle.repeat(1, 1, GRID, GRID)
        return frames

    @torch.no_grad()
    def start_from_components(self, frames: np.ndarray) -> None:
        """Set the linear parts to the principal components of the patches of ``frames``, float32 (N, 112, 112)."""
        mean, components = principal_components(frames)
        basis = torch.from_numpy(components).view(CHANNELS, 1, PATCH, PATCH)
        middle = torch.from_numpy(mean)
        self.analysis.weight.copy_(basis)
        self.analysis.get_parameter("bias").copy_(-(basis.flatten(1) @ middle))
        self.synthesis.weight.copy_(basis)
        self.middle.copy_(middle.view(1, 1, PATCH, PATCH))

    @torch.no_grad()
    def normalise(self, frames: Tensor, batch: int = 64) -> None:
        """Set mean and deviation of the latents to those of ``frames`` (N, 1, 112, 112)."""
        self.latent_mean.zero_()
        self.latent_std.fill_(1)
        latents = torch.cat([self.encode(part) for part in frames.split(batch)])
        self.latent_mean.copy_(latents.mean((0, 2, 3)))
        self.latent_std.copy_(latents.std((0, 2, 3)).clamp_min(1e-6))


def principal_components(
    frames: np.ndarray, patch: int = PATCH, count: int = CHANNELS
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (patch²,) and ``count`` principal components (count, patch²) of the patches of ``frames`` (N, H, W).

    Float32. The best linear code with ``count`` numbers a patch.
    """
    patches = to_patches(frames, patch)
    mean = patches.mean(0)
    centred = (patches - mean).astype(np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :count].T, np.float32)


def linear_round_trip(frames: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """``frames`` (N, H, W) coded by components and decoded again, float32 of the same shape."""
    side = round(len(mean) ** 0.5)
    patches = to_patches(frames, side) - mean
    coded = (patches @ components.T) @ components + mean
    n, height, width = frames.shape
    grid = coded.reshape(n, height // side, width // side, side, side)
    return np.ascontiguousarray(grid.transpose(0, 1, 3, 2, 4).reshape(n, height, width), np.float32)


def to_patches(frames: np.ndarray, side: int) -> np.ndarray:
    """(N, H, W) → (N·H/side·W/side, side²) float32."""
    n, height, width = frames.shape
    grid = np.asarray(frames, np.float32).reshape(n, height // side, side, width // side, side)
    return grid.transpose(0, 1, 3, 2, 4).reshape(-1, side * side)


class _Block(nn.Module):
    """Two convolutions around a shortcut, nought at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = _zero(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        inner: Tensor = self.second(F.silu(self.first(F.silu(features))))
        return features + inner


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [_Block(channels) for _ in range(count)]


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer
