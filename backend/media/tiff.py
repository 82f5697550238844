"""The directories of a TIFF file, read without decoding a pixel: classic and BigTIFF, either byte order.

Only what sniffing and de-identification need; decoding is OpenSlide's and tifffile's business.
Source: TIFF 6.0, Adobe 1992, sections 2 and 8; BigTIFF as libtiff defines it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MAX_DIRECTORIES = 4096
MAX_ENTRIES = 1024

TAGS = {
    "NewSubfileType": 254,
    "ImageWidth": 256,
    "ImageLength": 257,
    "ImageDescription": 270,
    "StripOffsets": 273,
    "StripByteCounts": 279,
    "Software": 305,
    "TileWidth": 322,
    "TileOffsets": 324,
    "TileByteCounts": 325,
    "SubIFDs": 330,
    "XMP": 700,
}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


class TiffError(ValueError):
    """The structure cannot be followed."""


@dataclass(frozen=True)
class Layout:
    """How a file writes its directories: byte order and the widths of its fields, in bytes."""

    order: str
    count: str
    offset: str
    entry: int

    @property
    def count_size(self) -> int:
        """Bytes of the number of entries."""
        return struct.calcsize(self.count)

    @property
    def offset_size(self) -> int:
        """Bytes of an offset, and of a value that is stored in its entry."""
        return struct.calcsize(self.offset)


CLASSIC = {"<": Layout("<", "H", "I", 12), ">": Layout(">", "H", "I", 12)}
BIG = {"<": Layout("<", "Q", "Q", 20), ">": Layout(">", "Q", "Q", 20)}


@dataclass(frozen=True)
class Entry:
    """One tag: ``at`` is the absolute position of its value, ``raw`` the 12 or 20 bytes of the entry itself."""

    tag: int
    type: int
    count: int
    at: int
    size: int
    inline: bool
    raw: bytes


@dataclass
class Directory:
    """One image of the file. ``pointer`` is where the offset of this directory is stored, ``next`` its successor's."""

    path: Path
    layout: Layout
    at: int
    pointer: int
    next: int
    tags: dict[int, Entry] = field(default_factory=dict)
    parent: int | None = None

    def __contains__(self, name: str) -> bool:
        return TAGS[name] in self.tags

    def bytes(self, tag: int, most: int = 1 << 24) -> bytes:
        """The value of a tag as it is stored, at most ``most`` bytes; empty when it is absent."""
        entry = self.tags.get(tag)
        if entry is None:
            return b""
        with self.path.open("rb") as file:
            file.seek(entry.at)
            return file.read(min(entry.size, most))

    def text(self, name: str) -> str:
        """A text tag, without the final NUL; '' when it is absent."""
        return self.bytes(TAGS[name]).split(b"\x00")[0].decode("utf-8", "replace")

    def integers(self, tag: int, most: int = 1 << 22) -> tuple[int, ...]:
        """The values of an integer tag, at most ``most``; empty when it is absent or of another type."""
        entry = self.tags.get(tag)
        if entry is None or entry.type not in INTEGERS:
            return ()
        size = SIZES[entry.type]
        data = self.bytes(tag, min(entry.count, most) * size)
        return struct.unpack(f"{self.layout.order}{len(data) // size}{INTEGERS[entry.type]}", data)

    def integer(self, name: str, default: int = 0) -> int:
        """The first value of an integer tag."""
        return next(iter(self.integers(TAGS[name], 1)), default)

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return self.integer("ImageWidth")

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return self.integer("ImageLength")

    @property
    def sub_directories(self) -> tuple[int, ...]:
        """Offsets of this image's own reduced images."""
        return self.integers(TAGS["SubIFDs"])


def read_directories(path: Path, *, nested: bool = False) -> list[Directory]:
    """All directories of the main chain, and with ``nested`` those under SubIFDs as well.

    Raises :class:`TiffError` when the file is damaged: an offset outside it, a loop, too many directories.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        layout, first, pointer = read_header(file)
        pages: list[Directory] = []
        pending: list[tuple[int, int, int | None]] = [(first, pointer, None)]
        seen: set[int] = set()
        while pending:
            at, pointer, parent = pending.pop(0)
            if at == 0:
                continue
            if at in seen or at >= size or len(seen) >= MAX_DIRECTORIES:
                raise TiffError("directories loop or lead outside the file")
            seen.add(at)
            page = _directory(file, path, layout, at, pointer, size)
            page.parent = parent
            pages.append(page)
            if parent is None:
                pending.insert(0, (page.next, _next_pointer(page), None))
            if nested and parent is None:
                entry = page.tags.get(TAGS["SubIFDs"])
                for index, offset in enumerate(page.sub_directories):
                    pending.append((offset, entry.at + index * SIZES[entry.type] if entry else 0, page.at))
    if not pages:
        raise TiffError("no directory")
    return pages


def read_header(file: BinaryIO) -> tuple[Layout, int, int]:
    """Layout, offset of the first directory, and the position where that offset is stored."""
    head = file.read(16)
    orders = {b"II": "<", b"MM": ">"}
    if len(head) < 8 or head[:2] not in orders:
        raise TiffError("no TIFF header")
    order = orders[head[:2]]
    version = struct.unpack_from(order + "H", head, 2)[0]
    if version == 42:
        return CLASSIC[order], struct.unpack_from(order + "I", head, 4)[0], 4
    if version == 43 and len(head) == 16:
        return BIG[order], struct.unpack_from(order + "Q", head, 8)[0], 8
    raise TiffError("unknown TIFF version")


def _next_pointer(page: Directory) -> int:
    entries = struct.unpack(page.layout.order + page.layout.count, _read(page.path, page.at, page.layout.count_size))[0]
    return page.at + page.layout.count_size + entries * page.layout.entry


def _read(path: Path, at: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(count)


def _directory(file: BinaryIO, path: Path, layout: Layout, at: int, pointer: int, size: int) -> Directory:
    file.seek(at, os.SEEK_SET)
    head = file.read(layout.count_size)
    if len(head) < layout.count_size:
        raise TiffError("cut off")
    entries = struct.unpack(layout.order + layout.count, head)[0]
    if not 0 < entries <= MAX_ENTRIES:
        raise TiffError("implausible number of tags")
    body = file.read(entries * layout.entry + layout.offset_size)
    if len(body) < entries * layout.entry:
        raise TiffError("cut off")
    tail = body[entries * layout.entry :]
    following = struct.unpack(layout.order + layout.offset, tail)[0] if len(tail) == layout.offset_size else 0
    page = Directory(path, layout, at, pointer, following)
    for index in range(entries):
        raw = body[index * layout.entry : (index + 1) * layout.entry]
        tag, type_ = struct.unpack_from(layout.order + "HH", raw)
        count = struct.unpack_from(layout.order + layout.offset, raw, 4)[0]
        length = count * SIZES.get(type_, 1)
        inline = length <= layout.offset_size
        value = 4 + layout.offset_size
        here = at + layout.count_size + index * layout.entry + value
        where = here if inline else struct.unpack_from(layout.order + layout.offset, raw, value)[0]
        if where + length > size:
            raise TiffError("a value lies outside the file")
        page.tags[tag] = Entry(tag, type_, count, where, length, inline, raw)
    return page
