"""Heat-maps by restoration: windows, blending, equality with the plain loop, several steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from models.anomaly.degree import severity_of, step_of
from models.anomaly.network import Restorer, restoring
from models.anomaly.restore import PAPER, RestoreConfig, hill, restore_volume, window_places

SMALL = RestoreConfig(severities=(0.1, 0.6), window=32, stride=8, batch=6)
WHOLE = replace(SMALL, whole=True)


@pytest.fixture(scope="module")
def volume() -> tuple[np.ndarray, np.ndarray]:
    """Five slices of smooth noise with a round foreground; the last is empty."""
    rng = np.random.default_rng(0)
    image = np.clip(0.5 + 2 * ndimage.gaussian_filter(rng.standard_normal((5, 56, 70)), (0.5, 3, 3)), 0, 1)
    rows, columns = np.mgrid[:56, :70]
    inside = np.broadcast_to(np.hypot(rows - 30, columns - 26) < 20, image.shape).copy()
    inside[4] = False
    return (image * inside).astype(np.float32), inside


def network(windows: Tensor, steps: Tensor) -> Tensor:
    """A restoration that depends on place within the window, neighbours and step."""
    share = torch.from_numpy(severity_of(steps.numpy())).float().view(-1, 1, 1, 1)
    slope = torch.linspace(0, 1, windows.shape[-1])
    return windows.mean(1, keepdim=True) * (1 - 0.5 * share) + 0.1 * share * slope


def plain_loop(image: np.ndarray, inside: np.ndarray, config: RestoreConfig) -> np.ndarray:
    """The straightforward way: every window of whole slices, one at a time, whether it holds foreground or not."""
    size = config.window
    total, weight = np.zeros(image.shape), np.zeros(image.shape)
    for index in range(len(image)):
        for row in sorted({*range(0, image.shape[1] - size + 1, config.stride), image.shape[1] - size}):
            for column in sorted({*range(0, image.shape[2] - size + 1, config.stride), image.shape[2] - size}):
                place = (index, slice(row, row + size), slice(column, column + size))
                change = np.zeros((size, size))
                for severity in config.severities:
                    window = torch.from_numpy(image[place])[None, None]
                    found = network(window, torch.from_numpy(step_of(np.array([severity]))))
                    change += np.abs(image[place] - found[0, 0].numpy()) / len(config.severities)
                share = inside[place].mean() * hill(size)
                total[place] += share * change
                weight[place] += share
    return np.where(inside, total / np.maximum(weight, 1e-12), 0)


def test_it_equals_the_plain_loop(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    found = restore_volume(network, image, inside, WHOLE)
    assert np.abs(found.absolute - plain_loop(image, inside, WHOLE)).max() < 1e-5
    assert found.absolute.dtype == np.float32
    assert not found.absolute[~inside].any()
    assert not found.healthy[4].any()


def test_every_batch_size_gives_the_same_and_the_parts_belong_together(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    one = restore_volume(network, image, inside, SMALL, each=True)
    other = restore_volume(network, image, inside, RestoreConfig(SMALL.severities, 1, 32, 8, 0, 64), each=True)
    assert one.each is not None
    assert other.each is not None
    for a, b in ((one.absolute, other.absolute), (one.healthy, other.healthy), (one.each, other.each)):
        assert np.abs(a - b).max() < 1e-5
    assert np.allclose(one.each.mean(0), one.absolute, atol=1e-6)
    assert (one.brighter <= one.absolute + 1e-6).all()


def test_a_network_that_changes_nothing_finds_nothing(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    found = restore_volume(lambda windows, steps: windows[:, windows.shape[1] // 2, None], image, inside, SMALL)
    assert found.absolute.max() < 1e-6
    assert np.allclose(found.healthy, image, atol=1e-6)


def test_it_equals_the_plain_loop_over_the_box_of_the_brain(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    found = restore_volume(network, image, inside, SMALL)
    rows, columns = slice(11, 50), slice(7, 46)  # 39 on a side, so that 7 pixels of places are within one stride
    assert not inside.sum() - inside[:, rows, columns].sum()
    assert inside[:, rows, columns].any((0, 1)).all()
    boxed = plain_loop(image[:, rows, columns], inside[:, rows, columns], WHOLE)
    assert np.abs(found.absolute[:, rows, columns] - boxed).max() < 1e-5


def test_only_windows_with_foreground_are_looked_at() -> None:
    inside = np.zeros((200, 200), bool)
    inside[10:40, 10:40] = True
    places = window_places(inside, 64, 32, whole=True)
    assert {(row, column) for row, column, _ in places} == {(0, 0), (0, 32), (32, 0), (32, 32)}
    assert {(r, c): share for r, c, share in places}[(0, 0)] == pytest.approx(900 / 64**2)
    full = np.ones((100, 64), bool)
    assert window_places(full, 64, 32, whole=True) == [(0, 0, 1.0), (32, 0, 1.0), (36, 0, 1.0)]
    # Two far corners: of a box of 3 × 3 windows only those that hold one of them.
    inside = np.zeros((128, 128), bool)
    inside[0, 0] = inside[127, 127] = True
    assert [place[:2] for place in window_places(inside, 64, 32)] == [(0, 0), (64, 64)]


def test_windows_lie_evenly_over_the_box_of_the_foreground() -> None:
    inside = np.zeros((200, 200), bool)
    inside[10:110, 150:190] = True
    # 100 rows: 36 more than a window, so three places; 40 columns: one window about their middle, 170.
    assert [place[:2] for place in window_places(inside, 64, 32)] == [(10, 136), (28, 136), (46, 136)]
    inside = np.zeros((200, 70), bool)
    inside[195:, 60:] = True
    assert window_places(inside, 64, 32) == [(136, 6, 50 / 64**2)], "a window stays within the slice"
    assert window_places(np.zeros((80, 80), bool), 64, 32) == []


@pytest.mark.parametrize("side", [64, 65, 95, 96, 97, 128, 161])
def test_no_two_windows_are_further_apart_than_the_stride(side: int) -> None:
    starts = [row for row, _, _ in window_places(np.ones((side, 64), bool), 64, 32)]
    assert starts[0] == 0
    assert starts[-1] == side - 64
    assert all(0 < step <= 32 for step in np.diff(starts))


def test_neighbours_are_seen_and_end_at_the_ends(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    seen: list[Tensor] = []

    def look(windows: Tensor, steps: Tensor) -> Tensor:
        seen.append(windows)
        return windows[:, 1:2]

    restore_volume(look, image, inside, RestoreConfig((0.5,), 1, 32, 8, 1, 100))
    assert [windows.shape[1] for windows in seen] == [3] * 4
    row, column, _ = window_places(inside[0], 32, 8)[0]
    place = (slice(row, row + 32), slice(column, column + 32))
    assert np.array_equal(seen[0][0].numpy(), image[[0, 0, 1]][(slice(None), *place)])
    assert np.array_equal(seen[2][0].numpy(), image[[1, 2, 3]][(slice(None), *place)])


@pytest.mark.parametrize("whole", [False, True])
def test_a_network_of_neighbours_restores_a_volume(volume: tuple[np.ndarray, np.ndarray], whole: bool) -> None:
    image, inside = volume
    torch.manual_seed(0)
    model = Restorer(neighbours=1, widths=(8, 16), layers=1, patch=2)
    plan = replace(SMALL, neighbours=1, whole=whole)
    assert restore_volume(restoring(model, "flair"), image, inside, plan).absolute.max() < 1e-6
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    found = restore_volume(restoring(model, "flair"), image, inside, plan)
    changed = image.copy()
    changed[0] = 1 - changed[0]
    other = restore_volume(restoring(model, "flair"), changed, inside, plan)
    differs = np.abs(found.healthy - other.healthy).max((1, 2)) > 1e-6
    assert differs.tolist() == [True, True, False, False, False], "a slice is seen by itself and its neighbours"
    flat = restore_volume(restoring(model), image[:1], inside[:1], plan)
    assert flat.absolute.shape == (1, *image.shape[1:])
    assert flat.absolute.max() > 0


def test_several_steps_end_at_the_last_answer_and_are_told_smaller_severities(
    volume: tuple[np.ndarray, np.ndarray],
) -> None:
    image, inside = volume
    told: list[int] = []

    def half(windows: Tensor, steps: Tensor) -> Tensor:
        told.append(int(steps[0]))
        return windows * 0.5

    one = restore_volume(half, image[:1], inside[:1], RestoreConfig((0.8,), 1, 32, 24, 0, 100))
    once = told.copy()
    told.clear()
    several = restore_volume(half, image[:1], inside[:1], RestoreConfig((0.8,), 4, 32, 24, 0, 100))
    assert np.allclose(one.healthy, 0.5 * image[:1], atol=1e-6)
    assert len(once) == 1
    assert told == sorted(told, reverse=True)
    assert told == [int(step_of(severity)) for severity in (0.8, 0.6, 0.4, 0.2)]
    # Each step keeps half of what it has plus what it puts back: 1 → 7/8 → 7/8·5/6 → … of the image.
    wanted = (1 + 3 / 4) / 2 * (1 + 2 / 3) / 2 * (1 + 1 / 2) / 2 / 2
    assert np.allclose(several.healthy, wanted * image[:1], atol=1e-6)


def test_small_slices_are_padded_and_progress_is_told(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    told: list[tuple[int, int]] = []
    found = restore_volume(
        network, image, inside, RestoreConfig(), callback=lambda done, total, heat: told.append((done, total))
    )
    assert found.absolute.shape == image.shape
    assert told == [(index + 1, 5) for index in range(5)]
    assert RestoreConfig().severities == PAPER


def test_what_cannot_be_restored_is_refused(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, inside = volume
    with pytest.raises(ValueError, match="one size"):
        restore_volume(network, image, inside[:2])
    for wrong in ({"severities": ()}, {"severities": (1.5,)}, {"stride": 0}, {"window": 64, "stride": 65}):
        with pytest.raises(ValueError, match=r"severities|stride"):
            RestoreConfig(**wrong)  # type: ignore[arg-type]
