"""A drawn stand-in of a heart, far simpler than the phantom: an ellipse that beats, its wall and an atrium below it."""

from __future__ import annotations

import numpy as np


def beating(
    ef: float, frames: int, fps: float, *, rate: float = 70.0, centre: tuple[float, float] = (48.0, 56.0), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels, uint8 [T, 112, 112]. End-diastole is frame 0; the volume follows a cosine."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:112, :112].astype(float)
    pictures, labels = [], []
    for time in range(frames):
        full = 0.5 + 0.5 * np.cos(2 * np.pi * time * rate / 60 / fps)
        scale = (1 - ef / 100 * (1 - full)) ** (1 / 3)
        long, short = 34 * scale, 18 * scale
        radius = ((rows - centre[0]) / long) ** 2 + ((columns - centre[1]) / short) ** 2
        wall = ((rows - centre[0]) / (long + 6)) ** 2 + ((columns - centre[1]) / (short + 6)) ** 2
        atrium = (rows - centre[0] - long - 14) ** 2 + (columns - centre[1]) ** 2 < 100
        label = np.zeros((112, 112), np.uint8)
        label[wall <= 1] = 2
        label[radius <= 1] = 1
        label[atrium & (label == 0)] = 3
        grey = np.choose(label, [70, 15, 170, 25, 0, 0]) * rng.rayleigh(0.8, (112, 112))
        pictures.append(np.clip(grey, 0, 255).astype(np.uint8))
        labels.append(label)
    return np.stack(pictures), np.stack(labels)
