"""The regressor: shapes, resampling, windows, and that it can learn a heart simple enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.echo.losses import ejection_loss
from models.echo.regressor import FRAMES, Regressor, estimate, resample, windows_of
from models.fitting import Optimisation, fit_batches
from tests.models.echo.hearts import beating


def test_shapes_and_arguments() -> None:
    model = Regressor((8, 12, 16)).eval()
    clips = torch.rand(2, 1, 16, 112, 112)
    ef, course = model.both(clips)
    assert model(clips).shape == ef.shape == (2,)
    assert course.shape == (2, 16)
    assert model.features(clips).shape == (2, 32)
    assert model.features(torch.rand(1, 1, 64, 112, 112)).shape == (1, 32)
    assert Regressor(**model.arguments).state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match="divisible"):
        model(torch.rand(1, 1, 16, 100, 112))


def test_features_see_motion() -> None:
    """Mean and spread over time: a clip that stands still has less spread than one that beats."""
    torch.manual_seed(0)
    model = Regressor((8, 12, 16)).eval()
    frames = torch.from_numpy(beating(60, 16, 16)[0] / np.float32(255))[None, None]
    with torch.inference_mode():
        beats = model.features(frames)[0, 16:]
        still = model.features(frames[:, :, :1].expand(-1, -1, 16, -1, -1))[0, 16:]
    assert float(still[2:].sum()) < float(beats[2:].sum())


def test_it_learns_a_simple_heart() -> None:
    torch.manual_seed(0)
    model = Regressor((8, 12, 16))
    drawn = []
    for seed, ef in enumerate(np.linspace(10, 75, 14)):
        frames, labels = beating(ef, 16, 16, seed=seed)
        volumes = (labels == 1).sum((1, 2)) ** 1.5
        drawn.append((frames, ef, volumes / volumes.max()))

    def batch_of(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        chosen = [drawn[index] for index in rng.choice(len(drawn), 4, replace=False)]
        clips, efs, volumes = zip(*chosen, strict=True)
        return (
            torch.from_numpy(np.stack(clips)[:, None] / np.float32(255)),
            torch.tensor(efs, dtype=torch.float32),
            torch.from_numpy(np.stack(volumes).astype(np.float32)),
        )

    fit_batches(model, batch_of, ejection_loss, Optimisation(learning_rate=5e-3), steps=80)
    truth = [18.0, 40.0, 66.0]
    found = [estimate(model, beating(ef, 32, 32, seed=50)[0], 32).ef for ef in truth]
    assert found == pytest.approx(truth, abs=15)
    assert found == sorted(found)


def test_a_clip_shorter_than_a_second_has_no_estimate() -> None:
    model = Regressor((8, 12, 16))
    found = estimate(model, beating(50, 20, 32)[0], 32)
    assert np.isnan(found.ef)
    assert found.windows == ()
    found = estimate(model, beating(50, 64, 32)[0], 32)
    assert len(found.windows) == 3
    assert found.ef == np.median(found.windows)
    with pytest.raises(ValueError, match="uint8"):
        estimate(model, np.zeros((32, 112, 112)), 32)


def test_resampling_in_time() -> None:
    ramp = np.arange(33, dtype=np.float64)
    assert np.allclose(resample(ramp, 32), np.arange(0, 33, 2))
    assert np.allclose(resample(ramp, 24, 16), np.arange(22) * 1.5)
    assert np.allclose(resample(ramp, 10, 16), np.arange(52) * 0.625)
    assert resample(ramp.astype(np.uint8), 10, 16).dtype == np.uint8
    assert resample(ramp[:1], 30).tolist() == [0]
    frames = beating(50, 8, 16)[0]
    assert np.array_equal(resample(frames, 16), frames)
    for bad in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match="rates"):
            resample(ramp, bad)


@pytest.mark.parametrize("count", [15, 16, 17, 24, 40, 61])
def test_windows_cover_every_frame(count: int) -> None:
    starts = windows_of(count)
    covered = {start + k for start in starts for k in range(FRAMES)}
    assert covered == (set(range(count)) if count >= FRAMES else set())
