"""The mark that every made file carries inside itself, and how to read it back from any of our formats.

The mark is one line of canonical JSON: the research-use sentence, for synthetic images a second sentence, notes on what
the writer had to change (padding), and the provenance. Where each format keeps it:

========  ====================================================================================================
PNG       iTXt ``SynthScope provenance``; the sentences also as tEXt ``Disclaimer``
MP4, AVI  metadata ``comment``
DICOM     Image Comments (0020,4000), the standard LT of the General Image module, while it fits its 10 240
          characters; else the private UT (0099,xx01) of creator ``SYNTHSCOPE``
NIfTI     header extension of code 6 (comment)
NPZ       entry ``synthscope_mark``, a string of no dimension
NPY       behind the array's last byte, where readers do not look: a line ``SynthScope provenance=`` and the mark
TIFF      a line ``SynthScope provenance=`` and the mark in the Image Description (270) of the first page
ZIP       entry ``provenance.json``: the mark, with what else the archive says of its files
CSV       last column: its title is the research-use sentence, its first cell the mark
OME-TIFF  CommentAnnotation in the OME-XML
========  ====================================================================================================
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.notices import RESEARCH_ONLY, SYNTHETIC
from backend.provenance import Provenance, canonical_json

PNG_KEY = "SynthScope provenance"
NPZ_KEY = "synthscope_mark"
ZIP_MARK = "provenance.json"
TIFF_KEY = NPY_KEY = "SynthScope provenance"
OME_NAMESPACE = "synthscope/provenance"
PRIVATE_CREATOR = "SYNTHSCOPE"
PRIVATE_GROUP = 0x0099
LONG_TEXT = 10_240
SOFTWARE = "SynthScope"
NIFTI_COMMENT = 6
MAX_MARK = 64 * 1024 * 1024


@dataclass(frozen=True)
class Mark:
    """What a file says of itself."""

    provenance: Provenance
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> str:
        """The sentences for people: research use only, and that it is synthetic where it is."""
        return f"{RESEARCH_ONLY} {SYNTHETIC}" if self.provenance.synthetic else RESEARCH_ONLY

    def to_text(self) -> str:
        """One line of canonical JSON."""
        values = {
            "notice": RESEARCH_ONLY,
            "synthetic": SYNTHETIC if self.provenance.synthetic else "",
            "notes": list(self.notes),
            "provenance": self.provenance.as_dict(),
        }
        return canonical_json(values)

    @classmethod
    def from_text(cls, text: str) -> Mark | None:
        """The inverse of :meth:`to_text`; ``None`` for any other text."""
        try:
            values = json.loads(text)
            provenance = Provenance.from_json(canonical_json(values["provenance"]))
            return cls(provenance, tuple(values.get("notes", ())))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def mark_text(provenance: Provenance, notes: Sequence[str] = ()) -> str:
    """The mark of a file as text."""
    return Mark(provenance, tuple(notes)).to_text()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and is removed when it does not.

    Our choice of a random name in the same folder: ``os.replace`` is atomic only within one file system.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_uid(*parts: bytes | str) -> str:
    """A DICOM UID that depends on the parts only: ``2.25.`` and 128 bits of their SHA-256 (PS3.5 B.2)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def read_provenance(path: Path) -> Provenance | None:
    """The provenance inside a file one of our writers made, ``None`` when there is none. Told by content."""
    mark = read_mark(path)
    return mark.provenance if mark else None


def read_mark(path: Path) -> Mark | None:
    """The whole mark inside a file, ``None`` when there is none or the file is not one of our formats."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(1024)
        if head.startswith(b"\x89PNG"):
            text = _png(path)
        elif head[4:8] == b"ftyp" or (head[:4], head[8:12]) == (b"RIFF", b"AVI "):
            text = _clip(path)
        elif head[128:132] == b"DICM":
            text = _dicom(path)
        elif head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
            text = _tiff(path)
        elif head.startswith(b"PK"):
            text = _npz(path)
        elif head.startswith(b"\x93NUMPY"):
            text = _npy(path)
        elif head.startswith(b"\x1f\x8b") or head[344:347] == b"n+1" or head[4:7] == b"n+2":
            text = _nifti(path)
        else:
            text = _csv(path)
    except Exception:  # a damaged file leads each library to exceptions of its own, and has no readable mark
        return None
    return Mark.from_text(text) if text else None


def _png(path: Path) -> str:
    import struct

    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind != b"iTXt" or length > MAX_MARK:
                if kind in (b"IDAT", b"IEND"):  # ours stands before the pixels
                    return ""
                file.seek(length + 4, os.SEEK_CUR)
                continue
            key, rest = file.read(length).split(b"\x00", 1)
            file.seek(4, os.SEEK_CUR)
            if key.decode("latin-1") == PNG_KEY and rest[0] == 0:
                return rest[2:].split(b"\x00", 2)[2].decode("utf-8")
    return ""


def _clip(path: Path) -> str:
    from backend.media.video import read_metadata

    return read_metadata(path).get("comment", "")


def _dicom(path: Path) -> str:
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    text = str(dataset.get("ImageComments", ""))
    if Mark.from_text(text):
        return text
    return str(dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)[0x01].value)


def _tiff(path: Path) -> str:
    from backend.media.tiff import read_directories

    text = read_directories(path)[0].text("ImageDescription")
    line = next((line for line in text.splitlines() if line.startswith(f"{TIFF_KEY}=")), "")
    return line.partition("=")[2] if line else _ome(text)


def _ome(text: str) -> str:
    import xml.etree.ElementTree as ElementTree

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return ""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return ""
    for note in root.iterfind(".//{*}CommentAnnotation"):
        if note.get("Namespace") == OME_NAMESPACE:
            return note.findtext("{*}Value") or ""
    return ""


def _npz(path: Path) -> str:
    import numpy as np

    with zipfile.ZipFile(path) as archive:
        if ZIP_MARK in archive.namelist():
            return archive.read(ZIP_MARK).decode("utf-8") if archive.getinfo(ZIP_MARK).file_size <= MAX_MARK else ""
        entry = archive.getinfo(f"{NPZ_KEY}.npy")
        if entry.file_size > MAX_MARK:
            return ""
        with archive.open(entry) as file:
            return str(np.lib.format.read_array(file, allow_pickle=False))


def _npy(path: Path) -> str:
    """What stands behind the array, whose size the header tells."""
    import math

    import numpy as np

    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        file.seek(math.prod(shape) * dtype.itemsize, os.SEEK_CUR)
        key, _, text = file.read(MAX_MARK).decode("utf-8").strip().partition("=")
    return text if key == NPY_KEY else ""


def _nifti(path: Path) -> str:
    from backend.media.nifti import read_comments

    return next((text for text in read_comments(path) if Mark.from_text(text)), "")


def _csv(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        if RESEARCH_ONLY not in file.read(1 << 20).split("\n", 1)[0]:
            return ""
        file.seek(0)
        csv.field_size_limit(MAX_MARK)
        rows = csv.reader(file)
        header = next(rows, [])
        if not header or header[-1].strip() != RESEARCH_ONLY:
            return ""
        first = next(rows, [])
    return first[-1] if first else ""
