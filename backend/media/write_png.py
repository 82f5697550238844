"""PNG with the mark as text chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.media.marks import PNG_KEY, SOFTWARE, Mark, replacing
from backend.provenance import Provenance


def write_png(path: Path, array: np.ndarray, provenance: Provenance) -> None:
    """Write a picture without loss.

    ``array`` is uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA, uint16 [H, W], or bool [H, W] (written as 0 and 255).
    Equal arrays and provenance give equal bytes. Raises ``ValueError`` for any other array.
    """
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    colour = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8
    if not (grey or colour) or not array.size:
        raise ValueError(f"a PNG holds uint8 [H, W(, 3 or 4)] or uint16 [H, W], not {array.dtype} {array.shape}")
    mark = Mark(provenance)
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    info.add_text("Disclaimer", mark.sentences)
    info.add_itxt(PNG_KEY, mark.to_text())
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(array)).save(temporary, "PNG", pnginfo=info, compress_level=6)
