"""From DICOM pixel data to arrays: sizes are checked against the codestream before a decoder sees it.

A decoder allocates what the compressed stream declares, not what the data set says; a stream of a few bytes may
declare 60000 × 60000. So both are read first, must agree, and must lie within the limits.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.dicom_open import damaged, text, whole_number
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

log = logging.getLogger(__name__)

JPEG_8_12 = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (100, 101, 102, 103, 104, 105, 106, 107, 108)) + tuple(
    f"1.2.840.10008.1.2.4.{number}.1" for number in (100, 101, 102, 103, 104, 105, 106)
)
LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
# Which of pydicom's plugins decodes what. GDCM is left out: on damaged JPEG it ends the whole process. So is
# pylibjpeg's RLE, which panics.
PLUGINS = {
    **dict.fromkeys(JPEG_8_12, "pillow"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), "pyjpegls"),
    **dict.fromkeys(tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203)), "pylibjpeg"),
    "1.2.840.10008.1.2.5": "pydicom",
}


def declared_shape(dataset: Dataset, limits: Limits) -> tuple[int, int, int, int]:
    """(frames, rows, columns, samples) as declared, within limits. Raises ``UserError`` otherwise."""
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    frames = whole_number(dataset, "NumberOfFrames", 1) or 1
    samples = whole_number(dataset, "SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise UserError(
            f"This DICOM image has {samples} samples a pixel.", "Only grey and three-colour images are read.", ""
        )
    if "PixelData" in dataset and whole_number(dataset, "BitsAllocated") not in (1, 8, 16, 32, 64):
        raise damaged("Its number of bits a pixel is not possible.")
    limits.check_frames(frames)
    limits.check_pixels(frames, rows, columns)
    return frames, rows, columns, samples


def decode(dataset: Dataset, limits: Limits) -> np.ndarray:
    """Stored values, [T, H, W] or [T, H, W, 3]; colour other than PALETTE COLOR comes out as RGB.

    dtype is the data set's own in native byte order (uint8 … int32, float32, float64; 1-bit comes out as uint8 0/1).
    Raises ``UserError`` when the transfer syntax is not supported or the pixel data are damaged.
    """
    frames, rows, columns, samples = declared_shape(dataset, limits)
    syntax = dataset.file_meta.TransferSyntaxUID
    shape = (frames, rows, columns, 3) if samples == 3 else (frames, rows, columns)
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise UserError("This DICOM image is stored in a way only its maker knows.", "", "Export it uncompressed.")
    if syntax in VIDEO:
        from backend.media.dicom_video import decode_video

        return decode_video(dataset, frames, rows, columns, limits)
    if syntax.is_encapsulated:
        pieces = _encapsulated(dataset, frames, rows, columns, limits)
        if syntax in JPEG_8_12 and (fast := _jpeg(dataset, pieces, shape)) is not None:
            return fast
        if syntax in LOSSLESS_JPEG:
            return _lossless_jpeg(dataset, pieces, shape)
    try:
        from pydicom.pixels import pixel_array

        pixels = pixel_array(dataset, decoding_plugin=PLUGINS.get(syntax, ""))
    except MemoryError:
        raise UserError("The image is too large for this machine.", "It does not fit into memory.", "") from None
    except NotImplementedError:
        raise UserError(
            f"This DICOM image is stored as {syntax.name}, which is not read here.", "", "Export it uncompressed."
        ) from None
    except Exception as error:
        log.debug("pixel decoder refused: %s", type(error).__name__)
        raise damaged(_reason(error, syntax.name if syntax.is_encapsulated else "")) from None
    if pixels.size != int(np.prod(shape)):
        raise damaged("It holds another number of pixels than it declares.")
    pixels = pixels.reshape(shape)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _reason(error: Exception, codec: str) -> str:
    message = str(error)
    if "less than expected" in message or "actual length" in message.lower():
        return "It is cut off: there are fewer pixels in it than it declares."
    if isinstance(error, AttributeError) and "required element" in message.lower():
        return "It does not say how its pixels are stored."
    if codec:
        return f"Its pixels, compressed as {codec.split(' (')[0]}, cannot be decoded."
    return "Its pixels contradict its description."


def _encapsulated(dataset: Dataset, frames: int, rows: int, columns: int, limits: Limits) -> list[bytes]:
    from pydicom.encaps import generate_frames

    data = dataset.get("PixelData")
    if not isinstance(data, bytes) or not data:
        raise damaged("Its pixel data are empty.")
    limits.check_ratio(frames * rows * columns * max(1, whole_number(dataset, "BitsAllocated") // 8), stored=len(data))
    try:
        pieces = list(generate_frames(data, number_of_frames=frames))
    except Exception as error:
        log.debug("encapsulation refused: %s", type(error).__name__)
        raise damaged("Its compressed frames cannot be told apart.") from None
    if len(pieces) < frames:
        raise damaged(f"It declares {frames} frames and holds {len(pieces)}.")
    for piece in pieces[:frames]:
        size = codestream_size(piece)
        if size is not None and size != (columns, rows):
            raise damaged("The size inside its compressed pixels is not the size it declares.")
    return pieces[:frames]


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a JPEG, JPEG-LS or JPEG 2000 stream declares, ``None`` when it is none of them.

    Source: ITU-T T.81 annex B (SOFn), T.87 annex C (SOF55), T.800 annex A (SIZ).
    """
    if data[:4] == b"\x00\x00\x00\x0c" and data[4:8] == b"jP  ":
        at = data.find(b"\xff\x4f\xff\x51")
        data = data[at:] if at >= 0 else b""
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) >= 24:
        x1, y1, x0, y0 = struct.unpack_from(">4I", data, 8)
        return x1 - x0, y1 - y0
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _jpeg(dataset: Dataset, pieces: list[bytes], shape: tuple[int, ...]) -> np.ndarray | None:
    """JPEG of 8 or 12 bits by libjpeg-turbo, several times as fast as the general path; ``None`` hands over to that.

    A three-colour stream is read as YCbCr where the data set says so. Where it says RGB the general path decides,
    because the application marker may say otherwise.
    """
    photometric = text(dataset, "PhotometricInterpretation")
    if len(shape) == 4 and photometric not in ("YBR_FULL", "YBR_FULL_422"):
        return None
    import imagecodecs

    wide = whole_number(dataset, "BitsAllocated") == 16
    out = np.empty(shape, np.uint16 if wide else np.uint8)
    try:
        for index, piece in enumerate(pieces):
            if len(shape) == 4:
                frame = imagecodecs.jpeg_decode(piece, colorspace="YCBCR", outcolorspace="RGB")
            else:
                frame = imagecodecs.jpeg_decode(piece)
            if frame.shape != shape[1:] or frame.dtype.itemsize > out.dtype.itemsize:
                return None
            out[index] = frame
    except Exception as error:
        log.debug("jpeg decoder refused: %s", type(error).__name__)
        return None
    return out


def _lossless_jpeg(dataset: Dataset, pieces: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """JPEG Lossless (T.81 process 14) of 2 to 16 bits. Raises ``UserError`` when a frame is damaged."""
    import imagecodecs

    signed = whole_number(dataset, "PixelRepresentation", 0) == 1
    bits = whole_number(dataset, "BitsAllocated")
    out = np.empty(shape, np.dtype(f"u{max(1, bits // 8)}"))
    try:
        for index, piece in enumerate(pieces):
            frame = imagecodecs.ljpeg_decode(piece)
            if frame.shape != shape[1:]:
                raise ValueError("unexpected shape")
            out[index] = frame
    except Exception as error:
        log.debug("lossless jpeg decoder refused: %s", type(error).__name__)
        raise damaged("Its pixels, compressed as JPEG Lossless, cannot be decoded.") from None
    if len(shape) == 4 and text(dataset, "PhotometricInterpretation").startswith("YBR"):
        from pydicom.pixels import convert_color_space

        return convert_color_space(out, "YBR_FULL", "RGB", per_frame=True)
    return _sign(out, whole_number(dataset, "BitsStored", bits)) if signed else out


def _sign(values: np.ndarray, bits_stored: int) -> np.ndarray:
    """Unsigned stored values → signed, extending the sign bit of two's complement of ``bits_stored`` bits."""
    width = 8 * values.dtype.itemsize
    signed = values.view(np.dtype(f"i{values.dtype.itemsize}"))
    shift = max(0, width - bits_stored)
    return (signed << shift) >> shift
