"""Decoding and encoding of tiles, and the two ways to shrink them. Every call here lets other threads run."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import simplejpeg

JPEG_QUALITY = 80


def encode_jpeg(pixels: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Baseline JPEG, 4:2:0, of RGB pixels, uint8 [height, width, 3]."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def decode_jpeg(data: bytes, size: tuple[int, int], shrink: int = 1) -> np.ndarray:
    """RGB pixels, uint8 [height, width, 3], of a whole JPEG that must be of (width, height) ``size``.

    ``shrink`` (1, 2, 4, 8) decodes that many times smaller from the low frequencies alone. Raises ``ValueError`` for a
    broken picture, and for one that claims another size before any memory is taken for it.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if (width, height) != size:
        raise ValueError(f"a tile of {width} x {height} pixels instead of {size[0]} x {size[1]}")
    if shrink == 1:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    return simplejpeg.decode_jpeg(
        data, colorspace="RGB", min_width=width // shrink, min_height=height // shrink, min_factor=shrink
    )


def decode_jpeg2000(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Pixels, uint8 [height, width, 3], of a JPEG 2000 picture that must be of (width, height) ``size``.

    Raises ``ValueError`` for a broken picture, and for one that claims another size before any memory is taken for it.
    """
    from imagecodecs import Jpeg2kError, jpeg2k_decode

    if jpeg2000_size(data) != (*size, 3):
        raise ValueError("a tile of another size than the file says")
    try:
        return jpeg2k_decode(data)
    except Jpeg2kError as error:
        raise ValueError(str(error)) from None


def jpeg2000_size(data: bytes) -> tuple[int, int, int]:
    """(width, height, components) that a codestream claims, bare or inside a JP2 file. Raises ``ValueError``.

    Source: ISO/IEC 15444-1, A.5.1: the SIZ segment follows the start of the codestream.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 42:
        raise ValueError("no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    return right - left, bottom - top, components


def halve(pixels: np.ndarray) -> np.ndarray:
    """Means of two by two pixels; width and height of uint8 [height, width, 3] must be even."""
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def area_resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels, uint8 [h, w, 3], shrunk to ``width`` x ``height`` by area means."""
    if pixels.shape[1] == width and pixels.shape[0] == height:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def replicate_to(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels grown to the right and downwards to ``width`` x ``height`` by repeating the last column and row."""
    rows, columns = pixels.shape[:2]
    if columns >= width and rows >= height:
        return pixels
    return cv2.copyMakeBorder(
        pixels, 0, max(0, height - rows), 0, max(0, width - columns), borderType=cv2.BORDER_REPLICATE
    )
