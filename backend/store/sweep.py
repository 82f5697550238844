"""What a crash left behind goes at the next start; what another process is still writing stays."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from backend.store.artifacts import MARKERS, ArtifactStore
from backend.store.database import Database
from backend.store.processes import ProcessIdentity
from backend.store.schema import Artifact

#: Age from which leftovers are removed whose process cannot be asked, because it ran on another machine.
OLD_S = 24 * 3600.0


def sweep(store: ArtifactStore, database: Database) -> int:
    """Remove folders without a row and their markers; returns how many folders went.

    A folder whose writer lives is left alone; one whose writer is dead goes at once; one that nobody signed for goes
    when it is a day old.
    """
    in_work, ended = _markers(store.folder / MARKERS)
    with database.read() as session:
        known = set(session.execute(select(Artifact.id)).scalars())
    removed = 0
    for folder in store.folder.glob("??/*"):
        if folder.name in known or folder.name in in_work:
            continue
        # A row may have been committed after the ids were read; its marker was gone by then, so the age decides.
        if folder.name in ended or _age(folder) > OLD_S:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    for marker in ended.values():
        marker.unlink(missing_ok=True)
    return removed


def _markers(folder: Path) -> tuple[set[str], dict[str, Path]]:
    """Ids that a living process writes, and the markers of writers that ended, by id."""
    in_work: set[str] = set()
    ended: dict[str, Path] = {}
    for marker in folder.iterdir():
        owner, _, artifact_id = marker.name.rpartition(".")
        process = ProcessIdentity.parse(owner)
        alive = process.alive() if process else None
        if alive or (alive is None and _age(marker) <= OLD_S):
            in_work.add(artifact_id)
        else:
            ended[artifact_id] = marker
    return in_work, ended


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0
