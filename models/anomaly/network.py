"""The network that restores windows of a brain slice, and two that it is compared with, on blocks of diffusers.

``restorer``: the U-Net of the paper; it is told how severe a corruption may be and predicts what to take away, so that
it begins as the identity and leaves noise and fine detail alone where nothing is wrong; the loss on x₀ is the same.
``ddpm``: the same trunk as a denoiser of Gaussian noise (as AnoDDPM, with Gaussian in place of simplex noise).
``autoencoder``: encoder and decoder with a narrow middle and nothing that leads around it.

Importing this module does not import diffusers; making a network does.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.anomaly.degree import severities
from models.anomaly.restore import Restore
from models.diffusion.edm import precondition, sample_ddim, sigmas

Kind = Literal["restorer", "ddpm", "autoencoder"]
KINDS: tuple[Kind, ...] = ("restorer", "ddpm", "autoencoder")
SEQUENCES = ("unknown", "t1", "t2", "flair")
"""What a network may be told that it sees; the index is the number it is told."""
UNKNOWN = 0
SPREAD = 0.3
"""Root mean square of windows in 0…1, with their background of 0: what the denoiser takes for unit variance."""
LOWEST_SIGMA = 0.004
"""One step of 8-bit grey: below it there is no noise to tell."""

SMALL: dict[str, Any] = {"widths": (32, 32, 64, 128), "layers": 1, "patch": 2}
"""For two cores, which ships: 0.73 billion multiplications a window of 128²."""
LARGE: dict[str, Any] = {"widths": (64, 128, 256, 256, 256), "layers": 2, "patch": 1}
"""For a GPU: the widths of the paper, doubled."""
SIZES = {"small": SMALL, "large": LARGE}


class Restorer(nn.Module):
    """Windows (N, 1 + 2·neighbours, W, W) in 0…1, steps (N,), sequences (N,) → middle slice as healthy, (N, 1, W, W).

    ``kind``: one of :data:`KINDS`; ``widths``: channels of every level, each half as fine as the last; ``layers``: its
    blocks; ``patch``: pixels on a side that become one place of the first level; ``neighbours``: slices on
    either side that are also seen; ``attention``: whether the middle attends to itself (the autoencoder's never does);
    ``code``: channels of the autoencoder's middle. W must be divisible by :attr:`factor`. The answer is not clipped.
    Raises ``ValueError`` for a kind that is not known, or neighbours of one that sees a single slice.
    """

    def __init__(
        self,
        kind: Kind = "restorer",
        widths: tuple[int, ...] = SMALL["widths"],
        layers: int = SMALL["layers"],
        patch: int = SMALL["patch"],
        neighbours: int = 0,
        attention: bool = True,
        code: int = 8,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"a network is one of {', '.join(KINDS)}, not {kind!r}")
        if neighbours and kind != "restorer":
            raise ValueError(f"the {kind} sees single slices only")
        self.arguments: dict[str, Any] = {
            "kind": kind,
            "widths": list(widths),
            "layers": layers,
            "patch": patch,
            "neighbours": neighbours,
            "attention": attention,
            "code": code,
        }
        self.kind, self.patch, self.neighbours = kind, patch, neighbours
        ins, outs = (1 + 2 * neighbours) * patch**2, patch**2
        make = _autoencoder if kind == "autoencoder" else _unet
        self.trunk = make(ins, outs, tuple(widths), layers, attention, code)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def factor(self) -> int:
        """What the sides of a window must be divisible by."""
        return int(self.patch * 2 ** (len(self.arguments["widths"]) - 1))

    def forward(self, windows: Tensor, step: Tensor, sequence: Tensor) -> Tensor:
        """The middle slice as healthy. ``step`` 0…99, see :mod:`models.anomaly.degree`; ``sequence``: index, see above.

        The denoiser takes windows with noise of :func:`noise_of` its steps; the autoencoder heeds neither number.
        """
        if self.kind == "ddpm":
            return self.denoise(windows, noise_of(step), sequence)
        if self.kind == "autoencoder":
            return self._trunk(windows, step, sequence)
        middle = windows[:, self.neighbours : self.neighbours + 1]
        return middle + self._trunk(windows, step, sequence)

    def denoise(self, noisy: Tensor, sigma: Tensor, sequence: Tensor) -> Tensor:
        """What a denoiser sees in ``noisy`` (N, 1, W, W) at noise of standard deviation ``sigma`` (N,)."""
        return precondition(lambda scaled, level: self._trunk(scaled, 100 * level, sequence), noisy, sigma, SPREAD)

    def _trunk(self, windows: Tensor, step: Tensor, sequence: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(windows, self.patch) if self.patch > 1 else windows
        folded = folded.contiguous(memory_format=torch.channels_last)
        if self.kind == "autoencoder":
            found = self.trunk(folded)
        else:
            found = self.trunk(folded, step, class_labels=sequence).sample
        return functional.pixel_shuffle(found, self.patch) if self.patch > 1 else found


def noise_of(step: Tensor) -> Tensor:
    """Standard deviation of the noise, float32 (N,) in grey values, that a denoiser restores from at ``step`` (N,).

    Our choice: the severity itself, so that the ensembles of both span the same scale.
    """
    scale = torch.from_numpy(severities().copy()).to(step.device, torch.float32)
    return scale[step].clamp(min=LOWEST_SIGMA)


def restoring(model: Restorer, sequence: str = "unknown", *, noise_steps: int = 5, seed: int = 0) -> Restore:
    """``model`` as what :func:`models.anomaly.restore.restore_volume` calls, for one of :data:`SEQUENCES`.

    A denoiser gets every window with noise of its step and walks back in ``noise_steps`` steps; the noise comes from
    ``seed`` and is the same for all windows of a call's place. Raises ``ValueError`` for a sequence not known.
    """
    if sequence not in SEQUENCES:
        raise ValueError(f"a sequence is one of {', '.join(SEQUENCES)}, not {sequence!r}")
    number = SEQUENCES.index(sequence)

    def restore(windows: Tensor, step: Tensor) -> Tensor:
        kinds = torch.full((len(windows),), number, device=windows.device)
        if model.kind != "ddpm":
            found: Tensor = model(windows, step, kinds)
            return found
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(windows.shape, generator=generator).to(windows.device)
        found = torch.empty_like(windows)
        sigma = noise_of(step)
        for level in sigma.unique().tolist():
            chosen = sigma == level
            found[chosen] = _walk_back(model, windows[chosen], noise[chosen], level, kinds[chosen], noise_steps)
        return found

    return restore


def _walk_back(model: Restorer, windows: Tensor, noise: Tensor, sigma: float, kinds: Tensor, steps: int) -> Tensor:
    levels = torch.tensor([sigma, 0.0])
    if steps > 1 and sigma > LOWEST_SIGMA:
        levels = sigmas(steps, low=LOWEST_SIGMA, high=sigma)

    def denoise(state: Tensor, now: float, index: int) -> Tensor:
        return model.denoise(state, torch.full((len(state),), now, device=state.device), kinds)

    return sample_ddim(denoise, noise + windows / sigma, levels)


def _unet(ins: int, outs: int, widths: tuple[int, ...], layers: int, attention: bool, code: int) -> nn.Module:
    from diffusers import UNet2DModel

    made: Any = UNet2DModel(
        in_channels=ins,
        out_channels=outs,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        layers_per_block=layers,
        norm_num_groups=8,
        attention_head_dim=min(32, widths[-1]),
        add_attention=attention,
        num_class_embeds=len(SEQUENCES),
    )
    nn.init.zeros_(made.conv_out.weight)
    nn.init.zeros_(made.conv_out.bias)
    trunk: nn.Module = made
    return trunk


def _autoencoder(ins: int, outs: int, widths: tuple[int, ...], layers: int, attention: bool, code: int) -> nn.Module:
    from diffusers.models.autoencoders.vae import Decoder, Encoder

    shared: dict[str, Any] = {
        "block_out_channels": widths,
        "layers_per_block": layers,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
    }
    encoder = Encoder(ins, code, ("DownEncoderBlock2D",) * len(widths), double_z=False, **shared)
    return nn.Sequential(encoder, Decoder(code, outs, ("UpDecoderBlock2D",) * len(widths), **shared))
