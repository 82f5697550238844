"""Programs that tests run as processes of their own: ``python -m tests.backend.store.writers WHAT ARGUMENTS``."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from backend.identity import Actor
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.settings import Settings
from backend.store.audit import AuditLog
from backend.store.database import Database


def append(url: str, name: str, count: str) -> None:
    """Append ``count`` events in the name of ``name``."""
    database = Database(url)
    database.upgrade()
    log = AuditLog(database)
    print("ready", flush=True)
    sys.stdin.readline()
    for index in range(int(count)):
        log.append(actor=Actor(name), action="test.append", subject=f"{name}:{index}")
    database.close()


def upgrade(url: str) -> None:
    """Upgrade an empty database when told to."""
    database = Database(url)
    print("ready", flush=True)
    sys.stdin.readline()
    database.upgrade()
    database.close()


def artifact(home: str) -> None:
    """Begin an artifact, write half of it, and hang."""
    with Runtime.open(Settings(home=Path(home)), start_jobs=False) as runtime:

        def write(path: Path) -> None:
            path.write_bytes(b"half")
            print("writing", flush=True)
            time.sleep(600)

        runtime.artifacts.add(
            write,
            name="slow.bin",
            media_type="application/octet-stream",
            kind="upload",
            synthetic=False,
            provenance=Provenance.now(system="test", action="slow", synthetic=False),
            actor=Actor("slow"),
        )


def storm(home: str) -> None:
    """Store and delete artifacts from four threads until killed."""
    with Runtime.open(Settings(home=Path(home)), start_jobs=False) as runtime:

        def work(index: int) -> None:
            description = {"name": "a.bin", "media_type": "application/octet-stream", "kind": "upload"}
            provenance = Provenance.now(system="test", action="storm", synthetic=False)
            while True:
                stored = runtime.artifacts.add(
                    lambda path: path.write_bytes(bytes([index]) * 50_000),
                    synthetic=False,
                    provenance=provenance,
                    actor=Actor("storm"),
                    **description,
                )
                if stored.id < "g":
                    runtime.artifacts.delete(stored.id, Actor("storm"))

        for index in range(4):
            threading.Thread(target=work, args=(index,), daemon=True).start()
        print("writing", flush=True)
        time.sleep(600)


def upload(home: str) -> None:
    """Begin an upload into a working folder, and hang."""
    with Runtime.open(Settings(home=Path(home)), start_jobs=False) as runtime, runtime.scratch.workdir() as folder:
        (folder / "half").write_bytes(b"half")
        print("writing", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
