"""How much one upload may ask of the machine, checked on what a file declares, before anything is decoded."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

from backend.errors import UserError
from backend.settings import MIB, Settings

CHUNK = 256 * 1024
# A blank image compresses by any factor and harms nobody while it is small: below this size the ratio is not judged.
ALWAYS_ALLOWED = 64 * MIB


@dataclass(frozen=True)
class Limits:
    """Upper bounds on one input.

    ``max_bytes`` bounds the stored file, and what archives and compressed streams may unpack to; ``max_pixels`` the
    decoded samples of one image, clip or volume counted per channel group (H·W, T·H·W, X·Y·Z); ``max_frames`` the
    frames of a clip or slices of a series; ``max_decompression_ratio`` the decoded bytes per stored byte, judged only
    above 64 MiB decoded.
    """

    max_bytes: int = 2048 * MIB
    max_pixels: int = 400_000_000
    max_frames: int = 4000
    max_decompression_ratio: int = 2000

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        """The limits an installation was set to."""
        return cls(
            max_bytes=settings.max_upload_mib * MIB,
            max_pixels=settings.max_pixels,
            max_frames=settings.max_frames,
            max_decompression_ratio=settings.max_decompression_ratio,
        )

    def check_bytes(self, size: int) -> None:
        """Refuse a file of ``size`` bytes when it is over the limit."""
        if size > self.max_bytes:
            raise UserError(
                "The file is too large.",
                f"It holds {size / MIB:,.0f} MiB and the limit is {self.max_bytes / MIB:,.0f} MiB.",
                "Crop or split it, or raise SYNTHSCOPE_MAX_UPLOAD_MIB.",
            )

    def check_file(self, path: Path) -> int:
        """Size in bytes of a file that exists, is not empty and is not too large. Raises ``UserError``."""
        try:
            size = path.stat().st_size
        except OSError:
            raise UserError("The file cannot be read.", "It is not there any more.", "Choose it again.") from None
        if not size:
            raise UserError("The file is empty.", "It holds no bytes at all.", "Export it again and retry.")
        self.check_bytes(size)
        return size

    def check_pixels(self, *shape: int) -> None:
        """Refuse a declared shape (pixels only, no channels) that is empty, negative or too large."""
        if any(int(n) <= 0 for n in shape):
            raise UserError(
                "The image has no pixels.",
                f"It declares a size of {_times(shape)}.",
                "Export it again from where it came.",
            )
        count = prod(int(n) for n in shape)
        if count > self.max_pixels:
            raise UserError(
                "The image is too large.",
                f"It declares {_times(shape)} = {count:,} pixels and the limit is {self.max_pixels:,}.",
                "Crop or downsample it, or raise SYNTHSCOPE_MAX_PIXELS.",
            )

    def check_frames(self, frames: int) -> None:
        """Refuse a clip or series of ``frames`` frames when it is empty or too long."""
        if frames <= 0:
            raise UserError("The clip has no frames.", "", "Export it again from where it came.")
        if frames > self.max_frames:
            raise UserError(
                "The clip is too long.",
                f"It has {frames:,} frames and the limit is {self.max_frames:,}.",
                "Cut it, or raise SYNTHSCOPE_MAX_FRAMES.",
            )

    def check_ratio(self, decoded: int, stored: int) -> None:
        """Refuse ``stored`` bytes that would unpack to ``decoded`` bytes when that is out of all proportion."""
        if decoded > ALWAYS_ALLOWED and decoded > self.max_decompression_ratio * max(stored, 1):
            raise UserError(
                "The file unpacks to far more than it holds.",
                f"More than {self.max_decompression_ratio:,} bytes would come out of each stored byte.",
                "Send it uncompressed, if it is what it claims to be.",
            )

    def check_unpacked(self, decoded: int, stored: int) -> None:
        """Both guards of an unpacking stream: total bytes and ratio. Call it as the bytes come out."""
        self.check_ratio(decoded, stored)
        if decoded > self.max_bytes:
            raise UserError(
                "The file unpacks to too much.",
                f"More than {self.max_bytes / MIB:,.0f} MiB come out of it.",
                "Send a part of it, or raise SYNTHSCOPE_MAX_UPLOAD_MIB.",
            )

    def copy(self, source: IO[bytes], write: Callable[[bytes], object], stored: int) -> int:
        """Copy an unpacking stream in small pieces under both guards. ``stored`` is its packed size. Returns bytes."""
        total = 0
        while chunk := source.read(CHUNK):
            total += len(chunk)
            self.check_unpacked(total, stored)
            write(chunk)
        return total

    def check_deflated(self, source: BinaryIO, stored: int) -> int:
        """Inflate a raw deflate stream to nowhere under both guards; returns the inflated size in bytes.

        Raises ``UserError`` when it is a bomb, ``zlib.error`` when it is not a deflate stream.
        """
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (chunk := source.read(CHUNK)) and not inflater.eof:
            while chunk and not inflater.eof:
                total += len(inflater.decompress(chunk, CHUNK))
                self.check_unpacked(total, stored)
                chunk = inflater.unconsumed_tail
        return total


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{int(n):,}" for n in shape)
