"""NPZ with the mark as an entry of its own, NPY with the mark behind the array."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backend.media.marks import NPY_KEY, NPZ_KEY, Mark, replacing
from backend.provenance import Provenance

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a ZIP can say: one time for all, so that equal arrays are equal files


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], provenance: Provenance) -> None:
    """Write arrays of numbers or booleans under their names, deflated, in the order given.

    ``numpy.load(path)`` opens the file as any NPZ. Raises ``ValueError`` for object arrays and unusable names.
    """
    entries = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in entries.items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds objects")
        if not name or name == NPZ_KEY or "/" in name or "\\" in name:
            raise ValueError(f"{name!r} cannot be the name of an array")
    entries[NPZ_KEY] = np.array(Mark(provenance).to_text())
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in entries.items():
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def write_npy(path: Path, array: np.ndarray, provenance: Provenance) -> None:
    """Write one array of numbers or booleans; ``numpy.load(path)`` opens it, the mark stands behind its last byte.

    Raises ``ValueError`` for an object array.
    """
    array = np.ascontiguousarray(array)
    if array.dtype.hasobject:
        raise ValueError("the array holds objects")
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.write(f"\n{NPY_KEY}={Mark(provenance).to_text()}\n".encode())
