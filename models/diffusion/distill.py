"""Few-step students: what a teacher does in several small steps, a student learns to do in one.

Progressive distillation (Salimans & Ho 2022, arXiv 2202.00512, algorithm 2) in the state y = x + σ·n. From y at a level
of the student's grid the teacher walks to the next level; the target of the student is the x̂ from which a single DDIM
step lands at the same place. Our choices: the teacher walks in ``k`` sub-steps of DPM-Solver++(2M) instead of two of
DDIM, which lands nearer to where its own many steps would for the same evaluations, so that one round replaces several
halvings; and guidance is part of the teacher, so that the student needs one evaluation where the teacher needs two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.diffusion.edm import SIGMA_MAX, SIGMA_MIN, sigmas

Teacher = Callable[[Tensor, Tensor], Tensor]
"""State (N, …) at noise levels σ (N,) → x₀ of the state's shape."""


def student_levels(steps: int, *, low: float = SIGMA_MIN, high: float = SIGMA_MAX) -> Tensor:
    """Noise levels of a student of ``steps`` steps: float64 (steps + 1,), from ``high`` down, then 0.

    As :func:`models.diffusion.edm.sigmas`, but the last step comes from a level above ``low``: from there on nothing is
    left to do, and a student has no step to waste. The grid of k times as many steps contains it. Raises ``ValueError``
    for fewer than one step or levels out of order.
    """
    if steps < 1:
        raise ValueError(f"a student of {steps} steps")
    levels = sigmas(steps + 1, low=low, high=high)
    return torch.cat([levels[:steps], levels[-1:]])


def sub_levels(steps: int, sub_steps: int, which: Tensor) -> Tensor:
    """Levels of the teacher within steps ``which`` (N,) of the student: float64 (N, sub_steps + 1).

    The first and the last of each are neighbours on the student's grid. Raises ``ValueError`` for fewer than one.
    """
    if sub_steps < 1:
        raise ValueError(f"a teacher of {sub_steps} steps")
    fine = student_levels(steps * sub_steps)
    return fine[which.cpu()[:, None] * sub_steps + torch.arange(sub_steps + 1)]


@torch.no_grad()
def land(teacher: Teacher, state: Tensor, levels: Tensor) -> Tensor:
    """Where the teacher takes ``state`` (N, …) along ``levels`` (N, k + 1), each item along its own: (N, …).

    DPM-Solver++(2M), see :func:`models.diffusion.edm.sample_dpm`, beginning anew in every item.
    """
    levels = levels.to(state.device, torch.float32)
    last: Tensor | None = None
    for step in range(levels.shape[1] - 1):
        now, after = levels[:, step], levels[:, step + 1]
        clean = teacher(state, now)
        best = clean
        if last is not None:
            # The last step of all, to σ = 0, is of first order: there 1/ratio would be without bound.
            inverse = torch.where(after > 0, (now / after).log() / (levels[:, step - 1] / now).log(), 0)
            best = clean + _by_item(inverse / 2, state) * (clean - last)
        state = best + _by_item(after / now, state) * (state - best)
        last = clean
    return state


def target(state: Tensor, landed: Tensor, now: Tensor, after: Tensor) -> Tensor:
    """The x̂ (N, …) with which one DDIM step takes ``state`` at σ = ``now`` (N,) to ``landed`` at ``after`` (N,)."""
    ratio = _by_item(after / now, state)
    return (landed - ratio * state) / (1 - ratio)


def distilled(teacher: Teacher, state: Tensor, levels: Tensor) -> Tensor:
    """The student's target x̂ (N, …) for ``state`` (N, …) over ``levels`` (N, k + 1); see :func:`sub_levels`.

    With one sub-step it is the teacher's own answer.
    """
    ends = levels[:, [0, -1]].to(state.device, torch.float32)
    return target(state, land(teacher, state, levels), ends[:, 0], ends[:, 1])


def guided(asked: Tensor, free: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: what the condition changes, ``guidance`` times; 1 is the condition as learnt."""
    return free + guidance * (asked - free)


def _by_item(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
