"""The denoisers: what they are given changes what they give, and joint steps share one state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.echo.denoiser import Denoiser, waves


def tiny(frames: int = 16, span: int = 4, *, reference: bool = True, shaken: bool = True) -> Denoiser:
    torch.manual_seed(0)
    model = Denoiser(frames, span, reference, width=16, depth=2, heads=2)
    if shaken:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval()


def inputs(count: int = 2, frames: int = 16, *, reference: bool = True) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    given = {
        "state": torch.randn(count, frames, 16, 7, 7, generator=rng),
        "sigma": torch.full((count,), 0.8),
        "ef": torch.full((count,), 40.0),
        "phase": torch.rand(count, frames, generator=rng),
        "fps": torch.full((count,), 16.0),
    }
    if reference:
        given["reference"] = torch.randn(count, 16, 7, 7, generator=rng)
    return given


def test_an_untrained_denoiser_gives_the_best_linear_answer():
    given = inputs()
    offset = given["reference"][:, None]
    wanted = offset + (given["state"] - offset) * 0.7**2 / (0.7**2 + 0.8**2)
    assert torch.allclose(tiny(shaken=False)(**given), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["state", "sigma", "ef", "phase", "fps", "reference"])
def test_every_condition_is_heard(name: str):
    model, given = tiny(), inputs()
    with torch.inference_mode():
        before = model(**given)
        after = model(**{**given, name: given[name] + 0.3})
    assert not torch.allclose(before, after, atol=1e-3)


def test_no_ejection_fraction_and_no_phase_are_conditions_of_their_own():
    model, given = tiny(), inputs()
    none = torch.full((2,), float("nan"))
    free = torch.full((2, 16), float("nan"))
    with torch.inference_mode():
        unguided = model(**{**given, "ef": none})
        unphased = model(**{**given, "phase": free})
    assert torch.isfinite(unguided).all()
    assert torch.isfinite(unphased).all()
    with torch.inference_mode():
        assert not torch.allclose(unguided, model(**given), atol=1e-3)
        assert not torch.allclose(unphased, model(**given), atol=1e-3)


def test_whole_beats_are_the_same_phase():
    model, given = tiny(), inputs()
    with torch.inference_mode():
        again = model(**{**given, "phase": given["phase"] + 3})
        assert torch.allclose(model(**given), again, atol=1e-3)


def test_items_of_a_batch_do_not_see_each_other():
    model, given = tiny(), inputs(3)
    alone = {name: value[1:2] for name, value in given.items()}
    with torch.inference_mode():
        assert torch.allclose(model(**given)[1:2], model(**alone), atol=1e-5)


def test_a_window_of_another_length_or_without_its_reference_is_refused():
    given = inputs(frames=12)
    with pytest.raises(ValueError, match="length or the reference"):
        tiny()(**given)
    with pytest.raises(ValueError, match="length or the reference"):
        tiny()(**inputs(reference=False))
    with pytest.raises(ValueError, match="spans"):
        Denoiser(10, 4)


def test_waves_tell_near_values_apart():
    seen = waves(torch.tensor([0.30, 0.31, 0.80]))
    assert seen.shape == (3, 32)
    assert (seen[0] - seen[1]).norm() > 0.5
