"""Refinement of a mask of any size by overlapping windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logit

from models.phantoms import curvilinear
from models.topology.inference import natural_zoom, refine
from tests.models.topology.networks import shaken, tiny


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    # The network limits logits to ±4: within that the identity is exact.
    return np.random.default_rng(seed).uniform(0.02, 0.98, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "window", "overlap"),
    [
        ((64, 64), None, None),
        ((37, 53), 16, None),
        ((37, 53), 16, 0),
        ((37, 53), 16, 12),
        ((37, 53), 32, 100),
        ((5, 90), 16, 4),
        ((1, 1), 16, 4),
        ((3, 7), 64, 16),
        ((11, 17, 23), 8, 4),
        ((4, 30, 9), 16, None),
        ((2, 3, 1), 8, 0),
    ],
)
def test_windows_leave_the_identity_alone(shape: tuple[int, ...], window: int | None, overlap: int | None) -> None:
    probability = noise(shape)
    found = refine(tiny(len(shape)), probability, window=window, overlap=overlap)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.allclose(found, probability, atol=1e-5)


@pytest.mark.parametrize("shape", [(70, 45), (20, 14, 26)])
def test_an_untrained_refiner_gives_the_same_mask(shape: tuple[int, ...]) -> None:
    mask = curvilinear.sample("vessels", tuple(max(n, 16) for n in shape), 1)[tuple(slice(0, n) for n in shape)]
    found = refine(tiny(len(shape)), mask.astype(np.float32), window=16)
    assert np.array_equal(found > 0.5, mask)


def test_batches_do_not_matter() -> None:
    probability, model = noise((50, 61)), shaken()
    one = refine(model, probability, window=24, batch=1)
    assert np.allclose(refine(model, probability, window=24, batch=7), one, atol=1e-5)
    assert not np.allclose(one, probability, atol=0.05), "the network must change something for this to mean anything"


def test_shifting_by_whole_windows_shifts_the_result() -> None:
    model = shaken()
    wide = noise((40, 160), seed=3)
    step = 24  # window 32, overlap 8
    here = refine(model, wide[:, : 160 - step], window=32, overlap=8)
    there = refine(model, wide[:, step:], window=32, overlap=8)
    assert np.allclose(here[:, step + 32 : -32], there[:, 32 : -32 - step], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_takes_the_step_out_of_the_seams(seed: int) -> None:
    # Against one window over everything: what the tiles change, and how it jumps from column to column.
    model, probability = shaken(seed=seed), noise((96, 96), seed=seed)
    whole = logit(refine(model, probability, zoom=1, window=160, overlap=0))

    def differences(overlap: int) -> tuple[float, float]:
        change = (logit(refine(model, probability, zoom=1, window=32, overlap=overlap)) - whole)[16:-16, 16:-16]
        return float(np.abs(change).mean()), float(np.abs(np.diff(change, axis=1)).mean(0).max())

    mean_apart, jump_apart = differences(0)
    mean_blended, jump_blended = differences(16)
    assert mean_blended < mean_apart
    assert jump_blended < 0.75 * jump_apart


def test_the_border_is_continued_by_reflection() -> None:
    # Windows of 24 every 16 pixels, the first one 4 pixels outside: mirroring 16 pixels outwards by hand moves them by
    # exactly one, and leaves all but the outermost blended pixels as they were.
    model, probability = shaken(seed=5), noise((48, 48), seed=5)
    found = refine(model, probability, window=24, overlap=8)
    by_hand = refine(model, np.pad(probability, 16, mode="symmetric"), window=24, overlap=8)[16:-16, 16:-16]
    assert np.allclose(found[4:-4, 4:-4], by_hand[4:-4, 4:-4], atol=1e-5)


def test_progress_is_reported_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    refine(tiny(), noise((60, 60)), window=24, overlap=8, batch=4, callback=lambda done, of: calls.append((done, of)))
    total = calls[0][1]
    assert [done for done, _ in calls] == [*range(4, total, 4), total]
    assert {of for _, of in calls} == {total}


@pytest.mark.parametrize("training", [True, False])
def test_an_exception_of_the_callback_stops_and_leaves_the_mode(training: bool) -> None:
    class Stopped(Exception):
        pass

    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise Stopped

    model = tiny().train(training)
    with pytest.raises(Stopped):
        refine(model, noise((60, 60)), window=16, batch=1, callback=stop)
    assert len(calls) == 2
    assert model.training is training


def test_a_preview_is_the_input_where_nothing_is_done_yet() -> None:
    model, probability = shaken(), noise((64, 64))
    seen: list[np.ndarray] = []
    found = refine(model, probability, window=16, overlap=4, batch=2, preview=lambda part: seen.append(part()))
    assert len(seen) > 3
    left = [int(np.count_nonzero(part == probability)) for part in seen]
    assert left == sorted(left, reverse=True)
    assert left[0] > probability.size / 2
    assert np.array_equal(seen[-1], found)


def test_the_network_is_not_changed() -> None:
    model = shaken()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    refine(model, noise((20, 20)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01, 255.0])
def test_refuses_what_is_no_probability(bad: float) -> None:
    probability = noise((12, 12))
    probability[3, 4] = bad
    with pytest.raises(ValueError, match="0 to 1"):
        refine(tiny(), probability)


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (8, 8, 8)), (3, (8, 8)), (2, (8,))])
def test_refuses_other_dimensions(dimensions: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"takes {dimensions} dimensions"):
        refine(tiny(dimensions), noise(shape))


def test_refuses_an_empty_array() -> None:
    with pytest.raises(ValueError, match="zero-size"):
        refine(tiny(), np.zeros((0, 8), np.float32))


def test_fine_structures_are_enlarged_until_they_are_wide_enough():
    def lines(width: int) -> np.ndarray:
        return np.kron(np.arange(24) % 2, np.ones(width))[None].repeat(24 * width, 0).astype(np.float32)

    assert natural_zoom(lines(14)) == 1.0
    assert natural_zoom(lines(6)) == pytest.approx(1.5, abs=0.1)
    assert natural_zoom(lines(3)) == 2.0
    assert natural_zoom(np.zeros((32, 32), np.float32)) == 1.0
    assert natural_zoom(np.zeros((8, 8, 8), np.float32)) == 1.0


def test_an_enlarged_map_keeps_its_size_and_what_is_left_alone():
    probability = (noise((50, 41)) > 0.5).astype(np.float32)
    assert natural_zoom(probability) == 2.0
    assert np.allclose(refine(tiny(2), probability, window=32), probability, atol=0.02)  # logits end at 4: .982
