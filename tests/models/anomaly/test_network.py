"""The network that restores, and the two beside it: shapes, what they begin as, and what they heed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from models.anomaly.degree import severity_of
from models.anomaly.network import KINDS, SEQUENCES, SIZES, Kind, Restorer, noise_of, restoring
from models.anomaly.restore import RestoreConfig, restore_volume

TINY: dict[str, Any] = {"widths": (8, 16), "layers": 1, "patch": 2}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def shaken(model: Restorer) -> Restorer:
    """Weights of no zeros, so that every path leads somewhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_comes_back_in_its_size(kind: Kind) -> None:
    model = Restorer(kind, **TINY)
    assert model.factor == 4
    made = model(torch.rand(3, 1, 24, 32), torch.tensor([0, 50, 99]), torch.tensor([0, 1, 3]))
    assert made.shape == (3, 1, 24, 32)
    assert made.dtype == torch.float32
    again = Restorer(**model.arguments)
    again.load_state_dict(model.state_dict(), strict=True)


def test_a_restorer_begins_as_the_middle_of_what_it_sees() -> None:
    model = Restorer(neighbours=1, **TINY)
    windows = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(windows, torch.tensor([9, 9]), torch.tensor([1, 1])), windows[:, 1:2])


def test_a_restorer_heeds_step_and_sequence_and_the_autoencoder_neither() -> None:
    windows = torch.rand(1, 1, 16, 16)
    asked = [(10, 1), (90, 1), (10, 2)]
    for kind, heeds in (("restorer", True), ("autoencoder", False)):
        model = shaken(Restorer(kind, **TINY))  # type: ignore[arg-type]
        first, *others = [model(windows, torch.tensor([step]), torch.tensor([number])) for step, number in asked]
        assert all(torch.equal(first, other) is not heeds for other in others)


def test_the_autoencoder_has_a_narrow_middle() -> None:
    model = Restorer("autoencoder", **TINY, code=2)
    code = model.trunk[0](torch.rand(1, 4, 16, 16))  # type: ignore[index]
    assert code.numel() == 2 * 8 * 8 < 32 * 32


def test_noise_follows_severity() -> None:
    steps = torch.arange(100)
    noise = noise_of(steps)
    assert (noise.diff() >= 0).all()
    assert noise[-1].item() == pytest.approx(float(severity_of(99)))
    assert noise[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_volume_is_restored_the_same_twice(kind: Kind) -> None:
    model = shaken(Restorer(kind, **TINY))
    rng = np.random.default_rng(0)
    volume, foreground = rng.random((2, 24, 24), np.float32), np.ones((2, 24, 24), bool)
    config = RestoreConfig((0.05, 0.5), window=16, stride=8, batch=4)
    made = [restore_volume(restoring(model, "flair", noise_steps=2), volume, foreground, config) for _ in range(2)]
    assert np.array_equal(made[0].absolute, made[1].absolute)
    assert np.isfinite(made[0].healthy).all()
    assert made[0].absolute.max() > 0


def test_a_denoiser_that_knows_nothing_takes_little_noise_for_the_picture() -> None:
    """With no answer of its network, the best guess at low noise is what it sees."""
    model = Restorer("ddpm", **TINY)
    windows = torch.rand(2, 1, 16, 16)
    near = model.denoise(windows, torch.full((2,), 0.004), torch.zeros(2, dtype=torch.long))
    assert torch.allclose(near, windows, atol=1e-3)


def test_refused() -> None:
    with pytest.raises(ValueError, match="restorer, ddpm, autoencoder"):
        Restorer("vae")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="single slices"):
        Restorer("ddpm", neighbours=1)
    with pytest.raises(ValueError, match="t1"):
        restoring(Restorer(**TINY), "pd")


def test_the_module_is_light_and_sizes_are_made_of_its_arguments() -> None:
    code = "import sys, models.anomaly.network; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(SIZES) == {"small", "large"}
    assert all(set(size) == {"widths", "layers", "patch"} for size in SIZES.values())
    assert SEQUENCES[0] == "unknown"
    small = Restorer(**SIZES["small"])
    assert sum(parameter.numel() for parameter in small.parameters()) < 4e6
    assert small.factor == 16
