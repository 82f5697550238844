"""The meter: its network on a heart simple enough to be learnt in seconds, and everything that follows from labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.echo.losses import outline_loss
from models.echo.meter import LABELS, Meter, clean, measure, measure_probability, segment, steady
from models.fitting import fit_batches
from models.phantoms.echo import LABELS as PHANTOM_LABELS
from tests.models.echo.hearts import beating


def sure(labels: np.ndarray, how: float = 0.97) -> np.ndarray:
    """Probability [T, 6, H, W] of a network that is right and ``how`` sure."""
    hot = labels[:, None] == np.arange(len(LABELS))[:, None, None]
    return np.where(hot, how, (1 - how) / (len(LABELS) - 1)).astype(np.float32)


@pytest.fixture(scope="module")
def learnt() -> Meter:
    """A tiny network that has seen the stand-in for a few steps."""
    torch.manual_seed(0)
    model = Meter((8, 16, 24))
    hearts = [beating(60, 6, 7, centre=(46 + 2 * seed, 52 + 2 * seed), seed=seed) for seed in range(5)]
    frames = np.concatenate([pictures for pictures, _ in hearts])
    labels = np.concatenate([truth for _, truth in hearts])

    def batch_of(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        chosen = rng.choice(len(frames), 6, replace=False)
        return torch.from_numpy(frames[chosen, None] / np.float32(255)), torch.from_numpy(labels[chosen].astype(int))

    fit_batches(model, batch_of, outline_loss, steps=70)
    return model


def test_labels_are_those_of_the_phantom() -> None:
    assert LABELS == PHANTOM_LABELS


def test_shapes_and_arguments() -> None:
    model = Meter((8, 12, 16)).eval()
    frames = torch.rand(3, 1, 112, 112)
    assert model(frames).shape == (3, 6, 112, 112)
    assert model.features(frames).shape == (3, 16)
    assert Meter(**model.arguments).state_dict().keys() == model.state_dict().keys()
    assert Meter()(torch.rand(1, 1, 112, 112)).shape == (1, 6, 112, 112)
    with pytest.raises(ValueError, match="divisible"):
        model(torch.rand(1, 1, 110, 112))


def test_overall_gain_and_offset_hardly_matter() -> None:
    model = Meter((8, 12, 16)).eval()
    frames = torch.from_numpy(beating(50, 2, 8)[0][:, None] / np.float32(255))
    with torch.inference_mode():
        logits, changed = model(frames), model(frames * 0.6 + 0.2)
    assert float((logits - changed).abs().mean()) < 0.1 * float(logits.std())


def test_a_learnt_heart_is_measured(learnt: Meter) -> None:
    frames, labels = beating(45, 48, 32, centre=(49.0, 55.0), seed=99)
    seen: list[tuple[int, int]] = []
    found = measure(learnt, frames, 32, 0.7, callback=lambda done, total: seen.append((done, total)))
    ventricle, truth = found.labels == 1, labels == 1
    assert 2 * np.sum(ventricle & truth) / (ventricle.sum() + truth.sum()) > 0.95
    assert found.ef == pytest.approx(45, abs=4)
    assert found.discs_ef == pytest.approx(45, abs=5)
    assert found.heart_rate == pytest.approx(70, rel=0.1)
    assert found.confidence > 0.85
    assert found.frame_confidence.shape == (48,)
    assert found.volumes.ml.max() == pytest.approx(4 / 3 * np.pi * 34 * 18**2 * 0.343 / 1000, rel=0.1)
    assert seen == [(16, 48), (32, 48), (48, 48)]
    assert not any("not found" in note or "edge" in note for note in found.notes)


def test_a_cancelled_measurement_leaves_the_network_as_it_was(learnt: Meter) -> None:
    learnt.train()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(learnt, beating(45, 4, 8)[0], callback=stop)
    assert learnt.training
    learnt.eval()


@pytest.mark.parametrize("fps", [16, 32, 64])
@pytest.mark.parametrize("ef", [12, 40, 70])
def test_right_labels_give_the_right_ejection_fraction(fps: float, ef: float) -> None:
    _, labels = beating(ef, int(2 * fps), fps)
    found = measure_probability(sure(labels), fps, 0.7)
    assert found.ef == pytest.approx(ef, abs=2)
    assert found.beats.whole
    assert np.array_equal(found.labels, labels) or fps >= 24
    assert np.mean(found.labels != labels) < 0.01
    assert measure_probability(sure(labels), fps).ef == pytest.approx(found.ef, abs=1e-3)


def test_frames_without_a_ventricle_are_counted_and_bridged() -> None:
    _, labels = beating(50, 64, 32)
    labels[[5, 6, 30]] = 0
    found = measure_probability(sure(labels), 32)
    assert any("not found in" in note and "of 64" in note for note in found.notes)
    assert found.frame_confidence[5] == 0
    assert np.isnan(found.volumes.ml[5])
    assert found.ef == pytest.approx(50, abs=2.5)
    assert any("pixel size is not known" in note for note in found.notes)


def test_nothing_found_at_all() -> None:
    found = measure_probability(sure(np.zeros((20, 112, 112), np.uint8)), 32)
    assert np.isnan(found.ef)
    assert found.heart_rate is None
    assert found.confidence == 0
    assert any("not found in 20 of 20" in note for note in found.notes)


def test_a_ventricle_at_the_edge_and_unsure_outlines_are_noted() -> None:
    _, labels = beating(50, 64, 32, centre=(28.0, 56.0))
    found = measure_probability(sure(labels, 0.6), 32)
    assert any("cut by the edge" in note for note in found.notes)
    assert any("unsure" in note for note in found.notes)
    assert found.confidence == pytest.approx(0.6, abs=0.02)


def test_one_frame_is_outlined_but_has_no_ejection_fraction() -> None:
    found = measure_probability(sure(beating(50, 1, 32)[1]), 32, 0.7)
    assert np.isnan(found.ef)
    assert found.volumes.ml[0] > 0
    assert any("too short" in note for note in found.notes)


def test_cleaning_keeps_one_piece_and_fills_holes() -> None:
    labels = beating(50, 1, 32)[1][0]
    dirty = labels.copy()
    dirty[100:104, 5:12] = 1
    dirty[44:48, 54:58] = 2
    found = clean(sure(dirty[None])[0])
    assert np.array_equal(found, labels)
    speck = np.zeros_like(labels)
    speck[5:8, 5:8] = 1
    assert not clean(sure(speck[None])[0]).any()
    for label in range(1, 4):
        assert ndimage.label(found == label)[1] == 1


def test_the_median_over_time_removes_a_flicker_but_not_motion() -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(rng.random((1, 6, 8, 8), np.float32), 12, 0)
    flicker = still.copy()
    flicker[5] = 1 - flicker[5]
    assert np.array_equal(steady(flicker, 32), still)
    assert np.array_equal(steady(flicker, 16), flicker)
    ramp = np.linspace(0, 1, 12, dtype=np.float32)[:, None, None, None] * np.ones((1, 6, 2, 2), np.float32)
    assert np.allclose(steady(ramp, 32), ramp)
    assert np.allclose(steady(ramp, 64)[2:-2], ramp[2:-2])
    assert steady(ramp[:1], 64).shape == (1, 6, 2, 2)


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        (np.zeros((4, 112, 112), np.float32), 32),
        (np.zeros((112, 112), np.uint8), 32),
        (np.zeros((0, 112, 112), np.uint8), 32),
        (np.zeros((4, 112, 112), np.uint8), 0),
    ],
)
def test_what_is_no_clip_is_refused(frames: np.ndarray, fps: float) -> None:
    with pytest.raises(ValueError, match=r"clip|rate"):
        measure(Meter((8, 8)), frames, fps)
