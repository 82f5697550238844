"""The echo networks that ship: whole, described, and worth what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.media.echo_clip import read_echo_clip
from backend.media.limits import Limits
from backend.samples import sample
from backend.settings import Settings
from backend.training.echo_autoencoder import draw_frames, psnr, round_trip
from backend.training.echo_meter_validate import validate_meter
from backend.weights import SHIPPED, Weights, card_gaps
from models.echo.autoencoder import Autoencoder, linear_round_trip, principal_components
from models.echo.denoiser import Denoiser
from models.echo.generate import GenerateConfig, Models, generate
from models.echo.meter import LABELS, Meter, measure
from models.echo.regressor import Regressor

NAMES: dict[str, Any] = {
    "echo/autoencoder": Autoencoder,
    "echo/meter2d": Meter,
    "echo/regressor": Regressor,
    "echo/image": Denoiser,
    "echo/video": Denoiser,
    "echo/student": Denoiser,
}


def load(name: str, settings: Settings) -> Any:
    if not (SHIPPED / name).is_dir():
        pytest.skip(f"the weights {name} are not shipped with this version")
    return Weights(settings).load(name, lambda config: NAMES[name](**config["arguments"]), device="cpu")


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """The clip that pydicom ships, uint8 [30, 112, 112]."""
    path = sample("echo-four-chamber").path
    assert isinstance(path, Path)
    return read_echo_clip(path, Limits()).frames


@pytest.mark.parametrize("name", NAMES)
def test_whole_described_and_small(name: str, settings: Settings) -> None:
    load(name, settings)
    weight = Weights(settings).find(name)
    assert weight.shipped
    assert weight.verify()
    assert card_gaps(weight.card) == []
    assert "phantom" in weight.card
    assert "Not for diagnosis" in weight.card
    assert weight.size < 16 * 1024 * 1024
    assert not any(path.suffix in (".pt", ".part", ".npz") for path in weight.folder.iterdir())


def test_the_autoencoder_beats_linear_codes_of_its_size_on_a_real_clip(settings: Settings, real: np.ndarray) -> None:
    model = load("echo/autoencoder", settings)
    frames = real.astype(np.float32) / 255
    coded = float(np.mean(psnr(round_trip(model, frames), frames)))
    best = float(np.mean(psnr(linear_round_trip(frames, *principal_components(frames)), frames)))
    assert coded > 35
    assert coded > best, "even of the linear code that was fitted to this very clip"


def test_the_autoencoder_beats_linear_codes_on_phantoms_it_has_not_seen(settings: Settings) -> None:
    model = load("echo/autoencoder", settings)
    unseen = np.concatenate([draw_frames(950_000 + index) for index in range(6)]).astype(np.float32) / 255
    coded = np.mean(psnr(round_trip(model, unseen), unseen))
    assert coded > np.mean(psnr(linear_round_trip(unseen, *principal_components(unseen)), unseen)) + 1.5


def test_the_meter_finds_a_beating_ventricle_in_the_real_clip(settings: Settings, real: np.ndarray) -> None:
    found = measure(load("echo/meter2d", settings), real, 30.0)
    share = (found.labels == LABELS.index("left ventricle")).mean((1, 2))
    assert (share > 0.02).all()
    assert (share < 0.3).all()
    assert 20 < found.ef < 80, "a plausible heart; its true ejection fraction is not known"


def test_the_parts_of_the_generator_belong_together(settings: Settings) -> None:
    weights = Weights(settings)
    autoencoder, video = weights.find("echo/autoencoder"), weights.find("echo/video")
    for name in ("echo/image", "echo/video", "echo/student"):
        assert weights.find(name).config["autoencoder_sha256"] == autoencoder.sha256
    assert weights.find("echo/student").config["teacher_sha256"] == video.sha256


def test_a_weak_and_a_strong_heart_of_the_same_noise_differ_as_asked(settings: Settings) -> None:
    autoencoder, image, video = (load(f"echo/{name}", settings) for name in ("autoencoder", "image", "video"))
    models, meter = Models(autoencoder, image, video), load("echo/meter2d", settings)
    found = [
        measure(meter, generate(models, GenerateConfig(ef=ef, frames=32, fps=24.0, steps=8, seed=3)), 24.0).ef
        for ef in (25.0, 65.0)
    ]
    assert found[0] + 15 < found[1]


@pytest.mark.slow
def test_the_meter_agrees_with_the_truth_of_phantoms_it_has_not_seen(settings: Settings) -> None:
    found = validate_meter(load("echo/meter2d", settings), 4_000_000, 30).measures
    assert found["ef.r2"] > 0.85
    assert found["ef.mae"] < 6
    assert found["ef.missing"] == 0
    assert found["dice.left_ventricle"] > 0.9
