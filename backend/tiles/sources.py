"""Where the pixels of a level come from: a grid of blocks, each decoded once and then cut into tiles.

A block source knows one level of a slide. Blocks at the right and bottom edge may reach over the edge; the engine cuts.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from backend.tiles.codec import area_resize, halve, replicate_to


class BlockSource(Protocol):
    """Pixels of one level by block. ``block_size`` is (width, height) in pixels of the level."""

    block_size: tuple[int, int]

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels, uint8 [height, width, 3]. Raises ``UserError`` where the file is damaged."""


class RegionReader(Protocol):
    """What the engine needs of a slide; :class:`backend.media.slides.Slide` fits."""

    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """RGB pixels, uint8 [height, width, 3], of a level from a corner in level-0 pixels."""


class Regions(Protocol):
    """Rectangles of the next finer level, cached by the engine."""

    def __call__(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """RGB pixels, uint8 [height, width, 3]; the rectangle lies inside the level."""


class SlideBlocks:
    """Blocks read through the slide's own reader from a level that has the wanted scale."""

    def __init__(self, slide: RegionReader, level: int, block_size: tuple[int, int]) -> None:
        self._slide, self._level = slide, level
        self._scale = slide.level_downsamples[level]
        self.block_size = block_size

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels of one block, padded where the level ends."""
        width, height = self.block_size
        left, top = column * width, row * height
        at = round(left * self._scale), round(top * self._scale)
        columns, rows = self._slide.level_dimensions[self._level]
        size = min(width, columns - left), min(height, rows - top)
        return self._slide.read_region(at, self._level, size)


class ResampledBlocks:
    """Blocks of a scale the file does not hold, shrunk by area means from its next finer level (ratio below 2)."""

    def __init__(self, slide: RegionReader, level: int, downsample: float, size: tuple[int, int]) -> None:
        self._slide, self._level = slide, level
        self._ratio = downsample / slide.level_downsamples[level]
        self._downsample = downsample
        self._size = size
        self.block_size = (512, 512)

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels of one block. One pixel more is read on each side than is shown, against seams."""
        width, height = self.block_size
        left, top = column * width, row * height
        width, height = min(width, self._size[0] - left), min(height, self._size[1] - top)
        pad = 1
        at = round((left - pad) * self._downsample), round((top - pad) * self._downsample)
        reads = round((width + 2 * pad) * self._ratio), round((height + 2 * pad) * self._ratio)
        pixels = self._slide.read_region(at, self._level, reads)
        return area_resize(pixels, width + 2 * pad, height + 2 * pad)[pad:-pad, pad:-pad]


class HalvedBlocks:
    """Blocks made from the next finer level, each pixel the mean of two by two."""

    def __init__(self, finer: Regions, finer_size: tuple[int, int], block: int = 256) -> None:
        self._finer, self._finer_size = finer, finer_size
        self.block_size = (block, block)

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels of one block; an odd last column or row counts twice, as its pixel covers half of nothing."""
        width, height = 2 * self.block_size[0], 2 * self.block_size[1]
        left, top = column * width, row * height
        width, height = min(width, self._finer_size[0] - left), min(height, self._finer_size[1] - top)
        pixels = self._finer(left, top, width, height)
        return halve(replicate_to(pixels, width + width % 2, height + height % 2))


class MeanBlocks:
    """The one block of a level that fits into it, from a level ``1 << halvings`` times finer.

    Every pixel is the mean of the pixels that there are: halving again and again would count the edges of odd levels
    twice each time, which a picture of a few pixels shows.
    """

    def __init__(self, finer: Regions, finer_size: tuple[int, int], halvings: int, block: int = 256) -> None:
        self._finer, self._finer_size, self._step = finer, finer_size, 1 << halvings
        self.block_size = (block, block)

    def block(self, column: int, row: int) -> np.ndarray:
        """RGB pixels of the level."""
        width, height = self._finer_size
        pixels = self._finer(0, 0, width, height)
        tops, lefts = np.arange(0, height, self._step), np.arange(0, width, self._step)
        sums = np.add.reduceat(np.add.reduceat(pixels, tops, axis=0, dtype=np.float64), lefts, axis=1)
        counts = np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)[None, :]
        return np.rint(sums / counts[..., None]).astype(np.uint8)
