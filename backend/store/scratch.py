"""Working folders for what is not an artifact yet, such as an upload on its way in; gone when their process is."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.store.processes import ProcessIdentity

OLD_S = 24 * 3600.0


class Scratch:
    """Temporary folders in the home folder: the same disk as the artifacts, and never the system's shared one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def workdir(self) -> Iterator[Path]:
        """An empty folder that is removed, with all that is in it, at the end of the block."""
        folder = self.folder / f"{ProcessIdentity.current()}.{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> int:
        """Remove folders of processes that have ended, and unsigned ones a day old; returns how many."""
        removed = 0
        for path in self.folder.iterdir():
            process = ProcessIdentity.parse(path.name.rpartition(".")[0])
            alive = process.alive() if process else None
            if alive or (alive is None and time.time() - path.stat().st_mtime <= OLD_S):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed += 1
        return removed
