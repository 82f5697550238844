"""What every training on batches drawn as it goes has in common: checkpoints, the end, and how progress is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.training.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.fitting import FitState, Optimisation

CHECKPOINT, SAMPLES = "checkpoint.pt", "samples.png"

Progress = Callable[[float, str], None]
Watch = Callable[[str, float, "FitState"], None]


def fit_resumably(
    model: nn.Module,
    batch_of: Callable[[int, np.random.Generator], tuple[Tensor, ...]],
    loss_of: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    *,
    out: Path,
    minutes: float,
    seed: int,
    resume: bool,
    described: Mapping[str, Any],
    config: Optimisation | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> FitState:
    """Fit ``model`` in place on its device and keep a checkpoint in ``out`` from which the same call goes on.

    ``described``: what must be equal for that. ``progress(fraction, note)`` and ``watch("fit", fraction, state)`` are
    called after every step and may raise to stop; the checkpoint stays. It is left in place at the end too, so that
    who stops the measuring that follows has lost no training; the caller removes it.
    """
    from models.fitting import FitState, fit_batches

    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    state = (load_checkpoint(checkpoint, described) if resume else None) or FitState()
    last = time.monotonic()
    every_s = min(120.0, max(10.0, 6.0 * minutes))

    def report(step: int, fraction: float, loss: float) -> None:
        nonlocal last
        if progress:
            progress(fraction, f"step {step}, loss {np.mean(state.losses[-50:]):.4f}")
        if watch:
            watch("fit", fraction, state)
        if time.monotonic() - last > every_s:
            last = time.monotonic()
            raise _Checkpoint

    while True:
        try:
            fit_batches(model, batch_of, loss_of, config, minutes=minutes, seed=seed, state=state, callback=report)
            break
        except _Checkpoint:
            save_checkpoint(checkpoint, state, described)
        except BaseException:
            save_checkpoint(checkpoint, state, described)
            raise
    model.to("cpu")
    save_checkpoint(checkpoint, state, described)
    return state


class _Checkpoint(Exception):
    """Leaves the fit for a moment to save; the next call goes on with the same state."""
