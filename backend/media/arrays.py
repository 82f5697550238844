"""NumPy files: one array (NPY) or several (NPZ), numbers only, never pickles."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.marks import NPZ_KEY

MAX_ENTRIES = 1000
BROKEN = UserError("The array file cannot be read.", "Its data is damaged or cut off.", "Save it again and retry.")


def read_arrays(path: Path, limits: Limits) -> dict[str, np.ndarray]:
    """The arrays of an NPZ by name, or the array of an NPY under the name ``array``; any shape, numbers or booleans.

    Our own mark is left out. Every header is read and checked before the first value is. Raises ``UserError`` for
    object arrays (they would run code when opened), text, damaged files, and what is over the limits.
    """
    path = Path(path)
    stored = limits.check_file(path)
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic == b"\x93NUMPY":
                _check_header(file, limits, stored)
                file.seek(0)
                return {"array": np.lib.format.read_array(file, allow_pickle=False)}
        if magic[:2] == b"PK":
            return _read_npz(path, limits)
    except UserError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, SyntaxError):
        raise BROKEN from None
    except (KeyError, TypeError, RuntimeError, UnicodeDecodeError, OverflowError, AttributeError, tokenize.TokenError):
        raise BROKEN from None  # zipfile and the header parser on damaged directories
    except MemoryError:
        raise UserError(
            "The array file cannot be read.", "It asks for more memory than there is.", "Save a part of it."
        ) from None
    raise UserError("The file is no NumPy file.", "It is neither NPY nor NPZ.", "Save it with numpy.save or savez.")


def _read_npz(path: Path, limits: Limits) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        if len(entries) != len(archive.infolist()) or not entries or len(entries) > MAX_ENTRIES:
            raise UserError(
                "The file is no NPZ.",
                f"An NPZ holds between 1 and {MAX_ENTRIES} arrays and nothing else.",
                "Save it with numpy.savez_compressed.",
            )
        wanted = [entry for entry in entries if entry.filename != f"{NPZ_KEY}.npy"]
        total = packed = 0
        for entry in wanted:
            total, packed = total + entry.file_size, packed + entry.compress_size
            limits.check_unpacked(entry.file_size, entry.compress_size)
            limits.check_unpacked(total, packed)
            with archive.open(entry) as file:
                declared = _check_header(file, limits, entry.compress_size)
            if declared > entry.file_size:
                raise BROKEN
        arrays = {}
        for entry in wanted:
            with archive.open(entry) as file:
                arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _check_header(file: IO[bytes], limits: Limits, stored: int) -> int:
    """Bytes that the array in ``file`` declares, once its type and size are known to be acceptable."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UserError(
            "The array file is refused.",
            "It holds Python objects, which can run code when they are opened.",
            "Save plain numbers instead.",
        )
    if dtype.kind not in "biufc" or dtype.names:
        raise UserError("The array file cannot be used.", "It holds something other than numbers.", "Save numbers.")
    if shape and 0 not in shape:
        limits.check_pixels(*shape)
    limits.check_ratio(prod(shape) * dtype.itemsize, stored)
    return prod(shape) * dtype.itemsize
