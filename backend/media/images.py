"""Still pictures: PNG, JPEG, TIFF, BMP, WebP and single GIFs, as they were stored and the right way up."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from backend.errors import UserError
from backend.media.limits import Limits

# tifffile writes the names of damaged files to the log; what is wrong with them is said in a sentence instead.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
# Our own limits are checked on the declared size before anything is decoded, so Pillow's warning has nothing to add.
Image.MAX_IMAGE_PIXELS = None

# Pillow knows many formats more; fewer decoders are fewer doors.
FORMATS = (
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    GifImagePlugin.GifImageFile.format,
    Jpeg2KImagePlugin.Jpeg2KImageFile.format,
)
MAX_TILE = 4096 * 4096
NO_MEMORY = UserError(
    "The picture cannot be read.", "It asks for more memory than there is, or is damaged.", "Export it again, smaller."
)
BROKEN = UserError("The picture cannot be read.", "Its data is damaged or cut off.", "Export it again and retry.")


def read_image(path: Path, limits: Limits) -> np.ndarray:
    """The pixels of a picture.

    Returns [H, W], [H, W, 3] RGB or [H, W, 4] RGBA (alpha not premultiplied): uint8, uint16 where the file has more
    than 8 bits, int32 or float32 for TIFFs that hold such. Palettes are resolved, one-bit pixels are 0 and 255, CMYK
    becomes RGB, grey with alpha becomes RGBA, EXIF orientation is applied. Of a TIFF with pages it is the first.
    Raises ``UserError`` when it is no such picture, damaged, animated or over the limits.
    """
    path = Path(path)
    stored = limits.check_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            limits.check_pixels(height, width)
            limits.check_ratio(width * height * max(1, len(image.getbands())), stored)
            frames = getattr(image, "n_frames", 1)
            if image.format in ("GIF", "WEBP", "PNG") and frames > 1:
                raise UserError(
                    "This picture is animated.",
                    f"It has {frames} frames where a single one is needed.",
                    "Open it as a clip, or export one frame.",
                )
            if image.format == "TIFF":
                _check_tiles(path)
            deep = _deep(image, path)
            if deep is not None:
                return np.ascontiguousarray(deep)
            return np.ascontiguousarray(_plain(ImageOps.exif_transpose(image)))
    except UserError:
        raise
    except UnidentifiedImageError:  # also a TIFF of a kind that Pillow does not know
        odd = _odd_tiff(path, limits)
        if odd is not None:
            return odd
        raise UserError(
            "The file is not a picture that is read here.",
            "Its content is none of PNG, JPEG, TIFF, BMP, WebP or GIF, or it is damaged.",
            "Export it as PNG.",
        ) from None
    except MemoryError:
        raise NO_MEMORY from None
    except Exception:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error … on damaged files
        raise BROKEN from None


def _plain(image: Image.Image) -> np.ndarray:
    """An array of any Pillow mode, by the rules of :func:`read_image`."""
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("P", "PA"):
        see_through = "transparency" in image.info or image.mode == "PA"
        image = image.convert("RGBA" if see_through else "RGB")
        pixels = np.asarray(image)
        return _without_colour(pixels)
    if image.mode in ("LA", "La", "RGBa"):
        return np.asarray(image.convert("RGBA"))
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        pixels = np.asarray(image)
        fits = pixels.size and pixels.min() >= 0 and pixels.max() <= 65535
        return pixels.astype(np.uint16) if fits and image.format != "TIFF" else pixels.astype(np.int32)
    if image.mode in ("L", "RGB", "RGBA", "F"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def _without_colour(pixels: np.ndarray) -> np.ndarray:
    """A palette of greys as [H, W], so that an indexed mask is a mask again."""
    if pixels.shape[2] == 3 and (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        return pixels[..., 0]
    return pixels


def _deep(image: Image.Image, path: Path) -> np.ndarray | None:
    """Pixels that Pillow would cut to 8 bits or misread: PNG colour at 16 bits, TIFF at 16 bits and more."""
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(26)
        if len(header) == 26 and header[24] == 16:
            import imagecodecs

            pixels = imagecodecs.png_decode(path.read_bytes())
            if pixels.ndim == 3 and pixels.shape[2] == 2:
                pixels = pixels[..., [0, 0, 0, 1]]
            return _turn(pixels, image.getexif().get(274, 1))
        return None
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        if max(bits) > 8 or len(set(bits)) > 1 or image.tag_v2.get(284, 1) == 2:  # type: ignore[attr-defined]
            return _tiff(path)
    return None


def _check_tiles(path: Path) -> None:
    """Refuse a TIFF whose tiles are out of proportion to its image: decoders allocate one before they look."""
    from backend.media.tiff import TiffError, read_directories

    try:
        first = read_directories(path)[0]
    except TiffError:
        raise BROKEN from None
    width, height = (next(iter(first.integers(tag, 1)), 0) for tag in (322, 323))
    if width * height > max(MAX_TILE, 4 * first.width * first.height):
        raise BROKEN


def _odd_tiff(path: Path, limits: Limits) -> np.ndarray | None:
    """A TIFF that Pillow does not know (RGB of 16 bits, float colour): ``None`` when it is no TIFF at all."""
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
            return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            limits.check_pixels(page.imagelength, page.imagewidth)
            limits.check_ratio(page.nbytes, path.stat().st_size)
        _check_tiles(path)
        return np.ascontiguousarray(_tiff(path))
    except UserError:
        raise
    except MemoryError:
        raise NO_MEMORY from None
    except Exception:  # tifffile and its codecs raise whatever a damaged file leads them to
        raise BROKEN from None


def _tiff(path: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        kind = int(page.photometric)
        if kind not in (0, 1, 2) or page.imagedepth > 1:
            raise UserError(
                "The picture cannot be read.",
                "It is a TIFF whose colours are neither grey nor RGB.",
                "Export it as PNG or as an RGB TIFF.",
            )
        pixels = page.asarray()
        declared = (page.imagelength, page.imagewidth)
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        if kind == 0:
            pixels = np.invert(pixels) if pixels.dtype.kind == "u" else pixels.max() - pixels
        orientation = page.tags.valueof(274, 1)
    if pixels.ndim not in (2, 3) or pixels.shape[:2] != declared or not pixels.size:
        raise BROKEN
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    if pixels.ndim == 3 and pixels.shape[2] > 4:
        raise UserError(
            "The picture cannot be read.",
            f"It has {pixels.shape[2]} channels; a picture has one, three or four.",
            "Export the channels one by one.",
        )
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2:
        fits = pixels.dtype.itemsize == 4 and pixels.max() <= np.iinfo(np.int32).max
        pixels = pixels.astype(np.int32 if fits else np.float32)
    elif pixels.dtype.kind == "i":
        pixels = pixels.astype(np.int32)
    elif pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * 255
    return _turn(pixels, orientation)


def _turn(pixels: np.ndarray, orientation: Any) -> np.ndarray:
    """The right way up, by EXIF/TIFF orientation 1 to 8 (TIFF 6.0, section 8: tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def to_rgb8(pixels: np.ndarray, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """What :func:`read_image` returns as uint8 [H, W, 3] for display.

    16-bit values keep their high byte; int32 and float32 are stretched from their least to their greatest finite value;
    alpha is laid over ``background``.
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        scaled = (np.nan_to_num(pixels.astype(np.float32), nan=low) - low) / max(high - low, 1e-12)
        pixels = (np.clip(scaled, 0, 1) * 255 + 0.5).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        over = pixels[..., :3] * alpha + np.asarray(background, np.uint16) * (255 - alpha)
        return ((over + 127) // 255).astype(np.uint8)
    return pixels


def icc_profile(path: Path) -> bytes | None:
    """The embedded ICC profile of a picture, ``None`` without one."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.info.get("icc_profile") or None
    except (OSError, SyntaxError, ValueError, struct.error):
        return None
