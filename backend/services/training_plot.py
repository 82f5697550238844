"""The loss of a training as a picture, for its live preview."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 560, 240  # pixels
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 26, 34
POINTS = 240
INK, FAINT, LINE, EACH = (228, 234, 241), (120, 134, 150), (69, 174, 171), (52, 84, 92)
GROUND = (20, 23, 26)


def thinned(losses: Sequence[float], most: int) -> np.ndarray:
    """Means over at most ``most`` stretches of equal length, float64."""
    values = np.asarray(losses, float)
    if len(values) <= most:
        return values
    return np.array([part.mean() for part in np.array_split(values, most)])


def loss_picture(losses: Sequence[float]) -> bytes:
    """PNG of the loss against the steps: every stretch faint, the running mean on top, on a logarithmic axis."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    values = np.maximum(thinned(losses, POINTS), 1e-6)
    draw.text((LEFT, 5), "Loss (lower is better)", INK, font)
    if len(values):
        smooth = _running_mean(values)
        low, high = float(values.min()) / 1.05, float(values.max()) * 1.05
        ticks = [tick for tick in _ticks(low, high) if low <= tick <= high]
        for tick in ticks:
            y = _height(tick, low, high)
            draw.line((LEFT, y, WIDTH - RIGHT, y), (44, 52, 60))
            draw.text((8, y - 8), f"{tick:.2g}", FAINT, font)
        for series, colour, width in ((values, EACH, 1), (smooth, LINE, 3)):
            places = np.linspace(LEFT, WIDTH - RIGHT, len(series)) if len(series) > 1 else [LEFT]
            points = [(float(x), _height(value, low, high)) for x, value in zip(places, series, strict=True)]
            draw.line(points, colour, width) if len(points) > 1 else draw.point(points, colour)
        draw.text((WIDTH - RIGHT, 5), f"now {smooth[-1]:.3f}", INK, font, anchor="ra")
        draw.text((LEFT, HEIGHT - 22), "step 1", FAINT, font)
        draw.text((WIDTH - RIGHT, HEIGHT - 22), f"step {len(losses):,}", FAINT, font, anchor="ra")
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=3)
    return stream.getvalue()


def _running_mean(values: np.ndarray, share: float = 0.12) -> np.ndarray:
    """Mean over a trailing window of a share of the series; shorter where it begins."""
    window = max(5, round(share * len(values)))
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (total[ends] - total[starts]) / (ends - starts)


def _height(value: float, low: float, high: float) -> float:
    share = np.log(value / low) / np.log(high / low)
    return float(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around a range."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5)]
