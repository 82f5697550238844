"""The denoisers of echo latents: one for single frames (LIDM), one for clips (LVDM), of the same build.

A transformer over space-time patches: every token holds the same place of ``span`` successive frames, and all tokens of
a window see each other. Attention over both space and time at once trained several times faster than taking turns, at
the same size. Both work on one state y = z + σ·n (:mod:`models.diffusion.edm`), so that they can take turns (JVID): the
video model denoises the difference to the latent of a reference frame, which shares σ. Conditions: ejection fraction,
the phase of every frame in its beat (so heart rate is under control), the frame rate. Departure from the released code,
which conditions on the ejection fraction alone and never drops it: here it is dropped in training, so guidance works.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.diffusion.edm import precondition
from models.echo.autoencoder import CHANNELS, GRID

HARMONICS = 3
BANDS = 16
MIN_FPS, MAX_FPS = 12.0, 36.0
"""Frame rates that the models are trained for."""


class Denoiser(nn.Module):
    """x₀ from a noisy window of latents.

    ``frames``: length of a window; ``span``: frames a token; ``reference``: whether the latent of an end-diastolic
    frame is given and the difference to it denoised; ``width``, ``depth``, ``heads``: size of the transformer;
    ``spread``: standard deviation of what is denoised. All arguments are plain JSON values, kept in ``arguments``.
    """

    def __init__(
        self,
        frames: int = 16,
        span: int = 4,
        reference: bool = True,
        width: int = 192,
        depth: int = 8,
        heads: int = 4,
        spread: float = 0.7,
    ) -> None:
        super().__init__()
        if frames % span or width % heads:
            raise ValueError(f"{frames} frames in spans of {span}, width {width} in {heads} heads")
        self.arguments = {
            "frames": frames,
            "span": span,
            "reference": reference,
            "width": width,
            "depth": depth,
            "heads": heads,
            "spread": spread,
        }
        self.frames, self.span, self.reference, self.spread = frames, span, reference, spread
        patch = CHANNELS * span
        self.enter = nn.Linear(patch + (CHANNELS if reference else 0), width)
        self.place = nn.Parameter(0.02 * torch.randn(1, 1, GRID * GRID, width))
        self.moment = nn.Parameter(0.02 * torch.randn(1, frames // span, 1, width))
        self.phase = nn.Linear(2 * HARMONICS * span, width)
        self.noise = nn.Sequential(nn.Linear(2 * BANDS, width), nn.SiLU(), nn.Linear(width, width))
        self.ejection = nn.Sequential(nn.Linear(2 * BANDS, width), nn.SiLU(), nn.Linear(width, width))
        self.no_ejection = nn.Parameter(torch.zeros(width))
        self.no_phase = nn.Parameter(torch.zeros(width))
        self.rate = nn.Linear(1, width)
        # One modulation for all blocks, to which each adds its own constants: it saves a third of the weights.
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.leave = nn.Linear(width, patch)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        state: Tensor,
        sigma: Tensor,
        *,
        ef: Tensor,
        phase: Tensor,
        fps: Tensor,
        reference: Tensor | None = None,
    ) -> Tensor:
        """Denoised latents (N, T, 16, 7, 7), T = ``frames``, from ``state`` of the same shape at ``sigma`` (N,).

        ``ef`` (N,) in %, NaN where none is asked for; ``phase`` (N, T) in beats, whole numbers at end-diastole, NaN
        where it is free; ``fps`` (N,); ``reference`` (N, 16, 7, 7). Raises ``ValueError`` when a reference is missing,
        superfluous or the window has another length.
        """
        if (reference is not None) != self.reference or state.shape[1] != self.frames:
            raise ValueError("the window's length or the reference does not fit this denoiser")
        offset = 0 if reference is None else reference[:, None]

        def network(scaled: Tensor, level: Tensor) -> Tensor:
            return self._network(scaled, level, ef, phase, fps, reference)

        return precondition(network, state - offset, sigma, self.spread) + offset

    def _network(
        self, scaled: Tensor, level: Tensor, ef: Tensor, phase: Tensor, fps: Tensor, reference: Tensor | None
    ) -> Tensor:
        n, t = scaled.shape[:2]
        steps, cells = t // self.span, GRID * GRID
        patches = scaled.reshape(n, steps, self.span * CHANNELS, cells).transpose(2, 3)
        if reference is not None:
            still = reference.reshape(n, 1, CHANNELS, cells).transpose(2, 3).expand(-1, steps, -1, -1)
            patches = torch.cat([patches, still], -1)
        known = ~torch.isnan(phase).any(1)
        turns = 2 * math.pi * torch.nan_to_num(phase)[..., None] * torch.arange(1, HARMONICS + 1, device=phase.device)
        when = self.phase(torch.cat([turns.cos(), turns.sin()], -1).reshape(n, steps, -1).to(scaled.dtype))
        when = torch.where(known.view(-1, 1, 1), when, self.no_phase)
        tokens = self.enter(patches) + self.place + self.moment + when[:, :, None]
        tokens = tokens.reshape(n, steps * cells, -1)
        asked = ~torch.isnan(ef)
        ejection = self.ejection(waves(torch.nan_to_num(ef) / 100).to(scaled.dtype))
        condition = self.noise(waves(level).to(scaled.dtype)) + self.rate((fps / 16).log()[:, None].to(scaled.dtype))
        condition = condition + torch.where(asked[:, None], ejection, self.no_ejection)
        modulation = self.modulation(condition).view(n, 6, 1, -1)
        for block in self.blocks:
            tokens = block(tokens, modulation)
        out = self.leave(self.norm(tokens)).reshape(n, steps, cells, self.span * CHANNELS)
        return out.transpose(2, 3).reshape(scaled.shape)


class Block(nn.Module):
    """Attention over all tokens and a two-layer perceptron, each scaled, shifted and gated by the condition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.own = nn.Parameter(torch.cat([torch.zeros(2, 1, width), 0.1 * torch.ones(1, 1, width)]).repeat(2, 1, 1))
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, modulation: Tensor) -> Tensor:
        """(N, L, width), (N, 6, 1, width) → (N, L, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.own).unbind(1)
        n, length, width = tokens.shape
        heads = self.mix(self.norm(tokens) * (1 + scale1) + shift1).view(n, length, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, length, width)
        tokens = tokens + gate1 * self.out(seen)
        inner = F.gelu(self.wide(self.norm(tokens) * (1 + scale2) + shift2), approximate="tanh")
        result: Tensor = tokens + gate2 * self.narrow(inner)
        return result


def waves(value: Tensor) -> Tensor:
    """(N,) about −1…1 → (N, 2·:data:`BANDS`) float32: sines and cosines from an eighth of a turn to 64 turns."""
    rates = 2 * math.pi * torch.logspace(-3, 6, BANDS, base=2.0, device=value.device)
    turns = value.float()[:, None] * rates
    return torch.cat([turns.cos(), turns.sin()], -1)
