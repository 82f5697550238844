"""Targets of students against what is known in closed form: normal data, and a mixture whose denoiser is exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.diffusion.distill import distilled, guided, land, student_levels, sub_levels, target
from models.diffusion.edm import sample_ddim, sample_heun, sigmas
from tests.models.diffusion.test_edm import MEAN, SPREAD, of_a_gaussian


def teacher(state: Tensor, sigma: Tensor) -> Tensor:
    """E[x | y] of normal data, exactly; ``sigma`` (N,)."""
    by_item = sigma.to(state.dtype)[:, None]
    return (SPREAD**2 * state + by_item**2 * MEAN) / (SPREAD**2 + by_item**2)


def flow(state: Tensor, now: Tensor, after: Tensor) -> Tensor:
    """Where the probability flow of normal data takes ``state``: the standardised state stays the same."""
    ratio = ((SPREAD**2 + after**2) / (SPREAD**2 + now**2)).sqrt()
    return MEAN + (state - MEAN) * ratio[:, None]


def states(which: Tensor, levels: Tensor) -> Tensor:
    noise = torch.randn(len(which), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return MEAN + (SPREAD**2 + levels[which, None] ** 2).sqrt() * noise


def test_the_grid_wastes_no_step_and_lies_within_finer_ones():
    levels = student_levels(4)
    assert levels.shape == (5,)
    assert levels[0] == 80
    assert levels[-1] == 0
    assert levels[-2] > 0.1
    assert torch.allclose(student_levels(12)[::3], levels)
    assert student_levels(1).tolist() == [80, 0]
    within = sub_levels(4, 3, torch.tensor([0, 3]))
    assert torch.allclose(within[:, 0], levels[[0, 3]])
    assert torch.allclose(within[:, -1], levels[[1, 4]])
    for bad in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="steps"):
            sub_levels(*bad, torch.zeros(1, dtype=torch.long))


def test_one_ddim_step_with_the_target_lands_where_the_teacher_does():
    which = torch.tensor([0, 1, 2, 3])
    levels = student_levels(4)
    state = states(which, levels)
    within = sub_levels(4, 4, which)
    found = distilled(teacher, state, within)
    ratio = (levels[which + 1] / levels[which])[:, None]
    assert torch.allclose(found + ratio * (state - found), land(teacher, state, within), atol=1e-5)


def test_with_many_sub_steps_the_target_is_that_of_the_exact_flow():
    which = torch.arange(4)
    levels = student_levels(4)
    now, after = levels[which], levels[which + 1]
    state = states(which, levels)
    wanted = target(state, flow(state, now, after), now, after)
    errors = [(distilled(teacher, state, sub_levels(4, count, which)) - wanted).abs().mean(1) for count in (8, 16, 32)]
    assert (errors[0] / errors[1] > 2.5).all(), "second order, near σ = 0 a bit less"
    assert (errors[2] < 0.01).all()


def test_with_one_sub_step_the_target_is_the_teachers_answer():
    which = torch.arange(3)
    state = states(which, student_levels(3))
    found = distilled(teacher, state, sub_levels(3, 1, which))
    assert torch.allclose(found, teacher(state, student_levels(3)[which]), atol=1e-5)


def test_a_perfect_student_samples_as_its_teacher_in_a_fraction_of_the_steps():
    """A student that hits its targets, from noise to the end: near the exact solution, DDIM alone is not."""
    noise = torch.randn(500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    levels = student_levels(4)

    def student(state: Tensor, sigma: float, step: int) -> Tensor:
        return distilled(teacher, state, sub_levels(4, 16, torch.full((len(state),), step)))

    wanted = MEAN + (80 * noise - MEAN) * SPREAD / (SPREAD**2 + 80**2) ** 0.5
    found = sample_ddim(student, noise, levels)
    plain = sample_ddim(of_a_gaussian, noise, levels)
    assert float((found - wanted).abs().mean()) < 0.01
    assert float((plain - wanted).abs().mean()) > 0.1


def test_four_sub_steps_of_this_solver_land_nearer_than_others_of_the_same_cost():
    """The measurement behind the choice of the teacher's solver, on a mixture of 32 narrow normals in 8 dimensions."""
    source = torch.Generator().manual_seed(0)
    points = 0.5 * torch.randn(32, 8, generator=source, dtype=torch.float64)
    noise = torch.randn(300, 8, generator=source, dtype=torch.float64)

    def exact(state: Tensor, sigma: Tensor) -> Tensor:
        variance = sigma.to(state.dtype)[:, None] ** 2
        share = torch.softmax(-((state[:, None] - points) ** 2).sum(-1) / (2 * (variance + 0.01)), -1)
        near = (0.01 * state[:, None] + variance[..., None] * points) / (0.01 + variance[..., None])
        return (share[..., None] * near).sum(1)

    def at(state: Tensor, sigma: float, step: int) -> Tensor:
        return exact(state, torch.full((len(state),), sigma))

    wanted = sample_heun(at, noise, sigmas(200, low=0.002))
    state = 80 * noise
    for step in range(4):
        state = land(exact, state, sub_levels(4, 4, torch.full((len(state),), step)))
    chosen, ddim, heun = (
        float((found - wanted).square().mean().sqrt())
        for found in (state, sample_ddim(at, noise, student_levels(16)), sample_heun(at, noise, student_levels(8)))
    )
    assert chosen < 0.8 * heun
    assert chosen < 0.7 * ddim


def test_guidance_goes_on_past_the_condition():
    asked, free = torch.tensor([1.0]), torch.tensor([0.5])
    assert guided(asked, free, 1) == asked
    assert guided(asked, free, 0) == free
    assert guided(asked, free, 3) == 2
