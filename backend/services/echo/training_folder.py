"""Folders of clips on the server's own disk that may be trained on, found only under the allowed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.errors import UserError


@dataclass(frozen=True)
class FolderFacts:
    """What the table of a folder says; no clip was opened. ``ef_low`` and ``ef_high`` in %."""

    name: str
    clips: int
    ef_low: float
    ef_high: float
    layout: str
    notes: tuple[str, ...]


def find_folder(text: str, roots: Sequence[Path]) -> tuple[str, Path]:
    """A folder by its absolute path, or by a path inside one of ``roots``: its name from there on, and its path.

    The name is what requests keep, so that no path of this machine is written into a file. Raises ``UserError`` when no
    folder is allowed or this one is in none. Whether a folder outside exists is not told.
    """
    if not roots:
        raise UserError(
            "No folder on the server may be trained on.",
            "None is allowed yet.",
            'Set SYNTHSCOPE_DATA_ROOTS to a list of folders, such as ["/data"], and start again.',
        )
    text = text.strip()
    if not text or "\x00" in text:
        raise UserError("No folder was given.", "", "Name a folder of clips inside an allowed folder.")
    given = Path(text)
    for candidate in [given] if given.is_absolute() else [root / given for root in roots]:
        found = _contained(candidate, roots)
        if found is None:
            continue
        name, path = found
        first = next(inner for root in roots if (inner := _contained(root / name, roots)))
        if first[1] != path:
            raise UserError(
                "Two allowed folders hold a folder of this name.", "The first would always be taken.", "Rename one."
            )
        return name, path
    raise UserError(
        "There is no such folder under the allowed folders.",
        "Only folders inside those of the setting data_roots are trained on.",
        "Check its name.",
    )


def look_at(text: str, roots: Sequence[Path]) -> FolderFacts:
    """Facts of a folder by its table. Raises ``UserError`` where it cannot be trained on."""
    from backend.media.echonet import read_folder

    name, path = find_folder(text, roots)
    folder = read_folder(path)
    fractions = [entry.ef for entry in folder]
    return FolderFacts(name, len(folder), min(fractions), max(fractions), folder.layout, folder.notes)


def _contained(candidate: Path, roots: Sequence[Path]) -> tuple[str, Path] | None:
    """The name from its root on and the path, links followed; ``None`` when it is no folder inside a root."""
    try:
        path = candidate.resolve(strict=True)
        inside = [root.resolve() for root in roots if root.is_dir() and path.is_relative_to(root.resolve())]
    except (OSError, RuntimeError, ValueError):
        return None
    return (path.relative_to(inside[0]).as_posix(), path) if inside and path.is_dir() else None
