"""Real slides and small real files of layouts that are hard to find, written by tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from backend.media.slides import open_slide
from backend.tiles.cache import SingleFlightCache
from backend.tiles.opened import OpenedSlide


def tissue(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured structure, uint8 [height, width, 3]: survives JPEG, unlike noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    out = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        waves = sum(
            np.sin(x * fx + y * fy + phase)
            for fx, fy, phase in generator.uniform((-0.12, -0.12, 0), (0.12, 0.12, 6.3), size=(6, 3))
        )
        out[..., channel] = 140 + 16 * waves
    return out.clip(0, 255).astype(np.uint8)


def write_pyramid(path: Path, levels: list[np.ndarray], compression: str = "jpeg", tile: int = 128) -> Path:
    """A tiled OME-TIFF whose coarser levels are SubIFDs of the first."""
    options = {"tile": (tile, tile), "photometric": "rgb", "compression": compression}
    if compression == "jpeg":
        options |= {"compressionargs": {"level": 92}}  # tifffile stores it as YCbCr
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS"}, **options)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **options)
    return path


def opened(path: Path, *, direct: bool = True) -> OpenedSlide:
    """The file as tiles, with a block cache of its own."""
    blocks = SingleFlightCache(64 * 1024 * 1024, lambda block: block.nbytes)
    return OpenedSlide("slide", open_slide(path), path, blocks, direct=direct)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB; infinite when they are equal."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return 10 * np.log10(255**2 / error) if error else float("inf")
