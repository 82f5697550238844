"""Everything that people bring and systems make: one folder a thing, one row, one audit event, all three or none.

Order of a write: a marker that names this process, the file under a temporary name, flush, then one transaction with
row and audit event in which the file takes its name. Whatever a crash leaves has no row, and the sweep removes it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.errors import UserError
from backend.identity import Actor
from backend.ids import new_id
from backend.jobs.contract import ArtifactView
from backend.provenance import Provenance, canonical_json
from backend.store.audit import AuditLog
from backend.store.database import Database
from backend.store.files import disk_errors_explained, flush, flush_folder, part_beside, sha256
from backend.store.processes import ProcessIdentity
from backend.store.schema import Artifact

MARKERS = ".writing"

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,12}){0,3}")


class ArtifactStore:
    """Files by opaque id under one folder, described by rows of the database."""

    def __init__(self, folder: Path, database: Database, audit: AuditLog) -> None:
        self.folder = folder
        self._database = database
        self._audit = audit
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / MARKERS).mkdir(exist_ok=True)

    def add(
        self,
        write: Callable[[Path], None],
        *,
        name: str,
        media_type: str,
        kind: str,
        synthetic: bool,
        provenance: Provenance,
        actor: Actor,
        job_id: str | None = None,
        properties: Mapping[str, Any] | None = None,
        reason: str = "",
        suffix: str = "",
    ) -> ArtifactView:
        """Store what ``write`` puts at the path it is given.

        ``name`` is what a person sees and downloads, never an original file name. ``suffix`` defaults to that of
        ``name``. Raises ``UserError`` on a full disk; on any exception nothing of the artifact remains.
        """
        suffix = suffix or "".join(Path(name).suffixes)
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{suffix!r} is not a file suffix")
        canonical_json([provenance.as_dict(), dict(properties or {})])  # a bad value must fail before the work
        artifact_id = new_id()
        final = self._file(artifact_id, suffix)
        marker = self._marker(artifact_id)
        try:
            with disk_errors_explained(self.folder):
                marker.touch()
                final.parent.mkdir(parents=True)
                temporary = part_beside(final)
                write(temporary)
                flush(temporary)
                row = Artifact(
                    id=artifact_id,
                    kind=kind,
                    system=provenance.system,
                    name=name,
                    media_type=media_type,
                    suffix=suffix,
                    size=temporary.stat().st_size,
                    sha256=sha256(temporary),
                    synthetic=synthetic,
                    created_at=datetime.now(UTC),
                    created_by=actor.name,
                    job_id=job_id,
                    provenance=provenance.as_dict(),
                    properties=dict(properties or {}),
                )
                with self._database.write() as session:
                    session.add(row)
                    session.flush()
                    self._audit.record(
                        session,
                        actor=actor,
                        action="artifact.add",
                        subject=f"artifact:{artifact_id}",
                        new=_summary(row),
                        reason=reason,
                    )
                    temporary.replace(final)
                    flush_folder(final.parent)
                    flush_folder(final.parent.parent)
        except BaseException:
            self._remove(artifact_id)
            marker.unlink(missing_ok=True)
            raise
        marker.unlink(missing_ok=True)
        return _view(row)

    def add_file(self, path: Path, *, move: bool = False, **description: Any) -> ArtifactView:
        """Store an existing file, as :meth:`add` does; ``move`` takes it away from where it was once it is stored."""
        stored = self.add(lambda temporary: _copy(path, temporary), **description)
        if move:
            path.unlink(missing_ok=True)
        return stored

    def view(self, artifact_id: str) -> ArtifactView:
        """The description of an artifact. Raises ``UserError`` when there is none of that id."""
        with self._database.read() as session:
            return _view(_found(session, artifact_id))

    def path(self, artifact_id: str) -> Path:
        """Where the file lies, for reading. Raises ``UserError`` when there is none of that id."""
        with self._database.read() as session:
            path = self._file(artifact_id, _found(session, artifact_id).suffix)
        if not path.is_file():
            raise UserError(
                "The file of this item is missing.",
                "It was removed from the artifact folder by something other than SynthScope.",
                "Restore the folder from a backup.",
            )
        return path

    def list(self, *, kind: str = "", system: str = "", job_id: str = "", limit: int = 50) -> Sequence[ArtifactView]:
        """Descriptions, newest first."""
        query = select(Artifact).order_by(Artifact.created_at.desc(), Artifact.id).limit(limit)
        for column, value in ((Artifact.kind, kind), (Artifact.system, system), (Artifact.job_id, job_id)):
            if value:
                query = query.where(column == value)
        with self._database.read() as session:
            return [_view(row) for row in session.execute(query).scalars()]

    def verify(self, artifact_id: str) -> bool:
        """Whether the file is there and has the hash it was stored with."""
        expected = self.view(artifact_id)
        try:
            return sha256(self.path(artifact_id)) == expected.sha256
        except UserError:
            return False

    def delete(self, artifact_id: str, actor: Actor, reason: str = "") -> None:
        """Remove an artifact; the audit log keeps what it was. Raises ``UserError`` when there is none of that id."""
        self.view(artifact_id)  # an id that is none must not become the name of a marker
        marker = self._marker(artifact_id)
        marker.touch()
        try:
            with self._database.write() as session:
                row = _found(session, artifact_id)
                summary = _summary(row)
                session.delete(row)
                session.flush()
                self._audit.record(
                    session,
                    actor=actor,
                    action="artifact.delete",
                    subject=f"artifact:{artifact_id}",
                    old=summary,
                    reason=reason,
                )
            self._remove(artifact_id)
        finally:
            marker.unlink(missing_ok=True)

    def _marker(self, artifact_id: str) -> Path:
        """Signs for an artifact that this process is writing or deleting: after a crash the sweep knows at once."""
        return self.folder / MARKERS / f"{ProcessIdentity.current()}.{artifact_id}"

    def _file(self, artifact_id: str, suffix: str) -> Path:
        return self.folder / artifact_id[:2] / artifact_id / f"data{suffix}"

    def _remove(self, artifact_id: str) -> None:
        shutil.rmtree(self.folder / artifact_id[:2] / artifact_id, ignore_errors=True)


def _found(session: Session, artifact_id: str) -> Artifact:
    row = session.get(Artifact, artifact_id) if _ID.fullmatch(artifact_id) else None
    if row is None:
        raise UserError(
            "There is no such item.",
            "Its id is wrong, or it was deleted.",
            "Go back to the tab and choose or upload it again.",
        )
    return row


def _summary(row: Artifact) -> dict[str, Any]:
    """What the audit log keeps of an artifact."""
    names = ("kind", "system", "name", "media_type", "size", "sha256", "synthetic", "job_id")
    return {name: getattr(row, name) for name in names}


def _view(row: Artifact) -> ArtifactView:
    values = {name: getattr(row, name) for name in ArtifactView.__dataclass_fields__ if name != "provenance"}
    return ArtifactView(**values, provenance=Provenance.from_json(canonical_json(row.provenance)))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
