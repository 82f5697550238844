"""Tiles straight from a TIFF: read a tile's bytes, decode just those, without going through the slide library.

Only plain layouts are taken (8-bit RGB or YCbCr in JPEG, RGB in JPEG 2000, on a grid without overlaps), and every level
is compared with the slide library's own pixels when it is opened; anything else stays with the slide library.
Source of the JPEG colour rules: TIFF Technical Note 2 (Adobe 1995) and the Adobe APP14 marker of libjpeg.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backend.errors import UserError
from backend.tiles.codec import area_resize, decode_jpeg, decode_jpeg2000
from backend.tiles.sources import RegionReader

JPEG, JPEG2000_RGB, JPEG2000 = 7, 33005, 34712
RGB, YCBCR = 2, 6
MAX_TILE_SIDE = 2048
MAX_TILE_BYTES = 64 * 1024 * 1024
AGREEMENT = 3.0
"""Largest mean difference, in grey values, from the slide library that still counts as the same picture."""


class TileFile:
    """Positioned reads of one file from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``, fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@dataclass(frozen=True)
class TiffLevel:
    """One tiled image of the file: where its tiles are and how they are coded. Sizes are (width, height) in pixels."""

    size: tuple[int, int]
    tile_size: tuple[int, int]
    offsets: np.ndarray
    counts: np.ndarray
    codec: Literal["jpeg", "jpeg2000"]
    prefix: bytes = b""
    """What a JPEG tile lacks to be a picture of its own: start, colour marker, shared tables."""

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size[0] // self.tile_size[0])


class TiffBlocks:
    """Blocks of one level, one block a TIFF tile, decoded ``1 << reduce`` times smaller."""

    def __init__(self, file: TileFile, level: TiffLevel, reduce: int = 0) -> None:
        self._file, self._level, self._reduce = file, level, reduce
        width, height = level.tile_size
        self.block_size = (width >> reduce, height >> reduce)

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels of one tile, uint8; white where the file holds none. Raises ``UserError`` when it is broken."""
        level = self._level
        index = row * level.columns + column
        count = int(level.counts[index])
        if count == 0:
            return np.full((self.block_size[1], self.block_size[0], 3), 255, np.uint8)
        try:
            if count > MAX_TILE_BYTES:
                raise ValueError("implausible tile")
            data = self._file.read(int(level.offsets[index]), count)
            if len(data) < count:
                raise ValueError("cut off")
            pixels = self._decode(data)
            if pixels.shape != (self.block_size[1], self.block_size[0], 3) or pixels.dtype != np.uint8:
                raise ValueError("unexpected size")
        except ValueError:
            raise UserError(
                "This part of the slide cannot be shown.",
                "A part of its picture data cannot be decoded.",
                "Copy the slide again from the scanner or source.",
            ) from None
        return pixels

    def _decode(self, data: bytes) -> np.ndarray:
        if self._level.codec == "jpeg2000":
            return decode_jpeg2000(data, self._level.tile_size)
        return decode_jpeg(self._level.prefix + data[2:], self._level.tile_size, 1 << self._reduce)


def can_reduce(level: TiffLevel, reduce: int) -> bool:
    """Whether tiles can be decoded ``1 << reduce`` times smaller to whole pixels that are means of the full ones.

    JPEG only: the coarser resolutions of JPEG 2000 lie half a pixel aside, since its wavelets keep the even samples.
    """
    return level.codec == "jpeg" and reduce <= 3 and all(side % (1 << reduce) == 0 for side in level.tile_size)


def read_levels(path: Path) -> list[TiffLevel]:
    """The tiled images of a TIFF that can be decoded here, finest first; empty when it is no such file."""
    import tifffile

    found = []
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                found.append(_level(page))
                for nested in page.pages or ():
                    found.append(_level(nested))
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        # A file that tifffile cannot follow is left to the slide library, whatever is odd about it.
        return []
    return sorted((level for level in found if level is not None), key=lambda level: -level.size[0])


def agrees(source: TiffBlocks, level: TiffLevel, slide: RegionReader, slide_level: int) -> bool:
    """Whether two tiles, one in the middle and one near the origin, show what the slide library shows there.

    Compared are means of four by four pixels: where the scale between levels is not whole, the slide library shifts a
    coarse level by parts of a pixel.
    """
    columns, rows = level.columns, -(-level.size[1] // level.tile_size[1])
    places = {(columns // 2, rows // 2), (min(1, columns - 1), min(1, rows - 1))}
    return all(_same_picture(source, level, slide, slide_level, column, row) for column, row in places)


def _same_picture(
    source: TiffBlocks, level: TiffLevel, slide: RegionReader, slide_level: int, column: int, row: int
) -> bool:
    width, height = level.tile_size
    left, top = column * width, row * height
    scale = slide.level_downsamples[slide_level]
    size = min(width, level.size[0] - left), min(height, level.size[1] - top)
    small = max(1, size[0] // 4), max(1, size[1] // 4)
    try:
        ours = source.block(column, row)[: size[1], : size[0]]
        theirs = slide.read_region((round(left * scale), round(top * scale)), slide_level, size)
    except UserError:
        return False
    return float(np.abs(area_resize(ours, *small).astype(np.int16) - area_resize(theirs, *small)).mean()) <= AGREEMENT


def _level(page: Any) -> TiffLevel | None:
    """The page as a level, or ``None`` when its layout is not one of ours."""
    if not getattr(page, "is_tiled", False) or page.tilewidth > MAX_TILE_SIDE or page.tilelength > MAX_TILE_SIDE:
        return None
    if page.samplesperpixel != 3 or page.bitspersample != 8 or page.planarconfig != 1 or page.imagedepth != 1:
        return None
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    tile_size = int(page.tilewidth), int(page.tilelength)
    size = int(page.imagewidth), int(page.imagelength)
    tiles = -(-size[0] // tile_size[0]) * -(-size[1] // tile_size[1])
    if len(offsets) != tiles or len(counts) != tiles:
        return None
    if page.compression in (JPEG2000_RGB, JPEG2000) and page.photometric == RGB:
        return TiffLevel(size, tile_size, offsets, counts, "jpeg2000")
    if page.compression == JPEG and page.photometric in (RGB, YCBCR):
        tables = page.jpegtables or b""
        # The marker says what libjpeg otherwise guesses: 0 for RGB as stored, 1 for YCbCr.
        marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (b"\x00" if page.photometric == RGB else b"\x01")
        return TiffLevel(size, tile_size, offsets, counts, "jpeg", b"\xff\xd8" + marker + tables[2:-2])
    return None
