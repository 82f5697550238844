"""What every training on batches drawn as it goes has in common: checkpoints, the end, and how progress is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.training.checkpoint import load_checkpoint, save_checkpoint, write_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.fitting import FitState, Optimisation

CHECKPOINT, SAMPLES = "checkpoint.pt", "samples.png"

Progress = Callable[[float, str], None]
Watch = Callable[[str, float, "FitState"], None]


@dataclass(frozen=True)
class TrainReport:
    """What came of a training.

    ``learnt_from``: masks, clips or patients that it learnt from; ``validation``: ``<method>.<measure>`` → mean over
    what was measured, whose values ``each`` holds by the same keys; ``held_out``: how much of that was kept out of
    training, 0 where there was too little and the training's own material was measured; ``losses``: one value a step;
    ``notes``: sentences on what was left out of the material.
    """

    folder: Path
    steps: int
    minutes: float
    learnt_from: int
    sha256: str
    validation: dict[str, float]
    each: dict[str, list[float]] = field(default_factory=dict)
    held_out: int = 0
    losses: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def finish(
    folder: Path,
    model: nn.Module,
    config: Mapping[str, Any],
    card: str,
    state: FitState,
    *,
    learnt_from: int,
    each: dict[str, list[float]],
    held_out: int,
    validation: dict[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> TrainReport:
    """Write the weights and their card, remove the checkpoint, and report. ``validation``: without it, means."""
    sha256 = write_weights(folder, model, config, card)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    means = {key: float(np.mean(values)) for key, values in each.items()}
    return TrainReport(
        folder,
        state.step,
        state.seconds / 60,
        learnt_from,
        sha256,
        means if validation is None else validation,
        each,
        held_out,
        tuple(state.losses),
        notes,
    )


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
