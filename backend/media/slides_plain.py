"""A plain picture as a slide of one level, held in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.images import icc_profile, read_image, to_rgb8
from backend.media.limits import Limits
from backend.media.slides import Slide


class PlainSlide(Slide):
    """PNG, JPEG and other pictures: one level, no µm/px, decoded once within the limits."""

    reader = "pillow"
    vendor = "picture"

    def __init__(self, pixels: np.ndarray, profile: bytes | None) -> None:
        super().__init__()
        self._pixels = pixels
        height, width = pixels.shape[:2]
        self.level_dimensions = ((width, height),)
        self.level_downsamples = (1.0,)
        self.mpp = self.objective_power = None
        self.tile_size = (256, 256)
        self.properties = {"openslide.vendor": self.vendor}
        self.icc_profile = profile

    @classmethod
    def open(cls, path: Path, limits: Limits) -> PlainSlide:
        """Decode the picture. Raises ``UserError`` when it is none."""
        try:
            return cls(to_rgb8(read_image(path, limits), cls.background), icc_profile(path))
        except UserError as error:
            raise UserError(
                "The file cannot be opened as a slide.",
                f"{error.what} {error.why}".strip(),
                error.what_to_do or "Use SVS, NDPI, MRXS, SCN, a tiled TIFF, OME-TIFF, PNG or JPEG.",
            ) from None

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        return crop(self._pixels, location, size, self.background)

    def _release(self) -> None:
        del self._pixels


def crop(
    pixels: np.ndarray, location: tuple[int, int], size: tuple[int, int], background: tuple[int, int, int]
) -> np.ndarray:
    """A rectangle of an RGB array [H, W, 3], padded with the background where it reaches over the edge."""
    (x, y), (width, height) = location, size
    rows, columns = pixels.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    out[:] = background
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, columns), min(y + height, rows)
    if left < right and top < bottom:
        out[top - y : bottom - y, left - x : right - x] = pixels[top:bottom, left:right]
    return out
