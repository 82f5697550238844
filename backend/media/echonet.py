"""Folders of echo clips with their ejection fractions: the layout of EchoNet-Dynamic, and any folder with a CSV.

EchoNet-Dynamic (Ouyang et al., Nature 580, 2020) is ``FileList.csv`` (FileName, EF, ESV, EDV, FrameHeight, FrameWidth,
FPS, NumberOfFrames, Split), ``Videos/NAME.avi``, and ``VolumeTracings.csv`` (FileName, X1, Y1, X2, Y2, Frame): of each
traced frame first the long axis, then twenty chords across it. A file is written that way by :func:`write_zip`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from backend.errors import UserError
from backend.media.echonet_write import EchoRecord, trace, write_zip

__all__ = ["EchoEntry", "EchoFolder", "EchoRecord", "read_folder", "trace", "tracing_mask", "write_zip"]

FILE_LIST, TRACINGS, VIDEOS = "FileList.csv", "VolumeTracings.csv", "Videos"
SUFFIXES = (".avi", ".mp4", ".mov", ".webm", ".gif", ".dcm", ".dicom", ".npz", ".npy", "")
MAX_ROWS = 200_000
MAX_CSV_BYTES = 512 * 1024 * 1024
# What people call their columns, in lower case without anything but letters and digits; the first that is there wins.
COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("filename", "file", "path", "filepath", "clip", "video", "videoname", "name", "dicom", "avi", "id"),
    "ef": ("ef", "lvef", "efpercent", "ejectionfraction", "ejectionfractionpercent", "lvejectionfraction", "efbiplane"),
    "esv": ("esv", "lvesv", "esvml", "endsystolicvolume", "volumees"),
    "edv": ("edv", "lvedv", "edvml", "enddiastolicvolume", "volumeed"),
    "fps": ("fps", "framerate", "framespersecond", "cinerate"),
    "frames": ("numberofframes", "frames", "nframes", "framecount"),
    "height": ("frameheight", "height", "rows"),
    "width": ("framewidth", "width", "columns"),
    "split": ("split", "set", "fold", "partition", "subset"),
}
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}

Split = Literal["train", "val", "test", ""]


@dataclass(frozen=True)
class EchoEntry:
    """One clip of a folder. ``ef`` in %, volumes in ml; what the table does not say is ``None`` (``split``: '').

    ``tracings`` maps a frame's index to float64 [N, 4], lines (x1, y1, x2, y2) in pixels of the stored clip: the long
    axis, then chords. ``height``, ``width`` and ``frames`` are as the table says, which need not be true.
    """

    name: str
    path: Path
    ef: float
    esv: float | None = None
    edv: float | None = None
    fps: float | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    split: Split = ""
    tracings: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class EchoFolder:
    """The clips of a folder, in the order of its table. ``notes`` say in sentences what was left out and assumed."""

    entries: tuple[EchoEntry, ...]
    layout: Literal["echonet", "table"]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[EchoEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def split(self, name: Split) -> tuple[EchoEntry, ...]:
        """The entries of one split."""
        return tuple(entry for entry in self.entries if entry.split == name)


def read_folder(folder: Path) -> EchoFolder:
    """Read the table of a folder and find its clips; no clip is opened.

    With a ``FileList.csv`` it is the layout of EchoNet-Dynamic; else the one CSV in it that has a column for the file
    and one for the EF, whatever they are called. Clips are found beside the table, in ``Videos`` or by their name
    anywhere below the folder, with or without their suffix, and never outside it. An EF of at most 1 in every row is
    taken for a fraction. Raises ``UserError`` when there is no such table, no usable row or no clip.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("The folder of clips is not there.", "", "Choose a folder with clips and a table of their EF.")
    table, layout = _find_table(folder)
    columns, rows = _read_table(table)
    places = _columns(columns)
    missing = [key for key in ("name", "ef") if key not in places]
    if missing:
        raise _no_table([columns])
    files = _files(folder)
    fraction = _is_fraction([_number(row[places["ef"]]) for row in rows])
    traced = table.parent / TRACINGS
    tracings = _tracings(traced) if layout == "echonet" and traced.is_file() and _inside(traced, folder) else {}
    entries, absent, wrong = [], 0, 0
    for row in rows:
        ef = _number(row[places["ef"]])
        ef = ef * 100 if ef is not None and fraction else ef
        if ef is None or not 0 <= ef <= 100:
            wrong += 1
            continue
        path = _find_clip(row[places["name"]], table.parent, folder, files)
        if path is None:
            absent += 1
            continue
        entries.append(_entry(row, places, path, ef, tracings))
    if not entries:
        why = "None of the clips it names is in the folder." if absent else "No row holds an EF between 0 and 100 %."
        raise UserError("The table fits no clip.", why, "Check the columns of file names and EF.")
    notes = [f"The columns “{columns[places['name']]}” and “{columns[places['ef']]}” were read as file and EF."]
    notes = notes if layout == "table" else []
    notes += [f"{absent} of {len(rows)} rows name clips that are not in the folder."] if absent else []
    notes += [f"{wrong} of {len(rows)} rows hold no EF between 0 and 100 %."] if wrong else []
    notes += ["The EF was given as a fraction and is read as per cent."] if fraction else []
    return EchoFolder(tuple(entries), layout, tuple(notes))


def tracing_mask(lines: np.ndarray, height: int, width: int) -> np.ndarray:
    """The traced ventricle as bool [height, width].

    ``lines`` is float [N, 4] as in :class:`EchoEntry`: the outline goes from one end of the long axis along the first
    ends of the chords to its other end, and back along their second ends. Raises ``ValueError`` below three lines.
    """
    import cv2

    lines = np.asarray(lines, np.float64)
    if lines.ndim != 2 or lines.shape[1] != 4 or len(lines) < 3:
        raise ValueError("a tracing is the long axis and at least two chords")
    axis, chords = lines[0].reshape(2, 2), lines[1:]
    start = chords[0].reshape(2, 2).mean(0)
    if np.hypot(*(axis[1] - start)) < np.hypot(*(axis[0] - start)):
        axis = axis[::-1]
    outline = np.concatenate([axis[:1], chords[:, :2], axis[1:], chords[::-1, 2:]])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 256).astype(np.int32)], 1, shift=8)
    return mask.astype(bool)


# ------------------------------------------------------------------------------------------------------------- tables


def _find_table(folder: Path) -> tuple[Path, Literal["echonet", "table"]]:
    for place in (folder, *sorted(item for item in folder.iterdir() if item.is_dir())):
        if (place / FILE_LIST).is_file() and _inside(place / FILE_LIST, folder):
            return place / FILE_LIST, "echonet"
    found, headers = [], []
    for path in sorted(folder.rglob("*.csv")):
        if not _inside(path, folder) or path.name.startswith("."):
            continue
        columns, _ = _read_table(path, header_only=True)
        headers.append(columns)
        if {"name", "ef"} <= set(_columns(columns)):
            found.append(path)
    if len(found) > 1:
        raise UserError(
            "There are several tables of EF in the folder.",
            f"{len(found)} CSV files have a column of file names and one of EF.",
            "Leave one of them.",
        )
    if not found:
        raise _no_table(headers)
    return found[0], "table"


def _no_table(headers: list[list[str]]) -> UserError:
    if not headers:
        why = "There is no CSV file in it."
    else:
        names = ", ".join(f"“{name[:40]}”" for name in headers[0][:8] if name)
        why = f"Its CSV has the columns {names or 'without names'}."
    return UserError(
        "The folder has no table of clips and their EF.", why, "Add a CSV with the columns FileName and EF."
    )


def _read_table(path: Path, *, header_only: bool = False) -> tuple[list[str], list[list[str]]]:
    """(titles, rows as long as they) of a CSV with commas, semicolons or tabs, in UTF-8 or else Latin-1."""
    if path.stat().st_size > MAX_CSV_BYTES:
        raise UserError("The table is too large.", "It holds more than 512 MiB.", "Leave the columns that are needed.")
    data = path.read_bytes() if not header_only else path.open("rb").read(1 << 16)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        columns = [title.strip() for title in next(lines, [])]
        if header_only:
            return columns, []
        rows = [row for row in lines if any(cell.strip() for cell in row)]
    except csv.Error:
        raise UserError("The table cannot be read.", "It is no CSV.", "Save it as CSV (UTF-8).") from None
    if len(rows) > MAX_ROWS:
        raise UserError("The table is too long.", f"It has {len(rows):,} rows.", f"Keep at most {MAX_ROWS:,}.")
    short = next((number for number, row in enumerate(rows, 2) if len(row) < len(columns)), None)
    if short is not None:
        raise UserError("The table cannot be read.", f"Line {short} has fewer cells than titles.", "Mend it.")
    return columns, rows


def _columns(titles: list[str]) -> dict[str, int]:
    """Which column holds what, by its title."""
    plain = [re.sub(r"[^a-z0-9]", "", title.lower()) for title in titles]
    found = {}
    for key, names in COLUMNS.items():
        place = next((plain.index(name) for name in names if name in plain), None)
        if place is not None:
            found[key] = place
    return found


def _number(cell: str) -> float | None:
    text = cell.strip().rstrip("%").strip()
    try:
        value = float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_fraction(values: list[float | None]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and 0 < max(known) <= 1


def _tracings(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """Lines of each traced frame by the clip's name in lower case. Raises ``UserError`` for another table."""
    columns, rows = _read_table(path)
    wanted = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
    if not set(wanted) <= set(columns):
        raise UserError(
            "The table of tracings cannot be read.",
            f"Its columns are not {', '.join(wanted)}.",
            "Take VolumeTracings.csv out of the folder, or mend it.",
        )
    name, *numbers = (columns.index(title) for title in wanted)
    lines: dict[str, dict[int, list[list[float]]]] = {}
    for count, row in enumerate(rows, 2):
        values = [_number(row[place]) for place in numbers]
        known = [value for value in values if value is not None]
        if len(known) < 5:
            raise UserError("The table of tracings cannot be read.", f"Line {count} lacks a number.", "Mend it.")
        frames = lines.setdefault(_stem(row[name]), {})
        frames.setdefault(int(known[4]), []).append(known[:4])
    return {stem: {frame: np.array(found) for frame, found in frames.items()} for stem, frames in lines.items()}


def _entry(
    row: list[str], places: dict[str, int], path: Path, ef: float, tracings: dict[str, dict[int, np.ndarray]]
) -> EchoEntry:
    def number(key: str) -> float | None:
        value = _number(row[places[key]]) if key in places else None
        return value if value is not None and value > 0 else None

    def whole(key: str) -> int | None:
        value = number(key)
        return None if value is None else round(value)

    label = row[places["split"]].strip().lower() if "split" in places else ""
    split: Split = "test" if label in ("test", "testing") else SPLITS.get(label, "")  # type: ignore[assignment]
    return EchoEntry(
        name=path.stem,
        path=path,
        ef=ef,
        esv=number("esv"),
        edv=number("edv"),
        fps=number("fps"),
        frames=whole("frames"),
        height=whole("height"),
        width=whole("width"),
        split=split,
        tracings=tracings.get(_stem(path.name), {}),
    )


# -------------------------------------------------------------------------------------------------------------- files


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in the folder for real, wherever links and dots lead."""
    return path.resolve().is_relative_to(folder.resolve())


def _stem(name: str) -> str:
    """The name of a clip without folder and suffix, in lower case."""
    last = name.strip().replace("\\", "/").rsplit("/", 1)[-1].lower()
    return next((last.removesuffix(suffix) for suffix in SUFFIXES if suffix and last.endswith(suffix)), last)


def _files(folder: Path) -> dict[str, list[Path]]:
    """All clips below the folder by their name without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        # DICOM files are often called by a UID, whose last number looks like a suffix.
        known = path.suffix.lower() in SUFFIXES or path.suffix[1:].isdigit()
        if known and not path.name.startswith(".") and path.is_file() and _inside(path, folder):
            found.setdefault(_stem(path.name), []).append(path)
    return found


def _find_clip(told: str, beside: Path, folder: Path, files: dict[str, list[Path]]) -> Path | None:
    """The file that a cell of the table means; ``None`` when there is none or it is not plain which."""
    name = told.strip().replace("\\", "/")
    if not name or "\x00" in name:
        return None
    candidates = files.get(_stem(name), [])
    for start in (beside, beside / VIDEOS, folder):
        for path in candidates:
            wanted = start / name
            if path == wanted or (path.parent == wanted.parent and path.name.lower() == wanted.name.lower()):
                return path
        without = [path for path in candidates if path.parent == (start / name).parent]
        if len(without) == 1:
            return without[0]
    # A table made elsewhere may hold other folders; a name that occurs once is the one that is meant.
    return candidates[0] if len(candidates) == 1 else None
