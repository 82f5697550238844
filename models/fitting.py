"""Train a network on batches that are drawn as it goes: one step after the other, resumable at any of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Batch = tuple[Tensor, ...]
BatchOf = Callable[[int, np.random.Generator], Batch]
LossOf = Callable[[nn.Module, Batch], Tensor]
Callback = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Optimisation:
    """``warm_up`` is a share of the whole training; ``ema`` the decay of the weights' moving average.

    ``muon``: learning rate of the weight matrices of blocks (parameters named ``blocks.*``) by Muon (Jordan et al.
    2024, scaled as Liu et al. 2025, arXiv 2502.16982), with AdamW for all others; 0 for AdamW alone.
    """

    learning_rate: float = 2e-3
    muon: float = 0.0
    warm_up: float = 0.03
    weight_decay: float = 1e-4
    ema: float = 0.995


@dataclass
class FitState:
    """Everything needed to go on: step, seconds spent, weights, their moving average, optimisers, losses so far."""

    step: int = 0
    seconds: float = 0.0
    model: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimisers: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def fit_batches(
    model: nn.Module,
    batch_of: BatchOf,
    loss_of: LossOf,
    config: Optimisation | None = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    state: FitState | None = None,
    callback: Callback | None = None,
) -> FitState:
    """Train ``model`` in place and leave the moving average of its weights in it.

    ``batch_of(step, rng)`` gives a tuple of tensors, ``loss_of(model, batch)`` a scalar. Stops after ``minutes`` or
    ``steps``, whichever is first, all calls together; the learning rate follows a cosine over it. Each step draws from
    a generator seeded by ``(seed, step)``, so a resumed run sees what an uninterrupted one would.
    ``callback(step, fraction, loss)`` is called after every step; what it raises stops training and leaves ``state``
    usable. Raises ``ValueError`` without a limit above zero.
    """
    config = config or Optimisation()
    limits = [limit for limit in (minutes, steps) if limit is not None]
    if not limits or min(limits) <= 0:
        raise ValueError("training needs a limit above zero: minutes or steps")
    state = state if state is not None else FitState()
    device = next(model.parameters()).device
    average = copy.deepcopy(model)
    optimisers = _optimisers(model, config)
    if state.step:
        model.load_state_dict(state.model)
        average.load_state_dict(state.average)
        for optimiser, kept in zip(optimisers, state.optimisers, strict=True):
            optimiser.load_state_dict(kept)
    rates = [config.learning_rate, config.muon]
    model.train()
    began = time.monotonic() - state.seconds
    try:
        while (fraction := _fraction(state, time.monotonic() - began, minutes, steps)) < 1.0:
            batch = batch_of(state.step, np.random.default_rng([seed, state.step]))
            for optimiser, rate in zip(optimisers, rates, strict=False):
                for group in optimiser.param_groups:
                    group["lr"] = rate * _schedule(fraction, config.warm_up)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = loss_of(model, tuple(part.to(device) for part in batch))
            model.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
            _follow(average, model, min(config.ema, (1 + state.step) / (10 + state.step)))
            state.step += 1
            state.losses.append(float(loss.detach()))
            if callback:
                callback(state.step, fraction, state.losses[-1])
    finally:
        state.seconds = time.monotonic() - began
        state.model = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        state.average = {name: value.detach().cpu().clone() for name, value in average.state_dict().items()}
        state.optimisers = [copy.deepcopy(optimiser.state_dict()) for optimiser in optimisers]
        model.load_state_dict(average.state_dict())
        model.eval()
    return state


def _optimisers(model: nn.Module, config: Optimisation) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of blocks where it is asked for."""
    by_muon: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside = config.muon > 0 and parameter.ndim == 2 and name.startswith("blocks.")
        (by_muon if inside else others).append(parameter)
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=config.learning_rate, weight_decay=config.weight_decay)
    ]
    if by_muon:
        decay = config.weight_decay
        found.append(torch.optim.Muon(by_muon, lr=config.muon, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return found


def _fraction(state: FitState, seconds: float, minutes: float | None, steps: int | None) -> float:
    shares = []
    if minutes is not None:
        shares.append(seconds / (60.0 * minutes))
    if steps is not None:
        shares.append(state.step / steps)
    return max(shares)


def _schedule(fraction: float, warm_up: float) -> float:
    if fraction < warm_up:
        return max(fraction / warm_up, 0.02)
    return 0.5 * (1 + float(np.cos(np.pi * (fraction - warm_up) / (1 - warm_up)))) + 0.01


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for kept, latest in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(latest)
