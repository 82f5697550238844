"""The plain way to sample with diffusers: ``python echo_peer.py AUTOENCODER IMAGE VIDEO ASKED.json OUT.npz``.

Runs in the peers' own environment on the same weights: diffusers' scheduler of the same noise levels with as many steps
as its pipelines take by default, guidance by a batch of two, one window after the other, and second halves appended, as
the released code does. Prints seconds a clip as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import EDMEulerScheduler
from safetensors.torch import load_file
from torch import Tensor

from models.echo.autoencoder import Autoencoder
from models.echo.denoiser import Denoiser

STEPS = 50


def load(kind: type, folder: str) -> Any:
    """A network from a folder of weights."""
    config = json.loads((Path(folder) / "config.json").read_text())
    model = kind(**config["arguments"])
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval()


@torch.inference_mode()
def sample(model: Denoiser, noise: Tensor, conditions: dict[str, Tensor], guidance: float) -> Tensor:
    """Latents (1, T, 16, 7, 7) of one window."""
    scheduler = EDMEulerScheduler(sigma_min=0.01, sigma_max=80.0, sigma_data=model.spread)
    scheduler.set_timesteps(STEPS)
    latents = noise * 80.0
    still = conditions.get("reference")
    offset = still[:1, None] if still is not None else 0
    for index, timestep in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[index].expand(2)
        doubled = torch.cat([latents + offset] * 2)
        clean = model(doubled, sigma, **conditions) - offset
        free, asked = clean.chunk(2)
        clean = free + guidance * (asked - free)
        # The scheduler takes what the network inside the preconditioning said.
        level, spread = float(scheduler.sigmas[index]), model.spread
        total = (level**2 + spread**2) ** 0.5
        scheduler.scale_model_input(latents, timestep)
        inner = (clean - latents * (spread / total) ** 2) / (level * spread / total)
        latents = scheduler.step(inner, timestep, latents).prev_sample
    return latents + offset


@torch.inference_mode()
def make(nets: tuple[Autoencoder, Denoiser, Denoiser], asked: dict[str, Any]) -> np.ndarray:
    """A clip, uint8 [T, 112, 112]."""
    autoencoder, image, video = nets
    source = torch.Generator().manual_seed(asked["seed"])
    fps = torch.full((2,), asked["fps"])
    noise = torch.randn(1, 1, 16, 7, 7, generator=source)
    free = {"ef": torch.full((2,), float("nan")), "phase": torch.zeros(2, 1), "fps": fps}
    still = sample(image, noise, free, 1.0)[0]
    phase = asked["start"] + torch.arange(asked["frames"]) * asked["heart_rate"] / (60 * asked["fps"])
    ef = torch.tensor([float("nan"), asked["ef"]])
    kept = []
    for first in range(0, asked["frames"] - video.frames + 1, video.frames // 2):
        noise = torch.randn(1, video.frames, 16, 7, 7, generator=source)
        when = phase[first : first + video.frames].expand(2, -1)
        conditions = {"ef": ef, "phase": when, "fps": fps, "reference": still.expand(2, -1, -1, -1)}
        window = sample(video, noise, conditions, asked["guidance"])[0]
        kept.append(window if first == 0 else window[video.frames // 2 :])
    frames = autoencoder.decode(torch.cat(kept))[:, 0]
    return (255 * frames.clamp(0, 1)).round().to(torch.uint8).numpy()


def main() -> None:
    """See the module's docstring."""
    autoencoder, image, video, wishes, out = sys.argv[1:]
    nets = (load(Autoencoder, autoencoder), load(Denoiser, image), load(Denoiser, video))
    clips, seconds = [], []
    for asked in json.loads(Path(wishes).read_text()):
        start = time.perf_counter()
        clips.append(make(nets, asked))
        seconds.append(time.perf_counter() - start)
    np.savez(out, clips=np.stack(clips))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
