"""Deep-zoom numbering: level 0 is one pixel, the last level is the slide itself, each level halves the next.

The same numbers as OpenSeadragon and openslide-python's ``DeepZoomGenerator`` use, so that their tiles can be compared
with ours one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

TILE_SIZE = 254
OVERLAP = 1
"""254 + 2 x 1 pixels make inner tiles of 256: the deep-zoom default, without hairlines between scaled tiles."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels of one level: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Pyramid:
    """Levels and tiles of a slide of ``width`` x ``height`` pixels."""

    width: int
    height: int
    tile_size: int = TILE_SIZE
    overlap: int = OVERLAP

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError("a pyramid needs at least one pixel")

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) in pixels of every level, coarsest first; halves are rounded up."""
        sizes = [(self.width, self.height)]
        while sizes[-1] != (1, 1):
            width, height = sizes[-1]
            sizes.append(((width + 1) // 2, (height + 1) // 2))
        return tuple(reversed(sizes))

    @property
    def levels(self) -> int:
        """How many levels there are; the finest is ``levels - 1``."""
        return len(self.sizes)

    @property
    def finest(self) -> int:
        """Number of the level that is the slide itself."""
        return self.levels - 1

    def downsample(self, level: int) -> int:
        """Slide pixels along one edge of a pixel of ``level``: a power of two."""
        return 1 << (self.finest - level)

    def grid(self, level: int) -> tuple[int, int]:
        """(columns, rows) of tiles of ``level``."""
        width, height = self.sizes[level]
        return -(-width // self.tile_size), -(-height // self.tile_size)

    def contains(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level < self.levels:
            return False
        columns, rows = self.grid(level)
        return 0 <= column < columns and 0 <= row < rows

    def tile_box(self, level: int, column: int, row: int) -> Box:
        """The pixels of ``level`` that a tile shows, overlap included. Raises ``KeyError`` when there is no tile."""
        if not self.contains(level, column, row):
            raise KeyError((level, column, row))
        width, height = self.sizes[level]
        left = max(0, column * self.tile_size - self.overlap)
        top = max(0, row * self.tile_size - self.overlap)
        right = min(width, (column + 1) * self.tile_size + self.overlap)
        bottom = min(height, (row + 1) * self.tile_size + self.overlap)
        return Box(left, top, right - left, bottom - top)

    def tiles(self) -> Iterator[tuple[int, int, int]]:
        """Every (level, column, row), coarsest level first."""
        for level in range(self.levels):
            columns, rows = self.grid(level)
            for row in range(rows):
                for column in range(columns):
                    yield level, column, row
