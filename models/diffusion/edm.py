"""One state for every model: y = x + σ·n, with n standard normal.

A model that predicts noise, v or the clean signal under its own schedule says the same thing in this form, so models
can take turns on one state, and a model of a difference x − r can work on the state of x: it is given y − r and its
answer gets r added, σ unchanged. Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
Generative Models", table 1; the relations to ᾱ are σ² = (1 − ᾱ)/ᾱ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

SIGMA_MIN, SIGMA_MAX, RHO = 0.01, 80.0, 7.0


Network = Callable[[Tensor, Tensor], Tensor]
"""What is inside a denoiser: sees a scaled state (N, …) and the noise level ln(σ)/4 (N,), gives (N, …)."""


def sigmas(steps: int, *, low: float = SIGMA_MIN, high: float = SIGMA_MAX, rho: float = RHO) -> Tensor:
    """Noise levels of a run of ``steps`` steps: float64 (steps + 1,), from ``high`` down to ``low``, then 0.

    Equation 5 of the source. Raises ``ValueError`` for fewer than one step or levels out of order.
    """
    if steps < 1 or not 0 < low < high:
        raise ValueError(f"{steps} steps between noise levels {high} and {low}")
    if steps == 1:
        return torch.tensor([high, 0.0], dtype=torch.float64)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels, levels.new_zeros(1)])


def precondition(network: Network, state: Tensor, sigma: Tensor, spread: float) -> Tensor:
    """The clean signal x₀ that a network sees in ``state`` (N, …) at ``sigma`` (N,), float32.

    ``spread``: standard deviation of the clean signal. Network input and output have unit variance at every σ.
    """
    by_item = sigma.to(state.dtype).view(-1, *[1] * (state.ndim - 1))
    total = (by_item**2 + spread**2).sqrt()
    answer = network(state / total, sigma.log().to(state.dtype) / 4)
    return state * (spread / total) ** 2 + answer * (by_item * spread / total)


def loss(network: Network, clean: Tensor, spread: float, sigma: Tensor, noise: Tensor) -> Tensor:
    """Weighted squared error (N,) of the denoised signal; the weight makes every σ count alike at the start."""
    by_item = sigma.view(-1, *[1] * (clean.ndim - 1))
    found = precondition(network, clean + by_item * noise, sigma, spread)
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    return weight * (found - clean).square().flatten(1).mean(1)


def draw_sigma(
    count: int, generator: torch.Generator | None = None, *, mean: float = -0.6, deviation: float = 1.4
) -> Tensor:
    """Noise levels to train at: ln σ normal, float32 (count,)."""
    return (mean + deviation * torch.randn(count, generator=generator)).exp().clamp(SIGMA_MIN, SIGMA_MAX)


Denoise = Callable[[Tensor, float, int], Tensor]
"""State, σ, index of the step → x₀ of the state's shape. The step's index lets models take turns."""
Callback = Callable[[int, int, Tensor], None]
"""Called after every step with the steps done, their number, and x₀ as seen in that step. May raise to stop."""


@torch.inference_mode()
def sample_ddim(denoise: Denoise, noise: Tensor, levels: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Deterministic first-order steps (DDIM with η = 0, which in this state is Euler's method).

    ``noise``: standard normal, any shape; ``levels``: as of :func:`sigmas`. Returns x₀ of the same shape.
    """
    state, values = noise * float(levels[0]), _floats(levels)
    for step, (now, after) in enumerate(pairwise(values)):
        clean = denoise(state, now, step)
        state = clean + (after / now) * (state - clean)
        if callback:
            callback(step + 1, len(values) - 1, clean)
    return state


@torch.inference_mode()
def sample_heun(denoise: Denoise, noise: Tensor, levels: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Second-order steps (algorithm 1 of the source without churn): two evaluations a step, but the last."""
    state, values = noise * float(levels[0]), _floats(levels)
    for step, (now, after) in enumerate(pairwise(values)):
        clean = denoise(state, now, step)
        slope = (state - clean) / now
        moved = state + (after - now) * slope
        if after > 0:
            again = (moved - denoise(moved, after, step)) / after
            moved = state + (after - now) * (slope + again) / 2
        state = moved
        if callback:
            callback(step + 1, len(values) - 1, clean)
    return state


@torch.inference_mode()
def sample_dpm(denoise: Denoise, noise: Tensor, levels: Tensor, *, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M): second order from one evaluation a step, by keeping the last answer.

    Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2, written with t = −ln σ.
    """
    state, values = noise * float(levels[0]), _floats(levels)
    last: Tensor | None = None
    for step, (now, after) in enumerate(pairwise(values)):
        clean = denoise(state, now, step)
        if after == 0:
            state = clean
        else:
            best = clean
            if last is not None:
                ratio = _log_step(values[step - 1], now) / _log_step(now, after)
                best = (1 + 1 / (2 * ratio)) * clean - 1 / (2 * ratio) * last
            state = best + (after / now) * (state - best)
        last = clean
        if callback:
            callback(step + 1, len(values) - 1, clean)
    return state


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": sample_ddim, "heun": sample_heun, "dpm": sample_dpm}
"""Name → solver."""


def _log_step(now: float, after: float) -> float:
    return float(torch.log(torch.tensor(now / after, dtype=torch.float64)))


def _floats(levels: Tensor | Sequence[float]) -> list[float]:
    return [float(level) for level in levels]
