"""A simulated upstream segmenter: makes a picture of a mask, then segments it as an ordinary filter would.

Used for validation only. Its mistakes come from the picture (uneven contrast, noise, distracting lines, shadow), not
from any function family and not from the recipes that refiners are trained with.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from models.phantoms.fields import draw_segments, smooth_field


def picture(mask: np.ndarray, seed: int, *, difficulty: float = 1.0) -> np.ndarray:
    """A noisy picture of a mask, float32 of its shape: structures are bright, about 1 on a background of about 0.

    ``difficulty`` scales contrast loss, noise and distractors; 0 gives a blurred mask.
    """
    rng = np.random.default_rng([seed, 77])
    mask = np.asarray(mask, bool)
    side = min(mask.shape)
    sharp = ndimage.gaussian_filter(mask.astype(np.float32), 0.8)
    contrast = 1.0 - difficulty * 0.75 * special.expit(2.5 * (smooth_field(mask.shape, side / 10, rng) - 1.1))
    image = sharp * contrast
    image += difficulty * 0.25 * special.expit(4 * (smooth_field(mask.shape, side / 8, rng) - 1.3))
    image += difficulty * 0.45 * ndimage.gaussian_filter(_distractors(mask.shape, rng).astype(np.float32), 0.8)
    noise = 0.22 * rng.standard_normal(mask.shape) + 0.16 * smooth_field(mask.shape, 1.5, rng)
    return (image + difficulty * noise).astype(np.float32)


def segment(image: np.ndarray, *, blur: float | None = None, temperature: float = 0.08) -> np.ndarray:
    """Foreground probability, float32 0…1: smooth, subtract the local mean, compare with a global threshold."""
    side = min(image.shape)
    # Noise averages out faster in a volume, and thin tubes faster still.
    smooth = ndimage.gaussian_filter(image, blur or (1.3 if image.ndim == 2 else 1.0))
    local = ndimage.gaussian_filter(image, side / 6)
    evened = smooth - 0.5 * local
    # Lines fill a tenth to a half of a picture, tubes a few hundredths of a volume: the level of the structure is
    # looked for among that few, or noise would set it.
    if image.ndim == 2:
        threshold = 0.5 * (np.quantile(evened, 0.98) + np.quantile(evened, 0.2))
    else:
        threshold = 0.4 * np.quantile(evened, 0.998) + 0.6 * np.quantile(evened, 0.5)
    return special.expit((evened - threshold) / temperature).astype(np.float32)


def simulate(mask: np.ndarray, seed: int, *, difficulty: float = 1.0) -> np.ndarray:
    """What the simulated segmenter makes of a mask: probability, float32 of its shape, 0…1."""
    return segment(picture(mask, seed, difficulty=difficulty))


def _distractors(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Short false lines, as scratches, hairs or other tissue would leave."""
    side = min(shape)
    count = int(rng.integers(2, 8))
    start = rng.uniform(0, 1, (count, len(shape))) * np.array(shape)
    direction = rng.standard_normal((count, len(shape)))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    end = start + direction * side * rng.uniform(0.05, 0.25, (count, 1))
    return draw_segments(shape, start, end, side * rng.uniform(0.003, 0.01, count))
