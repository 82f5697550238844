"""Takes the texts out of a NIfTI file: description, file names, database name, extensions, bytes behind the data.

Header layout by nifti1.h and nifti2.h (NIfTI Data Format Working Group).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

from backend.errors import UserError
from backend.media.limits import CHUNK, Limits

# (position, length) of what people write in.
TEXTS_1 = ((4, 10), (14, 18), (32, 4), (36, 2), (148, 80), (228, 24), (328, 16))
TEXTS_2 = ((240, 80), (320, 24), (508, 16), (525, 15))
BROKEN = UserError("The volume cannot be read.", "Its data is damaged or cut off.", "Export it again and retry.")


def strip_nifti(source: Path, target: Path, limits: Limits, *, compressed: bool) -> bool:
    """Copy a single-file NIfTI with clean header and the same voxels; returns whether there was any text in it.

    ``compressed`` says whether the source is gzip; the copy is what the source was. Raises ``UserError`` when it is
    damaged or unpacks to too much.
    """
    stored = limits.check_file(source)
    try:
        with _opened(source, compressed) as file, target.open("wb") as out:
            head = bytearray(file.read(348))
            second = head[:4] in (struct.pack("<i", 540), struct.pack(">i", 540))
            size, texts = (540, TEXTS_2) if second else (348, TEXTS_1)
            head += file.read(size - len(head))
            if len(head) < size:
                raise BROKEN
            order = "<" if struct.unpack_from("<i", head)[0] == size else ">"
            dimensions = struct.unpack_from(order + ("8q" if second else "8h"), head, 16 if second else 40)
            bits = struct.unpack_from(order + "h", head, 14 if second else 72)[0]
            offset = int(struct.unpack_from(order + ("q" if second else "f"), head, 168 if second else 108)[0])
            if not 1 <= dimensions[0] <= 7 or bits < 1 or offset < size:
                raise BROKEN
            count = prod(dimensions[1 : dimensions[0] + 1]) * bits // 8
            before = file.read(offset - size)
            found = bool(before.strip(b"\x00"))
            for at, length in texts:
                found = found or bool(bytes(head[at : at + length]).strip(b"\x00 r"))
                head[at : at + length] = bytes(length)
            struct.pack_into(order + ("q" if second else "f"), head, 168 if second else 108, size + 4)
            with _packer(out, compressed) as packed:
                packed.write(bytes(head) + bytes(4))
                left = count
                while left > 0 and (chunk := file.read(min(CHUNK, left))):
                    left -= len(chunk)
                    limits.check_unpacked(count - left, stored)
                    packed.write(chunk)
            if left:
                raise BROKEN
            return found
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error, OverflowError, ValueError):
        raise BROKEN from None


def _opened(path: Path, compressed: bool) -> BinaryIO:
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


@contextmanager
def _packer(out: BinaryIO, compressed: bool) -> Iterator[BinaryIO]:
    if not compressed:
        yield out
        return
    # Neither file name nor time: gzip would write both.
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=4, mtime=0) as packed:
        yield packed  # type: ignore[misc]
