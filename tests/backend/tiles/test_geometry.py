"""Deep-zoom numbering, against openslide-python's own."""

from __future__ import annotations

import pytest
from openslide import ImageSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from backend.tiles.geometry import Box, Pyramid

SIZES = [(1, 1), (2, 1), (254, 254), (255, 253), (256, 512), (509, 1000), (1411, 1411), (37, 4000)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("tile", "overlap"), [(254, 1), (256, 0), (64, 2)])
def test_levels_and_tiles_are_numbered_as_deep_zoom(size: tuple[int, int], tile: int, overlap: int) -> None:
    theirs = DeepZoomGenerator(ImageSlide(Image.new("RGB", size)), tile_size=tile, overlap=overlap)
    ours = Pyramid(*size, tile_size=tile, overlap=overlap)
    assert ours.sizes == theirs.level_dimensions
    assert tuple(ours.grid(level) for level in range(ours.levels)) == theirs.level_tiles
    for level, column, row in ours.tiles():
        box = ours.tile_box(level, column, row)
        assert (box.width, box.height) == theirs.get_tile_dimensions(level, (column, row))


def test_every_pixel_of_a_level_is_in_a_tile_and_neighbours_share_two_overlaps() -> None:
    pyramid = Pyramid(700, 300)
    first, second = pyramid.tile_box(pyramid.finest, 0, 0), pyramid.tile_box(pyramid.finest, 1, 0)
    assert first == Box(0, 0, 255, 255)
    assert second == Box(253, 0, 256, 255)
    assert first.x + first.width - second.x == 2 * pyramid.overlap


def test_places_outside_have_no_tile() -> None:
    pyramid = Pyramid(700, 300)
    for place in [(-1, 0, 0), (pyramid.levels, 0, 0), (0, 1, 0), (pyramid.finest, 3, 0), (pyramid.finest, 0, -1)]:
        assert not pyramid.contains(*place)
        with pytest.raises(KeyError):
            pyramid.tile_box(*place)


def test_a_pyramid_needs_a_pixel() -> None:
    with pytest.raises(ValueError, match="pixel"):
        Pyramid(0, 5)
