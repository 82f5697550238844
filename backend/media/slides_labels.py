"""Copies of uploaded slides without what names a patient: label and macro images, scan data, stray bytes.

A scanner photographs the glass with its paper label and keeps the picture in the file. The copy here has the same
tiles, untouched; the directories of label and macro images are unlinked, tags that are not needed to show the slide are
taken out, descriptions keep their technical fields only, and every byte that nothing points at any more is overwritten
with zeros, so that nothing is left to dig out. Our choice: an allow list of tags, because scanners invent their own.
"""

from __future__ import annotations

import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from backend.errors import UserError
from backend.media.marks import OME_NAMESPACE, replacing
from backend.media.slides import TECHNICAL, open_slide
from backend.media.tiff import TAGS, Directory, Entry, Layout, TiffError, read_directories

STRUCTURE = frozenset(
    (
        *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 290, 291, 292),
        *(293, 296, 301, 305, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336, 338, 339, 340, 341, 342),
        *(347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 32997, 32998, 34675, 65324, 65325),
    )
)
DESCRIPTION = TAGS["ImageDescription"]
DATA = ((273, 279), (324, 325), (513, 514))
NDPI_FORMAT, NDPI_LENS, NDPI_PROPERTIES, NDPI_SERIAL = 65420, 65421, 65449, 65477
ASCII, BYTES, UNDEFINED = 2, 1, 7
APERIO_FIELD = re.compile(r"\s*([^=|]+?)\s*=\s*([^|]*)")
IDENTIFYING_OME = ("Experimenter", "ExperimenterGroup", "Project", "Dataset", "Folder", "Plate", "Screen", "Experiment")
HIDDEN = re.compile(r"label|macro|overview|barcode", re.IGNORECASE)


@dataclass
class _Page:
    """One directory as it will be written: its entries (tag → 12 or 20 raw bytes) and the file ranges they use."""

    source: Directory
    entries: dict[int, bytes]
    used: list[tuple[int, int]] = field(default_factory=list)


def strip_labels(path: Path, into: Path) -> tuple[str, ...]:
    """Write a cleaned copy of a TIFF slide (SVS, NDPI, OME-TIFF, plain tiled TIFF) and say in sentences what is gone.

    The copy is opened again before it takes its place. Raises ``UserError`` for other formats, and for slides whose
    label cannot be taken out without breaking them (SCN, BIF, Philips): a folder of the server may serve those.
    """
    path, into = Path(path), Path(into)
    with open_slide(path) as slide:
        before = slide.level_dimensions
    with replacing(into) as temporary:
        shutil.copyfile(path, temporary)
        notes = _clean(temporary)
        _verify(temporary, before)
    return notes


def _clean(path: Path) -> tuple[str, ...]:
    try:
        pages = read_directories(path)
    except TiffError:
        raise _unsupported("Its directory of images is not laid out as a TIFF's.") from None
    size = path.stat().st_size
    if pages[0].layout.offset_size == 4 and size >= 1 << 32:
        raise _unsupported("It is larger than a classic TIFF can be.")
    flavour = _flavour(pages)
    keep, notes = [], []
    for page in pages:
        if page is not pages[0] and _is_hidden(page, flavour):
            continue
        keep.append(page)
    if len(keep) < len(pages):
        notes.append(f"{len(pages) - len(keep)} images of the glass (label, overview) were removed.")
    hidden = _hidden_ome(pages) if flavour == "ome" else set()
    reduced = [offset for page in keep for offset in page.sub_directories]
    nested = _nested(path, reduced, {page.at for page in pages})
    with path.open("r+b") as file:
        writer = _Writer(file, pages[0].layout, size)
        cleaned = [_cleaned(page, flavour, writer) for page in [*keep, *nested]]
        if writer.blanked:
            notes.append("Scan date, user, serial numbers and other texts were removed from its description.")
        following = {page.at: (keep[k + 1].at if k + 1 < len(keep) else 0) for k, page in enumerate(keep)}
        for done in cleaned:
            writer.directory(done, following.get(done.source.at, done.source.next))
        used = [(0, 16)]
        for done in cleaned:
            shown = done.source.at not in hidden and done.source.parent not in hidden
            used += done.used + _data(done.source) * shown
            # Behind a directory NDPI keeps the high halves of its offsets: zeros, and so they stay, below 4 GiB
            used.append((done.source.at, _length(done.source)))
        if hidden:
            notes.append("The pixels of label and overview images were blanked.")
        if _zero_all_but(file, used + writer.added, size) and not notes:
            notes.append("Bytes that belong to no image were blanked.")
    return tuple(notes)


def _flavour(pages: list[Directory]) -> str:
    first = pages[0]
    description = first.text("ImageDescription")
    if NDPI_FORMAT in first.tags:
        return "hamamatsu"
    if description.startswith("Aperio"):
        return "aperio"
    if "<OME" in description[:4096]:
        return "ome"
    software, xmp = first.text("Software"), " ".join(page.text("XMP")[:4096] for page in pages[:4])
    if "leica-microsystems.com/scn" in description or software.startswith("Philips") or "iScan" in xmp:
        raise _unsupported("This scanner ties the label to the slide so that it cannot be taken out alone.")
    if software.startswith("MedScan"):
        raise _unsupported("Its description is needed to show it and may name the patient.")
    return "generic"


def _is_hidden(page: Directory, flavour: str) -> bool:
    """Whether a directory after the first is a picture of the glass, or may be one."""
    if flavour == "hamamatsu":
        lens = page.bytes(NDPI_LENS, 4)
        return len(lens) == 4 and struct.unpack(page.layout.order + "f", lens)[0] < 0
    if flavour == "ome":
        return False  # its XML counts directories; their pixels are blanked instead
    tiled = "TileWidth" in page
    if flavour == "aperio":
        text = page.text("ImageDescription")
        named = HIDDEN.search(text.split("|")[0]) is not None
        return not tiled and (named or page.integer("NewSubfileType") != 0)
    return not tiled


def _hidden_ome(pages: list[Directory]) -> set[int]:
    """Positions of directories that the OME-XML calls label, macro or the like, or does not mention at all."""
    named: dict[int, bool] = {}
    for image in _parsed(pages[0].text("ImageDescription")).iterfind("{*}Image"):
        hidden = HIDDEN.search(image.get("Name", "")) is not None
        for data in image.iterfind("{*}Pixels/{*}TiffData"):
            if "IFD" not in data.attrib:
                if hidden:
                    raise _unsupported("Its OME-XML does not say where the label is.")
                return set()
            first, count = data.get("IFD", ""), data.get("PlaneCount", "1")
            if not (first.isdecimal() and count.isdecimal()):
                raise _unsupported("Its OME-XML cannot be read.")
            for page in pages[int(first) : int(first) + int(count)]:
                named[page.at] = named.get(page.at, True) and hidden
    levels = {offset for page in pages if not named.get(page.at, True) for offset in page.sub_directories}
    return {page.at for page in pages[1:] if page.at not in levels and named.get(page.at, True)}


def _nested(path: Path, offsets: Iterable[int], known: set[int]) -> list[Directory]:
    """Directories under SubIFDs that are not in the main chain as well."""
    wanted = set(offsets) - known
    if not wanted:
        return []
    try:
        return [page for page in read_directories(path, nested=True) if page.at in wanted]
    except TiffError:
        raise _unsupported("Its reduced images are linked in an unusual way.") from None


def _cleaned(page: Directory, flavour: str, writer: _Writer) -> _Page:
    """The directory with the tags that are kept, their texts cleaned in the file."""
    result = _Page(page, {})
    for tag, entry in page.tags.items():
        text: str | None = None
        if tag == DESCRIPTION:
            text = _description(page.text("ImageDescription"), flavour)
        elif flavour == "hamamatsu" and tag == NDPI_PROPERTIES:
            text = _properties(page.bytes(tag))
        elif tag not in STRUCTURE and not (flavour == "hamamatsu" and _plain_ndpi(entry)):
            writer.blanked = True
            continue
        if text is None:
            result.entries[tag] = entry.raw
            if not entry.inline:
                result.used.append((entry.at, entry.size))
            continue
        old = page.bytes(tag).rstrip(b"\x00").decode("utf-8", "replace")
        writer.blanked = writer.blanked or text.strip() != old.strip()
        if text:
            raw, used = writer.text(entry, text.encode("utf-8") + b"\x00")
            result.entries[tag] = raw
            result.used += used
    return result


def _plain_ndpi(entry: Entry) -> bool:
    return (
        entry.tag >= NDPI_FORMAT and entry.tag != NDPI_SERIAL and entry.type not in (ASCII, BYTES, UNDEFINED)
    ) or entry.tag in (271, 272)


def _description(text: str, flavour: str) -> str:
    if flavour == "aperio":
        head, *fields = text.split("|")
        found = [APERIO_FIELD.fullmatch(part.rstrip("\r\n")) for part in fields]
        return "|".join([head] + [f"{m[1]} = {m[2]}" for m in found if m and TECHNICAL.fullmatch(f"aperio.{m[1]}")])
    if flavour == "ome":
        return _ome(text)
    return ""


def _properties(data: bytes) -> str:
    """The lines of NDPI's property map that are technical."""
    lines = data.split(b"\x00")[0].decode("utf-8", "replace").splitlines()
    return "\r\n".join(x for x in lines if TECHNICAL.fullmatch("hamamatsu." + x.split("=")[0].strip())) or ""


def _ome(text: str) -> str:
    """OME-XML without people, dates, names and foreign annotations; the same text when it has none."""
    root = _parsed(text)
    schema = root.tag[1:].split("}")[0] if root.tag.startswith("{") else ""
    ElementTree.register_namespace("", schema)
    ours = {note.get("ID") for note in root.iter() if note.get("Namespace") == OME_NAMESPACE}
    changed = False
    for parent in list(root.iter()):
        for child in list(parent):
            if _identifies(child, parent, ours):
                parent.remove(child)
                changed = True
    for number, image in enumerate(root.iterfind("{*}Image")):
        if image.get("Name") not in (None, "slide"):
            image.set("Name", "label" if HIDDEN.search(image.get("Name", "")) else f"image {number}")
            changed = True
    for element in root.iter():
        for key in ("SerialNumber", "LotNumber", "UserName", "FileName"):
            changed = element.attrib.pop(key, None) is not None or changed
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, "unicode") if changed else text


def _parsed(text: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # OME-XML needs neither, and entities make a bomb of it
        raise _unsupported("Its OME-XML is not plain XML.")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise _unsupported("Its OME-XML cannot be read.") from None


def _identifies(child: ElementTree.Element, parent: ElementTree.Element, ours: set[str | None]) -> bool:
    """Whether an element of OME-XML may name a person, a place or a day."""
    name = child.tag.split("}")[-1]
    if name == "Description":
        return not _own_description(parent)
    if name.endswith(("Annotation", "AnnotationRef")):
        return child.get("ID") not in ours
    return name == "AcquisitionDate" or name.removesuffix("Ref") in IDENTIFYING_OME


def _own_description(image: ElementTree.Element) -> bool:
    from backend.notices import RESEARCH_ONLY

    return (image.findtext("{*}Description") or "").startswith(RESEARCH_ONLY)


class _Writer:
    """Changes a TIFF in place; what does not fit where it was goes to the end."""

    def __init__(self, file: BinaryIO, layout: Layout, size: int) -> None:
        self._file, self._layout, self._end = file, layout, size + size % 2
        self.blanked = False
        self.added: list[tuple[int, int]] = []

    def text(self, entry: Entry, data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
        """Store a text for a tag: the entry to write and the range it uses. The rest of the old text becomes zeros."""
        layout = self._layout
        head = struct.pack(layout.order + "HH" + layout.offset, entry.tag, ASCII, len(data))
        if len(data) <= layout.offset_size:
            return head + data.ljust(layout.offset_size, b"\x00"), []
        at = entry.at
        if entry.inline or len(data) > entry.size:
            at, self._end = self._end, self._end + len(data) + len(data) % 2
            self.added.append((at, len(data)))
        self._file.seek(at)
        self._file.write(data)
        return head + struct.pack(layout.order + layout.offset, at), [(at, len(data))]

    def directory(self, page: _Page, following: int) -> None:
        """Write a directory over the old one; it never has more entries than before."""
        layout = self._layout
        body = struct.pack(layout.order + layout.count, len(page.entries)) + b"".join(page.entries.values())
        body += struct.pack(layout.order + layout.offset, following)
        self._file.seek(page.source.at)
        self._file.write(body.ljust(_length(page.source), b"\x00"))


def _length(page: Directory) -> int:
    layout = page.layout
    return layout.count_size + len(page.tags) * layout.entry + layout.offset_size


def _data(page: Directory) -> list[tuple[int, int]]:
    """Ranges of the file that hold the pixels of a directory."""
    ranges: list[tuple[int, int]] = []
    for where, length in DATA:
        ranges += zip(page.integers(where), page.integers(length), strict=False)
    return ranges


def _zero_all_but(file: BinaryIO, used: list[tuple[int, int]], size: int) -> int:
    """Overwrite every byte outside the ranges (start, length) with zeros; returns how many were not zero before."""
    ranges = np.array(sorted((a, a + n) for a, n in used if n > 0), np.int64)
    ends = np.maximum.accumulate(ranges[:, 1])
    gaps = [(int(a), int(b)) for a, b in zip(ends, [*ranges[1:, 0], size], strict=True) if b > a]
    changed = 0
    for start, stop in gaps:
        for at in range(start, stop, 1 << 20):
            file.seek(at)
            old = file.read(min(1 << 20, stop - at))
            if old.strip(b"\x00"):
                changed += len(old) - old.count(0)
                file.seek(at)
                file.write(bytes(len(old)))
    return changed


def _verify(path: Path, before: tuple[tuple[int, int], ...]) -> None:
    """The copy must open, show the same levels, and have neither label nor macro; else it is better not stored."""
    import openslide

    with open_slide(path) as slide:
        same = slide.level_dimensions == before
    try:
        with openslide.OpenSlide(path) as handle:
            same = same and not {"label", "macro"} & set(handle.associated_images)
    except openslide.OpenSlideError:
        pass  # not one of OpenSlide's formats: it has no associated images either
    if not same:
        raise _unsupported("The copy without label did not show the same slide.")


def _unsupported(why: str) -> UserError:
    return UserError(
        "The slide cannot be stored without its label.",
        why,
        "Convert it to OME-TIFF or SVS without label, or open it from a folder of the server.",
    )
