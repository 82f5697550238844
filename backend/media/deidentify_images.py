"""Takes out of still pictures what is not picture: EXIF, comments, texts, thumbnails, bytes behind the end.

PNG, JPEG and GIF keep their compressed pixels bit for bit; only the pieces of the container that a decoder needs are
copied. Sources: PNG (W3C 2003) section 5; ITU-T T.81 annex B; GIF89a sections 20 to 26.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from backend.errors import UserError

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs", b"bKGD"}
GIF_IMAGE = 0x2C
BROKEN = UserError("The picture cannot be read.", "Its data is damaged or cut off.", "Export it again and retry.")


def strip_png(data: bytes) -> tuple[bytes, bool]:
    """A PNG with the chunks that show it, and whether anything else was in it. Raises ``UserError`` when damaged."""
    if not data.startswith(PNG_HEAD):
        raise BROKEN
    kept, at, removed = [PNG_HEAD], 8, False
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise BROKEN
        if kind in PNG_KEPT:
            # A colour profile carries a name of its own, which anybody may write.
            kept.append(data[at:end] if kind != b"iCCP" else _plain_profile(data[at:end]))
        elif kind == b"eXIf" and (turned := _orientation(data[at + 8 : end - 4])) > 1:
            kept.append(_chunk(b"eXIf", _exif(turned)))
            removed = removed or kept[-1] != data[at:end]
        else:
            removed = True
        at = end
        if kind == b"IEND":
            return b"".join(kept), removed or at < len(data)
    raise BROKEN


def _plain_profile(chunk: bytes) -> bytes:
    body = chunk[8:-4]
    return _chunk(b"iCCP", b"profile" + body[max(body.find(b"\x00"), 0) :])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _exif(orientation: int) -> bytes:
    """A TIFF structure with one directory and in it the one tag 0x0112, SHORT."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def strip_jpeg(data: bytes) -> tuple[bytes, bool]:
    """A JPEG without comments and application data, and whether it had any.

    Kept are JFIF's density (without its thumbnail), the colour profile, Adobe's colour transform, and of EXIF nothing
    but the orientation, written anew. Raises ``UserError`` when the markers cannot be followed.
    """
    if data[:2] != b"\xff\xd8":
        raise BROKEN
    kept, at, removed, scans = [b"\xff\xd8"], 2, False, 0
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise BROKEN
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            kept.append(b"\xff\xd9")
            return b"".join(kept), removed or at + 2 < len(data)
        if at + 4 > len(data):
            break
        length = struct.unpack_from(">H", data, at + 2)[0]
        segment, end = data[at : at + 2 + length], at + 2 + length
        if length < 2 or end > len(data):
            raise BROKEN
        replaced = _application(marker, segment)
        removed = removed or replaced != segment
        kept.append(replaced)
        at = end
        if marker == 0xDA:
            scans += 1
            at = _scan_end(data, end)
            kept.append(data[end:at])
    if not scans:
        raise BROKEN
    # Cut off in the middle of the last scan: decoders show what is there, and so the end is all that is missing.
    return b"".join(kept) + b"\xff\xd9", removed


def _scan_end(data: bytes, at: int) -> int:
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        follower = data[at + 1]
        if follower == 0 or 0xD0 <= follower <= 0xD7 or follower == 0xFF:
            at += 1 if follower == 0xFF else 2
            continue
        return at


def _application(marker: int, segment: bytes) -> bytes:
    """The segment as it may stay; b'' when it has to go."""
    if marker == 0xFE:
        return b""
    if not 0xE0 <= marker <= 0xEF:
        return segment
    body = segment[4:]
    if marker == 0xE0 and body.startswith(b"JFIF\x00") and len(body) >= 14:
        return b"\xff\xe0\x00\x10" + body[:12] + b"\x00\x00"
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\x00"):
        return segment
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
        return b"\xff\xee\x00\x0e" + body[:12]
    if marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
        turned = _orientation(body[6:])
        if turned > 1:
            exif = _exif(turned)
            return b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\x00\x00" + exif
    return b""


def _orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order or len(tiff) < 14:
        return 1
    at = struct.unpack_from(order + "I", tiff, 4)[0]
    if at + 2 > len(tiff):
        return 1
    for index in range(struct.unpack_from(order + "H", tiff, at)[0]):
        entry = at + 2 + 12 * index
        if entry + 12 > len(tiff):
            break
        tag, type_, _count, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == 0x0112 and type_ == 3:
            return value if 1 <= value <= 8 else 1
    return 1


def strip_gif(data: bytes) -> tuple[bytes, bool]:
    """A GIF without comments, plain texts and foreign application blocks (that for looping stays)."""
    kept, removed, at = [data[: _gif_start(data)]], False, 0
    for label, start, at in _gif_blocks(data):
        looping = label == 0xFF and data[start + 3 : start + 14] in (b"NETSCAPE2.0", b"ANIMEXTS1.0")
        if label in (GIF_IMAGE, 0xF9) or looping:
            kept.append(data[start:at])
        else:
            removed = True
    return b"".join(kept) + b";", removed or data[at : at + 2] not in (b";", b"")


def count_gif_images(data: bytes) -> int:
    """How many pictures a GIF holds. Raises ``UserError`` when its blocks cannot be followed."""
    return sum(label == GIF_IMAGE for label, _, _ in _gif_blocks(data))


def _gif_start(data: bytes) -> int:
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 14:
        raise BROKEN
    return 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)


def _gif_blocks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(kind, start, end) of each block: :data:`GIF_IMAGE`, or the label of an extension."""
    at = _gif_start(data)
    while at < len(data) and data[at] != 0x3B:
        start = at
        if data[at] == GIF_IMAGE and at + 11 <= len(data):
            flags = data[at + 9]
            at = _blocks_end(data, at + 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0))
            yield GIF_IMAGE, start, at
        elif data[at] == 0x21 and at + 3 <= len(data):
            at = _blocks_end(data, at + 2)
            yield data[start + 1], start, at
        else:
            raise BROKEN


def _blocks_end(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    if at >= len(data):
        raise BROKEN
    return at + 1


def write_plain(path: Path, pixels: np.ndarray, format_: str, source: Path | None = None) -> str:
    """Write pixels [H, W], [H, W, 3] or [H, W, 4] anew and lossless; returns the suffix that was used.

    PNG where it can hold them (uint8, and uint16 in grey), else TIFF with deflate and nothing but what shows it. Of a
    TIFF ``source`` the resolution tags are kept.
    """
    if format_ != "tiff" and (pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and pixels.ndim == 2)):
        from PIL import Image

        Image.fromarray(pixels).save(path, format="PNG")
        return ".png"
    import tifffile

    from backend.media.tiff_stack import TiffScale, read_scale

    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    extra = ["unassalpha"] if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    scale = read_scale(source) if source is not None and format_ == "tiff" else TiffScale()
    tifffile.imwrite(
        path,
        pixels,
        photometric=photometric,
        extrasamples=extra,
        compression="zlib",
        metadata=None,
        software=False,
        resolution=scale.resolution,
        resolutionunit=scale.unit if scale.resolution else None,
    )
    return ".tif"
