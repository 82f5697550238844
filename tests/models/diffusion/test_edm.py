"""Solvers and preconditioning against what is known in closed form for Gaussian data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.diffusion.edm import SAMPLERS, draw_sigma, loss, precondition, sigmas

MEAN, SPREAD = 1.5, 0.7


def of_a_gaussian(state: Tensor, sigma: float, step: int) -> Tensor:
    """E[x | y] of normal data, exactly."""
    return (SPREAD**2 * state + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def solution(noise: Tensor, high: float) -> Tensor:
    """Where the probability flow takes y = σ·n: the standardised state stays the same."""
    return MEAN + (high * noise - MEAN) * SPREAD / (SPREAD**2 + high**2) ** 0.5


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpm", 2)])
def test_solvers_reach_the_exact_solution_at_their_order(name: str, order: int):
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = solution(noise, 80.0)
    errors = [
        float((SAMPLERS[name](of_a_gaussian, noise, sigmas(steps, low=0.002)) - wanted).abs().mean())
        for steps in (20, 40, 80)
    ]
    assert errors[0] / errors[1] > 0.8 * 2**order
    assert errors[1] / errors[2] > 0.8 * 2**order
    assert errors[2] < 0.02


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_callback_sees_every_step_and_may_stop(name: str):
    seen = []
    SAMPLERS[name](of_a_gaussian, torch.zeros(3), sigmas(5), callback=lambda *at: seen.append(at[:2]))
    assert seen == [(n, 5) for n in range(1, 6)]

    def stop(done: int, total: int, clean: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SAMPLERS[name](of_a_gaussian, torch.zeros(3), sigmas(5), callback=stop)


def test_noise_levels_fall_from_one_end_to_the_other():
    levels = sigmas(9, low=0.05, high=20)
    assert len(levels) == 10
    assert float(levels[0]) == pytest.approx(20)
    assert float(levels[-2]) == pytest.approx(0.05)
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()
    assert sigmas(1).tolist() == [80.0, 0.0]
    for bad in ({"steps": 0}, {"steps": 4, "low": 2.0, "high": 1.0}):
        with pytest.raises(ValueError, match="steps"):
            sigmas(**bad)


def test_preconditioning_keeps_variances_at_one():
    rng = torch.Generator().manual_seed(1)
    for value in (0.05, 0.7, 30.0):
        clean = SPREAD * torch.randn(20_000, 1, generator=rng)
        sigma = torch.full((20_000,), value)
        state = clean + value * torch.randn(20_000, 1, generator=rng)
        inputs = []

        def network(scaled: Tensor, level: Tensor, kept: list[Tensor] = inputs) -> Tensor:
            kept.append(scaled)
            return torch.zeros_like(scaled)

        found = precondition(network, state, sigma, SPREAD)
        assert float(inputs[0].std()) == pytest.approx(1, abs=0.03)
        # With no correction the answer is the best linear one, and what is left to the network has unit variance.
        left = (clean - found) * (value**2 + SPREAD**2) ** 0.5 / (value * SPREAD)
        assert float(left.std()) == pytest.approx(1, abs=0.03)


def test_the_loss_is_nought_for_the_truth_and_one_for_no_answer():
    rng = torch.Generator().manual_seed(2)
    clean = SPREAD * torch.randn(4000, 3, generator=rng)
    noise = torch.randn(4000, 3, generator=rng)
    sigma = draw_sigma(4000, rng)
    nothing = loss(lambda state, level: torch.zeros_like(state), clean, SPREAD, sigma, noise)
    assert float(nothing.mean()) == pytest.approx(1, abs=0.05)

    def knowing(scaled: Tensor, level: Tensor) -> Tensor:
        by_item = sigma[:, None]
        total = (by_item**2 + SPREAD**2).sqrt()
        return (clean - scaled * total * (SPREAD / total) ** 2) * total / (by_item * SPREAD)

    assert float(loss(knowing, clean, SPREAD, sigma, noise).max()) < 1e-6
