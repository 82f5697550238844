"""Which source each deep-zoom level of a slide takes its pixels from.

In order: a level of the file at that very scale (its tiles decoded directly where the layout is plain), tiles decoded
eight times smaller where the file leaves a wide gap, a level of the file at a slightly finer scale, and else the mean
of two by two pixels of the next finer deep-zoom level. The choice depends on the file alone, never on what is cached,
so a tile has the same bytes whatever was looked at before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.tiles.geometry import Pyramid
from backend.tiles.sources import (
    BlockSource,
    HalvedBlocks,
    MeanBlocks,
    RegionReader,
    Regions,
    ResampledBlocks,
    SlideBlocks,
)
from backend.tiles.tiff_tiles import TiffBlocks, TiffLevel, TileFile, agrees, can_reduce

SAME_SIZE = 2
"""Pixels by which a stored level may differ from the deep-zoom size: writers round halves down or to whole tiles."""
WIDE_GAP = 3
"""Halvings after which decoding small again is cheaper for a first look than halving everything."""
BLOCK = 512
OVERVIEW = 256
"""Levels up to half of it, in pixels a side, are made from the one level between half and all of it."""


@dataclass(frozen=True)
class LevelPlan:
    """One deep-zoom level. ``stored`` is the (width, height) its source covers, in pixels, a few off ``size``."""

    size: tuple[int, int]
    stored: tuple[int, int]
    source: BlockSource
    read: bool
    """Whether pixels come from the file (and still need the slide's colour profile) rather than from a finer level."""


def make_plan(
    slide: RegionReader,
    pyramid: Pyramid,
    regions: Callable[[int], Regions],
    tiff: Sequence[TiffLevel] = (),
    file: TileFile | None = None,
) -> list[LevelPlan]:
    """A plan for every level of ``pyramid``, coarsest first. ``regions(level)`` gives rectangles of that level."""
    plans: list[LevelPlan] = []
    direct: tuple[int, TiffLevel] | None = None  # the last level whose tiles are decoded directly
    for number in range(pyramid.finest, -1, -1):
        size, downsample = pyramid.sizes[number], pyramid.downsample(number)
        stored = _same_scale(slide, size, downsample)
        if stored is not None:
            blocks, direct_level = _read(slide, stored, tiff, file)
            direct = (number, direct_level) if direct_level is not None else None
            plans.append(LevelPlan(size, slide.level_dimensions[stored], blocks, read=True))
            continue
        between = _slightly_finer(slide, downsample)
        if direct is not None and file is not None and direct[0] - number == WIDE_GAP:
            if can_reduce(direct[1], WIDE_GAP):
                width, height = (-(-side // (1 << WIDE_GAP)) for side in direct[1].size)
                plans.append(LevelPlan(size, (width, height), TiffBlocks(file, direct[1], WIDE_GAP), read=True))
                continue
            direct = None
        if between is not None:
            direct = None
            plans.append(LevelPlan(size, size, ResampledBlocks(slide, between, downsample, size), read=True))
            continue
        if max(size) * 2 <= OVERVIEW:
            base = next(level for level in range(number, pyramid.levels) if max(pyramid.sizes[level]) > OVERVIEW // 2)
            source = MeanBlocks(regions(base), pyramid.sizes[base], base - number)
            plans.append(LevelPlan(size, size, source, read=False))
            continue
        finer = pyramid.sizes[number + 1]
        plans.append(LevelPlan(size, size, HalvedBlocks(regions(number + 1), finer), read=False))
    return plans[::-1]


def _same_scale(slide: RegionReader, size: tuple[int, int], downsample: int) -> int | None:
    """Index of the stored level with that size, to :data:`SAME_SIZE` pixels and 2 % in scale."""
    for index, stored in enumerate(slide.level_dimensions):
        near = all(abs(a - b) <= SAME_SIZE for a, b in zip(stored, size, strict=True))
        if near and abs(slide.level_downsamples[index] / downsample - 1) <= 0.02:
            return index
    return None


def _slightly_finer(slide: RegionReader, downsample: int) -> int | None:
    """Index of a stored level between this scale and twice as fine, if there is one."""
    for index, stored in enumerate(slide.level_downsamples):
        if downsample / 2 * 1.02 < stored <= downsample * 1.02:
            return index
    return None


def _read(
    slide: RegionReader, index: int, tiff: Sequence[TiffLevel], file: TileFile | None
) -> tuple[BlockSource, TiffLevel | None]:
    """The level by its tiles if they can be decoded here and show the same picture, else through the slide's reader."""
    for level in tiff:
        if file is not None and level.size == tuple(slide.level_dimensions[index]):
            blocks = TiffBlocks(file, level)
            if agrees(blocks, level, slide, index):
                return blocks, level
    return SlideBlocks(slide, index, (BLOCK, BLOCK)), None
