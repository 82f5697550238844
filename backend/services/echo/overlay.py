"""Pictures of an echo clip: labels over grey frames, and several frames in one picture."""

from __future__ import annotations

import io

import numpy as np

from backend.services.echo.requests import LABELS

OPACITY = 0.35
_COLOURS = np.zeros((256, 3), np.float32)
for _label in LABELS:
    _COLOURS[_label.code] = [int(_label.colour[at : at + 2], 16) for at in (1, 3, 5)]


def overlaid(frame: np.ndarray, labels: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """uint8 [H, W, 3]: a grey frame uint8 [H, W] with its label codes uint8 [H, W] in their colours."""
    grey = np.repeat(frame[..., None], 3, axis=2).astype(np.float32)
    share = np.where(labels[..., None] > 0, np.float32(opacity), np.float32(0))
    return np.rint(grey * (1 - share) + _COLOURS[labels] * share).astype(np.uint8)


def enlarged(frame: np.ndarray, factor: int) -> np.ndarray:
    """The picture ``factor`` times as large, uint8 [H, W] or [H, W, 3], smooth between pixels."""
    import cv2

    size = frame.shape[1] * factor, frame.shape[0] * factor
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def sheet(frames: np.ndarray, columns: int = 4, gap: int = 2) -> np.ndarray:
    """Frames uint8 [N, H, W] or [N, H, W, 3] in rows of ``columns``, as one picture."""
    count, height, width = frames.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *frames.shape[3:])
    made = np.zeros(shape, np.uint8)
    for index, frame in enumerate(frames):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        made[top : top + height, left : left + width] = frame
    return made


def spread(count: int, wanted: int) -> np.ndarray:
    """Indices of at most ``wanted`` frames, evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int))


def png_bytes(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def moving_png(frames: np.ndarray, fps: float, factor: int = 2) -> bytes:
    """An animated PNG of uint8 [T, H, W], enlarged: every browser plays it, and elsewhere it shows its first frame."""
    from PIL import Image

    pictures = [Image.fromarray(enlarged(frame, factor)) for frame in frames]
    stream = io.BytesIO()
    pictures[0].save(
        stream,
        format="PNG",
        save_all=True,
        append_images=pictures[1:],
        duration=1000 / fps,
        loop=0,
        compress_level=1,
    )
    return stream.getvalue()
