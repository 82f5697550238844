"""The composition root: everything one process needs, opened in order and closed in reverse."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from backend.catalogue import CATALOGUE, Catalogue
from backend.errors import UserError
from backend.jobs.contract import JobEngine
from backend.jobs.local import LocalEngine
from backend.settings import Settings, get_settings
from backend.store.artifacts import ArtifactStore
from backend.store.audit import AuditLog
from backend.store.database import Database
from backend.store.scratch import Scratch
from backend.store.sweep import sweep
from backend.weights import Weights


@dataclass
class Runtime:
    """The parts of an open installation. Use it as a context manager, or call :meth:`close`."""

    settings: Settings
    database: Database
    audit: AuditLog
    artifacts: ArtifactStore
    scratch: Scratch
    jobs: JobEngine
    weights: Weights

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        *,
        start_jobs: bool = True,
        adopt_jobs: bool = True,
        catalogue: Catalogue = CATALOGUE,
    ) -> Runtime:
        """Make the home folder, upgrade the schema, remove what a crash left, start the engine.

        With ``start_jobs=False`` jobs can be looked at, queued and cancelled, but none runs here. ``adopt_jobs=False``
        leaves queued jobs of an engine that is gone to another process. Raises ``UserError`` when the home folder or
        the database cannot be used.
        """
        settings = settings or get_settings()
        try:
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            database = Database(settings.sqlalchemy_url)
        except OSError as error:
            raise _unusable_home(error) from error
        try:
            database.upgrade()
            audit = AuditLog(database)
            artifacts = ArtifactStore(settings.home / "artifacts", database, audit)
            scratch = Scratch(settings.home / "tmp")
            weights = Weights(settings)
            jobs = LocalEngine(
                settings=settings,
                database=database,
                audit=audit,
                artifacts=artifacts,
                weights=weights,
                catalogue=catalogue,
                adopt=adopt_jobs,
            )
            sweep(artifacts, database)
            scratch.sweep()
            if start_jobs:
                jobs.start()
        except OSError as error:
            database.close()
            raise _unusable_home(error) from error
        except BaseException:
            database.close()
            raise
        return cls(settings, database, audit, artifacts, scratch, jobs, weights)

    def close(self) -> None:
        """Stop the engine and close the database."""
        self.jobs.stop()
        self.database.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unusable_home(error: OSError) -> UserError:
    return UserError(
        "The home folder cannot be used.",
        f"The system says: {error.strerror or type(error).__name__}.",
        "Make it writable, or set SYNTHSCOPE_HOME to another folder.",
    )
