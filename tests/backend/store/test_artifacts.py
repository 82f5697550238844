from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import ArtifactView
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.settings import Settings
from backend.store.artifacts import MARKERS, ArtifactStore
from backend.store.audit import AuditLog
from backend.store.database import Database
from backend.store.files import sha256
from backend.store.sweep import OLD_S, sweep

PROVENANCE = Provenance.now(system="test", action="make", synthetic=True, seed=7, parents=("p",), request={"a": [1.5]})


def description(**changes: Any) -> dict[str, Any]:
    values = {"name": "picture.png", "media_type": "image/png", "kind": "image", "synthetic": True}
    return values | {"provenance": PROVENANCE, "actor": LOCAL} | changes


@pytest.fixture
def audit(database: Database) -> AuditLog:
    return AuditLog(database)


@pytest.fixture
def store(database: Database, audit: AuditLog, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", database, audit)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def folders(store: ArtifactStore) -> list[Path]:
    return sorted(store.folder.glob("??/*"))


def test_file_row_and_event_appear_together(store: ArtifactStore, audit: AuditLog) -> None:
    stored = store.add(lambda path: path.write_bytes(b"content"), **description(properties={"width": 3}, reason="why"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", stored.id)
    assert files(store.folder) == [f"{stored.id[:2]}/{stored.id}/data.png"]
    path = store.path(stored.id)
    assert path.read_bytes() == b"content"
    assert (stored.size, stored.sha256) == (7, sha256(path))
    assert store.view(stored.id) == stored
    assert stored.provenance == PROVENANCE
    assert stored.properties == {"width": 3}
    [event] = audit.events()
    assert (event.action, event.subject, event.actor, event.reason) == (
        "artifact.add",
        f"artifact:{stored.id}",
        "local",
        "why",
    )
    assert event.new["sha256"] == stored.sha256
    assert store.verify(stored.id)


def test_writer_sees_the_suffix_it_goes_by(store: ArtifactStore) -> None:
    seen = []

    def write(path: Path) -> None:
        seen.append(path.name)
        path.write_bytes(b"x")

    first = store.add(write, **description(name="brain.nii.gz"))
    second = store.add(write, **description(name="no suffix", suffix=".ome.tiff"))
    assert seen[0].endswith(".nii.gz")
    assert seen[1].endswith(".ome.tiff")
    assert store.path(first.id).name == "data.nii.gz"
    assert store.path(second.id).name == "data.ome.tiff"


@pytest.mark.parametrize("suffix", ["/../x", ".png/../../x", "..", ".a b"])
def test_suffix_cannot_lead_elsewhere(store: ArtifactStore, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        store.add(lambda path: path.write_bytes(b"x"), **description(suffix=suffix))


def broken_writer(path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyError("bug")


def refusing_writer(path: Path) -> None:
    path.write_bytes(b"half")
    raise UserError("No.", "Because.", "Do not.")


def silent_writer(path: Path) -> None:
    """Writes nothing at all."""


@pytest.mark.parametrize(
    ("write", "error"),
    [(broken_writer, KeyError), (refusing_writer, UserError), (silent_writer, FileNotFoundError)],
)
def test_failed_write_leaves_nothing(
    store: ArtifactStore, audit: AuditLog, write: Callable[[Path], None], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.add(write, **description())
    assert files(store.folder) == folders(store) == []
    assert store.list() == []
    assert audit.count() == 0


def test_failed_row_leaves_no_file(store: ArtifactStore, audit: AuditLog) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        store.add(lambda path: path.write_bytes(b"x"), **description(job_id="no such job"))
    assert files(store.folder) == folders(store) == []
    assert audit.count() == 0


def test_failed_audit_event_leaves_no_file(store: ArtifactStore, database: Database, audit: AuditLog) -> None:
    with database.write() as session:
        session.execute(text("ALTER TABLE audit_events RENAME TO gone"))
    with pytest.raises(Exception, match="audit_events"):
        store.add(lambda path: path.write_bytes(b"x"), **description())
    assert files(store.folder) == folders(store) == store.list() == []


@pytest.mark.parametrize("bad", ["", "x", "../../etc/passwd", "A" * 22, "a" * 10_000])
def test_unknown_id_is_explained(store: ArtifactStore, bad: str) -> None:
    for ask in (store.view, store.path, store.verify, lambda artifact_id: store.delete(artifact_id, LOCAL)):
        with pytest.raises(UserError, match="There is no such item"):
            ask(bad)


def test_list_filters_newest_first(store: ArtifactStore) -> None:
    def add(**changes: Any) -> ArtifactView:
        return store.add(lambda path: path.write_bytes(b"x"), **description(**changes))

    first, second, third = (
        add(),
        add(kind="mask"),
        add(provenance=Provenance.now(system="b", action="", synthetic=True)),
    )
    assert [view.id for view in store.list()] == [third.id, second.id, first.id]
    assert [view.id for view in store.list(kind="mask")] == [second.id]
    assert [view.id for view in store.list(system="b")] == [third.id]
    assert [view.id for view in store.list(limit=1)] == [third.id]
    assert store.list(job_id="x") == []


def test_delete_keeps_the_event_only(store: ArtifactStore, audit: AuditLog) -> None:
    stored = store.add(lambda path: path.write_bytes(b"x"), **description())
    store.delete(stored.id, LOCAL, "not needed")
    assert folders(store) == store.list() == []
    event = audit.events(limit=1)[0]
    assert (event.action, event.old["sha256"], event.new, event.reason) == (
        "artifact.delete",
        stored.sha256,
        None,
        "not needed",
    )


def test_verify_notices_a_changed_or_missing_file(store: ArtifactStore) -> None:
    stored = store.add(lambda path: path.write_bytes(b"content"), **description())
    path = store.path(stored.id)
    path.write_bytes(b"c0ntent")
    assert not store.verify(stored.id)
    path.unlink()
    assert not store.verify(stored.id)
    with pytest.raises(UserError, match="missing"):
        store.path(stored.id)


def test_add_file_copies_or_moves(store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    copied = store.add_file(source, **description())
    assert source.exists()
    moved = store.add_file(source, move=True, **description())
    assert not source.exists()
    assert store.path(copied.id).read_bytes() == store.path(moved.id).read_bytes() == b"content"


def test_many_threads_store_at_once(store: ArtifactStore, audit: AuditLog) -> None:
    def add(index: int) -> str:
        return store.add(lambda path: path.write_text(str(index)), **description()).id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(add, range(40)))
    assert [store.path(artifact_id).read_text() for artifact_id in ids] == [str(index) for index in range(40)]
    assert audit.verify().events == 40
    assert list((store.folder / MARKERS).iterdir()) == []


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line


@pytest.mark.parametrize("what", ["artifact", "upload"])
def test_kill_in_the_middle_of_a_write_leaves_nothing_after_the_next_start(settings: Settings, what: str) -> None:
    with Runtime.open(settings, start_jobs=False) as runtime:
        kept = runtime.artifacts.add(lambda path: path.write_bytes(b"kept"), **description())
    command = [sys.executable, "-m", "tests.backend.store.writers", what, str(settings.home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        wait_for_line(process, "writing")
        halves = [path for path in settings.home.rglob("*") if path.is_file() and path.read_bytes() == b"half"]
        assert len(halves) == 1
        with Runtime.open(settings, start_jobs=False):  # a second process may start while the first one writes
            assert halves[0].exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert halves[0].exists()
        with Runtime.open(settings, start_jobs=False) as runtime:
            assert not halves[0].exists()
            assert [view.id for view in runtime.artifacts.list()] == [kept.id]
            assert files(runtime.artifacts.folder) == [f"{kept.id[:2]}/{kept.id}/data.png"]
            assert list(runtime.scratch.folder.iterdir()) == []
            assert runtime.audit.count() == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_kill_at_any_moment_leaves_rows_files_and_events_in_step(settings: Settings) -> None:
    chance = random.Random(20250101)
    for _ in range(4):
        command = [sys.executable, "-m", "tests.backend.store.writers", "storm", str(settings.home)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            wait_for_line(process, "writing")
            time.sleep(chance.uniform(0.02, 0.3))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        with Runtime.open(settings, start_jobs=False) as runtime:
            kept = {view.id for view in runtime.artifacts.list(limit=100_000)}
            assert all(runtime.artifacts.verify(artifact_id) for artifact_id in kept)
            assert list((runtime.artifacts.folder / MARKERS).iterdir()) == []
            found = runtime.audit.verify()
            assert found.ok
            added, deleted = (
                {
                    event.subject.removeprefix("artifact:")
                    for event in runtime.audit.events(limit=100_000, action=action)
                }
                for action in ("artifact.add", "artifact.delete")
            )
            assert added - deleted == kept
            assert {folder.name for folder in folders(runtime.artifacts)} == kept
    assert added


def test_sweep_removes_only_old_folders_without_row_or_marker(store: ArtifactStore, database: Database) -> None:
    kept = store.add(lambda path: path.write_bytes(b"x"), **description())
    young, old = (store.folder / "ab" / f"ab{name:a<20}" for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(b"x")
    long_ago = time.time() - OLD_S - 1
    os.utime(old, (long_ago, long_ago))
    os.utime(store.path(kept.id).parent, (long_ago, long_ago))
    assert sweep(store, database) == 1
    assert young.exists()
    assert not old.exists()
    assert store.verify(kept.id)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_explained_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    database.upgrade()
    audit = AuditLog(database)
    store = ArtifactStore(small_disk / "artifacts", database, audit)
    small = store.add(lambda path: path.write_bytes(bytes(100_000)), **description())
    with pytest.raises(UserError, match="disk is full"):
        store.add(lambda path: path.write_bytes(bytes(4_000_000)), **description())

    def wrapped(path: Path) -> None:
        try:
            path.write_bytes(bytes(4_000_000))
        except OSError as error:
            raise RuntimeError("the encoder failed") from error

    with pytest.raises(UserError, match="disk is full"):
        store.add(wrapped, **description())
    fill_up(small_disk)
    with pytest.raises(UserError, match="disk is full"):
        audit.export(small_disk / "audit.csv")
    (small_disk / "ballast").unlink()
    assert files(small_disk) == [f"artifacts/{small.id[:2]}/{small.id}/data.png"]
    assert audit.count() == 1
    assert store.verify(small.id)
    database.close()


def fill_up(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_full_disk_under_the_database_is_explained(small_disk: Path) -> None:
    database = Database(f"sqlite:///{small_disk / 'store.sqlite3'}")
    database.upgrade()
    audit = AuditLog(database)
    audit.append(actor=LOCAL, action="a", subject="s")
    ballast = small_disk / "ballast"
    fill_up(small_disk)

    def append_much() -> None:
        for _ in range(2000):
            audit.append(actor=LOCAL, action="a", subject="s", new="x" * 4000)

    with pytest.raises(UserError, match="disk is full"):
        append_much()
    ballast.unlink()
    audit.append(actor=LOCAL, action="after", subject="s")
    assert audit.verify().ok
    assert audit.events(limit=1)[0].action == "after"
    database.close()


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are a thing of Unix")
def test_file_size_limit_counts_as_a_full_disk(settings: Settings) -> None:
    """The same fault without the right to mount anything: a quota on the size of one file."""
    program = f"""
import resource, signal
from pathlib import Path
from backend.errors import UserError
from backend.runtime import Runtime
from backend.settings import Settings
from tests.backend.store.test_artifacts import description
with Runtime.open(Settings(home=Path({str(settings.home)!r})), start_jobs=False) as runtime:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    try:
        runtime.artifacts.add(lambda path: path.write_bytes(bytes(3_000_000)), **description())
    except UserError as error:
        print(error.what)
    print(len(list(runtime.artifacts.folder.glob('??/*'))), runtime.audit.count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["The disk is full.", "0 0"], done.stderr
