"""ZIP and gzip files from strangers: looked at before anything is unpacked, then unpacked under names of our own."""

from __future__ import annotations

import errno
import gzip
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError
from backend.media.limits import Limits

MAX_ENTRIES = 20_000
# System droppings that a folder picks up on its way into an archive; none of them is an image.
DROPPINGS = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini", "._")


@dataclass(frozen=True)
class Unpacked:
    """One file out of an archive: where it lies now, and its name inside (for telling formats apart, never shown)."""

    path: Path
    name: str


def entry_names(path: Path) -> list[str]:
    """Names of the files in a ZIP, without unpacking; empty when its directory cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.filelist) > MAX_ENTRIES:
                return []
            return [info.filename for info in archive.infolist() if _wanted(info)]
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError):
        return []


def unpack(path: Path, into: Path, limits: Limits) -> list[Unpacked]:
    """Unpack a ZIP, or the one file of a gzip, into the existing empty folder ``into``.

    Every file gets a number for a name.

    Names inside are never used as paths, so nothing can leave ``into``. Raises ``UserError`` for a damaged or
    encrypted archive, one holding links, too many files, or more bytes than the limits allow; the bytes are counted
    as they come out, since what an archive declares about itself may be a lie.
    """
    stored = limits.check_file(path)
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return [Unpacked(_gunzip(path, into / "000000", limits, stored), "")]
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive)
            limits.check_unpacked(sum(info.file_size for info in entries), stored)
            found, total = [], 0
            for number, info in enumerate(entries):
                target = into / f"{number:06d}"
                with archive.open(info) as source, target.open("wb") as out:
                    before = total

                    def write(chunk: bytes, out=out) -> None:
                        nonlocal total
                        total += len(chunk)
                        limits.check_unpacked(total, stored)
                        out.write(chunk)

                    limits.copy(source, write, max(info.compress_size, 1))
                if total > before:
                    found.append(Unpacked(target, info.filename))
                else:
                    target.unlink()
    except UserError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        # A damaged directory sends zipfile to positions before the file; any other system error is our disk's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise UserError(
            "This ZIP archive is damaged.", "A file in it cannot be unpacked.", "Pack it again and retry."
        ) from None
    if not found:
        raise UserError("This ZIP archive is empty.", "There is no file in it.", "Pack the files you want to open.")
    return found


def _gunzip(path: Path, target: Path, limits: Limits, stored: int) -> Path:
    try:
        with gzip.open(path, "rb") as source, target.open("wb") as out:
            limits.copy(source, out.write, stored)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(
            "This compressed file is damaged.", "It cannot be unpacked to its end.", "Send it unpacked."
        ) from None
    return target


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    if len(archive.filelist) > MAX_ENTRIES:
        raise UserError(
            "This ZIP archive holds too many files.",
            f"It holds {len(archive.filelist):,} and the limit is {MAX_ENTRIES:,}.",
            "Pack one series at a time.",
        )
    for info in archive.filelist:
        if info.flag_bits & 0x1:
            raise UserError(
                "This ZIP archive is encrypted.", "It needs a password to open.", "Pack it again without a password."
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(
                "This ZIP archive holds links.", "Links could lead out of it.", "Pack the files themselves."
            )
    return [info for info in archive.infolist() if _wanted(info)]


def _wanted(info: zipfile.ZipInfo) -> bool:
    if info.is_dir():
        return False
    name = info.filename.replace("\\", "/")
    return not (name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(DROPPINGS))
