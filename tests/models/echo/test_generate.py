"""Clips from noise: determinism, windows, seams, schedules, with tiny untrained networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.echo.autoencoder import Autoencoder
from models.echo.denoiser import Denoiser
from models.echo.generate import (
    GenerateConfig,
    Models,
    decode_latents,
    decode_preview,
    denoise_windows,
    encode_frames,
    generate,
    noise_levels,
    sample_clip,
    window_starts,
    window_weights,
)
from tests.models.echo.test_denoiser import tiny


@pytest.fixture(scope="module")
def models() -> Models:
    torch.manual_seed(0)
    autoencoder = Autoencoder(widths=(8, 8, 8), fine=8, blocks=1)
    return Models(autoencoder, tiny(1, 1, reference=False), tiny(), tiny(), 2)


QUICK = {"steps": 3, "frames": 24, "fps": 16.0}


def test_a_seed_is_a_clip(models: Models):
    first = generate(models, GenerateConfig(**QUICK, seed=1))
    assert first.shape == (24, 112, 112)
    assert first.dtype == np.uint8
    assert np.array_equal(first, generate(models, GenerateConfig(**QUICK, seed=1)))
    assert not np.array_equal(first, generate(models, GenerateConfig(**QUICK, seed=2)))


@pytest.mark.parametrize("frames", [16, 17, 30, 64])
def test_any_number_of_frames(models: Models, frames: int):
    clip = generate(models, GenerateConfig(steps=1, frames=frames, fps=16.0))
    assert clip.shape == (frames, 112, 112)


def test_a_given_frame_is_the_reference(models: Models):
    rng = np.random.default_rng(0)
    given = [rng.random((112, 112), np.float32) for _ in range(2)]
    made = [generate(models, GenerateConfig(**QUICK, seed=1), frame) for frame in given]
    assert not np.array_equal(*made)
    with pytest.raises(ValueError, match="112"):
        generate(models, GenerateConfig(**QUICK), np.zeros((64, 64), np.float32))


@pytest.mark.parametrize("count", [16, 20, 24, 28, 64, 192])
def test_windows_cover_every_frame_and_their_weights_are_never_nought(count: int):
    starts = window_starts(count, 16, 4)
    assert starts[0] == 0
    assert starts[-1] == count - 16
    for blend in (True, False):
        total = torch.zeros(count)
        for start, weight in zip(starts, window_weights(16, len(starts), blend=blend), strict=True):
            total[start : start + 16] += weight
        assert total.min() > 0


class _Still(Denoiser):
    """Says that every frame is the reference: what windows make of it must be the reference everywhere."""

    def forward(self, state: Tensor, sigma: Tensor, **condition: Tensor) -> Tensor:
        return condition["reference"][:, None].expand_as(state)


@pytest.mark.parametrize("blend", [True, False])
def test_windows_that_agree_leave_no_seam(blend: bool):
    video = _Still(16, 4, True, width=16, depth=1, heads=2)
    reference = torch.randn(16, 7, 7)
    config = GenerateConfig(blend=blend)
    clean = denoise_windows(video, torch.randn(40, 16, 7, 7), 1.0, config, torch.zeros(40), reference)
    assert torch.allclose(clean, reference.expand_as(clean), atol=1e-5)


def test_the_schedule_decides_which_model_works(models: Models):
    kept = {}
    for schedule in ("video", "image", "VVI"):
        source = torch.Generator().manual_seed(0)
        kept[schedule] = sample_clip(models, GenerateConfig(**QUICK, schedule=schedule), torch.zeros(16, 7, 7), source)
    assert not torch.equal(kept["video"], kept["image"])
    assert not torch.equal(kept["video"], kept["VVI"])
    images = sample_clip(
        Models(models.autoencoder, models.image),
        GenerateConfig(**QUICK, schedule="image"),
        torch.zeros(16, 7, 7),
        torch.Generator().manual_seed(0),
    )
    assert torch.allclose(images, kept["image"], atol=1e-5), "without a video model the image model makes the frames"


def test_guidance_of_one_is_the_conditional_model_alone(models: Models):
    source = [torch.Generator().manual_seed(0) for _ in range(3)]
    plain, guided, other = (
        sample_clip(models, GenerateConfig(**QUICK, guidance=g, ef=e), torch.zeros(16, 7, 7), s)
        for (g, e), s in zip(((1.0, 30), (3.0, 30), (0.0, 30)), source, strict=True)
    )
    assert not torch.allclose(plain, guided, atol=1e-3)
    free = sample_clip(
        models, GenerateConfig(**QUICK, guidance=0.0, ef=70), torch.zeros(16, 7, 7), torch.Generator().manual_seed(0)
    )
    assert torch.allclose(other, free, atol=1e-4), "without guidance the ejection fraction does not matter"


def test_progress_is_told_and_can_be_stopped(models: Models):
    seen = []
    generate(models, GenerateConfig(**QUICK), callback=lambda done, total, latents: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int, latents: Tensor) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        generate(models, GenerateConfig(**QUICK), callback=stop)


def test_frames_survive_as_well_as_the_autoencoder_lets_them(models: Models):
    frames = np.random.default_rng(0).random((5, 112, 112), np.float32)
    latents = encode_frames(models.autoencoder, frames, batch=2)
    assert latents.shape == (5, 16, 7, 7)
    whole = decode_latents(models.autoencoder, latents)
    assert np.array_equal(whole, decode_latents(models.autoencoder, latents, batch=2))
    assert decode_preview(models.autoencoder, latents).shape == whole.shape


@pytest.mark.parametrize(
    "wrong", [{"ef": 2}, {"frames": 8}, {"fps": 60.0}, {"sampler": "euler"}, {"schedule": "X"}, {"steps": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float | str]):
    with pytest.raises(ValueError, match="|".join([*wrong, "called"])):
        GenerateConfig(**wrong)


def latents(models: Models, **asked: float | str) -> Tensor:
    config = GenerateConfig(**{"frames": 24, "fps": 16.0, **asked})
    return sample_clip(models, config, torch.zeros(16, 7, 7), torch.Generator().manual_seed(0))


def test_the_student_takes_its_own_steps_without_guidance(models: Models):
    seen = []
    config = GenerateConfig(frames=24, fps=16.0, sampler="student", guidance=5.0)
    made = generate(models, config, callback=lambda done, total, clean: seen.append(total))
    assert seen == [2, 2]
    assert np.array_equal(made, generate(models, replace(config, guidance=1.0)))
    asked = [latents(models, sampler="student", ef=ef, guidance=0.0) for ef in (20, 70)]
    assert not torch.equal(*asked), "the ejection fraction matters whatever the guidance"
    assert torch.equal(latents(models, sampler="student", steps=2), latents(models, sampler="student"))
    assert not torch.equal(latents(models, sampler="student", steps=3), latents(models, sampler="student"))
    assert len(noise_levels(replace(config, steps=3), 2)) == 4


def test_the_student_stands_for_the_video_model(models: Models):
    alone = Models(models.autoencoder, models.image, student=models.student, student_steps=2)
    assert torch.equal(latents(alone, sampler="student"), latents(models, sampler="student"))
    as_video = Models(models.autoencoder, models.image, models.student)
    assert len(noise_levels(GenerateConfig(), 2)) == 17
    assert torch.equal(
        latents(models, sampler="student", steps=1), latents(as_video, sampler="ddim", steps=1, guidance=1.0)
    ), "one step from the highest noise is the same on both grids"
    kinds = [latents(models, sampler="student", schedule=schedule) for schedule in ("V", "VI", "I")]
    assert not torch.equal(kinds[0], kinds[1])
    assert not torch.equal(kinds[1], kinds[2])


def test_without_a_student_none_can_be_asked_for(models: Models):
    with pytest.raises(ValueError, match="no student"):
        latents(Models(models.autoencoder, models.image, models.video), sampler="student")
