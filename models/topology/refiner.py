"""The refiner: a small residual U-Net from a (damaged) mask or probability map to logits of the repaired one.

The image is never seen, so one refiner serves every modality. The input is folded into half-resolution channels first
(space to depth), which quarters the cost and doubles the field of view; the output is unfolded the same way, so no
detail is lost. The output is the input's own logit plus a learned correction: an untrained refiner changes nothing.
Source of the idea: arXiv 2409.09796; folding, residual and normalisation are our choice, for speed on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOGIT_LIMIT = 4.0


class Refiner(nn.Module):
    """U-Net over masks.

    ``dimensions``: 2 or 3. ``widths``: channels at each resolution, coarsening by 2; each divisible by ``groups``.
    ``fold``: side of the pixel blocks that become channels. All arguments are plain JSON values.
    """

    def __init__(
        self,
        dimensions: int = 2,
        widths: Sequence[int] = (32, 48, 64, 96),
        fold: int = 2,
        groups: int = 8,
    ) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise ValueError(f"a refiner works in 2 or 3 dimensions, not {dimensions}")
        self.arguments = {"dimensions": dimensions, "widths": list(widths), "fold": fold, "groups": groups}
        self.dimensions, self.fold = dimensions, fold
        conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        channels = fold**dimensions
        self.stem = conv(2 * channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.encoder = nn.ModuleList([Block(dimensions, widths[0], widths[0], groups)])
        for narrow, wide in pairwise(widths):
            self.down.append(conv(narrow, wide, 2, stride=2))
            self.encoder.append(Block(dimensions, wide, wide, groups))
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for narrow, wide in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True):
            self.up.append(conv(wide, narrow, 1))
            self.decoder.append(Block(dimensions, narrow, narrow, groups))
        self.head = conv(widths[0], channels, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.get_parameter("bias"), 0.0)

    @property
    def multiple(self) -> int:
        """Sides of the input must be divisible by this."""
        return self.fold * 2 ** len(self.down)

    def forward(self, probability: Tensor) -> Tensor:
        """(N, 1, H, W) or (N, 1, D, H, W) float in 0…1 → logits of the same shape.

        Raises ``ValueError`` when a side is not divisible by :attr:`multiple`.
        """
        if any(side % self.multiple for side in probability.shape[2:]):
            raise ValueError(f"sides must be divisible by {self.multiple}, not {tuple(probability.shape[2:])}")
        prior = torch.logit(probability.clamp(1e-6, 1 - 1e-6)).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        # Two views of the input: the hard mask, and how sure it is.
        features = torch.cat([fold(probability - 0.5, self.fold), fold(prior / LOGIT_LIMIT, self.fold)], 1)
        features = self.stem(features)
        kept = []
        for index, block in enumerate(self.encoder):
            features = block(features if index == 0 else self.down[index - 1](features))
            kept.append(features)
        for up, block in zip(self.up, self.decoder, strict=True):
            kept.pop()
            features = block(F.interpolate(up(features), scale_factor=2.0, mode="nearest") + kept[-1])
        return self.scale * prior + unfold(self.head(features), self.fold)


class Block(nn.Module):
    """Two normalised convolutions around a shortcut."""

    def __init__(self, dimensions: int, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.norm1 = nn.GroupNorm(groups, channels_in)
        self.conv1 = conv(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels_out)
        self.conv2 = conv(channels_out, channels_out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.constant_(self.conv2.get_parameter("bias"), 0.0)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, …) → (N, C, …), same sides."""
        inner = self.conv1(F.silu(self.norm1(features)))
        return features + self.conv2(F.silu(self.norm2(inner)))


def fold(image: Tensor, side: int) -> Tensor:
    """Space to depth: (N, C, …) → (N, C·sideᵈ, …/side), for d = 2 or 3."""
    if image.ndim == 4:
        return F.pixel_unshuffle(image, side)
    n, c, d, h, w = image.shape
    image = image.reshape(n, c, d // side, side, h // side, side, w // side, side)
    return image.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * side**3, d // side, h // side, w // side)


def unfold(image: Tensor, side: int) -> Tensor:
    """Depth to space: the inverse of :func:`fold`."""
    if image.ndim == 4:
        return F.pixel_shuffle(image, side)
    n, c, d, h, w = image.shape
    image = image.reshape(n, c // side**3, side, side, side, d, h, w)
    return image.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // side**3, d * side, h * side, w * side)
