"""One open slide as a pyramid of JPEG tiles."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.tiles.cache import SingleFlightCache
from backend.tiles.codec import JPEG_QUALITY, area_resize, encode_jpeg, replicate_to
from backend.tiles.geometry import Box, Pyramid
from backend.tiles.plan import LevelPlan, make_plan
from backend.tiles.tiff_tiles import TileFile, read_levels

if TYPE_CHECKING:
    from backend.media.slides import Slide

DIRECT_VENDORS = ("aperio", "generic-tiff", "ome-tiff")
"""Layouts whose TIFF tiles lie on one grid without overlap; others go through the slide library."""

BlockCache = SingleFlightCache[np.ndarray]


class OpenedSlide:
    """Tiles and regions of one slide, safe from any thread. ``blocks`` is shared by all open slides.

    Raises ``UserError`` as :func:`backend.media.slides.open_slide` does.
    """

    def __init__(self, key: str, slide: Slide, path: Path | None, blocks: BlockCache, *, direct: bool = True) -> None:
        self.key, self.slide = key, slide
        self.pyramid = Pyramid(*slide.level_dimensions[0])
        self.signature = _signature(key, path)
        self._blocks = blocks
        levels = read_levels(path) if direct and path is not None and slide.vendor in DIRECT_VENDORS else []
        self._file = TileFile(path) if levels and path is not None else None
        self._plans: list[LevelPlan] = make_plan(
            slide, self.pyramid, lambda level: partial(self._finer_region, level), levels, self._file
        )

    def tile(self, level: int, column: int, row: int, quality: int = JPEG_QUALITY) -> bytes:
        """One tile as baseline JPEG. Raises ``KeyError`` when there is none, ``UserError`` where it is damaged."""
        box = self.pyramid.tile_box(level, column, row)
        return encode_jpeg(self.level_region(level, box), quality)

    def level_region(self, level: int, box: Box, *, forgive: bool = False) -> np.ndarray:
        """RGB pixels, uint8 [height, width, 3], of a rectangle that lies inside a deep-zoom level.

        With ``forgive`` a damaged block is hatched in grey instead of raising ``UserError``.
        """
        plan = self._plans[level]
        width, height = plan.source.block_size
        right, bottom = min(box.x + box.width, plan.stored[0]), min(box.y + box.height, plan.stored[1])
        # A stored level may be a pixel short of the deep-zoom size: then its last row and column are repeated.
        left, top = min(box.x, right - 1), min(box.y, bottom - 1)
        first_column, last_column = left // width, (right - 1) // width
        first_row, last_row = top // height, (bottom - 1) // height
        if (first_column, first_row) == (last_column, last_row):
            x, y = left - first_column * width, top - first_row * height
            block = self._block(level, first_column, first_row, forgive)
            out = block[y : y + bottom - top, x : x + right - left]
        else:
            out = np.empty((bottom - top, right - left, 3), np.uint8)
            for row in range(first_row, last_row + 1):
                y0, y1 = max(top, row * height), min(bottom, (row + 1) * height)
                for column in range(first_column, last_column + 1):
                    x0, x1 = max(left, column * width), min(right, (column + 1) * width)
                    block = self._block(level, column, row, forgive)
                    out[y0 - top : y1 - top, x0 - left : x1 - left] = block[
                        y0 - row * height : y1 - row * height, x0 - column * width : x1 - column * width
                    ]
        return replicate_to(out, box.width, box.height)

    def region(self, x: int, y: int, width: int, height: int, out: tuple[int, int]) -> np.ndarray:
        """A rectangle in slide pixels as a picture of (width, height) ``out``, uint8 [height, width, 3].

        The rectangle lies inside the slide; what is damaged is hatched. Raises ``ValueError`` for any other.
        """
        right, bottom = x + width, y + height
        if not (0 <= x < right <= self.pyramid.width and 0 <= y < bottom <= self.pyramid.height) or min(out) < 1:
            raise ValueError(f"no rectangle of the slide: {(x, y, width, height)}")
        scale = min((right - x) / out[0], (bottom - y) / out[1])
        level = self.pyramid.finest
        while level > 0 and self.pyramid.downsample(level - 1) <= scale:
            level -= 1
        shrink = self.pyramid.downsample(level)
        columns, rows = self.pyramid.sizes[level]
        left, top = min(x // shrink, columns - 1), min(y // shrink, rows - 1)
        box = Box(left, top, min(columns, -(-right // shrink)) - left, min(rows, -(-bottom // shrink)) - top)
        pixels = self.level_region(level, box, forgive=True)
        return np.ascontiguousarray(area_resize(pixels, out[0], out[1]))

    def close(self) -> None:
        """Let go of the file; blocks in the shared cache stay until they are pushed out or forgotten."""
        self.slide.close()
        if self._file is not None:
            self._file.close()

    def _finer_region(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        return self.level_region(level, Box(x, y, width, height), forgive=True)

    def _block(self, level: int, column: int, row: int, forgive: bool) -> np.ndarray:
        try:
            return self._blocks.get_or_compute(
                (self.key, level, column, row), lambda: self._compute(level, column, row)
            )
        except UserError:
            if not forgive:
                raise
            return _hatched(self._plans[level].source.block_size)

    def _compute(self, level: int, column: int, row: int) -> np.ndarray:
        plan = self._plans[level]
        pixels = plan.source.block(column, row)
        return self.slide.to_srgb(pixels) if plan.read else pixels


def _signature(key: str, path: Path | None) -> str:
    """Changes with the file's content, for browser caches; says nothing about its name."""
    stamp = path.stat() if path is not None else None
    content = f"{key}|{stamp.st_size}|{stamp.st_mtime_ns}" if stamp else key
    return hashlib.blake2b(content.encode(), digest_size=9).hexdigest()


def _hatched(size: tuple[int, int]) -> np.ndarray:
    """Diagonal grey stripes: the mark of pixels that cannot be decoded."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    stripes = np.where((columns + rows) // 8 % 2, 200, 160).astype(np.uint8)
    return np.repeat(stripes[..., None], 3, axis=2)
