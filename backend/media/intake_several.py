"""Several files at once, each an upload of its own: one file, or an archive of files that do not belong together.

:func:`backend.media.intake.receive` takes an archive for one thing, such as a series. Here every file in it is told by
its content, opened, cleaned and stored by itself; one that cannot be had says why and the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.sniff import sniff

if TYPE_CHECKING:
    from backend.identity import Actor
    from backend.jobs.contract import ArtifactView
    from backend.runtime import Runtime

MOST_FILES = 1000
LONGEST_NAME = 200  # characters


@dataclass(frozen=True)
class Arrival:
    """What became of one file: the stored upload, or why it was refused.

    ``name`` is what the file is called inside its archive or folder, '' for a single file. It goes back to whoever sent
    the file, and nowhere else.
    """

    view: ArtifactView | None
    error: UserError | None = None
    name: str = ""


def accept_several(runtime: Runtime, source: Path, *, filename: str, actor: Actor) -> tuple[Arrival, ...]:
    """Take in a file, or each file of a ZIP or of a folder, in the natural order of their names.

    The names order the files and tell nothing else; none is stored or logged. Limits hold for the archive as a whole
    (bytes, ratio, number of files, no links, no password) and for every file in it. An archive within an archive is
    refused. Raises ``UserError`` where nothing can be taken out of it at all.
    """
    from backend.media.archive import unpack
    from backend.media.intake import accept_upload

    limits = Limits.from_settings(runtime.settings)
    if source.is_dir():
        paths = [path for path in source.rglob("*") if _usual(path, source)]
        paths.sort(key=lambda path: natural(str(path)))
        return _each(runtime, paths, [path.name for path in paths], actor)
    limits.check_file(source)
    if sniff(source).kind != "archive":
        return (Arrival(accept_upload(runtime, source, filename=filename, actor=actor)),)
    with runtime.scratch.workdir() as folder:
        found = unpack(source, folder, limits)
        found.sort(key=lambda item: natural(item.name))
        return _each(runtime, [item.path for item in found], [_last(item.name) for item in found], actor)


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts 'scan2' before 'scan10', as people number their files."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def _usual(path: Path, root: Path) -> bool:
    """Whether a path in a folder is a file of its own: no link, nothing hidden."""
    inside = path.relative_to(root).parts
    return path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in inside)


def _last(name: str) -> str:
    """The last part of a path in an archive, short enough for a line."""
    return name.replace("\\", "/").rsplit("/", 1)[-1][:LONGEST_NAME]


def _each(runtime: Runtime, paths: Sequence[Path], names: Sequence[str], actor: Actor) -> tuple[Arrival, ...]:
    from backend.media.intake import accept_upload

    if not paths:
        raise UserError("There is no file in it.", "The folder is empty.", "Choose a folder with masks.")
    if len(paths) > MOST_FILES:
        raise UserError(
            f"There are {len(paths):,} files in it.",
            f"Up to {MOST_FILES:,} are taken at once.",
            "Split it into several parts.",
        )
    arrivals = []
    for path, name in zip(paths, names, strict=True):
        try:
            if path.stat().st_size and sniff(path).kind == "archive":
                raise UserError(
                    "This archive holds another archive.", "Only one layer is unpacked.", "Pack the files themselves."
                )
            arrivals.append(Arrival(accept_upload(runtime, path, filename="", actor=actor), name=name))
        except UserError as error:
            arrivals.append(Arrival(None, error, name))
    return tuple(arrivals)
