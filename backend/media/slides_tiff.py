"""TIFF slides that OpenSlide does not read: OME-TIFF pyramids, and tiled or striped TIFFs of odd compressions.

tifffile explains the file and decodes single tiles; we read only the bytes of the tiles that a region touches, and keep
a small cache of decoded ones. Source: OME-TIFF specification 6.0 (sub-resolutions as SubIFDs of the full image).
"""

from __future__ import annotations

import logging
import os
import xml.etree.ElementTree as ElementTree
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.slides import MAX_TILE_PIXELS, Slide, damaged, plausible_mpp
from backend.media.tiff import TAGS, Directory, TiffError, read_directories

# tifffile writes the names of damaged files to the log; what is wrong with them is said in a sentence instead.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

CACHE_BYTES = 64 * 1024 * 1024
MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "in": 25_400.0}
BITS, PHOTOMETRIC, SAMPLES, PLANAR, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 258, 262, 277, 284, 278, 322, 323
# tags of where the pieces of an image lie, and of their width and height; a strip is as wide as its image
PIECES = (
    ("TileOffsets", "TileByteCounts", TILE_WIDTH, TILE_LENGTH),
    ("StripOffsets", "StripByteCounts", 0, ROWS_PER_STRIP),
)
NO_RGB = {4: "a mask", 5: "CMYK", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "raw sensor data"}
RESOLUTION_UNITS = {2: 25_400.0, 3: 10_000.0}  # microns per inch, per centimetre
TRUNCATED = UserError(
    "The slide is incomplete.",
    "Its directory points at picture data beyond the end of the file.",
    "Copy it again from the scanner or source.",
)


def is_tiff(path: Path) -> bool:
    """Whether a file begins like a TIFF or a BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def is_ome_or_deep(path: Path) -> bool:
    """Whether the first image's description is OME-XML, or its pixels have more than 8 bits."""
    try:
        first = read_directories(path)[0]
    except TiffError:
        return False
    return "<OME" in first.text("ImageDescription")[:4096] or _tag(first, BITS, 8) > 8


def check_whole(path: Path) -> None:
    """Refuse a TIFF whose directory claims more than the file holds. Raises ``UserError``; decodes nothing."""
    size = path.stat().st_size
    try:
        pages = read_directories(path)
    except TiffError:
        if size >= 1 << 32:
            return  # NDPI stores 64-bit offsets in a classic TIFF its own way; OpenSlide knows how
        raise UserError(TRUNCATED.what, "Its directory of images cannot be followed.", TRUNCATED.what_to_do) from None
    for page in pages:
        if page.width <= 0 or page.height <= 0:
            raise damaged()
        for where, length, across, down in PIECES:
            offsets, counts = page.integers(TAGS[where]), page.integers(TAGS[length])
            if not offsets:
                continue
            if size < 1 << 32 and any(a + b > size for a, b in zip(offsets, counts, strict=False)):
                raise TRUNCATED
            if page is pages[0] and not any(counts):
                raise damaged()
            columns, rows = _tag(page, across, page.width), _tag(page, down, page.height)
            planes = _tag(page, SAMPLES, 1) if _tag(page, PLANAR, 1) == 2 else 1
            if min(columns, rows) < 1 or len(offsets) < -(-page.width // columns) * -(-page.height // rows) * planes:
                raise UserError(TRUNCATED.what, "It lists fewer tiles than its size needs.", TRUNCATED.what_to_do)
    colours = _tag(pages[0], PHOTOMETRIC, 1)
    if colours in NO_RGB:
        raise _no_rgb(NO_RGB[colours])


def _tag(page: Directory, tag: int, default: int) -> int:
    return next(iter(page.integers(tag, 1)), default)


class TiffSlide(Slide):
    """The first image of a TIFF with its pyramid.

    ``composed`` says whether channels or deep pixels were made into 8-bit RGB for display.
    """

    reader = "tifffile"
    vendor = "tiff"

    def __init__(self, tiff: Any, levels: list[list[Any]], path: Path, limits: Limits) -> None:
        super().__init__()
        self._tiff, self._levels = tiff, levels
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._cache: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._held, self._cache_lock = 0, Lock()
        first = levels[0][0]
        self.level_dimensions = tuple((p[0].imagewidth, p[0].imagelength) for p in levels)
        width, height = self.level_dimensions[0]
        self.level_downsamples = tuple(
            (width / w + height / h) / 2 if k else 1.0 for k, (w, h) in enumerate(self.level_dimensions)
        )
        self.tile_size = _segment_size(first)
        facts = ome_facts(first.description) if tiff.is_ome else {}
        self.vendor = "ome-tiff" if tiff.is_ome else "tiff"
        self.mpp = plausible_mpp(facts.get("x"), facts.get("y")) or _resolution(first)
        self.objective_power = facts.get("objective")
        self.icc_profile = _profile(first)
        self.properties = {
            "openslide.vendor": self.vendor,
            "tiff.Compression": str(getattr(first.compression, "name", first.compression)),
            "tiff.BitsPerSample": str(first.bitspersample),
            "tiff.Channels": str(len(levels[0]) if len(levels[0]) > 1 else first.samplesperpixel),
        }
        self._window: tuple[np.ndarray, np.ndarray] | None = None
        if first.dtype != np.uint8:
            self._window = self._find_window()
        self.composed = self._window is not None or len(levels[0]) > 1

    @classmethod
    def open(cls, path: Path, limits: Limits) -> TiffSlide:
        """The slide. Raises ``UserError`` when it is no TIFF that can be shown."""
        import tifffile

        tiff = None
        try:
            tiff = tifffile.TiffFile(path)
            levels = [_planes(level) for level in tiff.series[0].levels]
            levels = [planes for planes in levels if planes]
            if not levels:
                raise damaged()
            for planes in levels:
                _check(planes[0], limits)
            return cls(tiff, levels, path, limits)
        except UserError:
            if tiff is not None:
                tiff.close()
            raise
        except Exception:  # tifffile raises whatever a damaged directory leads it to
            if tiff is not None:
                tiff.close()
            raise UserError(
                "The slide cannot be opened.",
                "Its directory of images makes no sense.",
                "Copy it again, or convert it to a tiled TIFF or OME-TIFF.",
            ) from None

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        planes = self._levels[level]
        scale = self.level_downsamples[level]
        x, y = round(location[0] / scale), round(location[1] / scale)
        width, height = size
        columns, rows = self.level_dimensions[level]
        out = np.empty((height, width, 3), np.uint8)
        out[:] = self.background
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, columns), min(y + height, rows)
        if left >= right or top >= bottom:
            return out
        tw, th = _segment_size(planes[0])
        across = -(-columns // tw)
        for row in range(top // th, (bottom - 1) // th + 1):
            for column in range(left // tw, (right - 1) // tw + 1):
                tile = self._tile(level, row * across + column)
                if tile is None:
                    continue
                x0, y0 = column * tw, row * th
                a, b = max(left, x0), max(top, y0)
                c, d = min(right, x0 + tile.shape[1]), min(bottom, y0 + tile.shape[0])
                if a < c and b < d:
                    out[b - y : d - y, a - x : c - x] = tile[b - y0 : d - y0, a - x0 : c - x0]
        return out

    def _tile(self, level: int, index: int) -> np.ndarray | None:
        """One stored tile as uint8 [h, w, 3]; ``None`` where the file left it out."""
        key = (level, index, 0)
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        raw = self._raw(level, index)
        tile = None if raw is None else self._to_rgb(raw)
        if tile is not None:
            with self._cache_lock:
                if key not in self._cache:
                    self._cache[key] = tile
                    self._held += tile.nbytes
                while self._held > CACHE_BYTES and len(self._cache) > 1:
                    self._held -= self._cache.popitem(last=False)[1].nbytes
        return tile

    def _raw(self, level: int, index: int) -> np.ndarray | None:
        """One stored tile, all its channels, [h, w, C] in the file's own type."""
        planes = self._levels[level]
        if len(planes) == 1 and planes[0].planarconfig == 2 and planes[0].samplesperpixel > 1:
            per = len(planes[0].dataoffsets) // planes[0].samplesperpixel
            parts = [self._segment(planes[0], index + k * per) for k in range(min(3, planes[0].samplesperpixel))]
        else:
            parts = [self._segment(page, index) for page in planes[:3]]
        found = [part for part in parts if part is not None]
        if not found:
            return None
        # what is stored beyond the edge of the image is filling, and must not count for the display window
        (width, height), (columns, rows) = _segment_size(planes[0]), self.level_dimensions[level]
        down, right = divmod(index, -(-columns // width))
        return np.concatenate(found, axis=2)[: rows - down * height, : columns - right * width]

    def _segment(self, page: Any, index: int) -> np.ndarray | None:
        try:
            offset, count = page.dataoffsets[index], page.databytecounts[index]
            if not count:
                return None
            data = os.pread(self._file, count, offset) if hasattr(os, "pread") else self._seek_read(offset, count)
            if len(data) != count:
                raise damaged("This part of the slide cannot be shown.")
            segment = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)[0]
        except UserError:
            raise
        except Exception:  # every codec has exceptions of its own
            raise damaged("This part of the slide cannot be shown.") from None
        return None if segment is None else segment[0]

    def _seek_read(self, offset: int, count: int) -> bytes:
        with self._cache_lock:
            os.lseek(self._file, offset, os.SEEK_SET)
            return os.read(self._file, count)

    def _to_rgb(self, tile: np.ndarray) -> np.ndarray:
        """8-bit RGB of a decoded tile [h, w, C]."""
        page = self._levels[0][0]
        if tile.shape[2] == 2 or tile.shape[2] > 3:
            tile = np.concatenate([tile, np.zeros_like(tile[..., :1])], 2) if tile.shape[2] == 2 else tile[..., :3]
        if self._window is not None:
            low, high = self._window
            tile = np.clip((tile.astype(np.float32) - low) / (high - low), 0, 1)
            tile = (tile * 255 + 0.5).astype(np.uint8)
        if tile.shape[2] == 1:
            tile = cv2.cvtColor(np.ascontiguousarray(tile[..., 0]), cv2.COLOR_GRAY2RGB)
        return 255 - tile if page.photometric == 0 else np.ascontiguousarray(tile)

    def _find_window(self) -> tuple[np.ndarray, np.ndarray]:
        """Display window of pixels deeper than 8 bits, a channel each: 0.1 to 99.9 percent of the smallest level."""
        level = self.level_count - 1
        planes = self._levels[level]
        count = len(planes[0].dataoffsets)
        if planes[0].planarconfig == 2:
            count //= planes[0].samplesperpixel
        picks = sorted({int(k) for k in np.linspace(0, count - 1, min(count, 16))})
        parts = [raw.reshape(-1, raw.shape[2]) for raw in (self._raw(level, k) for k in picks) if raw is not None]
        if not parts:
            raise damaged()
        seen = np.concatenate(parts)[:, :3].astype(np.float64)
        seen = seen[np.isfinite(seen).all(1)]
        low, high = np.percentile(seen, [0.1, 99.9], axis=0) if len(seen) else np.zeros((2, 1))
        return low.astype(np.float32), np.maximum(high, low + 1e-6).astype(np.float32)

    def _release(self) -> None:
        os.close(self._file)
        self._tiff.close()
        self._cache.clear()


def _planes(level: Any) -> list[Any]:
    """The pages of one level that are shown: one page, or one for each of three channels; middle Z, first T."""
    pages = [page for page in level.pages if page is not None]
    axes, shape = level.axes, level.shape
    if len(pages) <= 1:
        return [_keyed(page) for page in pages]
    outer = [(a, n) for a, n in zip(axes, shape, strict=True) if a not in "YXS"]
    sizes = [n for _, n in outer]
    if int(np.prod(sizes)) != len(pages):
        return [_keyed(pages[0])]
    grid = np.arange(len(pages)).reshape(sizes)
    pick = tuple(slice(None) if a == "C" else (n // 2 if a == "Z" else 0) for a, n in outer)
    return [_keyed(pages[int(k)]) for k in np.atleast_1d(grid[pick])[:3]]


def _keyed(page: Any) -> Any:
    """A full page: tifffile keeps the later pages of a stack as light frames."""
    return page.aspage() if hasattr(page, "aspage") else page


def _segment_size(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip or page.imagelength, page.imagelength)


def _check(page: Any, limits: Limits) -> None:
    width, height = _segment_size(page)
    if width * height > MAX_TILE_PIXELS:
        limits.check_pixels(page.imagelength, page.imagewidth)
        raise UserError(
            "The slide cannot be shown.",
            f"It is stored in pieces of {width:,} × {height:,} pixels, too large to decode.",
            "Convert it to a tiled pyramid with tiles of 256 to 1024 pixels.",
        )
    if int(page.photometric) not in (0, 1, 2, 6):
        raise _no_rgb(getattr(page.photometric, "name", str(page.photometric)))
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample not in (8, 16, 32, 64):
        raise UserError(
            "The slide cannot be shown.",
            f"Its pixels have {page.bitspersample} bits of a kind that is not shown here.",
            "Convert it to 8 or 16 bits.",
        )
    expected = -(-page.imagewidth // width) * -(-page.imagelength // height)
    if page.planarconfig == 2:
        expected *= page.samplesperpixel
    if len(page.dataoffsets) < expected:
        raise UserError(TRUNCATED.what, "It lists fewer tiles than its size needs.", TRUNCATED.what_to_do)


def _no_rgb(name: str) -> UserError:
    why = f"Its colours are stored as {name}; a slide has RGB or grey pixels."
    return UserError("The slide cannot be shown.", why, "Convert it to RGB.")


def _resolution(page: Any) -> tuple[float, float] | None:
    try:
        microns = RESOLUTION_UNITS[int(page.tags.valueof(296, 0))]
        x, y = page.tags.valueof(282), page.tags.valueof(283)
        return plausible_mpp(microns * x[1] / x[0], microns * y[1] / y[0])
    except (KeyError, TypeError, ZeroDivisionError, IndexError, ValueError):
        return None


def _profile(page: Any) -> bytes | None:
    value = page.tags.valueof(34675)
    return bytes(value) if isinstance(value, bytes | bytearray) and value else None


def ome_facts(text: str) -> dict[str, float]:
    """µm/px (``x``, ``y``) and nominal magnification (``objective``) of the first image of an OME-XML text."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}  # OME-XML needs neither, and entities are how XML becomes a bomb
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {}
    facts: dict[str, float] = {}
    pixels = root.find(".//{*}Image/{*}Pixels")
    if pixels is not None:
        for key, name in (("x", "PhysicalSizeX"), ("y", "PhysicalSizeY")):
            try:
                facts[key] = float(pixels.get(name, "")) * MICRONS[pixels.get(name + "Unit", "µm")]
            except (KeyError, ValueError):
                continue
    objective = root.find(".//{*}Instrument/{*}Objective")
    if objective is not None:
        with suppress(ValueError):
            facts["objective"] = float(objective.get("NominalMagnification", ""))
    return facts
