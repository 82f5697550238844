"""Decoding and encoding of tiles, and the two ways to shrink them. Every call here lets other threads run."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

JPEG_QUALITY = 80


def encode_jpeg(pixels: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Baseline JPEG, 4:2:0, of RGB pixels, uint8 [height, width, 3]."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def decode_jpeg(data: bytes, shrink: int = 1, size: tuple[int, int] = (0, 0)) -> np.ndarray:
    """RGB pixels, uint8 [height, width, 3], of a whole JPEG of (width, height) ``size``.

    ``shrink`` (1, 2, 4, 8) decodes that many times smaller from the low frequencies alone. Raises ``ValueError``.
    """
    if shrink == 1:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    width, height = size
    return simplejpeg.decode_jpeg(
        data, colorspace="RGB", min_width=width // shrink, min_height=height // shrink, min_factor=shrink
    )


def decode_jpeg2000(data: bytes) -> np.ndarray:
    """Pixels of a JPEG 2000 codestream, uint8 [height, width, 3]. Raises ``ValueError`` when it is broken."""
    from imagecodecs import Jpeg2kError, jpeg2k_decode

    try:
        return jpeg2k_decode(data)
    except Jpeg2kError as error:
        raise ValueError(str(error)) from None


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
