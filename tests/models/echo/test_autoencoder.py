"""The autoencoder begins as the best linear code and does not lose what it knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.echo.autoencoder import Autoencoder, linear_round_trip, principal_components, to_patches
from models.phantoms.echo import clip


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    drawn = [clip(seed, ef=50, frames=3, fps=3).frames for seed in range(6)]
    return np.concatenate(drawn).astype(np.float32) / 255


def small() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(widths=(8, 8, 8), fine=8, blocks=1)


def test_components_are_orthonormal_and_the_best_linear_code(frames: np.ndarray):
    mean, components = principal_components(frames)
    assert components.shape == (16, 256)
    assert np.allclose(components @ components.T, np.eye(16), atol=1e-5)
    error = np.mean((linear_round_trip(frames, mean, components) - frames) ** 2)
    values = np.linalg.svd(to_patches(frames, 16) - mean, compute_uv=False) ** 2
    assert error == pytest.approx(values[16:].sum() / values.sum() * (to_patches(frames, 16) - mean).var(), rel=0.02)
    turned = np.linalg.qr(components.T + 0.2 * np.random.default_rng(0).standard_normal((256, 16)))[0].T
    assert np.mean((linear_round_trip(frames, mean, turned) - frames) ** 2) > error


def test_an_untrained_autoencoder_is_the_linear_code(frames: np.ndarray):
    model = small()
    model.start_from_components(frames)
    mean, components = principal_components(frames)
    with torch.inference_mode():
        latents = model.encode(torch.from_numpy(frames)[:, None])
        found = model.decode(latents)[:, 0].numpy()
    assert latents.shape == (len(frames), 16, 7, 7)
    assert np.allclose(found, linear_round_trip(frames, mean, components), atol=1e-4)


def test_latents_have_unit_variance_and_decode_alike_after_normalising(frames: np.ndarray):
    model = small()
    model.start_from_components(frames)
    tensor = torch.from_numpy(frames)[:, None]
    with torch.inference_mode():
        before = model.decode(model.encode(tensor))
    model.normalise(tensor)
    with torch.inference_mode():
        latents = model.encode(tensor)
        assert torch.allclose(model.decode(latents), before, atol=1e-4)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=1e-2)


def test_the_preview_is_the_linear_picture_within_range(frames: np.ndarray):
    model = small()
    model.start_from_components(frames)
    with torch.inference_mode():
        preview = model.preview(model.encode(torch.from_numpy(frames)[:, None]))
    assert preview.shape == (len(frames), 1, 112, 112)
    assert 0 <= preview.min() <= preview.max() <= 1
    assert np.mean((preview[:, 0].numpy() - frames) ** 2) < 0.25 * frames.var()


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="1×112×112"):
        small().encode(torch.zeros(1, 1, 96, 112))
