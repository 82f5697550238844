"""Plain TIFF of a mask, label map or stack of slices, with the mark in its description and its scale kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backend.media.marks import SOFTWARE, TIFF_KEY, Mark, replacing
from backend.media.tiff_stack import TiffScale, imagej_description
from backend.provenance import Provenance


def write_tiff(path: Path, array: np.ndarray, provenance: Provenance, scale: TiffScale | None = None) -> None:
    """Write without loss, deflated.

    ``array`` is [H, W] or a stack [D, H, W], one page a slice, of uint8, uint16, uint32, int32, float32 or bool (as 0
    and 255). ``scale`` keeps resolution tags and the distance of slices. Raises ``ValueError`` for any other array.
    """
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.ndim not in (2, 3) or array.dtype not in ("u1", "u2", "u4", "i4", "f4") or not array.size:
        raise ValueError(f"a TIFF of slices holds numbers [H, W] or [D, H, W], not {array.dtype} {array.shape}")
    mark = Mark(provenance)
    description = f"{mark.sentences}\n{TIFF_KEY}={mark.to_text()}"
    if array.ndim == 3:
        description = f"{imagej_description(scale or TiffScale(), len(array))}{TIFF_KEY}={mark.to_text()}\n"
    with replacing(path) as temporary:
        write_pixels(temporary, array, scale, description, SOFTWARE)


def write_pixels(
    path: Path, array: np.ndarray, scale: TiffScale | None, description: str | None, software: str | bool
) -> None:
    """Pages of grey [H, W] or [D, H, W] with scale and description; nothing else goes into the file."""
    import tifffile

    options: dict[str, Any] = {}
    if scale is not None and scale.resolution is not None:
        options = {"resolution": scale.resolution, "resolutionunit": scale.unit}
    tifffile.imwrite(
        path,
        array,
        photometric="minisblack",
        compression="zlib",
        metadata=None,
        description=None if description is None else description.encode(),
        software=software,
        **options,
    )
