"""Files appear whole or not at all: a temporary file in the same folder, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import SubprocessError

from backend.errors import UserError

PART = ".part-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CHUNK = 1 << 20


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with the same suffix, that takes its name at the end of the block.

    On an exception nothing remains and an older file of that name is untouched. Raises ``UserError`` on a full disk.
    """
    temporary = part_beside(path)
    try:
        with disk_errors_explained(path.parent):
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def part_beside(path: Path) -> Path:
    """A fresh temporary path in the same folder; writers that go by the suffix see the right one."""
    return path.with_name(f"{PART}{secrets.token_hex(6)}{''.join(path.suffixes)}")


def flush(path: Path) -> None:
    """Make the system write a file to the disk."""
    # Windows flushes only through a descriptor that may write.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Make the system write a folder's entries to the disk, where the system can."""
    if os.name != "nt":
        flush(folder)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def disk_errors_explained(folder: Path) -> Iterator[None]:
    """Turn a full disk into a ``UserError``, also when a writing library has wrapped it in an error of its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not _caused_by_full_disk(error, folder):
            raise
        raise UserError(
            "The disk is full.",
            "The file could not be written completely, so nothing of it was kept.",
            "Free some space and try again.",
        ) from error


def _caused_by_full_disk(error: Exception, folder: Path) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (OSError, RuntimeError, SubprocessError)):
        # An encoder that runs as another program only says that it failed.
        with suppress(OSError):
            return shutil.disk_usage(folder).free < CHUNK
    return False
