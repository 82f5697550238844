"""Refine a mask of any size: overlapping windows, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import cv2
import numpy as np
import torch
from scipy.special import expit

from models.topology.fit import least_zoom
from models.topology.refiner import Refiner

Callback = Callable[[int, int], None]
Preview = Callable[[Callable[[], np.ndarray]], None]


@torch.inference_mode()
def refine(
    model: Refiner,
    probability: np.ndarray,
    *,
    window: int | None = None,
    overlap: int | None = None,
    batch: int = 4,
    zoom: float | None = None,
    callback: Callback | None = None,
    preview: Preview | None = None,
) -> np.ndarray:
    """Refined probability, float32 of the input's shape, 0…1.

    ``probability``: (H, W) or (D, H, W) float in 0…1. ``window``: side of the windows in pixels (default 256 in 2D, 64
    in 3D); ``overlap``: pixels that neighbours share (default a quarter of the window). Windows are weighted by a
    hill and their logits averaged. ``zoom``: how much the map is enlarged before, and reduced after, ``None`` for
    :func:`natural_zoom`. ``callback(done, total)`` is called after every batch and may raise to stop; before
    it ``preview(partial)``, where ``partial()`` gives the map as far as it is refined, the input elsewhere. The
    outermost row of many segmentations is empty by accident, so the border is continued by reflection, not by zeros.
    Raises ``ValueError`` on NaN, values outside 0…1 or the wrong number of dimensions.
    """
    probability = np.asarray(probability, np.float32)
    if probability.ndim != model.dimensions:
        raise ValueError(f"this refiner takes {model.dimensions} dimensions, not {probability.ndim}")
    if not np.isfinite(probability).all() or probability.min() < 0 or probability.max() > 1:
        raise ValueError("a probability map holds finite values from 0 to 1")
    zoom = natural_zoom(probability) if zoom is None else zoom
    given, probability = probability, _resized(probability, [round(side * zoom) for side in probability.shape])
    multiple = model.multiple
    window = window or (256 if model.dimensions == 2 else 64)
    window = max(multiple, window // multiple * multiple)
    overlap = window // 4 if overlap is None else min(overlap, window - multiple)
    margin = overlap // 2
    shape = probability.shape
    step = window - overlap
    counts = [max(1, int(np.ceil((side + 2 * margin - window) / step)) + 1) for side in shape]
    padded_shape = [(count - 1) * step + window for count in counts]
    padding = [(margin, total - side - margin) for side, total in zip(shape, padded_shape, strict=True)]
    padded = np.pad(probability, padding, mode="symmetric")
    total = np.zeros(padded.shape, np.float32)
    weight = np.zeros(padded.shape, np.float32)
    hill = _hill(window, overlap, model.dimensions)
    corners = list(product(*(range(0, count * step, step) for count in counts)))
    inner = tuple(slice(a, a + side) for (a, _), side in zip(padding, shape, strict=True))

    def partial() -> np.ndarray:
        done = weight[inner] > 0
        logits = total[inner] / np.where(done, weight[inner], 1)
        if given.shape == shape:
            return np.where(done, expit(logits), probability).astype(np.float32)
        # Only the change comes back from the enlarged map, so that what is left alone stays as it was given.
        change = np.where(done, expit(logits) - probability, 0).astype(np.float32)
        return np.clip(given + _resized(change, given.shape), 0, 1)

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        for first in range(0, len(corners), batch):
            chosen = [tuple(slice(a, a + window) for a in corner) for corner in corners[first : first + batch]]
            stack = torch.from_numpy(np.stack([padded[place] for place in chosen])[:, None]).to(device)
            logits = model(stack).float().cpu().numpy()[:, 0]
            for place, values in zip(chosen, logits, strict=True):
                total[place] += values * hill
                weight[place] += hill
            if preview:
                preview(partial)
            if callback:
                callback(min(first + batch, len(corners)), len(corners))
    finally:
        model.train(training)
    return partial()


def natural_zoom(probability: np.ndarray, width: float = 12.0, largest: float = 2.0) -> float:
    """How much to enlarge a map (H, W) so that its lines and its gaps are ``width`` pixels wide on average, at most
    ``largest``; 1 for volumes, where it costs more than it gives, and below 1.2.

    Our choice: the network folds pixels by two, and lines of a few pixels lose more than time is saved.
    """
    zoom = least_zoom(probability > 0.5, width) if probability.ndim == 2 else 0.0
    return min(zoom, largest) if zoom >= 1.2 else 1.0


def _resized(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A map (H, W) at another size, float32: linear when it grows, by area when it shrinks."""
    if tuple(shape) == image.shape:
        return image
    how = cv2.INTER_LINEAR if shape[0] > image.shape[0] else cv2.INTER_AREA
    return cv2.resize(np.ascontiguousarray(image), (shape[1], shape[0]), interpolation=how)


def _hill(window: int, overlap: int, dimensions: int) -> np.ndarray:
    """Weights that rise linearly over the overlap and are 1 inside; neighbours add up to 1."""
    ramp = np.minimum((np.arange(window) + 0.5) / max(overlap, 1), 1.0)
    side = np.minimum(ramp, ramp[::-1]).astype(np.float32)
    hill = side
    for _ in range(dimensions - 1):
        hill = hill[..., None] * side
    return hill
