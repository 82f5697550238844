"""Pyramidal OME-TIFF of any size, from a tile function, in bounded memory.

BigTIFF, tiled, JPEG or deflate, levels halved until one tile holds the slide. The levels are SubIFDs of the full
image, as the OME-TIFF specification asks; they are also linked one after the other in the main chain, so that OpenSlide
and other readers of plain tiled pyramids find them too. Memory holds, of each level below the first, one row of tiles:
about ``3 · tile · width`` bytes in all; the finished tiles of those levels wait in a temporary file, compressed.

Source: OME-TIFF specification 6.0 (sub-resolutions), BigTIFF, TIFF technical note 2 (JPEG).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from backend.media.marks import OME_NAMESPACE, SOFTWARE, Mark, digest_uid, replacing
from backend.media.tiff import read_directories
from backend.provenance import Provenance

ReadTile = Callable[[int, int, int, int], np.ndarray]


def write_ome_tiff(
    path: Path,
    read_tile: ReadTile | np.ndarray,
    size: tuple[int, int],
    mpp: tuple[float, float] | float | None,
    provenance: Provenance,
    tile: int = 512,
    callback: Callable[[int, int], None] | None = None,
    *,
    compression: Literal["jpeg", "deflate"] = "jpeg",
    quality: int = 90,
    objective_power: float | None = None,
) -> None:
    """Write a slide.

    ``read_tile(x, y, width, height)`` returns uint8 [height, width, 3] RGB at level-0 pixel (x, y); it is asked for
    every tile once, row by row, from one thread, and never for pixels outside ``size`` = (width, height). An array
    uint8 [H, W, 3] does as well. ``mpp`` is microns per pixel, (x, y) or one number, ``None`` when unknown. ``tile`` is
    a multiple of 16. ``callback(done, total)`` counts level-0 tiles and may raise to cancel: then no file is left.
    Levels below the first are means of 2 × 2 pixels of the level above (odd edges repeated), before compression.
    'jpeg' is without colour subsampling, at ``quality`` 1 to 100; 'deflate' is lossless. Raises ``ValueError`` for
    impossible input.
    """
    import tifffile

    if isinstance(read_tile, np.ndarray):
        read_tile = _array_source(read_tile, size)
    if min(size) < 1 or max(size) >= 1 << 31 or tile < 16 or tile % 16:
        raise ValueError(f"size {size}, tile {tile}")
    if isinstance(mpp, int | float):
        mpp = (float(mpp), float(mpp))
    sizes = level_sizes(size, tile)
    encode = _jpeg_encoder(quality) if compression == "jpeg" else _deflate
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (tile, tile),
        "photometric": "ycbcr" if compression == "jpeg" else "rgb",
        "compression": compression if compression == "jpeg" else "adobe_deflate",
        "software": SOFTWARE,
        "metadata": None,
    }
    if compression == "jpeg":
        options["subsampling"] = (1, 1)
    description = ome_xml(size, mpp, provenance, objective_power).encode("ascii", "xmlcharrefreplace")
    with (
        replacing(path) as temporary,
        tempfile.TemporaryFile(dir=Path(path).parent, prefix=".levels") as spool,
        tifffile.TiffWriter(temporary, bigtiff=True) as tiff,
    ):
        pyramid = _Pyramid(sizes, tile, encode, spool)
        for level, (width, height) in enumerate(sizes):
            tiles = pyramid.first_level(read_tile, callback) if level == 0 else pyramid.stored(level)
            scale = None if mpp is None else (1e4 * width / (mpp[0] * size[0]), 1e4 * height / (mpp[1] * size[1]))
            tiff.write(
                tiles,
                shape=(height, width, 3),
                description=description if level == 0 else None,
                subifds=len(sizes) - 1 if level == 0 else None,
                subfiletype=1 if level else 0,
                resolution=scale,
                resolutionunit="CENTIMETER" if scale else None,
                **options,
            )
        tiff.close()
        _chain(temporary)


def level_sizes(size: tuple[int, int], tile: int = 512) -> list[tuple[int, int]]:
    """(width, height) of every level: halved, rounding up, until both sides fit into one tile."""
    sizes = [(int(size[0]), int(size[1]))]
    while max(sizes[-1]) > tile:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class _Pyramid:
    """Passes the tiles of level 0 on and builds the other levels from them on the way, row of tiles by row of tiles."""

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        tile: int,
        encode: Callable[[np.ndarray], bytes],
        spool: BinaryIO,
    ) -> None:
        self._sizes, self._tile, self._encode, self._spool = sizes, tile, encode, spool
        self._places: list[list[tuple[int, int]]] = [[] for _ in sizes]
        self._rows = [np.empty((tile, w, 3), np.uint8) if k else np.empty(0) for k, (w, _) in enumerate(sizes)]

    def first_level(self, read: ReadTile, callback: Callable[[int, int], None] | None) -> Iterator[bytes]:
        tile, (width, height) = self._tile, self._sizes[0]
        across, down = -(-width // tile), -(-height // tile)
        for row in range(down):
            for column in range(across):
                x, y = column * tile, row * tile
                w, h = min(tile, width - x), min(tile, height - y)
                pixels = np.asarray(read(x, y, w, h))
                if pixels.shape != (h, w, 3) or pixels.dtype != np.uint8:
                    raise ValueError(f"tile of {pixels.dtype} {pixels.shape} where uint8 {(h, w, 3)} is needed")
                self._reduce(1, pixels, x // 2, row)
                if column == across - 1:
                    self._row_done(0, row, down)
                if callback is not None:
                    callback(row * across + column + 1, across * down)
                yield self._encode(_filled(pixels, tile))

    def _reduce(self, level: int, pixels: np.ndarray, x: int, row: int) -> None:
        """Put the halved pixels of tile row ``row`` of the level above into the open row of tiles of ``level``."""
        if level < len(self._sizes):
            half = halved(pixels)
            y = (row % 2) * (self._tile // 2)
            self._rows[level][y : y + half.shape[0], x : x + half.shape[1]] = half

    def _row_done(self, level: int, row: int, down: int) -> None:
        """A row of tiles of ``level`` is complete: when it closes one of the next level, write that one."""
        below = level + 1
        if below == len(self._sizes) or (row % 2 == 0 and row != down - 1):
            return
        tile, (width, height) = self._tile, self._sizes[below]
        this = row // 2
        strip = self._rows[below][: min(tile, height - this * tile)]
        for x in range(0, width, tile):
            data = self._encode(_filled(strip[:, x : x + tile], tile))
            self._places[below].append((self._spool.tell(), len(data)))
            self._spool.write(data)
        self._reduce(below + 1, strip, 0, this)
        self._row_done(below, this, -(-height // tile))

    def stored(self, level: int) -> Iterator[bytes]:
        for at, length in self._places[level]:
            self._spool.seek(at)
            yield self._spool.read(length)


def halved(pixels: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of uint8 [H, W, 3], rounded half up; an odd last row or column stands for two."""
    h, w = pixels.shape[:2]
    if h % 2 or w % 2:
        pixels = cv2.copyMakeBorder(pixels, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _filled(pixels: np.ndarray, tile: int) -> np.ndarray:
    """A whole tile: the edge is repeated, so that JPEG makes no ringing at the border of the slide."""
    h, w = pixels.shape[:2]
    if h == tile and w == tile:
        return np.ascontiguousarray(pixels)
    return cv2.copyMakeBorder(pixels, 0, tile - h, 0, tile - w, cv2.BORDER_REPLICATE)


def _array_source(array: np.ndarray, size: tuple[int, int]) -> ReadTile:
    if array.dtype != np.uint8 or array.shape != (size[1], size[0], 3):
        raise ValueError(f"array {array.dtype} {array.shape} for a slide of {size}")
    return lambda x, y, w, h: array[y : y + h, x : x + w]


def _jpeg_encoder(quality: int) -> Callable[[np.ndarray], bytes]:
    import simplejpeg

    if not 1 <= quality <= 100:
        raise ValueError(f"quality {quality}")
    return lambda pixels: simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace="RGB", colorsubsampling="444", fastdct=False
    )


def _deflate(pixels: np.ndarray) -> bytes:
    import zlib

    return zlib.compress(pixels.tobytes(), 6)


def ome_xml(
    size: tuple[int, int],
    mpp: tuple[float, float] | None,
    provenance: Provenance,
    objective_power: float | None = None,
) -> str:
    """OME-XML (schema 2016-06) of one RGB image with the mark as a CommentAnnotation."""
    mark = Mark(provenance)
    text = mark.to_text()
    physical = ""
    if mpp is not None:
        physical = "".join(
            f' PhysicalSize{axis}="{value!r}" PhysicalSize{axis}Unit="µm"'
            for axis, value in zip("XY", mpp, strict=True)
        )
    instrument = reference = ""
    if objective_power is not None:
        instrument = (
            '<Instrument ID="Instrument:0">'
            f'<Objective ID="Objective:0" NominalMagnification="{objective_power!r}"/></Instrument>'
        )
        reference = '<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0"/>'
    digits = digest_uid("ome", text, str(size)).removeprefix("2.25.")
    uuid = f"{int(digits):032x}"
    uuid = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{schema}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{schema} {schema}/ome.xsd" UUID="urn:uuid:{uuid}" Creator="{SOFTWARE}">'
        f'{instrument}<Image ID="Image:0" Name="slide"><Description>{escape(mark.sentences)}</Description>{reference}'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{size[0]}" SizeY="{size[1]}" SizeC="3" '
        f'SizeZ="1" SizeT="1" Interleaved="true"{physical}><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels><AnnotationRef ID="Annotation:0"/></Image>'
        f'<StructuredAnnotations><CommentAnnotation ID="Annotation:0" Namespace={quoteattr(OME_NAMESPACE)}>'
        f"<Value>{escape(text)}</Value></CommentAnnotation></StructuredAnnotations></OME>"
    )


def _chain(path: Path) -> None:
    """Link the reduced images, which tifffile put under SubIFDs, in the main chain as well."""
    pages = read_directories(path)
    levels = list(pages[0].sub_directories)
    if not levels:
        return
    layout = pages[0].layout
    with path.open("r+b") as file:
        for at, following in zip([pages[0].at, *levels], [*levels, 0], strict=True):
            file.seek(at)
            count = struct.unpack(layout.order + layout.count, file.read(layout.count_size))[0]
            file.seek(at + layout.count_size + count * layout.entry)
            file.write(struct.pack(layout.order + layout.offset, following))
