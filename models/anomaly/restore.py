"""Heat-maps: what an ensemble of restorations, one for each severity it is told of, would change.

A network gets a window and a severity and gives the window as healthy. Windows overlap and are blended by a Gaussian,
each weighted by its share of foreground as the released code does. Departure: windows cover the box around the
foreground of a slice, not the whole slice, which asks for less than half as many; and those without foreground are
never looked at, which changes nothing, as their weight is zero. Memory is bounded by a batch of windows and a few
slices, whatever the size of the volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from models.anomaly.degree import step_of

PAPER = (0.005, 0.051, 0.27, 0.73)
"""The severities of the published ensemble."""

Restore = Callable[[Tensor, Tensor], Tensor]
"""Windows (N, C, W, W) in 0…1 and steps (N,) → the middle slice as healthy, (N, 1, W, W)."""
Callback = Callable[[int, int, np.ndarray], None]
"""Called after every slice with slices done, their number and the heat-map so far. May raise to stop."""


@dataclass(frozen=True)
class RestoreConfig:
    """``severities`` in 0…1, one restoration each, averaged; ``several``: walk from each down in so many steps.

    ``window`` and ``stride`` in pixels; ``neighbours``: slices on either side that the network also sees (0: 2D, 1:
    2.5D); ``batch``: windows at once; ``whole``: windows over the whole slice, not the box of its foreground alone.
    """

    severities: tuple[float, ...] = PAPER
    several: int = 1
    window: int = 128
    stride: int = 32
    neighbours: int = 0
    batch: int = 16
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.severities or not all(0 < severity <= 1 for severity in self.severities):
            raise ValueError("severities lie above 0 and at most at 1, and there is at least one")
        if min(self.several, self.stride, self.batch) < 1 or self.window < 8 or self.neighbours < 0:
            raise ValueError("steps, stride and batch are at least 1, a window is 8 pixels or more")
        if self.stride > self.window:
            raise ValueError("windows that do not meet leave gaps: the stride is larger than the window")


@dataclass(frozen=True)
class Restored:
    """``healthy``: mean restoration; ``absolute``: mean of |x − f|; ``brighter``: mean of (x − f) above 0.

    All float32 [Z, H, W] on the grid of the volume, zero outside the foreground. ``each``: |x − f| of every severity,
    float32 [K, Z, H, W], or ``None`` where it was not asked for.
    """

    healthy: np.ndarray
    absolute: np.ndarray
    brighter: np.ndarray
    each: np.ndarray | None


def window_places(
    foreground: np.ndarray, window: int, stride: int, *, whole: bool = False
) -> list[tuple[int, int, float]]:
    """First row and column of every window over ``foreground``, bool [H, W], that holds some of it, and its share.

    Windows lie over the box of the foreground, evenly and at most ``stride`` pixels apart; where the box is smaller
    than a window, one lies about its middle. ``whole``: they begin every ``stride`` pixels from the corner of the
    slice, the last ones flush with its edges. Sides must be at least ``window``.
    """
    if not foreground.any():
        return []
    counts = np.zeros((foreground.shape[0] + 1, foreground.shape[1] + 1), np.int64)
    counts[1:, 1:] = foreground.cumsum(0).cumsum(1)
    found = []
    rows, columns = (_starts(np.asarray(foreground.any(1 - axis)), window, stride, whole) for axis in (0, 1))
    for row, column in product(rows, columns):
        below, right = row + window, column + window
        inside = counts[below, right] - counts[row, right] - counts[below, column] + counts[row, column]
        if inside:
            found.append((row, column, float(inside) / window**2))
    return found


def hill(window: int) -> np.ndarray:
    """Blending weights of a window, float32 [window, window]: a Gaussian of σ = an eighth of the side, 1 at its top."""
    place = (np.arange(window) - (window - 1) / 2) / (window / 8)
    line = np.exp(-0.5 * place**2)
    return np.outer(line, line).astype(np.float32)


@torch.inference_mode()
def restore_volume(
    network: Restore,
    volume: np.ndarray,
    foreground: np.ndarray,
    config: RestoreConfig | None = None,
    *,
    device: str | torch.device = "cpu",
    each: bool = False,
    callback: Callback | None = None,
) -> Restored:
    """Restore ``volume``, float [Z, H, W] in 0…1, slice by slice where ``foreground``, bool [Z, H, W], is.

    ``each`` also keeps the map of every severity. Raises ``ValueError`` for other shapes.
    """
    config = config or RestoreConfig()
    volume, foreground = np.asarray(volume, np.float32), np.asarray(foreground, bool)
    if volume.ndim != 3 or volume.shape != foreground.shape:
        raise ValueError(f"a volume [Z, H, W] and its foreground are of one size, not {volume.shape}")
    margins = [max(0, config.window - side) for side in volume.shape[1:]]
    pad = [(0, 0), *((margin // 2, margin - margin // 2) for margin in margins)]
    padded, inside = np.pad(volume, pad), np.pad(foreground, pad)
    layers = 3 + (len(config.severities) if each else 0)
    sums = np.zeros((layers, *volume.shape), np.float32)
    crop = tuple(slice(before, before + side) for (before, _), side in zip(pad[1:], volume.shape[1:], strict=True))
    for index in range(len(volume)):
        if foreground[index].any():
            sums[(slice(None), index)] = _slice(network, padded, inside[index], index, config, device, each)[
                (slice(None), *crop)
            ]
        if callback:
            callback(index + 1, len(volume), sums[1])
    return Restored(sums[0], sums[1], sums[2], sums[3:] if each else None)


def _slice(
    network: Restore,
    padded: np.ndarray,
    inside: np.ndarray,
    index: int,
    config: RestoreConfig,
    device: str | torch.device,
    each: bool,
) -> np.ndarray:
    """Layers of one slice, float32 [3 or more, H, W]: restored, absolute, brighter, and absolute by severity."""
    places = window_places(inside, config.window, config.stride, whole=config.whole)
    around = np.clip(np.arange(index - config.neighbours, index + config.neighbours + 1), 0, len(padded) - 1)
    context = padded[around]
    kinds = len(config.severities)
    totals = np.zeros((3 + (kinds if each else 0), *inside.shape), np.float64)
    weights = np.zeros(inside.shape, np.float64)
    top = hill(config.window)
    # Every severity of a window is in one batch.
    at_once = max(1, config.batch // kinds)
    for first in range(0, len(places), at_once):
        some = places[first : first + at_once]
        stack = np.stack([context[:, r : r + config.window, c : c + config.window] for r, c, _ in some])
        tiled = torch.from_numpy(stack).to(device).repeat_interleave(kinds, 0)
        found = _walk(network, tiled, config.severities * len(some), config).float().cpu().numpy()[:, 0]
        found = found.reshape(len(some), kinds, config.window, config.window)
        for (row, column, share), healthy in zip(some, found, strict=True):
            place = (slice(row, row + config.window), slice(column, column + config.window))
            change = padded[index][place] - healthy
            parts = [healthy.mean(0), np.abs(change).mean(0), np.maximum(change, 0).mean(0)]
            layers = np.stack([*parts, *np.abs(change)] if each else parts)
            totals[(slice(None), *place)] += share * top * layers
            weights[place] += share * top
    return np.asarray(np.where(inside, totals / np.maximum(weights, 1e-12), 0), np.float32)


def _walk(network: Restore, windows: Tensor, severities: Sequence[float], config: RestoreConfig) -> Tensor:
    """Restorations (N, 1, W, W) of ``windows`` (N, C, W, W), each from its severity down to none.

    Between steps as much of the change is put back as the next severity is of the last: what is left to restore
    shrinks with it.
    """
    middle = windows.shape[1] // 2
    state, now = windows, torch.tensor(severities, dtype=torch.float64)
    for step in range(config.several):
        clean = network(state, torch.from_numpy(step_of(now.numpy())).to(windows.device))
        after = torch.tensor(severities, dtype=torch.float64) * (1 - (step + 1) / config.several)
        ratio = (after / now).to(clean).view(-1, 1, 1, 1)
        state = state.clone()
        state[:, middle : middle + 1] = clean + ratio * (state[:, middle : middle + 1] - clean)
        now = after
    return state[:, middle : middle + 1]


def _starts(held: np.ndarray, window: int, stride: int, whole: bool) -> list[int]:
    """Where windows begin along an axis; ``held`` bool [side]: where there is foreground, which is somewhere."""
    side = len(held)
    if whole:
        return sorted({*range(0, side - window + 1, stride), side - window})
    inside = np.flatnonzero(held)
    first, last = int(inside[0]), int(inside[-1]) + 1 - window
    if last <= first:
        return [min(max((first + last) // 2, 0), side - window)]
    return np.rint(np.linspace(first, last, -(-(last - first) // stride) + 1)).astype(int).tolist()
