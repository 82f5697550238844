"""Time and memory of restoring a volume, beside the straightforward loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from models.anomaly.degree import step_of
from models.anomaly.network import SIZES, Restorer, restoring
from models.anomaly.restore import Restore, RestoreConfig, hill, restore_volume, window_places

SIDES = (182, 182, 218)
"""Slices, rows and columns of the volume whose memory is measured: those of MNI space at 1 mm."""

Places = Callable[[np.ndarray], Iterable[tuple[int, int]]]


@torch.inference_mode()
def plain_loop(
    restore: Restore, volume: np.ndarray, foreground: np.ndarray, plan: RestoreConfig, places: Places
) -> np.ndarray:
    """Mean |x − f|, float32 [Z, H, W]: every slice, place and severity one at a time, brain or not."""
    size, top = plan.window, hill(plan.window)
    found = np.zeros(volume.shape, np.float32)
    for index, (image, inside) in enumerate(zip(volume, foreground, strict=True)):
        total, weight = np.zeros(image.shape), np.zeros(image.shape)
        for row, column in places(inside):
            place = (slice(row, row + size), slice(column, column + size))
            change = np.zeros((size, size))
            window = torch.from_numpy(np.ascontiguousarray(image[place]))[None, None]
            for severity in plan.severities:
                healthy = restore(window, torch.from_numpy(step_of(np.array([severity]))))
                change += np.abs(image[place] - healthy[0, 0].numpy()) / len(plan.severities)
            total[place] += inside[place].mean() * top * change
            weight[place] += inside[place].mean() * top
        found[index] = np.where(inside, total / np.maximum(weight, 1e-12), 0)
    return found


def over_slice(plan: RestoreConfig) -> Places:
    """Places over the whole slice, from its corner, every stride, the last flush with the edge."""

    def places(inside: np.ndarray) -> list[tuple[int, int]]:
        last = [side - plan.window for side in inside.shape]
        rows, columns = (sorted({*range(0, end + 1, plan.stride), end}) for end in last)
        return [(row, column) for row in rows for column in columns]

    return places


def over_box(plan: RestoreConfig) -> Places:
    """The places that ours looks at."""
    return lambda inside: [(row, column) for row, column, _ in window_places(inside, plan.window, plan.stride)]


def speed(model: Restorer, sequence: str, volume: np.ndarray, foreground: np.ndarray) -> dict[str, float]:
    """Seconds of ours and of the plain loop on the same slices, in turn, and how far their heat-maps are apart.

    ``whole``: ours with windows over the whole slice, as the loop has them; ``box``: ours as it ships, whose places are
    others, and beside it the loop over these places. Slices are at least as large as a window.
    """
    restore = restoring(model, sequence)
    box, whole = RestoreConfig(), RestoreConfig(whole=True)
    restore_volume(restore, volume[:1], np.ones_like(foreground[:1]), box)  # the first call is not timed
    calls: dict[str, Callable[[], np.ndarray]] = {
        "plain": lambda: plain_loop(restore, volume, foreground, whole, over_slice(whole)),
        "whole": lambda: restore_volume(restore, volume, foreground, whole).absolute,
        "box": lambda: restore_volume(restore, volume, foreground, box).absolute,
        "plain_box": lambda: plain_loop(restore, volume, foreground, box, over_box(box)),
    }
    seconds, maps = {}, {}
    for name, call in calls.items():
        began = time.perf_counter()
        maps[name] = call()
        seconds[name] = time.perf_counter() - began
    places = np.abs(maps["box"] - maps["plain"])[foreground]
    return {
        "speedup_vs_plain_loop": seconds["plain"] / seconds["box"],
        "speedup_vs_plain_loop_same_places": seconds["plain"] / seconds["whole"],
        "difference_same_places": float(
            max(np.abs(maps["whole"] - maps["plain"]).max(), np.abs(maps["box"] - maps["plain_box"]).max())
        ),
        "difference_of_places_mean": float(places.mean()),
        "heat_mean": float(maps["plain"][foreground].mean()),
        "correlation_of_places": float(np.corrcoef(maps["box"][foreground], maps["plain"][foreground])[0, 1]),
    }


def restore_something(every: int = 8) -> None:
    """Restore a ball in a volume of :data:`SIDES`, in every ``every``-th slice only: what memory is measured of."""
    torch.set_num_threads(1)
    rise, row, column = (place - side / 2 for place, side in zip(np.ogrid[*map(slice, SIDES)], SIDES, strict=True))
    inside = np.asarray(rise**2 + row**2 + column**2 < 70**2)
    image = np.random.default_rng(0).random(SIDES, np.float32) * inside
    chosen = np.zeros_like(inside)
    chosen[::every] = inside[::every]
    restore_volume(restoring(Restorer("restorer", **SIZES["small"]).eval()), image, chosen)
