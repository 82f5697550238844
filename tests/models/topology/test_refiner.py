"""The refiner network: an untrained one changes nothing; folding loses nothing."""

from __future__ import annotations

import json

import pytest
import torch

from models.topology.refiner import LOGIT_LIMIT, Refiner, fold, unfold

TINY = {"widths": (8, 16), "groups": 8}


def shape_of(dimensions: int, side: int = 16) -> tuple[int, ...]:
    return (2, 1) + (side,) * dimensions


@pytest.mark.parametrize("dimensions", [2, 3])
def test_untrained_is_the_identity(dimensions: int) -> None:
    torch.manual_seed(0)
    model = Refiner(dimensions, **TINY)
    probability = torch.rand(shape_of(dimensions))
    logits = model(probability)
    assert logits.shape == probability.shape
    assert torch.equal(logits > 0, probability > 0.5)
    assert torch.allclose(logits, torch.logit(probability).clamp(-LOGIT_LIMIT, LOGIT_LIMIT), atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_binary_mask_stays_finite_and_itself(dimensions: int) -> None:
    model = Refiner(dimensions, **TINY)
    mask = (torch.rand(shape_of(dimensions)) > 0.5).float()
    logits = model(mask)
    assert torch.equal(logits, LOGIT_LIMIT * (2 * mask - 1))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_parameter_learns_after_one_step(dimensions: int) -> None:
    # Zeros at the end of each branch must not keep anything from ever receiving a gradient.
    torch.manual_seed(1)
    model = Refiner(dimensions, **TINY)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    probability = torch.rand(shape_of(dimensions))
    for _ in range(3):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(probability), (probability > 0.7).float())
        loss.backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("side", [1, 2, 4])
def test_unfold_undoes_fold(dimensions: int, side: int) -> None:
    image = torch.arange(2 * 3 * 8**dimensions, dtype=torch.float32).reshape((2, 3) + (8,) * dimensions)
    folded = fold(image, side)
    assert folded.shape == (2, 3 * side**dimensions) + (8 // side,) * dimensions
    assert torch.equal(unfold(folded, side), image)


def test_folding_in_three_dimensions_is_folding_in_two_slice_by_slice() -> None:
    volume = torch.rand(1, 1, 4, 6, 8)
    folded = fold(volume, 2)
    # Channel (dz, dy, dx) of a volume is channel (dy, dx) of the slices dz, dz + 2, …
    for z in (0, 1):
        flat = fold(volume[0, :, z::2].transpose(0, 1), 2)
        assert torch.equal(folded[0, 4 * z : 4 * z + 4].transpose(0, 1), flat)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_sides_need_not_be_equal_but_divisible(dimensions: int) -> None:
    model = Refiner(dimensions, **TINY)
    assert model.multiple == 4
    good = (1, 1, 8, 12, 16)[: dimensions + 2]
    assert model(torch.rand(good)).shape == good
    with pytest.raises(ValueError, match="divisible by 4"):
        model(torch.rand((1, 1, 8, 10, 8)[: dimensions + 2]))


def test_the_multiple_follows_the_depth_and_the_fold() -> None:
    assert Refiner(2, (8, 8, 8, 8), fold=2).multiple == 16
    assert Refiner(2, (8, 8), fold=4).multiple == 8
    assert Refiner(2, (8,), fold=1).multiple == 1


def test_arguments_are_json_and_rebuild_the_network() -> None:
    torch.manual_seed(2)
    model = Refiner(3, widths=(8, 16), fold=2, groups=4)
    arguments = json.loads(json.dumps(model.arguments))
    again = Refiner(**arguments)
    again.load_state_dict(model.state_dict(), strict=True)
    volume = torch.rand(1, 1, 8, 8, 8)
    assert torch.equal(again(volume), model(volume))
    assert again.arguments == model.arguments


@pytest.mark.parametrize("dimensions", [1, 4])
def test_refuses_other_dimensions(dimensions: int) -> None:
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        Refiner(dimensions)
