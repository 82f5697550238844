"""Training of a refiner: it learns, stops, resumes to the bit, and leaves its moving average."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.fitting import FitState
from models.phantoms import curvilinear
from models.topology.fit import (
    FitConfig,
    config_values,
    disc,
    fit,
    least_zoom,
    loss_of,
    make_batch,
    random_crop,
)
from models.topology.refiner import Refiner
from tests.models.topology.networks import tiny

SMALL = FitConfig(crop=32, batch=2)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    return [curvilinear.sample(kind, 64, 1) for kind in ("vessels", "membranes", "roads")]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_loss_falls(masks: list[np.ndarray]) -> None:
    # On damage that training did not draw: the untrained refiner, which changes nothing, sets the mark.
    damaged, clean = make_batch(masks, 2, 4, np.random.default_rng(99), FitConfig(crop=32, batch=32, cut_out=0))
    model = tiny()
    with torch.inference_mode():
        before = loss_of(model(damaged), clean, 0.5).item()
    state = fit(model, masks, FitConfig(crop=32, batch=4, learning_rate=5e-3, ema=0.9, cut_out=0), steps=50)
    with torch.inference_mode():
        after = loss_of(model(damaged), clean, 0.5).item()
    assert after < 0.95 * before
    assert len(state.losses) == 50
    assert not model.training


@pytest.mark.parametrize("stop", [1, 4])
def test_resuming_equals_going_on_to_the_bit(masks: list[np.ndarray], stop: int) -> None:
    whole, parted = tiny(), tiny()
    straight = fit(whole, masks, SMALL, steps=8, seed=3)

    def interrupt(step: int, fraction: float, loss: float) -> None:
        if step == stop:
            raise Stopped

    state = FitState()
    with pytest.raises(Stopped):
        fit(parted, masks, SMALL, steps=8, seed=3, state=state, callback=interrupt)
    assert state.step == stop
    again = tiny()  # as a new process would: only the state goes on
    resumed = fit(again, masks, SMALL, steps=8, seed=3, state=state)
    assert resumed is state
    assert resumed.step == straight.step == 8
    assert resumed.losses == straight.losses
    assert equal(resumed.model, straight.model)
    assert equal(resumed.average, straight.average)
    assert equal(dict(again.state_dict()), dict(whole.state_dict()))
    for index, moments in straight.optimisers[0]["state"].items():
        assert equal(moments, resumed.optimisers[0]["state"][index])


def test_the_seed_decides_the_training(masks: list[np.ndarray]) -> None:
    a, b, c = (fit(tiny(), masks, SMALL, steps=2, seed=seed) for seed in (1, 1, 2))
    assert a.losses == b.losses != c.losses
    assert equal(a.model, b.model)
    assert not equal(a.model, c.model)


def test_the_moving_average_is_left_in_the_model(masks: list[np.ndarray]) -> None:
    seen = [{name: value.clone() for name, value in tiny().named_parameters()}]
    model = tiny()

    def keep(step: int, fraction: float, loss: float) -> None:
        seen.append({name: value.detach().clone() for name, value in model.named_parameters()})

    state = fit(model, masks, SMALL, steps=4, callback=keep)
    expected = seen[0]
    for step, weights in enumerate(seen[1:]):
        decay = min(SMALL.ema, (1 + step) / (10 + step))
        expected = {name: decay * value + (1 - decay) * weights[name] for name, value in expected.items()}
    for name, value in model.named_parameters():
        assert torch.allclose(value, expected[name], atol=1e-6), name
    assert equal(state.average, dict(model.state_dict()))
    assert not equal(state.average, state.model)


def test_the_callback_hears_every_step(masks: list[np.ndarray]) -> None:
    calls: list[tuple[int, float, float]] = []
    state = fit(tiny(), masks, SMALL, steps=5, callback=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [1, 2, 3, 4, 5]
    assert [call[1] for call in calls] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [call[2] for call in calls] == state.losses


def test_minutes_end_the_training_and_count_over_all_calls(masks: list[np.ndarray]) -> None:
    state = FitState(seconds=0.0)
    began = time.monotonic()
    fit(tiny(), masks, SMALL, minutes=0.02, state=state)
    assert 1.2 <= state.seconds <= time.monotonic() - began
    steps = state.step
    assert steps >= 1
    fit(tiny(), masks, SMALL, minutes=0.02, state=state)
    assert state.step == steps, "the time was already used up"


def test_whichever_limit_comes_first(masks: list[np.ndarray]) -> None:
    assert fit(tiny(), masks, SMALL, minutes=60, steps=2).step == 2


def test_a_volume_refiner_learns_too() -> None:
    volumes = [curvilinear.sample("vessels", (32, 32, 32), 1)]
    model = tiny(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = fit(model, volumes, FitConfig(crop=16, batch=2), steps=3)
    assert np.isfinite(state.losses).all()
    assert not equal(before, dict(model.state_dict()))


def test_empty_masks_are_left_out(masks: list[np.ndarray]) -> None:
    empty = np.zeros((64, 64), bool)
    assert fit(tiny(), [empty, masks[0]], SMALL, steps=2).losses == fit(tiny(), masks[:1], SMALL, steps=2).losses


def test_refuses_training_without_masks_or_limit(masks: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="limit"):
        fit(tiny(), masks, SMALL)
    for limit in ({"minutes": 0}, {"steps": 0}, {"minutes": 1, "steps": -1}):
        with pytest.raises(ValueError, match="limit"):
            fit(tiny(), masks, SMALL, **limit)
    for nothing in ([], [np.zeros((8, 8), bool)]):
        with pytest.raises(ValueError, match="at least one mask"):
            fit(tiny(), nothing, SMALL, steps=1)


def test_a_batch_is_damaged_and_clean_crops_of_one_shape(masks: list[np.ndarray]) -> None:
    damaged, clean = make_batch(masks, 2, 16, np.random.default_rng(0), FitConfig(crop=50, batch=3))
    assert damaged.shape == clean.shape == (3, 1, 48, 48)  # rounded down to the multiple
    assert damaged.dtype == clean.dtype == torch.float32
    assert set(clean.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(damaged > 0.5, clean > 0.5)
    again = make_batch(masks, 2, 16, np.random.default_rng(0), FitConfig(crop=50, batch=3))
    assert torch.equal(again[0], damaged)


@pytest.mark.parametrize("shape", [(100, 100), (20, 150), (5, 7), (30, 30, 30), (9, 40, 12)])
def test_a_crop_has_its_side_whatever_the_mask(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < 0.5
    for _ in range(10):
        crop = random_crop(mask, 24, rng, (0.7, 1.4))
        assert crop.shape == (24,) * len(shape)
        assert crop.dtype == np.bool_
        assert crop.any()


def test_a_crop_without_zoom_is_a_piece_of_the_mask() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((32, 32)) < 0.5
    pieces = set()
    for array in (mask, mask.T):
        for turned in (array, array[::-1], array[:, ::-1], array[::-1, ::-1]):
            windows = np.lib.stride_tricks.sliding_window_view(turned, (16, 16)).reshape(-1, 256)
            pieces.update(np.packbits(windows, axis=1).tobytes()[i : i + 32] for i in range(0, len(windows) * 32, 32))
    for _ in range(20):
        assert np.packbits(random_crop(mask, 16, rng, (1.0, 1.0))).tobytes() in pieces


@pytest.mark.parametrize("zoom", [0.7, 1.0, 1.4])
def test_zoom_changes_the_calibre(zoom: float) -> None:
    stripes = np.indices((200, 200))[1] // 20 % 2 == 0  # 20 pixels wide
    half_widths = []
    for seed in range(10):
        crop = random_crop(stripes, 100, np.random.default_rng(seed), (zoom, zoom))
        half_widths.append(np.median(ndimage.distance_transform_edt(np.pad(crop, 1)).max(0 if crop[:, 0].all() else 1)))
    assert np.max(half_widths) == pytest.approx(10 * zoom, abs=1.0)


def test_the_loss_is_cross_entropy_and_soft_dice() -> None:
    clean = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    logits = torch.zeros_like(clean)
    assert loss_of(logits, clean, 0.0).item() == pytest.approx(np.log(2))
    # Probability one half everywhere: overlap (2 * .5 + 1) over (2 + 1 + 1).
    assert loss_of(logits, clean, 1.0).item() == pytest.approx(np.log(2) + 0.5)
    assert loss_of(200 * clean - 100, clean, 1.0).item() == pytest.approx(0.0, abs=1e-6)


def test_settings_are_json() -> None:
    values = json.loads(json.dumps(config_values(SMALL)))
    assert values["crop"] == 32
    assert values["perturbation"]["recipe"] == "clustered"


def test_the_learning_rate_warms_up_and_falls(masks: list[np.ndarray]) -> None:
    config = FitConfig(crop=16, batch=1, learning_rate=1e-2)

    def rate_after(steps: int) -> float:
        def stop(step: int, fraction: float, loss: float) -> None:
            if step == steps:
                raise Stopped

        state = FitState()
        with contextlib.suppress(Stopped):
            fit(Refiner(2, (8,)), masks, config, steps=20, state=state, callback=stop)
        return state.optimisers[0]["param_groups"][0]["lr"]

    assert rate_after(1) == pytest.approx(0.02 * 1e-2)
    assert rate_after(2) == pytest.approx(1e-2, rel=0.05)
    assert 0 < rate_after(20) < 1e-3


def test_thin_lines_are_never_shrunk_until_they_break():
    lines = np.zeros((400, 400), bool)
    lines[::20] = lines[1::20] = lines[2::20] = lines[3::20] = True
    assert 0.5 < least_zoom(lines) < 1.0, "lines of four pixels"
    assert least_zoom(np.kron(lines, np.ones((4, 4))) > 0) < 0.3, "sixteen pixels may be shrunk to a quarter"
    assert least_zoom(np.zeros((9, 9), bool)) == 0
    config = FitConfig(crop=96, batch=1, zoom=(0.1, 0.2), cut_out=0)
    for seed in range(10):
        clean = make_batch([lines], 2, 16, np.random.default_rng(seed), config, [least_zoom(lines)])[1][0, 0].numpy()
        assert clean.any()
        assert (clean == clean[:1]).all() or (clean == clean[:, :1]).all(), "every line still runs from edge to edge"


def test_some_crops_keep_only_a_disc():
    full = [np.ones((200, 200), bool)]
    clean = make_batch(full, 2, 16, np.random.default_rng(0), FitConfig(crop=96, batch=60, cut_out=0.5))[1][:, 0]
    shares = clean.mean((1, 2)).numpy()
    assert 15 < np.count_nonzero(shares < 1) < 45
    assert shares.min() < 0.5
    ball = disc((40, 40, 40), np.random.default_rng(3))
    assert ball.shape == (40, 40, 40)
    assert 0 < np.count_nonzero(ball) < ball.size
