"""The training loop: limits, resuming, and losses that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.echo.losses import outline_loss
from models.fitting import FitState, Optimisation, fit_batches


def batch_of(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    x = torch.from_numpy(rng.standard_normal((16, 3)).astype(np.float32))
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]])


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    state = fit_batches(model, batch_of, loss_of, Optimisation(learning_rate=0.05), steps=150)
    assert state.step == len(state.losses) == 150
    assert state.losses[-1] < 0.1 * state.losses[0]
    assert not model.training


class Blocks(nn.Module):
    """Two matrices that Muon may have, and what AdamW keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.leave = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.leave(x)


def test_muon_has_the_matrices_of_blocks_and_adamw_the_rest() -> None:
    torch.manual_seed(0)
    state = fit_batches(Blocks(), batch_of, loss_of, Optimisation(learning_rate=0.01, muon=0.01), steps=120)
    assert [len(kept["param_groups"][0]["params"]) for kept in state.optimisers] == [6, 2]
    assert state.losses[-1] < 0.1 * state.losses[0]


@pytest.mark.parametrize("muon", [0.0, 0.01])
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(muon: float) -> None:
    config = Optimisation(muon=muon)

    def model() -> nn.Module:
        torch.manual_seed(0)
        return Blocks()

    whole = fit_batches(model(), batch_of, loss_of, config, steps=20)

    def stop(step: int, fraction: float, loss: float) -> None:
        if step == 7:
            raise KeyboardInterrupt

    state = FitState()
    with pytest.raises(KeyboardInterrupt):
        fit_batches(model(), batch_of, loss_of, config, steps=20, state=state, callback=stop)
    assert state.step == 7
    fit_batches(model(), batch_of, loss_of, config, steps=20, state=state)
    assert state.losses == whole.losses
    assert torch.equal(state.average["leave.weight"], whole.average["leave.weight"])


@pytest.mark.parametrize("limits", [{}, {"steps": 0}, {"minutes": -1.0}])
def test_a_training_needs_a_limit(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="limit"):
        fit_batches(nn.Linear(3, 1), batch_of, loss_of, **limits)  # type: ignore[arg-type]


def test_the_loss_of_outlines_is_near_nothing_when_they_are_right() -> None:
    labels = torch.randint(0, 6, (2, 16, 16))
    hot = nn.functional.one_hot(labels, 6).movedim(-1, 1).float()
    frames = torch.rand(2, 1, 16, 16)
    assert float(outline_loss(lambda _: 20 * hot, (frames, labels))) < 0.01  # type: ignore[arg-type]
    wrong = torch.roll(hot, 1, 1)
    assert float(outline_loss(lambda _: 20 * wrong, (frames, labels))) > 10  # type: ignore[arg-type]
