"""ZIP of made files, with the mark as ``provenance.json`` and equal bytes for equal contents."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.media.marks import ZIP_MARK, Mark, replacing
from backend.provenance import Provenance, canonical_json

EPOCH = (1980, 1, 1, 0, 0, 0)  # one time for all entries, the earliest a ZIP can say
PACKED = {".png", ".tif", ".gz", ".npz", ".zip", ".avi", ".mp4"}  # deflated inside already


def write_zip(
    path: Path, files: Sequence[tuple[str, Path]], provenance: Provenance, more: Mapping[str, Any] | None = None
) -> None:
    """Pack files under the given names, in their order.

    ``more`` are plain JSON values that stand in ``provenance.json`` beside the mark. Raises ``ValueError`` for a name
    that is used twice or leads out of the archive.
    """
    names = [name for name, _ in files]
    if len({*names, ZIP_MARK}) <= len(names) or any(name.startswith("/") or ".." in name for name in names):
        raise ValueError("the names of the entries cannot be used")
    told = {**json.loads(Mark(provenance).to_text()), **(more or {})}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, source in files:
            packed = source.suffix in PACKED
            entry = _entry(name, zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
            with source.open("rb") as file, archive.open(entry, "w", force_zip64=True) as out:
                shutil.copyfileobj(file, out, 1 << 20)
        archive.writestr(_entry(ZIP_MARK, zipfile.ZIP_DEFLATED), canonical_json(told).encode())


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = compression
    entry.external_attr = 0o600 << 16
    return entry
