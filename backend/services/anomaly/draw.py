"""Pictures of a heat-map: the growing preview, and the panel of input, restoration, heat-map and severities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAP = 4  # pixels between pictures
TITLE = 22  # pixels of a line of text above each
LEAST_SIDE = 220
"""Pixels that a slice is shown at, at least."""


def grey(slice_: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of a slice float [X, Y] in 0…1 as radiologists see it: front on top, the patient's right left."""
    seen = np.flip(slice_.T, (0, 1))
    return np.repeat((np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def heated(values: np.ndarray, top: float) -> np.ndarray:
    """uint8 [H, W, 3] of a heat-map float [X, Y] ≥ 0, black to yellow (magma) from 0 to ``top``."""
    import cv2

    seen = np.flip(values.T, (0, 1)) / max(top, 1e-6)
    mapped = cv2.applyColorMap((np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8), cv2.COLORMAP_MAGMA)
    return np.ascontiguousarray(mapped[..., ::-1])


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the border of ``mask`` bool [X, Y] in sky blue."""
    from scipy import ndimage

    seen = np.flip(mask.T, (0, 1))
    border = ndimage.binary_dilation(seen) & ~seen
    made = picture.copy()
    made[border] = (86, 180, 233)
    return made


def row(pictures: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Titled pictures, uint8 [H, W, 3] of one size, side by side."""
    import cv2

    parts = []
    for name, picture in pictures:
        factor = max(1, -(-LEAST_SIDE // max(picture.shape[:2])))
        large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        head = np.zeros((TITLE, large.shape[1], 3), np.uint8)
        cv2.putText(head, name, (3, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        whole = np.concatenate([head, large])
        parts += [whole, np.zeros((len(whole), GAP, 3), np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows one above the other, the shorter ones filled up with black."""
    width = max(line.shape[1] for line in rows)
    filled = [np.pad(line, ((0, GAP), (0, width - line.shape[1]), (0, 0))) for line in rows]
    return np.ascontiguousarray(np.concatenate(filled)[:-GAP])


def png_bytes(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 [H, W, 3]."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
