"""Slides through OpenSlide, the reader of scanner formats."""

from __future__ import annotations

import ctypes
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import openslide
from openslide import lowlevel

from backend.errors import UserError
from backend.media.slides import MAX_TILE_PIXELS, TECHNICAL, Slide, damaged, plausible_mpp

_WORDS = ctypes.POINTER(ctypes.c_uint32)


class OpenSlideSlide(Slide):
    """A slide that OpenSlide knows. Reads run in parallel; OpenSlide keeps its own tile cache."""

    reader = "openslide"

    def __init__(self, path: Path, handle: openslide.OpenSlide) -> None:
        super().__init__()
        self._path, self._handle, self._reopening = path, handle, Lock()
        found = handle.properties
        self.vendor = found.get("openslide.vendor", "unknown")
        self.level_dimensions = handle.level_dimensions
        self.level_downsamples = handle.level_downsamples
        self.properties = {k: v for k, v in found.items() if TECHNICAL.fullmatch(k)}
        self.mpp = plausible_mpp(_number(found, "openslide.mpp-x"), _number(found, "openslide.mpp-y"))
        self.objective_power = _number(found, "openslide.objective-power")
        width = _number(found, "openslide.level[0].tile-width") or 256
        height = _number(found, "openslide.level[0].tile-height") or 256
        self.tile_size = int(width), int(height)
        colour = found.get("openslide.background-color", "")
        if len(colour) == 6:
            self.background = tuple(bytes.fromhex(colour))  # type: ignore[assignment]
        profile = handle.color_profile
        self.icc_profile = profile.tobytes() if profile is not None else None

    @classmethod
    def open(cls, path: Path) -> OpenSlideSlide | None:
        """The slide, or ``None`` when OpenSlide does not know the format or cannot make sense of the file."""
        try:
            handle = openslide.OpenSlide(path)
        except openslide.OpenSlideError:
            return None
        try:
            for level in range(handle.level_count):
                prefix = f"openslide.level[{level}].tile-"
                sides = _number(handle.properties, prefix + "width"), _number(handle.properties, prefix + "height")
                if (sides[0] or 0) * (sides[1] or 0) > MAX_TILE_PIXELS:
                    raise UserError(
                        "The slide cannot be shown.",
                        f"It is stored in tiles of {sides[0]:,.0f} × {sides[1]:,.0f} pixels, too large to decode.",
                        "Convert it to a tiled pyramid with tiles of 256 to 1024 pixels.",
                    )
            return cls(path, handle)
        except openslide.OpenSlideError:
            handle.close()
            raise damaged() from None
        except BaseException:
            handle.close()
            raise

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        width, height = size
        handle = self._handle
        # The library's own call into a buffer of ours: a third faster than through a Pillow image.
        words = np.empty((height, width, 4), np.uint8)
        try:
            lowlevel._read_region(handle._osr, words.ctypes.data_as(_WORDS), *location, level, width, height)
        except openslide.OpenSlideError:
            self._reopen(handle)
            raise damaged("This part of the slide cannot be shown.") from None
        rgb = cv2.cvtColor(words, cv2.COLOR_BGRA2RGB)
        alpha = words[..., 3]
        if alpha.min() < 255:  # premultiplied: only add the background where it shows through
            behind = (255 - alpha[..., None].astype(np.uint16)) * np.asarray(self.background, np.uint16)
            rgb = np.minimum(rgb + (behind + 127) // 255, 255).astype(np.uint8)
        return rgb

    def _reopen(self, broken: openslide.OpenSlide) -> None:
        """After an error OpenSlide refuses everything on that handle: one bad tile must not take the slide away."""
        with self._reopening:
            if self._handle is broken:
                try:
                    self._handle = openslide.OpenSlide(self._path)
                except openslide.OpenSlideError:
                    return

    def _release(self) -> None:
        self._handle.close()


def _number(properties: object, key: str) -> float | None:
    try:
        value = float(properties[key])  # type: ignore[index]
    except (KeyError, ValueError):
        return None
    return value if np.isfinite(value) and value > 0 else None
